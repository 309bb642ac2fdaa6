"""An agent's own calls: what each lost points for and what to say instead, how the weeks went, and "I have read it".

What counts is what people made of a call, where they judged it, and else the machine's result; both are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Right, require, within_reach
from qa.call_lists import CallRow, Site, rows_of
from qa.levels import LevelScore, levels_of
from qa.redact import mask_turns
from qa.review import Conflict
from qa.scorecard import Item
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.reviewed import ReviewedResult
from qa.store.schema import Call, ScorecardRow, TranscriptRow, TurnRow, now
from qa.store.scorecards import load_scorecard
from qa.store.work import Acknowledgement
from scoring_rules.model import FindingStatus, Outcome, Pack

CARDS_PAGE = 8
WEEKS = 12
MISSING = "missing"  # how a finding says that a phrase was not said; its place is where it was looked for


class Said(StrEnum):
    """Whose word a fault is."""

    MACHINE = "machine"  # and nobody said otherwise
    ADDED = "added"  # by people; the machine has no fault there
    CANCELLED = "cancelled"  # by people: it is the machine's, and costs nothing


@dataclass(frozen=True, slots=True)
class Fault:
    """An item that lost points on a call, with its places."""

    rule: str
    name: Mapping[str, str]
    cost: float  # points
    fatal: bool
    places: tuple[Place, ...]
    said: Said = Said.MACHINE


@dataclass(frozen=True, slots=True)
class Place:
    turn: int | None
    start: float | None  # seconds
    end: float | None
    quote: str  # the turn, masked
    hit: tuple[int, int] | None  # characters of the quote


@dataclass(frozen=True, slots=True)
class MyCard:
    row: CallRow
    scorecard_id: int
    levels: tuple[LevelScore, ...]  # the machine's first; the last one counts
    faults: tuple[Fault, ...]
    read_at: datetime | None
    has_recording: bool

    @property
    def counts(self) -> LevelScore:
        """The level whose score and outcome count."""
        return self.levels[-1]


@dataclass(frozen=True, slots=True)
class Week:
    """The calls of one week, by its Monday in the site's time zone."""

    monday: date
    calls: int
    score: float | None  # mean of the scores that count
    fatal: int
    machine: float | None = None  # mean of the machine's


@dataclass(frozen=True, slots=True)
class Cards:
    cards: tuple[MyCard, ...]
    total: int
    unread: int


def my_cards(store: Store, identity: Identity, pack: Pack, page: int = 1, *, unread: bool = False) -> Cards:
    """A page of the person's own scorecards, the newest first; `pack` reckons what people made of them.

    Raises AccessDenied for who has no own calls.
    """
    require(identity, Right.ACKNOWLEDGE)
    own = and_(within_reach(identity, Right.ACKNOWLEDGE), Call.score.is_not(None))
    with store.read() as session:
        not_read = _count(session, and_(own, ~_read(identity.login)))
        shown = and_(own, ~_read(identity.login)) if unread else own
        newest = (Call.started_at.desc().nulls_last(), Call.id)
        rows = rows_of(session, shown, newest, CARDS_PAGE, (page - 1) * CARDS_PAGE)
        known = _known(session, [row.id for row in rows], identity.login)
        cards = tuple(_card(session, row, known[row.id], pack) for row in rows)
        return Cards(cards, not_read if unread else _count(session, own), not_read)


def my_weeks(store: Store, identity: Identity, site: Site, count: int = WEEKS) -> list[Week]:
    """The person's last weeks, the oldest first, weeks without calls included. Raises AccessDenied."""
    require(identity, Right.ACKNOWLEDGE)
    today = now().astimezone(site.zone).date()
    with store.read() as session:
        own = and_(within_reach(identity, Right.ACKNOWLEDGE), Call.score.is_not(None))
        last = session.scalar(select(func.max(Call.started_at)).where(own))
        end = today if last is None else last.astimezone(site.zone).date()
        first = end - timedelta(days=end.weekday(), weeks=count - 1)
        since = datetime(first.year, first.month, first.day, tzinfo=site.zone)
        rows = session.execute(
            select(Call.started_at, Call.score, Call.fatal, ReviewedResult)
            .outerjoin(ReviewedResult, and_(ReviewedResult.call_id == Call.id, ReviewedResult.level.is_not(None)))
            .where(own, Call.started_at >= since)
        ).all()
    weeks: dict[date, list[tuple[float, float, bool]]] = {first + timedelta(weeks=n): [] for n in range(count)}
    for started_at, machine, fatal, people in rows:
        assert started_at is not None
        assert machine is not None
        day = started_at.astimezone(site.zone).date()
        score, failed = (machine, fatal) if people is None else (people.score, people.fatal)
        if score is not None:  # people may leave a call with nothing to score
            weeks[day - timedelta(days=day.weekday())].append((score, machine, bool(failed)))
    return [
        Week(
            monday,
            len(calls),
            _mean([score for score, _, _ in calls]),
            sum(fatal for _, _, fatal in calls),
            _mean([machine for _, machine, _ in calls]),
        )
        for monday, calls in weeks.items()
    ]


def _mean(scores: Sequence[float]) -> float | None:
    return sum(scores) / len(scores) if scores else None


def acknowledge(store: Store, identity: Identity, call_id: str, scorecard_id: int) -> None:
    """The person has read their scorecard; once is enough.

    Raises AccessDenied; Conflict when another scorecard is in force by now.
    """
    require(identity, Right.ACKNOWLEDGE)
    with store.write() as session:
        call = session.get(Call, call_id)
        if call is None:
            raise AccessDenied(identity.login, Right.ACKNOWLEDGE, call_id)
        require(identity, Right.ACKNOWLEDGE, call)
        if _current(session, call_id) != scorecard_id:
            raise Conflict(call_id)
        known = select(Acknowledgement.id).where(
            Acknowledgement.scorecard_id == scorecard_id, Acknowledgement.who == identity.login
        )
        if session.scalar(known) is None:
            session.add(Acknowledgement(who=identity.login, call_id=call_id, scorecard_id=scorecard_id))
            audit(session, identity.login, "acknowledged", call_id)


