"""One call's score as each level of inspection has it: the machine, the inspector, the lead.

People's scores are derived from the machine's scorecard and what stands of their verdicts, anew each time; nothing of
the machine's is changed. Points, caps and dimensions are reckoned as for the machine (qa/scorecard.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.access import Role
from qa.judging import place_of_finding
from qa.scorecard import CardFinding, Item, Scorecard, rules_for, total
from qa.store.accounts import Account, Review
from qa.store.accounts import Verdict as VerdictRow
from qa.verdicts import RANKS, Place, Standing, Verdict, newest, stands
from scoring_rules.evaluate import Evidence, Finding
from scoring_rules.model import Expect, FindingStatus, Outcome, Pack, Rule

BY_PERSON = "person"  # how a finding was found


class Level(StrEnum):
    MACHINE = "machine"
    INSPECTOR = "inspector"
    LEAD = "lead"


@dataclass(frozen=True, slots=True)
class LevelScore:
    """What one level makes of a call. `changed` are the rules that it sees otherwise than the machine; `contested` those
    on which people of the same rank disagree, so that the machine's word stands.
    """

    level: Level
    card: Scorecard
    who: tuple[str, ...] = ()
    at: datetime | None = None
    finished: bool = False
    changed: tuple[str, ...] = ()
    contested: tuple[str, ...] = ()


def levels_of(session: Session, card: Scorecard, pack: Pack, language: str) -> list[LevelScore]:
    """The machine's score, and that of every level of people who judged the call or finished with it."""
    rows = session.scalars(
        select(VerdictRow).where(VerdictRow.call_id == card.call).order_by(VerdictRow.rule, VerdictRow.id)
    ).all()
    ended = session.execute(
        select(Review.who, Review.at, Account.role)
        .join(Account, Account.login == Review.who)
        .where(Review.call_id == card.call)
        .order_by(Review.id)
    ).all()
    found = [LevelScore(Level.MACHINE, card)]
    standing = [row for _, group in groupby(rows, key=lambda row: row.rule) for row in newest(group)]
    for level in (Level.INSPECTOR, Level.LEAD):
        role = Role(level.value)
        here = [row for row in rows if RANKS.get(row.role, 0) <= RANKS[role]]
        own = [row for row in standing if row.role == role]
        closed = [review for review in ended if review.role == role]
        if not own and not closed:
            continue
        new, changed, contested = as_judged(card, here, pack, language)
        people = dict.fromkeys([*(row.who for row in own), *(review.who for review in closed)])
        last = max([row.at for row in own] + [review.at for review in closed])
        found.append(LevelScore(level, new, tuple(people), last, bool(closed), changed, contested))
    return found


def as_judged(
    card: Scorecard, verdicts: Iterable[VerdictRow], pack: Pack, language: str
) -> tuple[Scorecard, tuple[str, ...], tuple[str, ...]]:
    """The scorecard with people's verdicts in force; the rules that they changed, and those that are contested.

    `verdicts` are ordered by rule, then as they were given. Items whose rule the pack no longer has are left out.
    """
    rules = rules_for(pack, language)
    by_rule = {rule: list(rows) for rule, rows in groupby(verdicts, key=lambda row: row.rule)}
    items, changed, contested = [], [], []
    for item in card.items:
        rule = rules.get(item.rule)
        if rule is None:
            continue
        rows = by_rule.get(item.rule, [])
        found = list(stands(rows, rule.expect))
        if any(not one.settled and one.fault is not None for one in found):
            contested.append(item.rule)
        new = _judged(item, rule, found, rows)
        if new != item:
            changed.append(item.rule)
        items.append(new)
    if not changed:
        return card, (), tuple(contested)
    return total(pack, rules, card.call, items, card.fingerprint), tuple(changed), tuple(contested)


def _judged(item: Item, rule: Rule, found: Sequence[Standing], rows: Sequence[VerdictRow]) -> Item:
    """An item as people see it: what they say of the item as a whole goes first, then of its findings."""
    settled = [one for one in found if one.settled]
    whole = [one for one in settled if one.place.whole_item]
    if whole:
        return _as_a_whole(item, whole[-1], rows)
    if not settled:
        return item
    if rule.expect is Expect.PRESENT:
        return _outcome(item, Outcome.FAIL if any(one.fault for one in settled) else Outcome.PASS)
    said = {one.place.key(): one for one in settled if not one.missed}
    kept = [new for one in item.findings if (new := _finding(one, said.get(_key(one)))) is not None]
    kept += [_added(one.place) for one in settled if one.missed]
    fault = any(one.finding.status is FindingStatus.CONFIRMED for one in kept)
    if not fault and item.outcome in (Outcome.NOT_APPLICABLE, Outcome.NOT_EVALUATED):
        return item
    return replace(item, findings=tuple(kept), outcome=Outcome.FAIL if fault else Outcome.PASS)


def _as_a_whole(item: Item, said: Standing, rows: Sequence[VerdictRow]) -> Item:
    last = max((row for row in rows if row.id in said.events and row.who in said.who), key=lambda row: row.id)
    if last.verdict == Verdict.NOT_APPLICABLE:
        return replace(item, outcome=Outcome.NOT_APPLICABLE, findings=(), reason="")
    if last.outcome == Outcome.NOT_APPLICABLE and not said.fault:
        return _outcome(item, Outcome.NOT_APPLICABLE)
    return _outcome(item, Outcome.FAIL if said.fault else Outcome.PASS)


def _outcome(item: Item, outcome: Outcome) -> Item:
    """The item with this outcome, and findings that bear it out."""
    if outcome is item.outcome:
        return item
    if outcome is not Outcome.FAIL:
        kept = [one for one in item.findings if one.finding.status is not FindingStatus.CONFIRMED]
        return replace(item, outcome=outcome, findings=tuple(kept), reason="")
    return replace(item, outcome=outcome, findings=(*item.findings, _added(Place())), reason="")


def _finding(found: CardFinding, said: Standing | None) -> CardFinding | None:
    if said is None or said.fault is None:
        return found
    if not said.fault:
        return None
    if found.finding.status is FindingStatus.CONFIRMED:
        return found
    return replace(found, finding=found.finding._replace(status=FindingStatus.CONFIRMED))


def _key(found: CardFinding) -> tuple[object, ...]:
    return place_of_finding(found.finding.evidence).key()


def _added(place: Place) -> CardFinding:
    """A fault that people say is there."""
    evidence = Evidence(place.turn, place.start_char, place.end_char, place.start, place.end)
    return CardFinding(
        Finding(FindingStatus.CONFIRMED, BY_PERSON, () if place.whole_item else (evidence,))
    )
