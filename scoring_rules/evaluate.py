"""Rules over a call: hits become findings, findings an outcome."""

from __future__ import annotations

import gc
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from scoring_rules.block import Block, blocks
from scoring_rules.call import Call, Hit, Region, common, joined
from scoring_rules.conditions import STREAMS, WORK
from scoring_rules.conversation import Conversation
from scoring_rules.finder import ANYONE, ANYWHERE, KNOWN, UNKNOWN, Finder, Scope, State, steps_of
from scoring_rules.grammar import Interval
from scoring_rules.match import sentence_ends
from scoring_rules.meaning import Encoder, Judges, Vectors
from scoring_rules.model import Condition, Expect, FindingStatus, Outcome, Pack, Place, Reason, Rule
from scoring_rules.places import edge, place, window
from scoring_rules.plan import Plan, compile_plan

# Asked for every rule of every call: an enumeration's member by its name costs four times a global.
PASS, FAIL, NOT_APPLICABLE, NOT_EVALUATED = Outcome.PASS, Outcome.FAIL, Outcome.NOT_APPLICABLE, Outcome.NOT_EVALUATED
CONFIRMED, SUSPECTED, MITIGATED = FindingStatus.CONFIRMED, FindingStatus.SUSPECTED, FindingStatus.MITIGATED
PRESENT = Expect.PRESENT
_CLAUSE = Place("clause")
_PREFERENCE = ("phrase", "regex", "entity", "head", "meaning", "pinyin")  # which of overlapping hits names the finding
# What is shown by many words together is doubtful where more than this share of their characters is.
_DOUBTFUL_PART = {"entity": 0.25, "emotion": 0.25}
MAX_ROUNDS = 4  # of asking for embeddings: a meaning inside another's mitigation is two


class Evidence(NamedTuple):
    """A place: characters of a turn, or seconds with the turns around them, or the turns that were searched."""

    turn: int | None = None
    start_char: int | None = None
    end_char: int | None = None
    start: float | None = None  # s
    end: float | None = None  # s
    turns: tuple[int, ...] = ()


class Finding(NamedTuple):
    """One event. `why` names the condition that held it back (its place in the pack), where one did."""

    status: FindingStatus
    how: str  # phrase | pinyin | regex | meaning | head | entity | silence | … | missing
    evidence: tuple[Evidence, ...]
    note: str = ""  # a measured value, an entity's kind
    why: str = ""


class RuleResult(NamedTuple):
    rule: str
    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    reason: str = ""  # for not_evaluated
    unevaluated: tuple[str, ...] = ()  # reasons why parts of the rule could not be judged


@dataclass(frozen=True, slots=True)
class Considered:
    """For `rules try`: a hit, what became of it, and the condition that decided."""

    rule: str
    hit: Hit
    place: Evidence
    fate: str  # confirmed | suspected | mitigated | excepted | across_sentences
    by: Condition | None = None
    shares: tuple[tuple[str, float], ...] = ()  # of a classifier: each voter's log-odds, and their total


