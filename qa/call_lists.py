"""Lists of calls within a person's reach: a page of one, who comes before and after, what they can be filtered by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, ColumnExpressionArgument, and_, func, or_, select
from sqlalchemy.orm import Session

from qa.access import Identity, Reach, Right, may, reach, require, within_reach
from qa.call_filter import WORK, CallFilter, FilterError, free_for
from qa.levels import Level
from qa.reviewed import Result
from qa.store.engine import Store
from qa.store.queries import occurring
from qa.store.random_audits import OpenItem
from qa.store.reviewed import ReviewedResult
from qa.store.reviews import CHANGED, DONE
from qa.store.schema import Call, ItemLayout, ItemRow, ScorecardRow, Tag, TranscriptRow, now
from qa.store.search import calls_holding
from qa.store.work import AssignmentEvent

PAGE_SIZE = 25
WORDS_LIMIT = 2_000  # turns that a list's word filter looks at, the newest first
FEW_ROWS = 5_000  # of so short a list all calls are found and sorted; a long one is read in the order of an index
BULK_LIMIT = 500  # calls that one command takes from a list
# Searching numbers character by character would find out what is masked.
_NUMBERS = re.compile(r"[0-9零〇一二三四五六七八九幺]{4}")


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call in a list, with why it is worth a look."""

    id: str
    started_at: datetime | None
    time_zone: str | None
    agent: str | None
    team: str | None
    queue: str | None
    kind: str | None
    duration: float | None  # seconds
    score: float | None
    fatal: bool
    suspected: int
    angry: bool
    longest_silence: float  # seconds
    signs: tuple[str, ...]
    reviewed: bool
    changed: bool  # the machine judges otherwise than what was reviewed
    assigned_to: str | None
    held_by: str | None  # who has it in hand now
    held_until: datetime | None
    fatal_rules: tuple[str, ...]  # that failed
    as_reviewed: AsReviewed | None = None  # None: nobody judged it; `score` and `fatal` are the machine's
    audits: int = 0  # items that a random audit drew and nobody judged yet
    given: Given | None = None  # how `assigned_to` came by it; for reviewers, not for the call's agent


@dataclass(frozen=True, slots=True)
class Given:
    """A call given to somebody for review."""

    by: str  # a login
    note: str


@dataclass(frozen=True, slots=True)
class AsReviewed:
    """What people made of a call."""

    level: Level  # the highest that judged it
    score: float | None
    fatal: bool


@dataclass(frozen=True, slots=True)
class Page:
    rows: tuple[CallRow, ...]
    total: int
    words_cut: bool = False  # the words occur so often that only the newest were looked at


@dataclass(frozen=True, slots=True)
class Site:
    """What lists need to know of the site: the passing score and the time zone."""

    passing: float
    zone: ZoneInfo


def list_calls(store: Store, identity: Identity, wanted: CallFilter, site: Site, size: int = PAGE_SIZE) -> Page:
    """A page of the calls within the person's reach. Raises AccessDenied, FilterError."""
    require(identity, Right.SEE)
    with store.read() as session:
        condition, cut = condition_of(session, identity, wanted, site)
        total = session.scalar(select(func.count()).select_from(Call).where(condition)) or 0
        rows = rows_of(session, condition, wanted.order(), size, (wanted.page - 1) * size, total)
    return Page(tuple(rows), total, cut)


def list_owners(
    store: Store, identity: Identity, wanted: CallFilter, site: Site, limit: int = BULK_LIMIT
) -> dict[str, str | None]:
    """The calls of a whole list in its order, each with whose it is, for a command on all of them.

    Raises AccessDenied, FilterError.
    """
    require(identity, Right.SEE)
    with store.read() as session:
        condition, _ = condition_of(session, identity, wanted, site)
        query = select(Call.id, Call.assigned_to).where(condition).order_by(*wanted.order()).limit(limit)
        return dict(session.execute(query).all())


