"""Search: the turns of all calls, by their words, by what a rule found in them, by who spoke and how it felt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from qa.access import Identity, Right, may, require
from qa.call_filter import CallFilter
from qa.call_lists import PAGE_SIZE, Site, condition_of, refuse_numbers
from qa.redact import cover, find_in_turns
from qa.rule_search import Found, found_by_rule
from qa.store.engine import Store
from qa.store.schema import Call, TranscriptRow, TurnRow
from qa.store.search import Match, search

SURROUNDINGS = 100  # turns around what was found that are read to mask it: no number is read out over so many


class Feeling(StrEnum):
    ANGRY = "angry"
    ANXIOUS = "anxious"
    SAD = "sad"
    HAPPY = "happy"


class Speaker(StrEnum):
    AGENT = "agent"
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True)
class LineFilter:
    """What a turn must have; empty fields do not filter."""

    words: str = ""
    rule: str = ""  # a rule that found something in the turn
    emotion: str = ""  # how the turn feels
    speaker: str = ""

    @classmethod
    def from_address(cls, query: Mapping[str, str]) -> LineFilter:
        """Read an address's query; feelings and speakers that there are none of are left out."""
        words, rule = query.get("q", "").strip(), query.get("rule", "").strip()
        emotion, speaker = query.get("emotion", ""), query.get("speaker", "")
        return cls(
            words,
            rule,
            emotion if emotion in list(Feeling) else "",
            speaker if speaker in list(Speaker) else "",
        )

    def to_address(self) -> dict[str, str]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["q"] = values.pop("words")
        return {name: value for name, value in values.items() if value}

    @property
    def empty(self) -> bool:
        return not self.to_address()


@dataclass(frozen=True, slots=True)
class Line:
    """A turn that was found, masked, with the places of what was looked for."""

    match: Match
    cursor: int  # the page after begins before this one
    end: float | None  # seconds
    emotion: str | None
    agent: str | None
    team: str | None
    started_at: datetime | None
    score: float | None
    has_recording: bool


def search_lines(
    store: Store,
    identity: Identity,
    lines: LineFilter,
    wanted: CallFilter,
    site: Site,
    before: int | None = None,
    size: int = PAGE_SIZE,
) -> list[Line]:
    """Turns within reach, the newest first, of the calls that a list has; what is masked is not found by those who
    may not unmask. The page after begins `before` the last line's `cursor`. Raises AccessDenied, FilterError.
    """
    require(identity, Right.SEE)
    refuse_numbers(identity, lines.words)
    with store.read() as session:
        condition, _ = condition_of(session, identity, wanted, site)
        conditions = [condition]
        if lines.emotion:
            conditions.append(TurnRow.emotion_label == lines.emotion)
        if lines.speaker:
            conditions.append(TurnRow.role == lines.speaker)
        if lines.rule:
            found = found_by_rule(session, lines.rule, lines.words, conditions, before, size)
            return _shown(session, identity, [one.match for one in found], found)
        if lines.words:
            matches = search(
                session, lines.words, limit=size, before=before, where=conditions[1:], calls=condition
            )
        elif lines.emotion or lines.speaker:
            matches = _newest(session, conditions, before, size)
        else:
            return []
        return _shown(session, identity, matches)


_TURN = (
    TurnRow.id, TranscriptRow.call_id, TurnRow.number, TurnRow.speaker, TurnRow.role, TurnRow.start, TurnRow.text,
)  # fmt: skip


def _newest(session: Session, conditions: list, before: int | None, size: int) -> list[Match]:
    query = (
        select(*_TURN)
        .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
        .join(Call, Call.id == TranscriptRow.call_id)
        .where(TranscriptRow.current, *conditions)
        .order_by(TurnRow.id.desc())
        .limit(size)
    )
    if before is not None:
        query = query.where(TurnRow.id < before)
    return [Match(*turn, spans=()) for turn in session.execute(query)]


def _shown(
    session: Session, identity: Identity, matches: Sequence[Match], by_rule: Sequence[Found] = ()
) -> list[Line]:
    """The turns, masked, less those whose words were found in what is masked for this person.

    What is masked in a turn depends on the turns around it, so whole calls are read, each once; of very long ones, the
    surroundings of what was found.
    """
    if not matches:
        return []
    by_call: dict[str, list[int]] = {}
    for place, match in enumerate(matches):
        by_call.setdefault(match.call_id, []).append(place)
    calls = {call.id: call for call in session.scalars(select(Call).where(Call.id.in_(by_call)))}
    around = or_(
        TranscriptRow.turn_count <= 4 * SURROUNDINGS,
        *(
            and_(
                TranscriptRow.call_id == call_id,
                TurnRow.number.between(
                    min(matches[place].turn for place in places) - SURROUNDINGS,
                    max(matches[place].turn for place in places) + SURROUNDINGS,
                ),
            )
            for call_id, places in by_call.items()
        )
    )
    turns: dict[str, list[Any]] = {}
    for row in session.execute(
        select(TranscriptRow.call_id, TurnRow.number, TurnRow.text, TurnRow.end, TurnRow.emotion_label)
        .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
        .where(TranscriptRow.current, TranscriptRow.call_id.in_(by_call), around)
        .order_by(TranscriptRow.call_id, TurnRow.number)
    ):
        turns.setdefault(row.call_id, []).append(row)
    found: list[Line | None] = [None] * len(matches)
    for call_id, places in by_call.items():
        call, rows = calls[call_id], turns[call_id]
        personal = find_in_turns([row.text for row in rows])
        for place in places:
            match = matches[place]
            row, hidden = rows[match.turn - rows[0].number], personal[match.turn - rows[0].number]
            if not may(identity, Right.UNMASK) and _touches(match, hidden):
                continue
            found[place] = Line(
                match=match._replace(
                    text=cover(row.text, hidden), spans=_spans(match, by_rule[place] if by_rule else None)
                ),
                cursor=by_rule[place].finding_id if by_rule else match.turn_id,
                end=row.end,
                emotion=row.emotion_label,
                agent=call.agent,
                team=call.team,
                started_at=call.started_at,
                score=call.score,
                has_recording=call.recording_id is not None,
            )
    return [line for line in found if line is not None]


def _spans(match: Match, found: Found | None) -> tuple[tuple[int, int], ...]:
    return match.spans if found is None else tuple(sorted({*match.spans, *found.hits}))


def _touches(match: Match, found) -> bool:
    return any(start < item.end and item.start < end for start, end in match.spans for item in found)