class Evaluator:
    """A pack, compiled for every language it has. Safe to keep for many calls; not for several threads at once."""

    def __init__(self, pack: Pack, encoder: Encoder | None = None) -> None:
        self.pack = pack
        self._plans = {language: compile_plan(pack, language) for language in pack.languages}
        self._steps = {language: steps_of(plan, WORK, STREAMS) for language, plan in self._plans.items()}
        self._passed = {
            language: [_plain(rule.id, PASS) for rule in plan.rules] for language, plan in self._plans.items()
        }
        self._vectors = Vectors(encoder)
        self._judges = {language: Judges(self._vectors, language) for language in pack.languages}

    def run(self, conversation: Conversation) -> tuple[RuleResult, ...]:
        """One result a rule of the conversation's language, in the pack's order; none for a language without a pack."""
        return next(self._block([conversation], None))

    def run_all(self, conversations: Iterable[Conversation]) -> Iterator[tuple[RuleResult, ...]]:
        """The results of each conversation, as `run` gives them, many at once: cheaper than one by one."""
        for group in blocks(conversations):
            yield from self._block(group, None)

    def trace(self, conversation: Conversation) -> tuple[tuple[RuleResult, ...], tuple[Considered, ...]]:
        """The results, and every hit that was considered on the way."""
        considered: list[Considered] = []
        return next(self._block([conversation], considered)), tuple(dict.fromkeys(considered))

    def _block(self, group: Sequence[Conversation], considered: list[Considered] | None) -> Iterator[tuple[RuleResult, ...]]:
        plan = self._plans.get(group[0].language.lower().replace("_", "-").split("-")[0])
        if plan is None:
            yield from [()] * len(group)
            return
        with _uncollected():
            results = self._results(plan, group, considered)
        yield from map(tuple, results)

    def _results(self, plan: Plan, group: Sequence[Conversation], considered: list[Considered] | None) -> list[list[RuleResult]]:
        block = Block(group, plan.matcher, plan.patterns, plan.grammar)
        results, steps = [self._passed[plan.language].copy() for _ in group], self._steps[plan.language]
        judges = self._judges[plan.language]
        every: list[tuple[Finder, Sequence[int]]] = []
        for number in range(len(group)):
            finder = Finder(plan, Call(block, number, self.pack.scoring.confidence.word), judges, steps)
            awake = set(plan.always).union(*[plan.wakes[root] for root in plan.wakes.keys() & finder.open])
            every.append((finder, sorted(awake)))
        pending = every
        for _ in range(MAX_ROUNDS):
            block.wanted.clear()
            again = []
            for finder, rules in pending:
                waiting = []
                for index in rules:
                    finder.call.waiting = False
                    results[finder.call.number][index] = _judge(finder, plan.rules[index], considered)
                    if finder.call.waiting:
                        waiting.append(index)
                if waiting:
                    again.append((finder, waiting))
            if not block.wanted:
                break
            self._vectors.encode(list(block.wanted))
            pending = again
        for finder, _ in every:
            finder.call.memory.clear()  # half-asked generators hold their finder: a cycle
        return results


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for reference cycles: a block makes few, and many short-lived objects, for which a fifth of the time would go."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _judge(finder: Finder, rule: Rule, considered: list[Considered] | None) -> RuleResult:
    call = finder.call
    call.reasons.clear()
    doubtful = False
    for condition in rule.when:
        hit, state = finder.first(condition, ANYWHERE)
        if hit is None:
            if state is not UNKNOWN:
                return _plain(rule.id, NOT_APPLICABLE)
            return _not_evaluated(rule, call)
        doubtful |= not hit.sure
    if rule.expect is PRESENT:
        return _present(finder, rule, doubtful)
    return _absent(finder, rule, doubtful, considered)


@cache
def _plain(rule: str, outcome: Outcome) -> RuleResult:
    """A result of which nothing more is to be said."""
    return RuleResult(rule, outcome)


def _not_evaluated(rule: Rule, call: Call, reason: str = "") -> RuleResult:
    reasons = tuple(sorted(call.reasons))
    return RuleResult(rule.id, NOT_EVALUATED, (), reason or (reasons[0] if reasons else ""), reasons)


# --- rules on what must not be said ------------------------------------------------------------------------


def _absent(finder: Finder, rule: Rule, doubtful: bool, considered: list[Considered] | None) -> RuleResult:
    call = finder.call
    scope: Scope | None = Scope(None, None, rule.where.speaker)
    if rule.where.near or rule.where.first or rule.where.last:
        if rule.where.near:
            anchors, state = finder.anchors(rule.where.near)
            if not anchors:
                return _plain(rule.id, NOT_APPLICABLE) if state is not UNKNOWN else _not_evaluated(rule, call)
        scope = finder.narrowed(rule.where, scope)
        if scope is None:
            call.reasons.add(Reason.NO_TIMES.value)
            return _not_evaluated(rule, call)
    found: list[tuple[Hit, FindingStatus, str]] = []
    unjudged = UNKNOWN
    for condition in rule.match:
        hits, state = finder.find(condition, scope)
        unjudged = min(unjudged, state)
        for hit in hits:
            status, by = _status(finder, rule, hit, doubtful)
            if considered is not None:
                considered.append(_considered(finder, rule, condition, hit, status, by))
            if status is not None:
                found.append((hit, status, "" if by is None else str(by.origin)))
    if not found:
        if unjudged is UNKNOWN:
            return _not_evaluated(rule, call)
        if not call.reasons:
            return _plain(rule.id, PASS)
    findings = tuple(_finding(call, *group) for group in _events(found))
    failed = any(finding.status is CONFIRMED for finding in findings)
    return RuleResult(rule.id, FAIL if failed else PASS, findings, "", tuple(sorted(call.reasons)))


