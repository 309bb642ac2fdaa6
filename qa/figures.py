"""The figures of the board: how many calls, how good, which items fail, whose, and when.

Counted are calls with a score, by the machine's result in force or, where a scope asks for it, by what people made of
the calls that they judged. Fatal errors and non-fatal ones are told apart and never blended, and what was not
applicable or not evaluated counts nowhere:

- fatal accuracy of a class = calls without a fatal error of that class ÷ calls;
- non-fatal accuracy = 1 − errors ÷ opportunities.

Intervals are Wilson's at 95 %. Items of one call go together, so for the non-fatal accuracy the number of
opportunities is divided by the design effect of the calls (a ratio's variance by linearisation; Korn and Graubard,
1998): without it, intervals would be too narrow.

People judge few calls of many. So reviewed figures are the machine's of all calls, less the machine's of the judged
ones, plus what people made of those: the large count is the same, and the same index serves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import ColumnElement, Integer, Select, and_, case, cast, func, literal, select
from sqlalchemy.orm import Session

from qa.access import Identity, Right, require, within_reach
from qa.call_filter import CallFilter, View
from qa.call_lists import Site
from qa.reviewed import Result
from qa.store.engine import Store
from qa.store.figures import FAIL, FATAL_BITS, NON_FATAL, PASS
from qa.store.reviewed import ReviewedResult
from qa.store.schema import Call, ItemLayout

Z = 1.959964  # of the normal distribution, two-sided 95 %
FEW_CALLS = 30  # below this a figure says little, and is shown so
FULL_SCORE = 100.0  # points, of the scoring that ships; an interval does not promise more
BIN = 5  # points of a bar of the distribution
DAY_SECONDS = 86_400
SCOPE_FIELDS = ("team", "agent", "queue", "kind", "since", "until", "result")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which calls are counted, and by which result; empty fields do not filter. Days are the site's, both included."""

    team: str = ""
    agent: str = ""
    queue: str = ""
    kind: str = ""
    since: date | None = None
    until: date | None = None
    result: Result = Result.MACHINE

    @classmethod
    def from_address(cls, query: Mapping[str, str]) -> Scope:
        """Read an address's query. Raises FilterError."""
        found = CallFilter.from_address({name: query[name] for name in SCOPE_FIELDS if name in query})
        return cls(**{name: getattr(found, name) for name in SCOPE_FIELDS})

    def to_address(self) -> dict[str, str]:
        return CallFilter(**self._values()).to_address()

    def calls(self, **further: Any) -> dict[str, str]:
        """The address of the list of the calls that were counted, or of some of them."""
        return CallFilter(**{**self._values(), "view": View.ALL, **further}).to_address()

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def condition(self, zone: ZoneInfo) -> ColumnElement[bool]:
        columns = (Call.team, Call.agent, Call.queue, Call.kind)
        wanted = [column == value for column in columns if (value := getattr(self, column.key))]
        if self.since:
            wanted.append(Call.started_at >= _midnight(self.since, zone))
        if self.until:
            wanted.append(Call.started_at < _midnight(self.until + timedelta(days=1), zone))
        return and_(Call.score.is_not(None), *wanted)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole, with its 95 % interval; all None where there is no whole."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """What is added up over calls; everything else is derived from it."""

    calls: int = 0
    score: float = 0.0
    score_squared: float = 0.0
    below: int = 0  # the passing score
    errors: int = 0
    opportunities: int = 0
    errors_squared: int = 0
    products: int = 0  # errors × opportunities
    opportunities_squared: int = 0
    customer: int = 0  # calls with a fatal error of that class
    business: int = 0
    compliance: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    @property
    def few(self) -> bool:
        return self.calls < FEW_CALLS

    @property
    def mean_score(self) -> Share:
        """In points; the interval by the normal approximation, within the points that there are."""
        if not self.calls:
            return Share(None)
        mean = self.score / self.calls
        if self.calls < 2:
            return Share(mean)
        variance = max(0.0, (self.score_squared - self.calls * mean**2) / (self.calls - 1))
        half = Z * math.sqrt(variance / self.calls)
        return Share(mean, max(0.0, mean - half), min(max(FULL_SCORE, mean), mean + half))

    @property
    def non_fatal(self) -> Share:
        if not self.opportunities:
            return Share(None)
        return wilson(self.opportunities - self.errors, self.opportunities, self.design_effect)

    @property
    def design_effect(self) -> float:
        """By how much the errors of one call going together widens the variance; never below 1."""
        n, whole = self.calls, self.opportunities
        share = self.errors / whole if whole else 0.0
        if n < 2 or share in (0.0, 1.0):
            return 1.0
        residual = self.errors_squared - 2 * share * self.products + share**2 * self.opportunities_squared
        variance = n / (n - 1) * residual / whole**2
        return max(1.0, variance / (share * (1 - share) / whole))

    def fatal(self, fault_class: str) -> Share:
        """`customer-critical`, `business-critical` or `compliance-critical`."""
        return wilson(self.calls - getattr(self, fault_class.removesuffix("-critical")), self.calls)

    def measure(self, name: str) -> Share:
        """By name: one of MEASURES."""
        if name == "score":
            return self.mean_score
        return self.non_fatal if name == NON_FATAL else self.fatal(name)


MEASURES = (NON_FATAL, *FATAL_BITS, "score")


def wilson(good: float, whole: float, design_effect: float = 1.0) -> Share:
    """A share with Wilson's interval at 95 % (Wilson, 1927)."""
    if not whole:
        return Share(None)
    share, n, z2 = good / whole, whole / design_effect, Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    return Share(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


@dataclass(frozen=True, slots=True)
class Group:
    """The calls of a day, a week, a team or an agent. `name` is None for calls that have none."""

    name: Any
    sums: Sums


@dataclass(frozen=True, slots=True)
class Bar:
    """Calls with a score from `low` (included) to `high` (the last bar: included)."""

    low: int
    high: int
    calls: int


@dataclass(frozen=True, slots=True)
class ItemFigure:
    """A rule over all counted calls, in the order of how often it failed."""

    rule: str
    fault_class: str
    failed: int
    judged: int  # passed or failed
    cumulative: float  # share of all failures that this and the items before it make

    @property
    def rate(self) -> Share:
        return wilson(self.failed, self.judged)


@dataclass(frozen=True, slots=True)
class Board:
    total: Sums
    bars: tuple[Bar, ...]
    items: tuple[ItemFigure, ...]
    days: tuple[Group, ...]  # name: date; calls without a time are in no day
    weeks: tuple[Group, ...]  # name: date of the Monday
    teams: tuple[Group, ...]
    agents: tuple[Group, ...]
    judged: int = 0  # of the calls, those counted as people judged them


def board(store: Store, identity: Identity, scope: Scope, site: Site, right: Right = Right.SEE) -> Board:
    """All figures of the calls that a right of the person reaches. Raises AccessDenied."""
    require(identity, right)
    condition = and_(within_reach(identity, right), scope.condition(site.zone))
    with store.read() as session:
        count = _Counter(session, condition, site, scope.result)
        by_day = count.by(_day(session, site.zone))
        days = [Group(_date(number), sums) for (number,), sums in by_day.items() if number is not None]
        days.sort(key=lambda group: group.name)
        by_agent = count.by(Call.team, Call.agent)
        return Board(
            total=sum(by_day.values(), Sums()),
            bars=count.bars(),
            items=count.items(),
            days=tuple(days),
            weeks=tuple(_weeks(days)),
            teams=_named((team, sums) for (team, _), sums in by_agent.items()),
            agents=_named((agent, sums) for (_, agent), sums in by_agent.items()),
            judged=count.judged(),
        )


def span_of_days(store: Store, identity: Identity, zone: ZoneInfo) -> tuple[date, date] | None:
    """The first and the last day with a call within reach; None where there is none. Raises AccessDenied."""
    require(identity, Right.SEE)
    within = and_(within_reach(identity), Call.score.is_not(None), Call.started_at.is_not(None))
    with store.read() as session:
        ends = [
            session.scalar(select(Call.started_at).where(within).order_by(order).limit(1))
            for order in (Call.started_at, Call.started_at.desc())
        ]
    first, last = (None if end is None else end.astimezone(zone).date() for end in ends)
    return None if first is None or last is None else (first, last)


class _Counter:
    """Counts the calls that a condition chooses, by one result, in the database."""

    def __init__(self, session: Session, condition: ColumnElement[bool], site: Site, result: Result) -> None:
        self._session, self._site = session, site
        self._terms = [_Term(1, Call, condition)]
        if result is Result.REVIEWED:
            # The condition looks at the machine's score: a call without one is not judged either.
            judged = and_(condition, ReviewedResult.level.is_not(None))
            self._terms += [
                _Term(-1, Call, judged, corrects=True),
                _Term(1, ReviewedResult, and_(judged, ReviewedResult.score.is_not(None)), corrects=True),
            ]

    def by(self, *keys: Any) -> dict[tuple[Any, ...], Sums]:
        found: dict[tuple[Any, ...], Sums] = {}
        for term in self._terms:
            for row in self._session.execute(term.select(*keys, *self._sums(term.of)).group_by(*keys)):
                key, sums = tuple(row[: len(keys)]), _sums(row[len(keys) :])
                before = found.get(key, Sums())
                found[key] = before + sums if term.sign > 0 else before - sums
        return {key: sums for key, sums in found.items() if sums.calls}

    def judged(self) -> int:
        """How many calls are counted as people judged them."""
        return sum(
            self._session.scalar(term.select(func.count())) or 0
            for term in self._terms
            if term.of is ReviewedResult
        )

    def _sums(self, of: Counted) -> tuple[Any, ...]:
        errors, whole = of.errors, of.opportunities
        return (
            func.count(),
            func.sum(of.score),
            func.sum(of.score * of.score),
            func.sum(cast(of.score < self._site.passing, Integer)),
            func.sum(errors),
            func.sum(whole),
            func.sum(errors * errors),
            func.sum(errors * whole),
            func.sum(whole * whole),
            *(func.sum(of.fatal_classes.bitwise_and(bit)) / bit for bit in FATAL_BITS.values()),
        )

    def bars(self) -> tuple[Bar, ...]:
        """Every bar from the lowest that has calls up to the highest, the empty ones between included."""
        counts: dict[int, int] = {}
        within: dict[int, int] = {}  # of these, with more than the bar's first point
        for term in self._terms:
            score = term.of.score
            number = _whole(self._session, score / BIN)
            more = func.sum(cast(score > number * BIN, Integer))
            for bar, count, inside in self._session.execute(
                term.select(number, func.count(), more).group_by(number)
            ):
                counts[int(bar)] = counts.get(int(bar), 0) + term.sign * int(count)
                within[int(bar)] = within.get(int(bar), 0) + term.sign * int(inside)
        there = [bar for bar, count in counts.items() if count]
        if not there:
            return ()
        last = max(there)
        if last and not within[last]:  # the full score belongs to the last whole bar
            counts[last - 1] = counts.get(last - 1, 0) + counts.pop(last)
            last -= 1
        return tuple(Bar(n * BIN, (n + 1) * BIN, counts.get(n, 0)) for n in range(min(min(there), last), last + 1))

    def items(self) -> tuple[ItemFigure, ...]:
        layouts: dict[int | None, list[Any]] = {
            row.id: row.items for row in self._session.scalars(select(ItemLayout))
        }
        failed: dict[tuple[str, str], int] = {}
        judged: dict[tuple[str, str], int] = {}
        for term in self._terms:
            rows = self._session.execute(
                term.select(term.of.layout_id, term.of.outcomes, func.count())
                .where(term.of.layout_id.is_not(None))
                .group_by(term.of.layout_id, term.of.outcomes)
            ).all()
            for layout_id in {row[0] for row in rows}:
                items = layouts[layout_id]
                patterns = [(row[1] or "", term.sign * row[2]) for row in rows if row[0] == layout_id]
                fails, passes = _spread(patterns, len(items))
                for (rule, fault_class), fail, ok in zip(items, fails, passes, strict=True):
                    failed[rule, fault_class] = failed.get((rule, fault_class), 0) + fail
                    judged[rule, fault_class] = judged.get((rule, fault_class), 0) + fail + ok
        return _pareto(failed, judged)


Counted = type[Call] | type[ReviewedResult]  # both name their columns alike


@dataclass(frozen=True, slots=True)
class _Term:
    """One count among those that are added up, or taken off."""

    sign: int
    of: Counted  # whose columns are counted
    condition: ColumnElement[bool]
    corrects: bool = False  # only calls that people judged

    def select(self, *columns: Any) -> Select[*tuple[Any, ...]]:
        query = select(*columns).select_from(Call)
        if self.corrects:
            query = query.join(ReviewedResult, ReviewedResult.call_id == Call.id)
        return query.where(self.condition)


def _spread(patterns: Sequence[tuple[str, int]], width: int) -> tuple[list[int], list[int]]:
    """How often each place of the patterns says fail, and pass."""
    if not width:
        return [], []
    letters = np.frombuffer("".join(text for text, _ in patterns).encode(), np.uint8).reshape(-1, width)
    counts = np.array([count for _, count in patterns])
    return ((letters == ord(FAIL)).T @ counts).tolist(), ((letters == ord(PASS)).T @ counts).tolist()


def _pareto(failed: Mapping[tuple[str, str], int], judged: Mapping[tuple[str, str], int]) -> tuple[ItemFigure, ...]:
    whole, so_far, figures = sum(failed.values()), 0, []
    for (rule, fault_class), count in sorted(failed.items(), key=lambda one: (-one[1], one[0])):
        so_far += count
        share = so_far / whole if whole else 0.0
        figures.append(ItemFigure(rule, fault_class, count, judged[rule, fault_class], share))
    return tuple(figures)


def _sums(values: Sequence[Any]) -> Sums:
    """Of a row; the databases give sums of whole numbers as decimals, and none for no rows."""
    calls, score, squared, *whole = (value or 0 for value in values)
    return Sums(int(calls), float(score), float(squared), *map(int, whole))


def _named(parts: Iterable[tuple[str | None, Sums]]) -> tuple[Group, ...]:
    """Groups out of parts that may share a name, in the order of their names, the nameless last."""
    groups: dict[str | None, Sums] = {}
    for name, sums in parts:
        groups[name] = groups.get(name, Sums()) + sums
    return tuple(Group(name, groups[name]) for name in sorted(groups, key=lambda name: (name is None, name or "")))


# --- days --------------------------------------------------------------------------------------------------------


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _day(session: Session, zone: ZoneInfo) -> ColumnElement[int]:
    """The day of a call as the site reads it, in days since 1970. SQLite knows no time zones, so the zone's offsets go
    into the query, one for each stretch between two changes of the clock.
    """
    first, last = session.execute(select(func.min(Call.started_at), func.max(Call.started_at))).one()
    changes = clock_changes(zone, first, last) if first and last else [(datetime.min, 0)]
    offset: ColumnElement[int] = literal(changes[0][1])
    if len(changes) > 1:
        ranges = [(Call.started_at >= since, seconds) for since, seconds in reversed(changes[1:])]
        offset = case(*ranges, else_=changes[0][1])
    if session.get_bind().dialect.name == "sqlite":
        seconds = cast(func.strftime("%s", Call.started_at), Integer)
    else:
        seconds = func.extract("epoch", Call.started_at)
    return _whole(session, (seconds + offset) / DAY_SECONDS)


def clock_changes(zone: ZoneInfo, first: datetime, last: datetime) -> list[tuple[datetime, int]]:
    """(since, seconds east of UTC) of every stretch of the zone's clock between two instants, in order."""
    found = [(first, _offset(zone, first))]
    at = first
    while at < last:
        following = min(at + timedelta(days=1), last)
        if _offset(zone, following) != found[-1][1]:
            low, high = at, following
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                low, high = (middle, high) if _offset(zone, middle) == found[-1][1] else (low, middle)
            found.append((high.replace(microsecond=0), _offset(zone, following)))
        at = following
    return found


def _offset(zone: ZoneInfo, instant: datetime) -> int:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _whole(session: Session, value: Any) -> ColumnElement[int]:
    """The whole part of a number that is not negative. A cast cuts on SQLite and rounds on PostgreSQL."""
    return cast(value if session.get_bind().dialect.name == "sqlite" else func.floor(value), Integer)


def _date(number: int) -> date:
    return datetime.fromtimestamp(number * DAY_SECONDS, UTC).date()


def _weeks(days: Iterable[Group]) -> list[Group]:
    """Weeks from Monday to Sunday out of days in order."""
    weeks: dict[date, Sums] = {}
    for day in days:
        monday = day.name - timedelta(days=day.name.weekday())
        weeks[monday] = weeks.get(monday, Sums()) + day.sums
    return [Group(monday, sums) for monday, sums in weeks.items()]