def acknowledged_at(store: Store, identity: Identity, call_id: str) -> datetime | None:
    """When the call's agent read the scorecard in force; for everybody who sees the call. Raises AccessDenied."""
    with store.read() as session:
        call = session.get(Call, call_id)
        if call is None:
            raise AccessDenied(identity.login, Right.SEE, call_id)
        require(identity, Right.SEE, call)
        return session.scalar(
            select(func.min(Acknowledgement.at))
            .join(ScorecardRow, ScorecardRow.id == Acknowledgement.scorecard_id)
            .where(Acknowledgement.call_id == call_id, ScorecardRow.current)
        )


def unread_by_agents(store: Store, identity: Identity, since: datetime) -> list[tuple[str, int, int]]:
    """(agent, calls, of these not yet read) of the calls within reach since a time, the most unread first.

    Raises AccessDenied.
    """
    require(identity, Right.SEE)
    read = (
        exists()
        .where(
            Acknowledgement.call_id == Call.id,
            Acknowledgement.scorecard_id == ScorecardRow.id,
            ScorecardRow.current,
        )
        .correlate(Call)
    )
    with store.read() as session:
        scope = (
            within_reach(identity),
            Call.score.is_not(None),
            Call.agent.is_not(None),
            Call.started_at >= since,
        )
        total = dict(
            session.execute(select(Call.agent, func.count()).where(*scope).group_by(Call.agent)).all()
        )
        seen = dict(
            session.execute(select(Call.agent, func.count()).where(*scope, read).group_by(Call.agent)).all()
        )
    rows = [(str(agent), count, count - seen.get(agent, 0)) for agent, count in total.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def _read(login: str) -> ColumnElement[bool]:
    return (
        exists()
        .where(
            Acknowledgement.call_id == Call.id,
            Acknowledgement.who == login,
            Acknowledgement.scorecard_id == ScorecardRow.id,
            ScorecardRow.current,
        )
        .correlate(Call)
    )


def _count(session: Session, condition: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(Call).where(condition)) or 0


def _current(session: Session, call_id: str) -> int | None:
    return session.scalar(
        select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
    )


def _known(session: Session, calls: Sequence[str], login: str) -> dict[str, Any]:
    """Of all calls of a page at once: the scorecard in force, the language, when it was read, and the recording."""
    rows = session.execute(
        select(Call.id, ScorecardRow.id.label("scorecard_id"), TranscriptRow.language, Acknowledgement.at.label("read_at"), Call.recording_id)
        .join(ScorecardRow, and_(ScorecardRow.call_id == Call.id, ScorecardRow.current))
        .outerjoin(TranscriptRow, and_(TranscriptRow.call_id == Call.id, TranscriptRow.current))
        .outerjoin(Acknowledgement, and_(Acknowledgement.scorecard_id == ScorecardRow.id, Acknowledgement.who == login))
        .where(Call.id.in_(calls))
    )  # fmt: skip
    return {row.id: row for row in rows}


def _card(session: Session, row: CallRow, known: Any, pack: Pack) -> MyCard:
    texts = session.execute(
        select(TurnRow.text, TurnRow.start, TurnRow.end)
        .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
        .where(TranscriptRow.call_id == row.id, TranscriptRow.current)
        .order_by(TurnRow.number)
    ).all()
    masked = mask_turns([turn.text for turn in texts])
    machine = load_scorecard(session, row.id, known.scorecard_id)
    levels = levels_of(session, machine, pack, known.language or "")
    faults = tuple(
        Fault(item.rule, item.name, item.cost, item.fatal, _places(item, masked, texts), said)
        for item, said in _faults(machine.items, levels[-1].card.items)
    )
    return MyCard(row, known.scorecard_id, tuple(levels), faults, known.read_at, known.recording_id is not None)


def _faults(machine: Sequence[Item], counts: Sequence[Item]) -> Iterator[tuple[Item, Said]]:
    """The items that lose points by the result that counts, and those of the machine's that people took away."""
    before = {item.rule for item in machine if _is_fault(item)}
    for item in counts:
        if _is_fault(item):
            yield item, Said.MACHINE if item.rule in before else Said.ADDED
    still = {item.rule for item in counts if _is_fault(item)}
    for item in machine:
        if _is_fault(item) and item.rule not in still:
            yield item, Said.CANCELLED


def _is_fault(item: Item) -> bool:
    return not item.draft and (item.outcome is Outcome.FAIL or item.cost > 0)


def _places(item: Item, masked: Sequence[str], turns) -> tuple[Place, ...]:
    """Where an item was failed; an item that missed its phrase stands nowhere."""
    places = []
    for found in item.findings:
        finding = found.finding
        if finding.status is not FindingStatus.CONFIRMED or finding.how == MISSING or not finding.evidence:
            continue
        first = finding.evidence[0]
        if first.turn is None or first.turn >= len(masked):
            places.append(Place(None, first.start, first.end, "", None))
            continue
        whole = first.start_char is None or first.end_char is None
        places.append(
            Place(
                first.turn,
                first.start if first.start is not None else turns[first.turn].start,
                first.end if first.end is not None else turns[first.turn].end,
                masked[first.turn],
                None if whole else (first.start_char or 0, first.end_char or 0),
            )
        )
    return tuple(places)