def _considered(
    finder: Finder, rule: Rule, match: Condition, hit: Hit, status: FindingStatus | None, by: Condition | None
) -> Considered:
    fate = status.value if status else "excepted" if by else "across_sentences"
    shares = finder.minds.shares(match, hit, finder) if hit.how == "head" else ()
    return Considered(rule.id, hit, _evidence(finder.call, hit), fate, by, shares)


def _status(finder: Finder, rule: Rule, hit: Hit, doubtful: bool) -> tuple[FindingStatus | None, Condition | None]:
    """What a hit is worth, and the condition that took something from it; None: nothing at all."""
    call = finder.call
    if hit.how in ("phrase", "pinyin") and not sentence_ends().isdisjoint(call.plain[hit.start : hit.end]):
        return None, None
    around = place(call, _CLAUSE, hit)
    by = _first(finder, rule.unless, around, hit)
    if by:
        return None, by
    if rule.mitigate:
        within = joined([place(call, spot, hit) for spot in rule.mitigate.places])
        by = _first(finder, rule.mitigate.conditions, within, hit)
        if by:
            return MITIGATED, by
    by = _first(finder, rule.suspect, around, hit)
    if by:
        return SUSPECTED, by
    return (CONFIRMED if not doubtful and _sure(call, hit) else SUSPECTED), None


def _first(finder: Finder, conditions: Sequence[Condition], region: Region, hit: Hit) -> Condition | None:
    """The first condition that holds of a hit, in a region where it names no place itself."""
    scope = Scope(region, hit, ANYONE)
    for condition in conditions:
        if finder.first(condition, scope)[0] is not None:
            return condition
    return None


def _sure(call: Call, hit: Hit) -> bool:
    if not hit.sure:
        return False
    if hit.turn >= 0:
        if call.turns[hit.turn].marks:
            return False
        if hit.how in ("phrase", "regex", "head", "meaning", "repeat"):
            if not call.well_heard(hit.start, hit.end, hit.turn):
                return False
        elif call.doubtful_part(hit.start, hit.end, hit.turn) > _DOUBTFUL_PART.get(hit.how, 1.0):
            return False
    return not hit.parts or all(_sure(call, part) for part in hit.parts)


Judged = tuple[Hit, FindingStatus, str]
_SUREST = (CONFIRMED, MITIGATED, SUSPECTED)


def _events(found: list[Judged]) -> list[Judged]:
    """Hits that overlap are one event: the surest names it."""
    if len(found) == 1:
        return found

    def rank(item: Judged) -> tuple[int, int, int]:
        hit, status, _ = item
        how = _PREFERENCE.index(hit.how) if hit.how in _PREFERENCE else 0
        return _SUREST.index(status), how, hit.start - hit.end

    kept: list[Judged] = []
    taken: list[Interval] = []  # of the events kept so far: apart from each other, sorted
    measured: set[tuple] = set()  # events without a place
    for item in sorted(found, key=rank):
        hit = item[0]
        if hit.turn < 0:
            key = (hit.how, hit.time, hit.turns)
            if key not in measured:
                measured.add(key)
                kept.append(item)
            continue
        mine = [(part.start, part.end) for part in (hit, *hit.parts) if part.turn >= 0]
        if any(_overlaps(taken, interval) for interval in mine):
            continue
        kept.append(item)
        for interval in mine if len(mine) == 1 else joined([(interval,) for interval in mine]):
            if interval[0] < interval[1]:
                insort(taken, interval)
    return sorted(kept, key=lambda item: (item[0].start, item[0].time or (0.0, 0.0)))


def _overlaps(taken: list[Interval], interval: Interval) -> bool:
    """Whether an interval shares characters with one of a sorted list."""
    place = bisect_left(taken, (interval[1], interval[1]))
    return place > 0 and taken[place - 1][1] > interval[0]


def _finding(call: Call, hit: Hit, status: FindingStatus, why: str) -> Finding:
    parts = (_evidence(call, hit),)
    if hit.parts:
        parts += tuple(_evidence(call, part) for part in hit.parts)
    return Finding(status, hit.how, parts, hit.note, why)


