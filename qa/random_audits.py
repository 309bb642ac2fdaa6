"""A random audit: items in which the machine saw no fault, drawn for people to look what it missed.

A draw takes calls, each with all such items, or single items; a simple random sample without putting back, by a seeded
dice, from a frame of days, team, queue, rule and rules version. Every item of the frame has the same probability, which
is kept with each item drawn: qa/accuracy.py weighs its verdict by it, as it does with verdicts that were imported.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import accumulate, islice

from sqlalchemy import ColumnElement, Select, exists, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from qa.access import Identity, Reach, Right, reach, require, within_reach
from qa.rule_versions import newest_version
from qa.store.audit_work import settle_audit
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.random_audits import DrawnItem, OpenItem, RandomAudit
from qa.store.schema import Call, FindingRow, ItemRow, ScorecardRow
from scoring_rules.model import Expect, FindingStatus, Outcome, Pack

MAX_NAME = 100  # characters
MAX_UNITS = {"calls": 500, "items": 1_000}  # of one draw
MAX_SEED = 2**31 - 1
CHUNK = 500  # ids in one query


class Unit(StrEnum):
    CALLS = "calls"  # each with all its items in which the machine saw no fault
    ITEMS = "items"


class AuditRefused(ValueError):
    """A draw that cannot be; `reason` names why: bad_name, name_taken, bad_count, bad_seed, nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Frame:
    """From what is drawn; empty fields do not limit. `since` is included, `until` is not."""

    since: datetime | None = None
    until: datetime | None = None
    team: str = ""
    queue: str = ""
    rule: str = ""
    pack_only: bool = False  # only scorecards made by the rules in force

    def conditions(self, pack: Pack) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.since is not None:
            found.append(Call.started_at >= self.since)
        if self.until is not None:
            found.append(Call.started_at < self.until)
        if self.team:
            found.append(Call.team == self.team)
        if self.queue:
            found.append(Call.queue == self.queue)
        if self.rule:
            found.append(ItemRow.rule == self.rule)
        if self.pack_only:
            found.append(ScorecardRow.card["pack"].as_string() == pack.fingerprint)
        return found


@dataclass(frozen=True, slots=True)
class Audit:
    """A draw, and how far people are with it."""

    name: str
    at: datetime
    who: str
    unit: Unit
    drawn: int  # units
    probability: float
    seed: int
    frame: Mapping[str, object]
    frame_calls: int
    frame_items: int
    items: int  # drawn, within the reader's reach
    open: int  # of them, still to be judged


def silent_items(present: Iterable[str], *where: ColumnElement[bool]) -> Select[ItemRow]:
    """The items of scorecards in force in which the machine saw no fault: passed, and nothing suspected.

    `present` are the rules on what must be said: their findings are no faults. Items that are not applicable or not
    evaluated are left out. Joined with `ScorecardRow` and `Call`, for further conditions.
    """
    claimed = exists().where(
        FindingRow.scorecard_id == ItemRow.scorecard_id,
        FindingRow.rule == ItemRow.rule,
        FindingRow.status == FindingStatus.SUSPECTED.value,
        ItemRow.rule.not_in(list(present)),
    )
    return (
        select(ItemRow)
        .join(ScorecardRow, ScorecardRow.id == ItemRow.scorecard_id)
        .join(Call, Call.id == ScorecardRow.call_id)
        .where(ScorecardRow.current, ItemRow.outcome == Outcome.PASS.value, ~claimed, *where)
    )


def present_rules(pack: Pack) -> list[str]:
    """The rules on what must be said."""
    return [rule.id for rule in pack.rules if rule.expect is Expect.PRESENT]


def draw_into_queue(
    store: Store, identity: Identity, pack: Pack, name: str, unit: Unit, count: int, seed: int, frame: Frame
) -> Audit:
    """Draw an audit; its calls are in the queue from then on. Fewer than `count` are drawn where there are fewer.

    Raises AccessDenied; AuditRefused, and nothing is drawn.
    """
    require(identity, Right.ASSIGN)
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise AuditRefused("bad_name")
    if not 0 < count <= MAX_UNITS[unit]:
        raise AuditRefused("bad_count")
    if not 0 <= seed <= MAX_SEED:
        raise AuditRefused("bad_seed")
    where = [within_reach(identity, Right.ASSIGN), *frame.conditions(pack)]
    present = present_rules(pack)
    with store.read() as session:  # a frame of a year takes seconds, in which others write
        if session.scalar(select(RandomAudit.id).where(RandomAudit.name == name)) is not None:
            raise AuditRefused("name_taken")
        counts = _counts(session, present, where)
        total = len(counts) if unit is Unit.CALLS else sum(counts.values())
        if not total:
            raise AuditRefused("nothing")
        chosen = _chosen(counts, unit, min(count, total), seed)
        items = _items(session, present, where, chosen)
        published = newest_version(session)
    row = RandomAudit(
        who=identity.login,
        name=name,
        unit=unit.value,
        wanted=count,
        drawn=min(count, total),
        seed=seed,
        probability=min(count, total) / total,
        frame={
            "since": frame.since and frame.since.isoformat(),
            "until": frame.until and frame.until.isoformat(),
            "team": frame.team,
            "queue": frame.queue,
            "rule": frame.rule,
            "teams": list(identity.teams) if reach(identity, Right.ASSIGN) is Reach.TEAMS else None,
            "pack": pack.fingerprint,
            "pack_only": frame.pack_only,
            "version": published and published.number,
        },
        frame_calls=len(counts),
        frame_items=sum(counts.values()),
    )
    try:
        with store.write() as session:
            _keep(session, identity, row, items, set(present))
            return _standing(row, len(items), len(items))
    except IntegrityError as error:  # somebody drew one of that name meanwhile
        raise AuditRefused("name_taken") from error


