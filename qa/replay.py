"""Changed rules over stored calls, before anybody is judged by them: what they would find more, and what less.

Both packs judge the same transcripts by the same sentence model; where a rule is the same in both, it judges once.
Nothing is written. Calls go by one at a time, so memory does not grow with history.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from qa import scorecard
from qa.redact import mask_turns
from qa.scorecard import Item, Scorecard
from qa.scoring import known_conversation
from qa.store.accounts import Verdict as VerdictRow
from qa.store.engine import Store
from qa.store.schema import Call, TranscriptRow
from qa.verdicts import Place, Standing, standing
from scoring_rules.evaluate import Evaluator, Evidence, Finding, RuleResult
from scoring_rules.meaning import Encoder
from scoring_rules.model import Expect, FindingStatus, Outcome, Pack, Rule, RuleStatus
from speech.types import Transcript

PAGE = 200  # calls read and judged at once
AROUND = 16  # characters shown before and after a finding's words
SAME_SECONDS = 0.5  # times that differ by less are one place


class Change(StrEnum):
    GAINED = "gained"
    LOST = "lost"
    STATUS = "status"  # the same place, another status


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding that only one of the packs makes, or that each makes with another status. Words are masked."""

    change: Change
    call: str
    rule: str
    expect: Expect  # of the rule: a finding of `present` says where it was said, one that is missing excepted
    status: str  # with the changed rules; of a lost one, with the old
    was: str  # the old status, where it changed
    how: str
    turn: int | None
    start: float | None  # seconds
    words: str
    before: str
    after: str
    note: str

    @property
    def fault(self) -> bool:
        """Whether it speaks against the agent."""
        return (self.expect is Expect.ABSENT) or self.how == "missing"


@dataclass(frozen=True, slots=True)
class OutcomeChange:
    call: str
    rule: str
    was: str
    now: str
    agent: str | None


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A person's verdict that the changed rules would contradict (`agrees` False) or meet at last (True)."""

    call: str
    rule: str
    place: Place
    fault: bool  # as people say
    settled: bool
    who: tuple[str, ...]
    agrees: bool

    @property
    def flips(self) -> bool:
        return self.settled and not self.agrees


@dataclass
class AgentChange:
    calls: int = 0
    before: float = 0.0  # sum of scores
    after: float = 0.0
    changed: int = 0  # calls with another score
    fatal_before: int = 0
    fatal_after: int = 0
    passed_before: int = 0
    passed_after: int = 0

    @property
    def mean_before(self) -> float:
        return self.before / self.calls

    @property
    def mean_after(self) -> float:
        return self.after / self.calls


@dataclass
class Summary:
    """Figures of a replay; it grows with agents and rules, not with calls."""

    calls: int = 0
    changed_calls: int = 0
    skipped: int = 0  # calls without a transcript, or of a language that neither pack judges
    changed_rules: tuple[str, ...] = ()
    gained: Counter[str] = field(default_factory=Counter)  # rule → findings
    lost: Counter[str] = field(default_factory=Counter)
    restated: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (rule, was, now)
    agents: dict[str, AgentChange] = field(default_factory=dict)
    flips: int = 0  # settled verdicts that would be contradicted
    contested_flips: int = 0
    agreements: int = 0  # verdicts that the machine would meet at last

    def figures(self) -> dict[str, Any]:
        """The summary as plain data."""
        return {
            "calls": self.calls,
            "changed_calls": self.changed_calls,
            "skipped": self.skipped,
            "changed_rules": list(self.changed_rules),
            "gained": dict(self.gained),
            "lost": dict(self.lost),
            "restated": dict(self.restated),
            "outcomes": [
                {"rule": rule, "was": was, "now": now, "items": count}
                for (rule, was, now), count in sorted(self.outcomes.items())
            ],
            "agents": [
                {
                    "agent": agent or None,
                    "calls": found.calls,
                    "before": round(found.mean_before, 2),
                    "after": round(found.mean_after, 2),
                    "changed": found.changed,
                    "passed_before": found.passed_before,
                    "passed_after": found.passed_after,
                    "fatal_before": found.fatal_before,
                    "fatal_after": found.fatal_after,
                }
                for agent, found in sorted(self.agents.items())
            ],
            "settled_verdicts_contradicted": self.flips,
            "contested_verdicts_contradicted": self.contested_flips,
            "verdicts_met": self.agreements,
        }