def count_calls(store: Store, identity: Identity, wanted: Sequence[CallFilter], site: Site) -> list[int]:
    """How many calls each of some lists has. Raises AccessDenied, FilterError."""
    require(identity, Right.SEE)
    with store.read() as session:
        conditions = [condition_of(session, identity, one, site)[0] for one in wanted]
        return [session.scalar(select(func.count()).select_from(Call).where(one)) or 0 for one in conditions]


def neighbours(
    store: Store, identity: Identity, wanted: CallFilter, site: Site, call_id: str
) -> tuple[str | None, str | None]:
    """The calls before and after one in a list; for a call that left the list, None and the first one left.

    In lists of work, calls that somebody else has in hand are passed over. Raises AccessDenied, FilterError.
    """
    require(identity, Right.SEE)
    with store.read() as session:
        condition, _ = condition_of(session, identity, wanted, site)
        if wanted.view in WORK:
            condition = and_(condition, or_(free_for(identity.login, now()), Call.id == call_id))
        here = session.execute(select(*wanted.keys).where(condition, Call.id == call_id)).first()
        if here is None:
            return None, session.scalar(select(Call.id).where(condition).order_by(*wanted.order()).limit(1))

        def nearest(backwards: bool) -> str | None:
            order = wanted.order(backwards=backwards)
            for beyond in wanted.beyond(here, backwards=backwards):
                query = select(Call.id).where(condition, beyond).order_by(*order).limit(1)
                if found := session.scalar(query):
                    return found
            return None

        return nearest(True), nearest(False)


def choices(store: Store, identity: Identity) -> Mapping[str, Sequence[str]]:
    """The agents, teams, queues, kinds and tags that occur within the person's reach. Raises AccessDenied."""
    require(identity, Right.SEE)
    columns = (Call.agent, Call.team, Call.queue, Call.kind)
    with store.read() as session:
        if reach(identity, Right.SEE) is Reach.ALL:
            return {column.key: occurring(session, column) for column in (*columns, Tag.tag)}
        within = within_reach(identity)
        rows = session.execute(select(*columns).where(within).distinct()).all()
        found = {
            column.key: sorted({value for row in rows if (value := row[place])}) for place, column in enumerate(columns)
        }
        tags = select(Tag.tag).join(Call, Call.id == Tag.call_id).where(within).distinct()
        return {**found, Tag.tag.key: sorted(session.scalars(tags))}


def condition_of(
    session: Session, identity: Identity, wanted: CallFilter, site: Site
) -> tuple[ColumnElement[bool], bool]:
    """The condition on `calls` of a person's list, and whether its words were too common to look at all their turns.

    Raises FilterError for a number that the person may not search for.
    """
    within = within_reach(identity)
    holding, cut = None, False
    if wanted.words:
        refuse_numbers(identity, wanted.words)
        calls = None if reach(identity, Right.SEE) is Reach.ALL else within
        found, cut = calls_holding(session, wanted.words, WORDS_LIMIT, calls)
        holding = sorted(found)
    places = places_of(session, wanted.rule) if wanted.result is Result.REVIEWED and wanted.rule else ()
    return and_(within, wanted.condition(site.passing, site.zone, holding, identity.login, now(), places)), cut


def places_of(session: Session, rule: str) -> list[tuple[int, int]]:
    """(layout, place) of every order of items that has the rule."""
    return [
        (layout.id, place)
        for layout in session.scalars(select(ItemLayout))
        for place, (name, _) in enumerate(layout.items)
        if name == rule
    ]


def refuse_numbers(identity: Identity, words: str) -> None:
    """Raises FilterError where somebody who sees numbers masked looks for one."""
    plain = "".join(unicodedata.normalize("NFKC", words).split())
    if _NUMBERS.search(plain) and not may(identity, Right.UNMASK):
        raise FilterError({"words": words})


