"""How often each rule is right, and how much it misses, by what people found.

**Precision**: of what the machine called a fault and people judged, the share they confirmed; with Wilson's interval
(E. B. Wilson, JASA 22, 1927). Confirmed and suspected findings apart. What people look at first is not a random draw:
the figure is that of the findings they judged.

**Recall** rests on the random audit of items in which the machine saw no fault, drawn in the app or by other programs.
Each audited item weighs 1/sampling probability (Horvitz and Thompson, JASA 47, 1952), so the miss rate is
`q = Σ y/p ÷ Σ 1/p` (Hájek's ratio, 1971). Of the `K` items in which the machine sees no fault `M = q × K` are missed faults:
an audit of one week among many, or two of the same week, come to the same rate and not to fewer or more misses. What
the frame of the audit leaves out is taken to be like what it holds; ask for its days to be sure. Of the `C` items with a
claim, `T = C × precision` are faults (confirmed and suspected counted apart). Recall is `T / (T + M)`. Its interval:
Wilson's for q on Kish's effective number `(Σ1/p)² / Σ1/p²`, and for each precision, all at the level that makes them
hold together (Bonferroni), taken at their worst corners. It is wider than a bootstrap's and, other than that, says
something where the audit found no miss.

Contested places count nowhere; they are told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from statistics import NormalDist
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from qa.store.accounts import Verdict as VerdictRow
from qa.store.random_audits import DrawnItem
from qa.store.schema import Call, FindingRow, ItemRow, ScorecardRow
from qa.verdicts import Claim, Standing, standing
from scoring_rules.model import Expect, FindingStatus, Outcome, Pack

LEVEL = 0.95
STRATA = (Claim.CONFIRMED, Claim.SUSPECTED)


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its interval; `of` may be an effective number. `value` is None where nothing was counted."""

    value: float | None
    low: float
    high: float
    count: float
    of: float


@dataclass(frozen=True, slots=True)
class RuleAccuracy:
    rule: str
    confirmed: Share  # precision of confirmed findings
    suspected: Share  # share of suspected findings that are faults
    recall: Share | None  # None: nothing was audited, or no finding was judged
    claims: Mapping[Claim, int]  # items with such a finding on the scorecards in force
    audited: int  # items of the random audit that count
    missed: int  # of them with a fault
    added: int  # faults that people added outside the audit
    contested: int