Event = FindingChange | OutcomeChange | VerdictChange
Results = tuple[RuleResult, ...]


class Replay:
    """Two packs over the same calls. Iterate over `events`; `summary` is complete when they end."""

    def __init__(
        self, store: Store, base: Pack, draft: Pack, encoder: Encoder | None, where: Sequence[ColumnElement[bool]] = ()
    ) -> None:
        self._store, self._where = store, list(where)
        self.base, self.draft = base, draft
        changed = changed_rules(base, draft)
        self.summary = Summary(changed_rules=tuple(dict.fromkeys(rule for _, rule in sorted(changed))))
        self._changed = changed
        self._old = Evaluator(base, encoder)
        only = tuple(rule for rule in draft.rules if (rule.language, rule.id) in changed)
        self._new = Evaluator(replace(draft, rules=only), encoder)
        self._expects = {rule.id: rule.expect for rule in (*base.rules, *draft.rules)}

    def total(self) -> int:
        with self._store.read() as session:
            return session.query(Call).filter(*self._where).count()

    def events(self, on_call: Callable[[str], None] = lambda call_id: None) -> Iterator[Event]:
        """Every change, call by call in the order of their ids."""
        last = ""
        while page := self._page(last):
            last = page[-1]
            with self._store.read() as session:
                heard = {call_id: self._heard(session, call_id) for call_id in page}
            judged = self._judged([transcript for transcript in heard.values() if transcript is not None])
            for call_id, transcript in heard.items():
                if transcript is None:
                    self.summary.skipped += 1
                else:
                    old, new = next(judged)
                    with self._store.read() as session:
                        made = list(self._call(session, transcript, old, new))
                    yield from made
                on_call(call_id)

    def _page(self, after: str) -> list[str]:
        with self._store.read() as session:
            return list(session.scalars(select(Call.id).where(Call.id > after, *self._where).order_by(Call.id).limit(PAGE)))

    def _heard(self, session: Session, call_id: str) -> Transcript | None:
        if session.scalar(select(TranscriptRow.id).where(TranscriptRow.call_id == call_id, TranscriptRow.current)) is None:
            return None
        return known_conversation(session, call_id)

    def _call(self, session: Session, transcript: Transcript, old: Results, new: Results) -> Iterator[Event]:
        call = session.get_one(Call, transcript.id)
        if not old and not new:
            self.summary.skipped += 1
            return
        before, after = (
            scorecard.build(pack, results, transcript) for pack, results in ((self.base, old), (self.draft, new))
        )
        self._count(call.agent, before, after)
        judged = standing(session, self._expects, VerdictRow.call_id == transcript.id)
        changes = [
            *_finding_changes(transcript, before, after, self._expects),
            *_outcome_changes(call, before, after),
            *_verdict_changes(judged, before, after, self._expects),
        ]
        for change in changes:
            self._note(change)
        told = [change for change in changes if not _is_only_coming_or_going(change)]
        self.summary.changed_calls += bool(told) or before.score != after.score
        yield from told

    def _judged(self, transcripts: Sequence[Transcript]) -> Iterator[tuple[Results, Results]]:
        """What each pack makes of each transcript, many at once."""
        pairs = zip(self._old.run_all(transcripts), self._new.run_all(transcripts), strict=True)
        for transcript, (old, changed) in zip(transcripts, pairs, strict=True):
            fresh = {result.rule: result for result in changed}
            kept = {result.rule: result for result in old}
            rules = scorecard.rules_for(self.draft, transcript.language)
            merged = [fresh.get(rule) or kept.get(rule) for rule in rules if rules[rule].status is not RuleStatus.RETIRED]
            yield old, tuple(result for result in merged if result is not None)

    def _count(self, agent: str | None, before: Scorecard, after: Scorecard) -> None:
        self.summary.calls += 1
        if before.score is None or after.score is None:
            return
        mine = self.summary.agents.setdefault(agent or "", AgentChange())
        mine.calls += 1
        mine.before += before.score
        mine.after += after.score
        mine.changed += before.score != after.score
        mine.fatal_before += before.fatal
        mine.fatal_after += after.fatal
        mine.passed_before += bool(before.passed)
        mine.passed_after += bool(after.passed)

    def _note(self, change: Event) -> None:
        summary = self.summary
        if isinstance(change, FindingChange):
            counter = {Change.GAINED: summary.gained, Change.LOST: summary.lost, Change.STATUS: summary.restated}
            counter[change.change][change.rule] += 1
        elif isinstance(change, OutcomeChange):
            summary.outcomes[change.rule, change.was, change.now] += 1
        elif change.agrees:
            summary.agreements += 1
        elif change.settled:
            summary.flips += 1
        else:
            summary.contested_flips += 1


