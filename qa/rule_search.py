"""Turns in which a rule found something, the last found first.

Findings of one rule lie together in the index, in the order in which they were found, for each status apart: so each
status is walked back from the newest and the three are merged, and nothing is sorted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.orm import Session

from qa.store.schema import Call, FindingRow, ScorecardRow, TranscriptRow, TurnRow
from qa.store.search import Match, places
from scoring_rules.model import FindingStatus

BATCH = 200  # findings fetched at once, to be looked through for words
SPARE = 15  # fetched beyond a page: a turn may hold several
LOOKED_AT = 6_000  # findings of a status that are looked through for words before the search gives up


@dataclass(frozen=True, slots=True)
class Found:
    """A turn with what the rule found in it. `match.spans` are the words that were looked for, `hits` the rule's."""

    match: Match
    hits: tuple[tuple[int, int], ...]
    finding_id: int  # the page after begins before this one


def found_by_rule(
    session: Session,
    rule: str,
    words: str,
    conditions: Sequence[ColumnElement[bool]],
    before: int | None,
    size: int,
) -> list[Found]:
    """The newest `size` turns with findings of a rule older than the finding `before`; with `words`, those that also
    hold every term. `conditions` on `Call`, `TranscriptRow`, `TurnRow`.
    """
    batch = BATCH if words else size + SPARE
    walks = [_walk(session, rule, status, words, conditions, before, batch) for status in FindingStatus]
    turns: dict[int, Found] = {}
    for found in heapq.merge(*walks, key=lambda one: -one.finding_id):
        known = turns.get(found.match.turn_id)
        if known is None and len(turns) == size:
            break
        hits = found.hits if known is None else (*known.hits, *found.hits)
        turns[found.match.turn_id] = replace(found, hits=tuple(sorted(set(hits))))
    return list(turns.values())


def _walk(
    session: Session,
    rule: str,
    status: FindingStatus,
    words: str,
    conditions: Sequence[ColumnElement[bool]],
    before: int | None,
    batch: int,
) -> Iterator[Found]:
    looked = 0
    while True:
        rows = session.execute(_query(rule, status, conditions, before, batch)).all()
        for row in rows:
            spans = places(row.text, words) if words else ()
            if words and not spans:
                continue
            start, end = row.start_char, row.end_char
            match = Match(
                row.turn_id, row.call_id, row.number, row.speaker, row.role, row.start, row.text, spans
            )
            yield Found(match, () if start is None or end is None else ((start, end),), row.finding_id)
        looked += len(rows)
        if len(rows) < batch or (words and looked >= LOOKED_AT):
            return
        before = rows[-1].finding_id


def _query(
    rule: str, status: FindingStatus, conditions: Sequence[ColumnElement[bool]], before: int | None, batch: int
) -> Select[*tuple[Any, ...]]:
    query = (
        select(
            FindingRow.id.label("finding_id"),
            FindingRow.start_char,
            FindingRow.end_char,
            TurnRow.id.label("turn_id"),
            TranscriptRow.call_id,
            TurnRow.number,
            TurnRow.speaker,
            TurnRow.role,
            TurnRow.start,
            TurnRow.text,
        )
        .select_from(FindingRow)
        .join(ScorecardRow, and_(ScorecardRow.id == FindingRow.scorecard_id, ScorecardRow.current))
        .join(TranscriptRow, TranscriptRow.id == ScorecardRow.transcript_id)
        .join(TurnRow, and_(TurnRow.transcript_id == TranscriptRow.id, TurnRow.number == FindingRow.turn))
        .join(Call, Call.id == TranscriptRow.call_id)
        .where(FindingRow.rule == rule, FindingRow.status == status.value, TranscriptRow.current, *conditions)
        .order_by(FindingRow.id.desc())
        .limit(batch)
    )
    return query if before is None else query.where(FindingRow.id < before)