def rows_of(
    session: Session,
    condition: ColumnElement[bool],
    order: Sequence[ColumnExpressionArgument],
    limit: int,
    offset: int,
    total: int | None = None,
) -> list[CallRow]:
    """The rows of a list, of whose length `total` tells; the right is asked for by whoever makes the condition."""
    # The page first, then what hangs on its rows: else that would be looked up for every call of the list.
    page = select(Call.id)
    if total is not None and total <= FEW_ROWS:
        few = select(Call.id).where(condition).offset(0).subquery()  # a fence for the planner
        page = page.join(few, few.c.id == Call.id)
    else:
        page = page.where(condition)
    ids = session.scalars(page.order_by(*order).limit(limit).offset(offset)).all()
    query = (
        select(Call, TranscriptRow.signs, ReviewedResult)
        .outerjoin(ReviewedResult, and_(ReviewedResult.call_id == Call.id, ~ReviewedResult.stale))
        .outerjoin(TranscriptRow, and_(TranscriptRow.call_id == Call.id, TranscriptRow.current))
        .where(Call.id.in_(ids))
    )
    places = {call_id: place for place, call_id in enumerate(ids)}
    found = sorted(session.execute(query).all(), key=lambda row: places[row[0].id])
    fatal = _fatal_rules(session, [call.id for call, _, _ in found if call.fatal])
    audits = _open_audits(session, [call.id for call, _, _ in found])
    given = _given(session, [call.id for call, _, _ in found if call.assigned_to])
    at = now()
    rows = []
    for call, signs, people in found:
        held = call.held_until is not None and call.held_until > at
        rows.append(
            CallRow(
                id=call.id,
                started_at=call.started_at,
                time_zone=call.time_zone,
                agent=call.agent,
                team=call.team,
                queue=call.queue,
                kind=call.kind,
                duration=call.duration,
                score=call.score,
                fatal=bool(call.fatal),
                suspected=call.suspected or 0,
                angry=call.end_emotion == "negative",
                longest_silence=call.longest_silence or 0.0,
                signs=tuple(signs or ()),
                reviewed=call.review == DONE,
                changed=call.review == CHANGED,
                assigned_to=call.assigned_to,
                held_by=call.held_by if held else None,
                held_until=call.held_until if held else None,
                fatal_rules=tuple(fatal.get(call.id, ())),
                as_reviewed=people and AsReviewed(Level(people.level or ""), people.score, bool(people.fatal)),
                audits=audits.get(call.id, 0),
                given=given.get(call.id),
            )
        )
    return rows


def _open_audits(session: Session, call_ids: Sequence[str]) -> dict[str, int]:
    query = select(OpenItem.call_id, func.count()).where(OpenItem.call_id.in_(call_ids)).group_by(OpenItem.call_id)
    return dict(session.execute(query).all())


def _given(session: Session, call_ids: Sequence[str]) -> dict[str, Given]:
    """By call, the last time that it was given to somebody."""
    if not call_ids:
        return {}
    rows = session.execute(
        select(AssignmentEvent.call_id, AssignmentEvent.who, AssignmentEvent.note)
        .where(AssignmentEvent.call_id.in_(call_ids), AssignmentEvent.assignee.is_not(None))
        .order_by(AssignmentEvent.id)
    )
    return {call_id: Given(who, note or "") for call_id, who, note in rows}


def _fatal_rules(session: Session, call_ids: Sequence[str]) -> dict[str, list[str]]:
    """Which fatal items each call failed on its scorecard in force."""
    if not call_ids:
        return {}
    rows = session.execute(
        select(ScorecardRow.call_id, ItemRow.rule, ItemRow.detail)
        .join(ItemRow, ItemRow.scorecard_id == ScorecardRow.id)
        .where(
            ScorecardRow.call_id.in_(call_ids),
            ScorecardRow.current,
            ItemRow.fault_class != "non-fatal",
            ItemRow.outcome == "fail",
        )
        .order_by(ItemRow.number)
    )
    found: dict[str, list[str]] = {}
    for call_id, rule, detail in rows:
        if not (detail or {}).get("draft"):
            found.setdefault(call_id, []).append(rule)
    return found
