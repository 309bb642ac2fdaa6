"""A pack's rules of one language, compiled: which words make which rule worth a look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scoring_rules.grammar import Grammar
from scoring_rules.match import Matcher
from scoring_rules.model import (
    SLOT_PATTERN,
    All,
    AnyOf,
    AtLeast,
    Condition,
    Expect,
    InOrder,
    Lexicon,
    Meaning,
    Not,
    Pack,
    Phrase,
    Regex,
    Rule,
    RuleStatus,
)
from scoring_rules.patterns import Patterns
from scoring_rules.speakers import ANY, speakers_asked


@dataclass
class Plan:
    """Conditions are looked up by identity: the pack's own objects, which live as long as the plan."""

    language: str
    pack: Pack
    rules: tuple[Rule, ...]
    matcher: Matcher
    grammar: Grammar
    patterns: Patterns = field(default_factory=Patterns)
    atoms: dict[int, int] = field(default_factory=dict)  # id(Phrase or Regex) → atom
    open_slots: dict[int, tuple[str, ...]] = field(default_factory=dict)  # id(Phrase) → phrases whose slot a call may fill
    gated: frozenset[int] = frozenset()  # id(Condition) of those that cannot hold before one of their atoms is found
    opens: dict[int, frozenset[int]] = field(default_factory=dict)  # atom → the gated conditions it lets in
    wakes: dict[int, frozenset[int]] = field(default_factory=dict)  # id(Condition) → rules that it wakes when open
    always: tuple[int, ...] = ()  # rules that every call asks

    def opened(self, atoms: Iterable[int]) -> set[int]:
        """The gated conditions that may hold where these atoms were found."""
        opens = self.opens
        return set().union(*[opens[atom] for atom in atoms if atom in opens])


def compile_plan(pack: Pack, language: str) -> Plan:
    rules = tuple(rule for rule in pack.rules if rule.language == language and rule.status is not RuleStatus.RETIRED)
    lexicon = pack.lexicons.get(language, Lexicon({}))
    plan = Plan(language, pack, rules, Matcher(language, lexicon["fillers"]), Grammar(language, lexicon))
    asked = speakers_asked(rules)
    for rule in rules:
        for condition in conditions_of(rule):
            _prepare(plan, condition, asked)
    opens: dict[int, set[int]] = defaultdict(set)
    gated = set()
    for rule in rules:
        for condition in conditions_of(rule):
            needed = _needed(plan, condition)
            if needed is not None:
                gated.add(id(condition))
                for atom in needed:
                    opens[atom].add(id(condition))
    plan.gated, plan.opens = frozenset(gated), {atom: frozenset(ids) for atom, ids in opens.items()}
    wakes: dict[int, set[int]] = defaultdict(set)
    always = []
    for index, rule in enumerate(rules):
        roots = {id(condition) for condition in rule.match}
        if rule.expect is Expect.PRESENT or rule.when or rule.where.near or not roots <= gated:
            always.append(index)
            continue
        for root in roots:
            wakes[root].add(index)
    plan.wakes, plan.always = {root: frozenset(indices) for root, indices in wakes.items()}, tuple(always)
    return plan


def conditions_of(rule: Rule) -> Iterable[Condition]:
    """All conditions of a rule, inner ones too."""
    roots: list[Condition] = [*rule.match, *rule.unless, *rule.suspect, *rule.when]
    if rule.mitigate:
        roots += rule.mitigate.conditions
    if rule.where.near:
        roots.append(rule.where.near.of)
    while roots:
        condition = roots.pop()
        yield condition
        roots += children(condition)


def children(condition: Condition) -> list[Condition]:
    """The conditions directly inside a condition."""
    test = condition.test
    inner: list[Condition] = []
    if isinstance(test, All | AnyOf | AtLeast | InOrder):
        inner += test.items
    elif isinstance(test, Not):
        inner.append(test.item)
    elif isinstance(test, Meaning):
        inner.append(test.among)
    if condition.where.near:
        inner.append(condition.where.near.of)
    return inner


def _prepare(plan: Plan, condition: Condition, asked: Mapping[int, Iterable[str]]) -> None:
    test = condition.test
    if isinstance(test, Phrase) and id(test) not in plan.atoms:
        phrases, waiting = fill(test.phrases, plan.pack)
        plan.atoms[id(test)] = plan.matcher.add(phrases, test.tolerance)
        if waiting:
            plan.open_slots[id(test)] = waiting
    elif isinstance(test, Regex) and id(test) not in plan.atoms:
        atom = plan.atoms[id(test)] = plan.matcher.new_atom()
        plan.patterns.add(atom, test.pattern, tuple(asked.get(id(test), ANY)))


def fill(phrases: Sequence[str], pack: Pack) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Phrases with the site's slots filled in, and those whose slots only a call's own attributes can fill."""
    ready: list[str] = []
    waiting: list[str] = []
    for phrase in phrases:
        names = SLOT_PATTERN.findall(phrase)
        forms = [phrase]
        for name in names:
            forms = [form.replace("{" + name + "}", value) for form in forms for value in pack.slots.get(name, ())]
        ready += forms
        if names and not forms:
            waiting.append(phrase)
    return tuple(ready), tuple(waiting)


def _needed(plan: Plan, condition: Condition) -> frozenset[int] | None:
    """Atoms of which one must be found for the condition to hold; None where it may hold without any."""
    test = condition.test
    if isinstance(test, Phrase | Regex):
        return None if id(test) in plan.open_slots else frozenset((plan.atoms[id(test)],))
    if isinstance(test, Meaning):
        return _needed(plan, test.among)
    if isinstance(test, AnyOf):
        return _any(plan, test.items)
    if isinstance(test, AtLeast):
        return _any(plan, test.items)
    if isinstance(test, All | InOrder):
        known = [needed for item in test.items if (needed := _needed(plan, item)) is not None]
        return min(known, key=len) if known else None
    return None


def _any(plan: Plan, conditions: Iterable[Condition]) -> frozenset[int] | None:
    found: frozenset[int] = frozenset()
    for condition in conditions:
        needed = _needed(plan, condition)
        if needed is None:
            return None
        found |= needed
    return found
