"""What people say of machine results, and what stands of it. Verdicts are events (qa/store/accounts.py); this derives.

A person's newest verdict on a place counts. Between people a lead's counts before an inspector's; where people of the
same rank disagree, nothing is settled and the place is contested.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import attrgetter

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from qa.access import Role
from qa.store.accounts import Verdict as VerdictRow
from scoring_rules.model import Expect, FindingStatus, Outcome

RANKS = {Role.INSPECTOR.value: 1, Role.LEAD.value: 2}  # whose word counts before whose
SAME_MOMENT = 0.5  # seconds: places that begin this close are one, where there are no characters


class Verdict(StrEnum):
    RIGHT = "right"  # the machine is right
    WRONG = "wrong"
    NOT_APPLICABLE = "not_applicable"
    MISSED = "missed"  # here is a fault that the machine did not find
    WITHDRAWN = "withdrawn"  # the person's own last verdict no longer stands


class Claim(StrEnum):
    """What the machine said of a place."""

    CONFIRMED = "confirmed"  # a fault
    SUSPECTED = "suspected"  # perhaps a fault
    NONE = "none"  # no fault
    OPEN = "open"  # nothing: not applicable, or not evaluated


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a call: characters of a turn, else seconds, else the item as a whole."""

    turn: int | None = None
    start_char: int | None = None
    end_char: int | None = None
    start: float | None = None  # seconds
    end: float | None = None

    @property
    def whole_item(self) -> bool:
        return self.turn is None and self.start is None

    def key(self) -> tuple[object, ...]:
        if self.turn is not None:
            return ("chars", self.turn, self.start_char, self.end_char)
        return () if self.start is None else ("seconds", round(self.start / SAME_MOMENT))


@dataclass(frozen=True, slots=True)
class Standing:
    """What people hold of one place of one item by now."""

    call: str
    rule: str
    place: Place
    claim: Claim
    fault: bool | None  # whether there is a fault, as people say; None: they did not say it
    settled: bool  # nobody of the deciding rank disagrees
    rank: int  # of those who decided
    who: tuple[str, ...]  # whose verdict it is
    missed: bool  # people added it; the machine had nothing there
    sampling_probability: float | None  # with which a random audit drew the item
    events: tuple[int, ...]  # the verdicts behind it


def claim_of(outcome: str, finding_status: str | None, expect: Expect) -> Claim:
    """What the machine said, from an item's outcome and, where one is meant, its finding's status.

    A finding of an item that must be said is where it was said, and no fault.
    """
    if outcome in (Outcome.NOT_APPLICABLE, Outcome.NOT_EVALUATED):
        return Claim.OPEN
    if finding_status is None or expect is Expect.PRESENT:
        return Claim.CONFIRMED if outcome == Outcome.FAIL else Claim.NONE
    if finding_status == FindingStatus.CONFIRMED:
        return Claim.CONFIRMED
    return Claim.SUSPECTED if finding_status == FindingStatus.SUSPECTED else Claim.NONE


def says_fault(verdict: str, claim: Claim) -> bool | None:
    """Whether a verdict says that there is a fault; None where it says neither."""
    if verdict == Verdict.MISSED:
        return True
    if verdict == Verdict.NOT_APPLICABLE:
        return False
    if claim is Claim.OPEN:
        return False if verdict == Verdict.RIGHT else None
    claimed = claim is not Claim.NONE
    return claimed if verdict == Verdict.RIGHT else not claimed


def standing(
    session: Session, expects: Mapping[str, Expect], *where: ColumnElement[bool]
) -> Iterator[Standing]:
    """What stands of all verdicts, call by call; `expects` says of each rule what it expects (absent if unknown).

    One call's verdicts are in memory at a time.
    """
    query = (
        select(VerdictRow)
        .where(*where)
        .order_by(VerdictRow.call_id, VerdictRow.rule, VerdictRow.at, VerdictRow.id)
        .execution_options(yield_per=500)
    )
    for (_, rule), rows in groupby(session.scalars(query), key=attrgetter("call_id", "rule")):
        yield from stands(rows, expects.get(rule, Expect.ABSENT))


def stands(rows: Iterable[VerdictRow], expect: Expect) -> Iterator[Standing]:
    """What stands of one item's verdicts, given oldest first."""
    places: dict[tuple[object, ...], list[VerdictRow]] = {}
    for row in newest(rows):
        places.setdefault(place_of(row).key(), []).append(row)
    for found in places.values():
        yield _decided(found, expect)


def newest(rows: Iterable[VerdictRow]) -> list[VerdictRow]:
    """Of one item's verdicts, given oldest first, each person's newest on each place, without what was withdrawn."""
    found: dict[tuple[tuple[object, ...], str], VerdictRow] = {}
    for row in rows:
        key = place_of(row).key()
        if row.verdict == Verdict.WITHDRAWN and not key:
            for other in [other for other in found if other[1] == row.who]:
                del found[other]  # withdrawn as a whole
        elif row.verdict == Verdict.WITHDRAWN:
            found.pop((key, row.who), None)
        else:
            found[key, row.who] = row
    return list(found.values())


def _decided(rows: list[VerdictRow], expect: Expect) -> Standing:
    rank = max(RANKS.get(row.role, 0) for row in rows)
    deciding = [row for row in rows if RANKS.get(row.role, 0) == rank]
    said = [says_fault(row.verdict, claim_of(row.outcome, row.finding_status, expect)) for row in deciding]
    last = max(deciding, key=lambda row: (row.at, row.id))
    drawn = next((row.sampling_probability for row in rows if row.sampling_probability is not None), None)
    return Standing(
        call=last.call_id,
        rule=last.rule,
        place=place_of(last),
        claim=Claim.NONE
        if last.verdict == Verdict.MISSED
        else claim_of(last.outcome, last.finding_status, expect),
        fault=says_fault(last.verdict, claim_of(last.outcome, last.finding_status, expect)),
        settled=len(set(said)) == 1 and said[0] is not None,
        rank=rank,
        who=tuple(dict.fromkeys(row.who for row in deciding)),
        missed=last.verdict == Verdict.MISSED,
        sampling_probability=drawn,
        events=tuple(row.id for row in rows),
    )


def place_of(row: VerdictRow) -> Place:
    return Place(row.turn, row.start_char, row.end_char, row.start, row.end)