def audits(store: Store, identity: Identity, limit: int = 20) -> list[Audit]:
    """The newest draws that touch calls within the reach of who may draw. Raises AccessDenied."""
    require(identity, Right.ASSIGN)
    waits = exists().where(OpenItem.call_id == DrawnItem.call_id, OpenItem.rule == DrawnItem.rule)
    query = (
        select(RandomAudit, func.count(), func.count().filter(waits))
        .join(DrawnItem, DrawnItem.audit_id == RandomAudit.id)
        .join(Call, Call.id == DrawnItem.call_id)
        .where(within_reach(identity, Right.ASSIGN))
        .group_by(RandomAudit.id)
        .order_by(RandomAudit.id.desc())
        .limit(limit)
    )
    with store.read() as session:
        return [_standing(row, items, waiting) for row, items, waiting in session.execute(query)]


def drawn_rules(session: Session, call_id: str) -> dict[str, bool]:
    """The items of a call that were ever drawn → whether they are still open. Ask for the right to the call before."""
    drawn = session.scalars(select(DrawnItem.rule).where(DrawnItem.call_id == call_id).distinct()).all()
    waits = set(session.scalars(select(OpenItem.rule).where(OpenItem.call_id == call_id)))
    return {rule: rule in waits for rule in drawn}


def drawn_with(session: Session, call_id: str, rule: str) -> tuple[float, str] | None:
    """The probability and the audit's name with which an item was drawn, the newest draw; None for one that was not."""
    found = session.execute(
        select(DrawnItem.probability, RandomAudit.name)
        .join(RandomAudit, RandomAudit.id == DrawnItem.audit_id)
        .where(DrawnItem.call_id == call_id, DrawnItem.rule == rule)
        .order_by(DrawnItem.id.desc())
        .limit(1)
    ).first()
    return None if found is None else (found.probability, found.name)


# --- the draw --------------------------------------------------------------------------------------------------


def _counts(session: Session, present: Sequence[str], where: Sequence[ColumnElement[bool]]) -> dict[str, int]:
    """The calls of a frame, each with how many items can be drawn; in one order on every database."""
    query = silent_items(present, *where).with_only_columns(ScorecardRow.call_id, func.count())
    return dict(sorted(session.execute(query.group_by(ScorecardRow.call_id)).all()))


def _chosen(counts: Mapping[str, int], unit: Unit, count: int, seed: int) -> dict[str, list[int] | None]:
    """The calls drawn, each with which of its items (by their order among the call's), or None for all."""
    dice, calls = random.Random(seed), list(counts)
    if unit is Unit.CALLS:
        return dict.fromkeys(sorted(dice.sample(calls, count)))
    until = list(accumulate(counts.values()))
    found: dict[str, list[int] | None] = {}
    for place in sorted(dice.sample(range(until[-1]), count)):
        at = bisect_right(until, place)
        places = found.setdefault(calls[at], [])
        assert places is not None
        places.append(place - (until[at - 1] if at else 0))
    return found


def _items(
    session: Session,
    present: Sequence[str],
    where: Sequence[ColumnElement[bool]],
    chosen: Mapping[str, list[int] | None],
) -> list[tuple[str, int, str]]:
    """(call, scorecard, rule) of what was drawn."""
    found: dict[str, list[tuple[str, int]]] = {}
    calls = iter(chosen)
    while some := list(islice(calls, CHUNK)):
        query = silent_items(present, *where, ScorecardRow.call_id.in_(some))
        for call, card, rule in session.execute(
            query.with_only_columns(ScorecardRow.call_id, ScorecardRow.id, ItemRow.rule)
        ):
            found.setdefault(call, []).append((rule, card))
    items = []
    for call, places in chosen.items():
        here = sorted(found[call])
        items += [(call, card, rule) for rule, card in (here if places is None else [here[p] for p in places])]
    return items


def _keep(
    session: Session, identity: Identity, row: RandomAudit, items: Sequence[tuple[str, int, str]], present: set[str]
) -> None:
    session.add(row)
    session.flush()
    session.execute(
        insert(DrawnItem),
        [
            {
                "audit_id": row.id, "call_id": call, "scorecard_id": card, "rule": rule, "present": rule in present,
                "probability": row.probability,
            }
            for call, card, rule in items
        ],
    )  # fmt: skip
    for call in dict.fromkeys(call for call, _, _ in items):
        settle_audit(session, call)
    audit(
        session, identity.login, "random audit drawn", name=row.name, unit=row.unit, drawn=row.drawn,
        items=len(items), probability=row.probability, seed=row.seed, **{k: v for k, v in row.frame.items() if v},
    )  # fmt: skip


def _standing(row: RandomAudit, items: int, waiting: int) -> Audit:
    return Audit(
        row.name, row.at, row.who, Unit(row.unit), row.drawn, row.probability, row.seed, row.frame,
        row.frame_calls, row.frame_items, items, waiting,
    )  # fmt: skip