def wilson(count: float, of: float, level: float = LEVEL) -> Share:
    """Wilson's interval of a share; the whole of 0–1 where nothing was counted."""
    if of <= 0:
        return Share(None, 0.0, 1.0, count, of)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = min(1.0, max(0.0, count / of))
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * ((share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5)
    low, high = (0.0 if share == 0 else middle - half), (1.0 if share == 1 else middle + half)
    return Share(share, max(0.0, low), min(1.0, high), count, of)


def recall_of(
    claims: Mapping[Claim, tuple[int, Share]], drawn: Iterable[tuple[float, bool]], silent: int
) -> Share | None:
    """Recall from the items with a claim (how many, and their precision), the audit (probability, fault missed), and how
    many items there are in which the machine sees no fault.

    None where the audit is empty, or items with claims were never judged. Raises ValueError for a probability out of
    0–1.
    """
    drawn = list(drawn)
    if any(not 0 < probability <= 1 for probability, _ in drawn):
        raise ValueError("a sampling probability is above 0 and at most 1")
    strata = [(count, share) for count, share in claims.values() if count]
    if not drawn or any(share.value is None for _, share in strata):
        return None
    weights = [1 / probability for probability, _ in drawn]
    total = sum(weights)
    effective = total**2 / sum(weight**2 for weight in weights)
    missed_weight = sum(weight for weight, (_, missed) in zip(weights, drawn, strict=True) if missed)
    level = 1 - (1 - LEVEL) / (1 + len(strata))
    rate = wilson(missed_weight / total * effective, effective, level)
    misses = missed_weight / total * silent
    found = sum(count * (share.value or 0.0) for count, share in strata)
    bounds = [(count, wilson(share.count, share.of, level)) for count, share in strata]
    least, most = (sum(count * getattr(share, end) for count, share in bounds) for end in ("low", "high"))
    return Share(
        _ratio(found, misses), _ratio(least, rate.high * silent) or 0.0, _ratio(most, rate.low * silent, 1.0) or 0.0,
        found, found + misses,
    )  # fmt: skip


def _ratio(found: float, missed: float, empty: float | None = None) -> float | None:
    return empty if found + missed == 0 else found / (found + missed)


@dataclass
class _Count:
    right: dict[Claim, int] = field(default_factory=lambda: dict.fromkeys(STRATA, 0))
    judged: dict[Claim, int] = field(default_factory=lambda: dict.fromkeys(STRATA, 0))
    drawn: list[tuple[float, bool]] = field(default_factory=list)
    added: int = 0
    contested: int = 0


def accuracy(
    session: Session,
    pack: Pack,
    since: datetime | None = None,
    until: datetime | None = None,
    where: Iterable[ColumnElement[bool]] = (),
) -> list[RuleAccuracy]:
    """Every rule that people judged, in the pack's order; calls from `since` to `until`, and further conditions on `Call`."""
    expects = {rule.id: rule.expect for rule in pack.rules}
    limits = [*where]
    limits += [] if since is None else [Call.started_at >= since]
    limits += [] if until is None else [Call.started_at < until]
    chosen = [VerdictRow.call_id.in_(select(Call.id).where(*limits))] if limits else []
    counts: dict[str, _Count] = {}
    draws = _draws(session, limits)
    for (call, rule), found in groupby(standing(session, expects, *chosen), key=attrgetter("call", "rule")):
        _count(counts.setdefault(rule, _Count()), list(found), draws.get((call, rule)))
    claims = _claims(session, expects, limits)
    passed = _passed(session, [rule for rule, count in counts.items() if count.drawn], limits)
    order = {rule.id: place for place, rule in enumerate(pack.rules)}
    return [
        _accuracy(rule, counts[rule], claims.get(rule, {}), passed.get(rule, 0))
        for rule in sorted(counts, key=lambda rule: (order.get(rule, len(order)), rule))
    ]


def _draws(session: Session, limits: list[ColumnElement[bool]]) -> dict[tuple[str, str], float]:
    """(call, rule) → the probability with which the app's newest audit drew the item."""
    query = select(DrawnItem.call_id, DrawnItem.rule, DrawnItem.probability).order_by(DrawnItem.id)
    if limits:
        query = query.join(Call, Call.id == DrawnItem.call_id).where(*limits)
    return {(call, rule): probability for call, rule, probability in session.execute(query)}


def _count(count: _Count, places: list[Standing], probability: float | None) -> None:
    """One item of one call: its findings each by itself, what was not found once for the item.

    `probability` with which the app drew the item: it counts also where somebody had judged the item before.
    """
    silent = [place for place in places if place.claim not in STRATA]
    for place in places:
        if not place.settled:
            count.contested += 1
        elif place.claim in STRATA:
            count.judged[place.claim] += 1
            count.right[place.claim] += place.fault is True
    drawn = next((p.sampling_probability for p in silent if p.sampling_probability is not None), None)
    answers = any(place.claim is Claim.NONE and (place.place.whole_item or place.missed) for place in silent)
    if drawn is None and answers and len(silent) == len(places):
        drawn = probability
    if drawn is None:
        count.added += any(place.fault and place.settled for place in silent)
        return
    rank = max(place.rank for place in silent)
    said = [place for place in silent if place.rank == rank]
    missed = any(place.fault for place in said)
    # "Nothing missed" of the item as a whole against a fault at a place of it, by people of one rank.
    denied = any(place.place.whole_item and place.fault is False for place in said)
    people = {who for place in said for who in place.who}
    if missed and denied and len(people) > 1:
        count.contested += 1
    elif all(place.settled for place in said):
        count.drawn.append((drawn, missed))


def _claims(
    session: Session, expects: Mapping[str, Expect], limits: list[ColumnElement[bool]]
) -> dict[str, dict[Claim, int]]:
    """How many items on the scorecards in force claim a fault, by rule."""
    present = [rule for rule, expect in expects.items() if expect is Expect.PRESENT]
    suspects = exists().where(
        FindingRow.scorecard_id == ItemRow.scorecard_id,
        FindingRow.rule == ItemRow.rule,
        FindingRow.status == FindingStatus.SUSPECTED.value,
    )
    kinds = (
        (Claim.CONFIRMED, ItemRow.outcome == Outcome.FAIL.value),
        (Claim.SUSPECTED, and_(ItemRow.outcome == Outcome.PASS.value, suspects, ItemRow.rule.not_in(present))),
    )
    found: dict[str, dict[Claim, int]] = {}
    for claim, condition in kinds:
        query = (
            select(ItemRow.rule, func.count())
            .join(ScorecardRow, ScorecardRow.id == ItemRow.scorecard_id)
            .where(ScorecardRow.current, condition)
            .group_by(ItemRow.rule)
        )
        if limits:
            query = query.join(Call, Call.id == ScorecardRow.call_id).where(*limits)
        for rule, count in session.execute(query):
            found.setdefault(rule, {})[claim] = count
    return found


def _passed(session: Session, rules: list[str], limits: list[ColumnElement[bool]]) -> dict[str, int]:
    """How many items of some rules passed on the scorecards in force, those with a suspected finding among them."""
    if not rules:
        return {}
    query = (
        select(ItemRow.rule, func.count())
        .join(ScorecardRow, ScorecardRow.id == ItemRow.scorecard_id)
        .where(ScorecardRow.current, ItemRow.outcome == Outcome.PASS.value, ItemRow.rule.in_(rules))
        .group_by(ItemRow.rule)
    )
    if limits:
        query = query.join(Call, Call.id == ScorecardRow.call_id).where(*limits)
    return dict(session.execute(query).all())


def _accuracy(rule: str, count: _Count, claims: Mapping[Claim, int], passed: int) -> RuleAccuracy:
    shares = {claim: wilson(count.right[claim], count.judged[claim]) for claim in STRATA}
    return RuleAccuracy(
        rule=rule,
        confirmed=shares[Claim.CONFIRMED],
        suspected=shares[Claim.SUSPECTED],
        recall=recall_of(
            {claim: (claims.get(claim, 0), shares[claim]) for claim in STRATA},
            count.drawn,
            passed - claims.get(Claim.SUSPECTED, 0),
        ),
        claims={claim: claims.get(claim, 0) for claim in STRATA},
        audited=len(count.drawn),
        missed=sum(missed for _, missed in count.drawn),
        added=count.added,
        contested=count.contested,
    )


def to_json(found: RuleAccuracy) -> dict[str, Any]:
    """One line of `huiting rules accuracy --json`."""

    def share(value: Share | None) -> dict[str, Any] | None:
        if value is None or value.value is None:
            return None
        return {
            "value": round(value.value, 4), "low": round(value.low, 4), "high": round(value.high, 4),
            "count": round(value.count, 2), "of": round(value.of, 2),
        }  # fmt: skip

    return {
        "format": 1,
        "rule": found.rule,
        "precision": share(found.confirmed),
        "suspected_precision": share(found.suspected),
        "recall": share(found.recall),
        "claims": {claim.value: number for claim, number in found.claims.items()},
        "audited": found.audited,
        "missed": found.missed,
        "added_by_people": found.added,
        "contested": found.contested,
    }
