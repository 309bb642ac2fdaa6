"""Which calls a list shows: read from an address and written back into one, so that a list can be shared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, ColumnExpressionArgument, and_, false, func, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from qa.reviewed import Result
from qa.states import Outcome as FileOutcome
from qa.store.figures import FAIL, FATAL_BITS
from qa.store.random_audits import OpenItem
from qa.store.reviewed import ReviewedResult
from qa.store.reviews import CHANGED, DONE
from qa.store.schema import Call, ItemRow, NightFile, ScorecardRow, Tag

LONG_SILENCE = 15.0  # seconds: domain, serious when unexplained
NOBODY = "-"  # in `assigned`: calls that are nobody's


class View(StrEnum):
    MINE = "mine"  # assigned to the person or in their hands, and not yet reviewed
    WAITING = "waiting"  # below the passing score, fatal, suspected, angry at the end and not yet reviewed, or drawn
    CHANGED = "changed"  # reviewed, and judged otherwise by the machine since
    REVIEWED = "reviewed"
    ALL = "all"


WORK = (View.MINE, View.WAITING, View.CHANGED)  # lists that people work off


class Sort(StrEnum):
    RISK = "risk"  # fatal first, then the lowest score
    NEWEST = "newest"
    SCORE = "score"


class FilterError(ValueError):
    """Values in an address that are none; `faults` maps the field to the value found."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__(", ".join(f"{name}={value!r}" for name, value in faults.items()))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Empty fields do not filter. Days are the site's, both included."""

    view: View = View.WAITING
    sort: Sort = Sort.RISK
    agent: str = ""
    team: str = ""
    queue: str = ""
    kind: str = ""
    tag: str = ""
    rule: str = ""  # failed, by the result that counts
    words: str = ""  # spoken in the call
    below: float | None = None  # score
    above: float | None = None  # score, itself included
    fatal: bool = False
    fatal_class: str = ""  # one of FATAL_BITS: an item of that class failed
    result: Result = Result.MACHINE  # by which `rule`, `below`, `above`, `fatal` and `fatal_class` are asked
    suspected: bool = False
    angry: bool = False  # the customer at the end
    silent: bool = False  # a silence of LONG_SILENCE or more
    audit: bool = False  # an item of a random audit waits for a verdict
    assigned: str = ""  # a login, or NOBODY
    since: date | None = None
    until: date | None = None
    night: int | None = None  # scored in that night
    page: int = 1

    @classmethod
    def from_address(cls, query: Mapping[str, str]) -> CallFilter:
        """Read an address's query; names that are not ours are left alone. Raises FilterError."""
        values, faults = {}, {}
        for field in fields(cls):
            raw = query.get(field.name, "").strip()
            if not raw:
                continue
            try:
                values[field.name] = _READ.get(field.name, str)(raw)
            except ValueError:
                faults[field.name] = raw
        if faults:
            raise FilterError(faults)
        return cls(**values)

    def to_address(self) -> dict[str, str]:
        """Only what differs from the default view."""
        default = CallFilter()
        return {
            field.name: _write(value)
            for field in fields(self)
            if (value := getattr(self, field.name)) != getattr(default, field.name)
        }

    def at_page(self, page: int) -> CallFilter:
        return replace(self, page=page)

    def condition(
        self,
        passing: float,
        zone: ZoneInfo,
        holding: Sequence[str] | None,
        login: str,
        at: datetime,
        places: Collection[tuple[int, int]] = (),
    ) -> ColumnElement[bool]:
        """The condition on `calls`. `passing` is the score below which a call fails; `holding` the calls that hold
        `words`, as the search found them; `login` whose list it is, `at` when; `places` where `rule` stands among the
        outcomes of reviewed results: layout and place.
        """
        wanted: list[ColumnElement[bool]] = []
        for column in (Call.agent, Call.team, Call.queue, Call.kind):
            if value := getattr(self, column.key):
                wanted.append(column == value)
        if self.tag:
            wanted.append(Call.id.in_(select(Tag.call_id).where(Tag.tag == self.tag)))
        if holding is not None:
            wanted.append(Call.id.in_(holding))
        if found := self._found(places):
            wanted.append(and_(*found))
        if self.suspected:
            wanted.append(Call.suspected > 0)
        if self.angry:
            wanted.append(Call.end_emotion == "negative")
        if self.silent:
            wanted.append(long_silence())
        if self.audit:
            wanted.append(audited())
        if self.assigned:
            wanted.append(Call.assigned_to.is_(None) if self.assigned == NOBODY else Call.assigned_to == self.assigned)
        if self.since:
            wanted.append(Call.started_at >= _midnight(self.since, zone))
        if self.until:
            wanted.append(Call.started_at < _midnight(self.until + timedelta(days=1), zone))
        if self.night is not None:
            scored = select(NightFile.call_id).where(
                NightFile.night_id == self.night, NightFile.outcome == FileOutcome.SCORED.value
            )
            wanted.append(Call.id.in_(scored))
        match self.view:
            case View.MINE:
                wanted.append(and_(or_(Call.assigned_to == login, held_by(login, at)), or_(~reviewed(), audited())))
            case View.WAITING:
                wanted.append(waits(passing))
            case View.CHANGED:
                wanted.append(Call.review == CHANGED)
            case View.REVIEWED:
                wanted.append(Call.review == DONE)
            case View.ALL:
                pass
        return and_(Call.score.is_not(None), *wanted)

    def _found(self, places: Collection[tuple[int, int]]) -> list[ColumnElement[bool]]:
        """What is asked of the result that counts."""
        machine = self._figures(Call)
        if self.rule:
            failed = select(ScorecardRow.call_id).join(ItemRow, ItemRow.scorecard_id == ScorecardRow.id)
            machine.append(
                Call.id.in_(failed.where(ScorecardRow.current, ItemRow.rule == self.rule, ItemRow.outcome == "fail"))
            )
        if self.result is Result.MACHINE or not machine:
            return machine
        people = self._figures(ReviewedResult)
        if self.rule:
            people.append(
                or_(
                    false(),
                    *(
                        and_(
                            ReviewedResult.layout_id == layout,
                            func.substr(ReviewedResult.outcomes, place + 1, 1) == FAIL,
                        )
                        for layout, place in places
                    ),
                )
            )
        # Few calls are reviewed: of all others the machine's columns and their indexes do.
        judged = select(ReviewedResult.call_id).where(ReviewedResult.level.is_not(None))
        return [or_(and_(*machine, Call.id.not_in(judged)), Call.id.in_(judged.where(*people)))]

    def _figures(self, of: type[Call] | type[ReviewedResult]) -> list[ColumnElement[bool]]:
        wanted: list[ColumnElement[bool]] = []
        if self.below is not None:
            wanted.append(of.score < self.below)
        if self.above is not None:
            wanted.append(of.score >= self.above)
        if self.fatal or self.fatal_class:
            wanted.append(of.fatal.is_(True))  # by its index; classes are only looked at where there is one
        if self.fatal_class:
            wanted.append(of.fatal_classes.bitwise_and(FATAL_BITS[self.fatal_class]) != 0)
        return wanted

    def order(self, *, backwards: bool = False) -> tuple[ColumnExpressionArgument[Any], ...]:
        """How the list is sorted."""
        return tuple(_sorted(column, down is not backwards) for column, down in self._keys())

    def beyond(self, call: Sequence[Any], *, backwards: bool = False) -> list[ColumnElement[bool]]:
        """The calls that come after one in this order, or before it, as conditions on `calls`: what the first one
        finds is nearer than what the second one does. `call` holds the `keys`.

        Apart they are each a stretch of an index, which a single condition would not be.
        """
        equal: list[ColumnElement[bool]] = []
        found: list[ColumnElement[bool]] = []
        for (column, down), value in zip(self._keys(), call, strict=True):
            further = _past(column, value, down is not backwards)
            found = [*(and_(*equal, one) for one in further), *found]
            equal.append(column.is_(None) if value is None else column == literal(value, column.type))
        return found

    @property
    def keys(self) -> tuple[InstrumentedAttribute[Any], ...]:
        """The columns by which the list is sorted, the last of them unique."""
        return tuple(column for column, _ in self._keys())

    def _keys(self) -> tuple[tuple[InstrumentedAttribute[Any], bool], ...]:
        """(column, whether the greatest comes first)"""
        newest = (Call.started_at, True)
        keys = {
            Sort.RISK: ((Call.fatal, True), (Call.score, False), newest),
            Sort.NEWEST: (newest,),
            Sort.SCORE: ((Call.score, False), newest),
        }
        return (*keys[self.sort], (Call.id, False))