def _evidence(call: Call, hit: Hit) -> Evidence:
    time = call.time_at(hit)
    start, end = time or (None, None)
    around = tuple(index for index in hit.turns if 0 <= index < len(call.turns)) if hit.turns else ()
    if hit.turn < 0:
        return Evidence(None, None, None, start, end, around)
    turn, first, last = call.place(hit.start, hit.end)
    return Evidence(turn, first, last, start, end, around)


# --- rules on what must be said ----------------------------------------------------------------------------


def _present(finder: Finder, rule: Rule, doubtful: bool) -> RuleResult:
    call, where = finder.call, rule.where
    near, spoken = where.near, call.region(where.speaker)
    windows: list[tuple[Hit | None, Region]] = []
    if near is None:
        windows.append((None, spoken))
    else:
        anchors, state = finder.anchors(near)
        if not anchors:
            return _plain(rule.id, NOT_APPLICABLE) if state is not UNKNOWN else _not_evaluated(rule, call)
        doubtful |= not any(anchor.sure for anchor in anchors)
        for anchor in anchors:
            part = window(call, anchor, near.before, near.after)
            if part is None:
                call.reasons.add(Reason.NO_TIMES.value)
                return _not_evaluated(rule, call)
            windows.append((anchor, common(spoken, part)))
    edges = [
        edge(call, amount, where.speaker, last=last) for amount, last in ((where.first, False), (where.last, True)) if amount is not None
    ]
    hits: list[Hit] = []
    missing: list[tuple[Hit | None, Region]] = []
    unjudged = KNOWN
    for anchor, region in windows:
        for limit in edges:
            if limit is None:
                call.reasons.add(Reason.NO_TIMES.value)
                return _not_evaluated(rule, call)
            region = common(region, limit)
        found, state = _match(finder, rule, Scope(region, anchor, where.speaker))
        if state > unjudged:
            unjudged = state
        if found:
            hits += found
        else:
            missing.append((anchor, region))
    needed = near is not None and near.which == "every"
    if hits and not (needed and missing):
        findings = tuple(
            _finding(call, hit, CONFIRMED if _sure(call, hit) else SUSPECTED, "")
            for hit, _, _ in _events([(hit, CONFIRMED, "") for hit in hits])
        )
        return RuleResult(rule.id, PASS, findings, "", tuple(sorted(call.reasons)))
    if unjudged is not KNOWN:
        return _not_evaluated(rule, call)
    searched = joined([region for _, region in missing])
    if not searched and not any(anchor for anchor, _ in missing):
        return _not_evaluated(rule, call, Reason.NO_SPEECH.value)
    limit = finder.plan.pack.scoring.confidence.window
    if doubtful or (searched and call.doubtful_share(searched) > limit):
        return _not_evaluated(rule, call, Reason.LOW_CONFIDENCE.value)
    return RuleResult(rule.id, FAIL, tuple(_missing(call, anchor, region) for anchor, region in missing))


def _match(finder: Finder, rule: Rule, scope: Scope) -> tuple[list[Hit], State]:
    """The first place where it was said; uncertain ones until a sure one is found."""
    hits: list[Hit] = []
    worst = KNOWN
    for condition in rule.match:
        found, state = finder.first(condition, scope)
        worst = max(worst, state)
        if found is not None:
            hits.append(found)
            if found.sure:
                break
    return hits, worst


def _missing(call: Call, anchor: Hit | None, region: Region) -> Finding:
    """What was not said, with the turns that were searched and, where there is one, the event that asked for it."""
    places = [_searched(call, region)]
    if anchor is not None:
        places.append(_evidence(call, anchor))
    return Finding(CONFIRMED, "missing", tuple(places))


def _searched(call: Call, region: Region) -> Evidence:
    """The turns of a region, and their seconds; many rules search the same."""
    known = call.memory.get((Evidence, region))
    if known is None:
        turns = tuple(dict.fromkeys([call.turn_of(lo) for lo, _ in region]))
        times = [time for turn in turns if (time := call.times[turn])]
        start, end = (times[0][0], times[-1][1]) if times else (None, None)
        known = call.memory[Evidence, region] = Evidence(None, None, None, start, end, turns)
    return known  # type: ignore[return-value]
