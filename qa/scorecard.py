"""Points from outcomes: a call's scorecard, explained, and as the line that other programs read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from scoring_rules.conversation import Conversation
from scoring_rules.evaluate import Evidence, Finding, RuleResult
from scoring_rules.messages import message, pick
from scoring_rules.model import Expect, FindingStatus, Outcome, Pack, Rule, RuleStatus
from speech.emotion import customer_emotion
from speech.types import Turn

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CardFinding:
    """A finding on a card. `covered_by` names the rule that already costs for the same event."""

    finding: Finding
    covered_by: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One rule on a card. `cost` and `gain` are points before the caps of dimension and awards."""

    rule: str
    name: Mapping[str, str]
    dimension: str
    rule_class: str
    outcome: Outcome
    findings: tuple[CardFinding, ...] = ()
    cost: float = 0.0
    gain: float = 0.0
    reason: str = ""
    unevaluated: tuple[str, ...] = ()
    draft: bool = False
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class DimensionScore:
    id: str
    name: Mapping[str, str]
    weight: float  # the most it can cost
    raw: float  # what its items cost together
    lost: float  # what it does cost
    applicable: int  # items that passed or failed
    failed: int


@dataclass(frozen=True, slots=True)
class Scorecard:
    """What a call is worth. `score` is None where nothing could be scored; `fatal` stands beside it, never in it."""

    call: str
    score: float | None
    fatal: bool
    passed: bool | None
    band: Mapping[str, str]
    items: tuple[Item, ...]
    dimensions: tuple[DimensionScore, ...]
    start: float
    lost: float
    gained: float
    fingerprint: str
    versions: Mapping[str, str]
    pack: str = ""  # fingerprint of the rules that made it

    def explain(self, locale: str = "zh") -> list[str]:
        """Why this score, line by line."""
        if self.score is None:
            return [message("card.none", locale)]
        lines = [
            message(
                "card.score", locale, score=self.score, band=pick(self.band, locale), start=self.start, lost=self.lost, gained=self.gained
            )
        ]
        fatal = [item for item in self.items if item.fatal and item.outcome is Outcome.FAIL and not item.draft]
        if fatal:
            lines.append(message("card.fatal", locale, items=_names(fatal, locale)))
        for dimension in self.dimensions:
            lines += self._explain_dimension(dimension, locale)
        gains = [item for item in self.items if item.gain]
        if gains:
            lines.append(message("card.award", locale, gained=self.gained, items=_names(gains, locale)))
        suspected = [item for item in self.items if item.outcome is Outcome.PASS and _has(item, FindingStatus.SUSPECTED)]
        if suspected:
            lines.append(message("card.suspected", locale, items=_names(suspected, locale)))
        unjudged = [item for item in self.items if item.outcome is Outcome.NOT_EVALUATED]
        if unjudged:
            told = [f"{pick(item.name, locale)} ({message('reason.' + item.reason, locale)})" for item in unjudged]
            lines.append(message("card.open", locale, items="; ".join(told)))
        return lines

    def _explain_dimension(self, dimension: DimensionScore, locale: str) -> list[str]:
        lines = []
        if dimension.raw:
            key = "card.capped" if dimension.lost < dimension.raw else "card.dimension"
            lines.append(
                message(key, locale, name=pick(dimension.name, locale), lost=dimension.lost, raw=dimension.raw, weight=dimension.weight)
            )
        for item in self.items:
            if item.dimension != dimension.id or item.fatal or item.draft:
                continue
            told = {"name": pick(item.name, locale), "rule": item.rule, "cost": item.cost}
            if item.cost:
                lines.append(message("card.item" if item.outcome is Outcome.FAIL else "card.mitigated", locale, **told))
            elif item.outcome is Outcome.FAIL and (by := next((f.covered_by for f in item.findings if f.covered_by), "")):
                lines.append(message("card.covered", locale, by=by, **told))
        return lines


def _names(items: Sequence[Item], locale: str) -> str:
    return "、".join(pick(item.name, locale) for item in items) if locale == "zh" else ", ".join(pick(item.name, locale) for item in items)


def _has(item: Item, status: FindingStatus) -> bool:
    return any(found.finding.status is status for found in item.findings)


def build(pack: Pack, results: Sequence[RuleResult], conversation: Conversation) -> Scorecard:
    """The scorecard of a call from its rule results."""
    rules = rules_for(pack, conversation.language)
    items = [_item(rules[result.rule], result) for result in results]
    return total(pack, rules, conversation.id, items, _fingerprint(pack, conversation))