def _sorted(column: InstrumentedAttribute[Any], down: bool) -> ColumnExpressionArgument[Any]:
    """An unknown start comes last, and first in an order turned round; in a list, the other keys are always known."""
    if column is not Call.started_at:
        return column.desc() if down else column.asc()
    return column.desc().nulls_last() if down else column.asc().nulls_first()


def _past(column: InstrumentedAttribute[Any], value: Any, down: bool) -> list[ColumnElement[bool]]:
    """The conditions that a column's value stands further on than one: lower where the greatest is first, and after
    all others unknown."""
    if value is None:
        return [] if down else [column.is_not(None)]
    known = literal(value, column.type)
    if not down:
        return [column > known]
    return [column < known, column.is_(None)] if column is Call.started_at else [column < known]


def risky(passing: float) -> ColumnElement[bool]:
    """Why a call is worth a person's time: fatal, below the passing score, suspected, or angry at the end."""
    return or_(Call.fatal.is_(True), Call.score < passing, Call.suspected > 0, Call.end_emotion == "negative")


def reviewed() -> ColumnElement[bool]:
    """Somebody finished with the call, and the machine has not judged it otherwise since."""
    return func.coalesce(Call.review, "") == DONE


def waits(passing: float) -> ColumnElement[bool]:
    """A person should look: at risk and not yet reviewed, judged otherwise since it was, or drawn in a random audit."""
    return or_(and_(risky(passing), Call.review.is_(None)), Call.review == CHANGED, audited())