# --- which rules differ ---------------------------------------------------------------------------------------


def changed_rules(base: Pack, draft: Pack) -> set[tuple[str, str]]:
    """(language, id) of the rules that may judge otherwise, or cost otherwise, in `draft`; those gone or new too."""
    old, new = ({(rule.language, rule.id): rule for rule in pack.rules} for pack in (base, draft))
    if base.scoring.confidence != draft.scoring.confidence or base.slots != draft.slots:
        return set(old) | set(new)
    words = {
        language
        for language in {*base.languages, *draft.languages}
        if base.lexicons.get(language) != draft.lexicons.get(language)
    }
    return {
        key
        for key in old.keys() | new.keys()
        if key[0] in words or key not in old or key not in new or _shape(old[key]) != _shape(new[key])
    }


_UNJUDGED = {"origin", "examples", "name", "say_instead", "why", "references", "false_positives"}  # change no result


def _shape(value: Any) -> Any:
    """A rule as plain data without its places in files and its texts, so that two readings of one rule are equal."""
    if isinstance(value, Rule):
        return [_shape(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in _UNJUDGED]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [_shape(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name not in ("origin", "name")]
        # A place's name, a language question's and a slot's are what they ask; a condition's is only where it came from.
        named = getattr(value, "name", None) if not hasattr(value, "origin") else None
        return [type(value).__name__, named, *parts]
    if isinstance(value, Mapping):
        return sorted((key, _shape(child)) for key, child in value.items())
    if isinstance(value, tuple | list):
        return [_shape(child) for child in value]
    return value


# --- findings, outcomes and verdicts side by side ---------------------------------------------------------------


def _finding_changes(
    transcript: Transcript, before: Scorecard, after: Scorecard, expects: Mapping[str, Expect]
) -> Iterator[FindingChange]:
    old, new = ({item.rule: item for item in card.items} for card in (before, after))
    shown: list[str] = []
    for rule in dict.fromkeys([*old, *new]):
        pairs = _matched(_findings(old.get(rule)), _findings(new.get(rule)))
        for was, now in pairs:
            if was is not None and now is not None and was.status is now.status:
                continue
            shown = shown or mask_turns([turn.text for turn in transcript.turns])
            yield _finding_change(transcript.id, rule, expects[rule], was, now, shown)


def _findings(item: Item | None) -> list[Finding]:
    return [] if item is None else [found.finding for found in item.findings]


def _matched(old: list[Finding], new: list[Finding]) -> Iterator[tuple[Finding | None, Finding | None]]:
    """Findings of both that speak of one place, and those that stand alone; the same status is preferred."""
    rest = list(new)
    for was in old:
        alike = [now for now in rest if _same_place(was, now)]
        best = min(alike, key=lambda now: now.status is not was.status, default=None)
        if best is not None:
            rest.remove(best)
        yield was, best
    for now in rest:
        yield None, now


def _same_place(one: Finding, other: Finding) -> bool:
    if (one.how == "missing") != (other.how == "missing"):
        return False
    if not one.evidence or not other.evidence:
        return one.how == other.how
    if one.how == "missing":
        # Two windows of one item are one place unless different events asked for the phrase.
        return not one.evidence[1:] or not other.evidence[1:] or _touch(one.evidence[1], other.evidence[1])
    return any(_touch(a, b) for a in one.evidence for b in other.evidence)


def _touch(one: Evidence, other: Evidence) -> bool:
    if one.turn is not None and other.turn is not None:
        if one.turn != other.turn:
            return False
        return one.start_char is None or other.start_char is None or (
            one.start_char < (other.end_char or 0) and other.start_char < (one.end_char or 0)
        )
    if one.start is not None and other.start is not None:
        return one.start < (other.end or 0) + SAME_SECONDS and other.start < (one.end or 0) + SAME_SECONDS
    return one.turns == other.turns


def _finding_change(
    call: str, rule: str, expect: Expect, was: Finding | None, now: Finding | None, shown: list[str]
) -> FindingChange:
    change = Change.GAINED if was is None else Change.LOST if now is None else Change.STATUS
    finding = now or was
    assert finding is not None
    place = finding.evidence[0] if finding.evidence else Evidence()
    words = before = after = ""
    turn = place.turn
    if turn is not None:
        text = shown[turn]
        first, last = place.start_char or 0, len(text) if place.end_char is None else place.end_char
        words, before, after = text[first:last], text[max(0, first - AROUND) : first], text[last : last + AROUND]
    elif place.turns:
        turn = place.turns[0]
        before = shown[turn][: 2 * AROUND]
    return FindingChange(
        change, call, rule, expect, finding.status.value,
        was.status.value if was is not None and now is not None else "",
        finding.how, turn, place.start, words, before, after, finding.note,
    )  # fmt: skip


def _outcome_changes(call: Call, before: Scorecard, after: Scorecard) -> Iterator[OutcomeChange]:
    old, new = ({item.rule: item.outcome.value for item in card.items} for card in (before, after))
    for rule in dict.fromkeys([*old, *new]):
        was, now = old.get(rule, ""), new.get(rule, "")
        if was != now:
            yield OutcomeChange(call.id, rule, was, now, call.agent)


def _is_only_coming_or_going(change: Event) -> bool:
    """A rule switched off or on that failed nowhere in the call: counted, but not told call by call."""
    return (
        isinstance(change, OutcomeChange) and "" in (change.was, change.now) and Outcome.FAIL not in (change.was, change.now)
    )


def _verdict_changes(
    judged: Iterator[Standing], before: Scorecard, after: Scorecard, expects: Mapping[str, Expect]
) -> Iterator[VerdictChange]:
    old, new = ({item.rule: item for item in card.items} for card in (before, after))
    for stands in judged:
        if stands.fault is None:
            continue
        expect = expects.get(stands.rule, Expect.ABSENT)
        agreed = _claims_fault(old.get(stands.rule), stands.place, expect) == stands.fault
        agrees = _claims_fault(new.get(stands.rule), stands.place, expect) == stands.fault
        if agreed != agrees:
            yield VerdictChange(
                stands.call, stands.rule, stands.place, stands.fault, stands.settled, stands.who, agrees
            )


def _claims_fault(item: Item | None, place: Place, expect: Expect) -> bool:
    """Whether an item says, surely or perhaps, that there is a fault at a place. A rule that does not run says nothing."""
    if item is None:
        return False
    if expect is Expect.PRESENT or place.whole_item:
        return item.outcome is Outcome.FAIL
    there = Evidence(place.turn, place.start_char, place.end_char, place.start, place.end)
    return any(
        found.finding.status is not FindingStatus.MITIGATED and any(_touch(there, spot) for spot in found.finding.evidence)
        for found in item.findings
    )