def rules_for(pack: Pack, language: str) -> dict[str, Rule]:
    """The rules of a pack that judge calls in a language, by their ids."""
    code = language.lower().replace("_", "-").split("-")[0]
    return {rule.id: rule for rule in pack.rules if rule.language == code}


def total(pack: Pack, rules: Mapping[str, Rule], call: str, items: Sequence[Item], fingerprint: str) -> Scorecard:
    """The scorecard that outcomes and findings make: one event costs once, dimensions and awards are capped.

    What the items cost before is not looked at. Every item's rule is in `rules`.
    """
    items = [replace(item, cost=0.0, gain=0.0, findings=tuple(map(_uncovered, item.findings))) for item in items]
    _cover(items, rules)
    items = [_priced(item, rules[item.rule]) for item in items]
    scoring = pack.scoring
    dimensions = tuple(
        _dimension(pack, name, [item for item in items if item.dimension == name]) for name in scoring.dimensions
    )
    lost = sum(dimension.lost for dimension in dimensions)
    gained = min(scoring.award_cap, sum(item.gain for item in items))
    judged = any(item.outcome in (Outcome.PASS, Outcome.FAIL) for item in items)
    score = round(min(scoring.start, max(0.0, scoring.start - lost + gained)), 2) if judged else None
    fatal = any(item.fatal and item.outcome is Outcome.FAIL and not item.draft for item in items)
    band = next((band.name for band in scoring.bands if score is not None and score >= band.at_least), {})
    return Scorecard(
        call=call,
        score=score,
        fatal=fatal,
        passed=None if score is None else score >= scoring.passing and not fatal,
        band=band,
        items=tuple(items),
        dimensions=dimensions,
        start=scoring.start,
        lost=lost,
        gained=gained,
        fingerprint=fingerprint,
        versions=dict(pack.versions),
        pack=pack.fingerprint,
    )


def _uncovered(found: CardFinding) -> CardFinding:
    return replace(found, covered_by="") if found.covered_by else found


def _item(rule: Rule, result: RuleResult) -> Item:
    return Item(
        rule=rule.id,
        name=rule.name,
        dimension=rule.dimension,
        rule_class=rule.rule_class.value,
        outcome=result.outcome,
        findings=tuple(CardFinding(finding) for finding in result.findings),
        reason=result.reason,
        unevaluated=result.unevaluated,
        draft=rule.status is RuleStatus.DRAFT,
        fatal=rule.fatal,
    )


def _cover(items: list[Item], rules: Mapping[str, Rule]) -> None:
    """One event costs once: of findings that speak of the same stretch, the heaviest rule's counts.

    Two missing phrases are two faults even where one event asked for both.
    """
    faults = [
        (item.fatal, rules[item.rule].points, -place, number)
        for place, item in enumerate(items)
        if item.outcome is Outcome.FAIL and not item.draft
        for number, found in enumerate(item.findings)
        if found.finding.status is FindingStatus.CONFIRMED
    ]
    counted: list[tuple[str, Finding]] = []
    for _, _, place, number in sorted(faults, reverse=True):
        item = items[-place]
        finding = item.findings[number].finding
        by = next((rule for rule, other in counted if rule != item.rule and _same_stretch(finding, other)), "")
        if by:
            findings = list(item.findings)
            findings[number] = replace(findings[number], covered_by=by)
            items[-place] = replace(item, findings=tuple(findings))
        else:
            counted.append((item.rule, finding))


def _same_stretch(one: Finding, other: Finding) -> bool:
    if one.how == other.how == "missing":
        return False
    return any(_overlap(a, b) for a in _stretches(one) for b in _stretches(other))


def _stretches(finding: Finding) -> Sequence[Evidence]:
    """What a finding is about; of a missing phrase, the event that asked for it and not the window that was searched."""
    return finding.evidence[1:] if finding.how == "missing" else finding.evidence


def _overlap(one: Evidence, other: Evidence) -> bool:
    if one.turn is not None and other.turn is not None:
        if one.turn != other.turn or one.start_char is None or other.start_char is None:
            return False
        return one.start_char < (other.end_char or 0) and other.start_char < (one.end_char or 0)
    if one.turn is None and other.turn is None and one.start is not None and other.start is not None:
        return one.start < (other.end or 0) and other.start < (one.end or 0)
    return False