def audited() -> ColumnElement[bool]:
    """Items of the call that a random audit drew wait for a verdict."""
    return Call.id.in_(select(OpenItem.call_id))


def long_silence() -> ColumnElement[bool]:
    return Call.longest_silence >= LONG_SILENCE


def held_by(login: str, at: datetime) -> ColumnElement[bool]:
    """The person has the call in hand."""
    return and_(Call.held_by == login, Call.held_until > at)


def free_for(login: str, at: datetime) -> ColumnElement[bool]:
    """Nobody else has the call in hand."""
    return or_(Call.held_until.is_(None), Call.held_until <= at, Call.held_by == login)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _flag(raw: str) -> bool:
    if raw not in ("0", "1"):
        raise ValueError(raw)
    return raw == "1"


def _fatal_class(raw: str) -> str:
    if raw not in FATAL_BITS:
        raise ValueError(raw)
    return raw


def _score(raw: str) -> float:
    value = float(raw)
    if not 0 <= value <= 1_000:
        raise ValueError(raw)
    return value


def _number(raw: str) -> int:
    value = int(raw)
    if not 1 <= value <= 2**31 - 1:
        raise ValueError(raw)
    return value


_READ = {
    "view": View,
    "sort": Sort,
    "below": _score,
    "above": _score,
    "fatal": _flag,
    "fatal_class": _fatal_class,
    "result": Result,
    "suspected": _flag,
    "angry": _flag,
    "silent": _flag,
    "audit": _flag,
    "since": date.fromisoformat,
    "until": date.fromisoformat,
    "night": _number,
    "page": _number,
}


def _write(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:g}"
    return value.value if isinstance(value, StrEnum) else str(value)