def _priced(item: Item, rule: Rule) -> Item:
    """An item with what it costs or gains; fatal and draft items cost nothing here."""
    if item.draft or item.fatal:
        return item
    if item.outcome is Outcome.PASS:
        gain = rule.award if rule.expect is Expect.PRESENT else 0.0
        cost = rule.mitigate.points if rule.mitigate and _has(item, FindingStatus.MITIGATED) else 0.0
        return replace(item, gain=gain, cost=cost)
    if item.outcome is not Outcome.FAIL:
        return item
    counted = sum(found.finding.status is FindingStatus.CONFIRMED and not found.covered_by for found in item.findings)
    cost = rule.points * (counted if rule.per == "finding" else min(1, counted))
    return replace(item, cost=cost if rule.cap is None else min(cost, rule.cap))


def _dimension(pack: Pack, name: str, items: Sequence[Item]) -> DimensionScore:
    dimension = pack.scoring.dimensions[name]
    raw = sum(item.cost for item in items)
    return DimensionScore(
        id=name,
        name=dimension.name,
        weight=dimension.weight,
        raw=raw,
        lost=min(dimension.weight, raw),
        applicable=sum(item.outcome in (Outcome.PASS, Outcome.FAIL) for item in items),
        failed=sum(item.outcome is Outcome.FAIL for item in items),
    )


def _fingerprint(pack: Pack, conversation: Conversation) -> str:
    stages: Mapping[str, str] = getattr(conversation, "fingerprints", {})
    made = [pack.fingerprint, *(f"{stage}={print_}" for stage, print_ in sorted(stages.items()))]
    return hashlib.sha256("\n".join(made).encode()).hexdigest()[:16]


# --- the line that other programs read (docs/formats.md) ------------------------------------------------------


def to_json(card: Scorecard, conversation: Conversation) -> dict[str, Any]:
    """One line of `huiting score`: plain data, seconds rounded to milliseconds."""
    return {
        "format": FORMAT,
        "id": card.call,
        "score": card.score,
        "fatal": card.fatal,
        "roles": _roles(conversation),
        "items": [_item_json(item) for item in card.items],
        "emotion": _emotion(conversation),
        "fingerprint": card.fingerprint,
    }


def _roles(conversation: Conversation) -> dict[str, Any]:
    guesses = getattr(conversation, "roles", {})
    found = {speaker: {"role": str(guess.role), "confidence": round(guess.confidence, 3)} for speaker, guess in guesses.items()}
    for turn in conversation.turns:
        if turn.role is not None:
            found.setdefault(turn.speaker, {"role": str(turn.role), "confidence": 1.0})
    return found


def _item_json(item: Item) -> dict[str, Any]:
    line: dict[str, Any] = {"rule": item.rule, "outcome": item.outcome.value}
    if item.reason:
        line["reason"] = item.reason
    if item.unevaluated and item.outcome is not Outcome.NOT_EVALUATED:
        line["not_evaluated"] = list(item.unevaluated)
    if item.fatal:
        line["fatal"] = True
    if item.draft:
        line["draft"] = True
    if item.cost:
        line["points"] = item.cost
    line["findings"] = [entry for number, found in enumerate(item.findings) for entry in _finding_json(number, found)]
    return line


def _finding_json(number: int, found: CardFinding) -> list[dict[str, Any]]:
    """One entry for each place of a finding; several places of one event share its number."""
    finding = found.finding
    entries = []
    for place in finding.evidence:
        entry: dict[str, Any] = {}
        if place.turn is not None:
            entry |= {"turn": place.turn, "start_char": place.start_char, "end_char": place.end_char}
        if place.start is not None and place.end is not None:
            entry |= {"start": round(place.start, 3), "end": round(place.end, 3)}
        if place.turns:
            entry["turns"] = list(place.turns)
        entry |= {"status": finding.status.value, "how": finding.how}
        if len(finding.evidence) > 1:
            entry["event"] = number
        if finding.note:
            entry["note"] = finding.note
        if found.covered_by:
            entry["covered_by"] = found.covered_by
        entries.append(entry)
    return entries


def _emotion(conversation: Conversation) -> dict[str, Any] | None:
    """The customer's emotion over the call: each turn that has one, the strongest negative, and how it ends."""
    turns = cast("Sequence[Turn]", conversation.turns)
    felt = customer_emotion(turns)
    if felt is None:
        return None
    return {
        "peak_turn": felt.peak_turn,
        "end": felt.end,
        "turns": [
            {"turn": index, "label": turn.emotion.label, "score": round(turn.emotion.score, 3)}
            for index, turn in enumerate(turns)
            if turn.emotion is not None and turn.role == "customer"
        ],
    }
