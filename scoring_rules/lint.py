"""What is doubtful in a pack that loads: rules that cannot hit, examples that fail, phrases that hide each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from scoring_rules.acts import known_acts
from scoring_rules.checks import cases_of
from scoring_rules.heads import known_families, question_of
from scoring_rules.meaning import Encoder
from scoring_rules.model import (
    AnyOf,
    Attribute,
    Condition,
    Example,
    Expect,
    Head,
    Language,
    Meaning,
    Not,
    Pack,
    Phrase,
    Regex,
    Rule,
    RuleStatus,
    Slot,
    Tolerance,
)
from scoring_rules.patterns import required_literals
from scoring_rules.plan import conditions_of, fill
from scoring_rules.problems import Problem, Problems
from scoring_rules.sounds import MIN_SYLLABLES
from scoring_rules.text import fold

MIN_EXAMPLES = 3  # of each side for a stable rule: with fewer, nobody knows what its author meant


def lint(pack: Pack, encoder: Encoder | None = None) -> list[Problem]:
    """All problems of a pack, those of loading included, in order of place."""
    problems = Problems()
    active = [rule for rule in pack.rules if rule.status is not RuleStatus.RETIRED]
    for rule in active:
        _documentation(rule, problems)
        _conditions(rule, pack, problems)
        _shadowed(rule, pack, problems)
    _overlapping(active, pack, problems)
    for case in cases_of(pack, encoder):
        checked = case.run()
        if not checked.good:
            problems.error(
                case.example.origin, "example_fails", rule=case.rule.id, expect=case.example.expect, got=checked.got
            )
    told = {problem.text(): problem for problem in (*pack.problems, *problems.found)}  # shared conditions are met often
    return sorted(told.values(), key=lambda problem: (problem.origin, problem.code))


def _documentation(rule: Rule, problems: Problems) -> None:
    for locale in ("zh", "en"):
        if not rule.name.get(locale):
            problems.warning(rule.origin, "no_name", rule=rule.id, locale=locale)
    if rule.status is not RuleStatus.STABLE:
        return
    if not rule.why:
        problems.warning(rule.origin, "no_why", rule=rule.id)
    if not rule.say_instead:
        problems.warning(rule.origin, "no_say_instead", rule=rule.id)
    if not rule.references:
        problems.warning(rule.origin, "no_references", rule=rule.id)
    if not rule.points and not rule.award and not rule.fatal:
        problems.warning(rule.origin, "costs_nothing", rule=rule.id)
    hits = sum(_must_match(rule, example) for example in rule.examples)
    if hits < MIN_EXAMPLES or len(rule.examples) - hits < MIN_EXAMPLES:
        others = len(rule.examples) - hits
        problems.warning(rule.origin, "few_examples", rule=rule.id, hits=hits, others=others, wanted=MIN_EXAMPLES)


def _must_match(rule: Rule, example: Example) -> bool:
    """Whether an example shows the fault (or, for what must be said, that it is missing)."""
    return example.expect in (("fail",) if rule.expect is Expect.PRESENT else ("confirmed", "suspected", "mitigated"))


def _conditions(rule: Rule, pack: Pack, problems: Problems) -> None:
    for condition in conditions_of(rule):
        test = condition.test
        if isinstance(test, Phrase):
            _phrases(rule, condition, test, pack, problems)
        elif isinstance(test, Regex):
            if not required_literals(test.pattern):
                problems.warning(condition.origin, "regex_everywhere")
            if test.pattern != test.pattern.lower() and "\\" not in test.pattern:
                problems.warning(condition.origin, "regex_upper_case")
        elif isinstance(test, Head) and question_of(test.question)[0] not in (*known_families(), *known_acts()):
            problems.warning(condition.origin, "no_head_data", family=test.question)
        elif isinstance(test, Meaning) and isinstance(test.among.test, Language | Attribute | Slot | Not):
            problems.warning(condition.origin, "dear_among")
        if condition.where.near and condition.where.near.which == "every":
            problems.warning(condition.origin, "every_inside")
    for condition in rule.match:
        if isinstance(condition.test, Not | Attribute | Slot):
            problems.warning(condition.origin, "no_place", rule=rule.id)


def _phrases(rule: Rule, condition: Condition, test: Phrase, pack: Pack, problems: Problems) -> None:
    if test.tolerance is Tolerance.PINYIN:
        if rule.language != "zh":
            problems.error(condition.origin, "pinyin_elsewhere", language=rule.language)
        elif all(len(fold(phrase, "zh")) < MIN_SYLLABLES for phrase in test.phrases):
            problems.warning(condition.origin, "short_for_pinyin", wanted=MIN_SYLLABLES)
    if test.tolerance is Tolerance.EXACT:
        return
    folded = {phrase: fold(phrase, rule.language) for phrase in fill(test.phrases, pack)[0]}
    by_form: dict[str, str] = {}
    for phrase, form in folded.items():
        if form in by_form:
            problems.warning(condition.origin, "same_phrase", phrase=phrase, other=by_form[form])
        by_form.setdefault(form, phrase)


def _plain_phrases(conditions: tuple[Condition, ...]) -> Iterator[tuple[Condition, Phrase]]:
    """Phrase lists that hit by themselves: at the top of `match`, or in an `any` there."""
    for condition in conditions:
        test = condition.test
        if isinstance(test, Phrase):
            yield condition, test
        elif isinstance(test, AnyOf):
            yield from _plain_phrases(test.items)


def _shadowed(rule: Rule, pack: Pack, problems: Problems) -> None:
    exceptions = [
        fold(phrase, rule.language)
        for condition, test in _plain_phrases(rule.unless)
        if not condition.where.places or condition.where.places[0].name in ("hit", "clause", "sentence", "turn")
        for phrase in fill(test.phrases, pack)[0]
    ]
    alive = False
    for condition, test in _plain_phrases(rule.match):
        for phrase in fill(test.phrases, pack)[0]:
            by = next((other for other in exceptions if other in fold(phrase, rule.language)), "")
            if by:
                problems.warning(condition.origin, "shadowed", phrase=phrase, by=by.strip())
            else:
                alive = True
    only_phrases = all(isinstance(condition.test, Phrase) for condition in rule.match)
    if only_phrases and not alive and not any(fill(c.test.phrases, pack)[1] for c in rule.match if isinstance(c.test, Phrase)):
        problems.error(rule.origin, "dead", rule=rule.id)


def _overlapping(rules: list[Rule], pack: Pack, problems: Problems) -> None:
    """The same phrase as a fault in two rules: only the heavier one costs, which its author should know."""
    owners: dict[tuple[str, str], list[tuple[Rule, Condition, str]]] = defaultdict(list)
    for rule in rules:
        if rule.expect is not Expect.ABSENT:
            continue
        for condition, test in _plain_phrases(rule.match):
            for phrase in fill(test.phrases, pack)[0]:
                owners[rule.language, fold(phrase, rule.language)].append((rule, condition, phrase))
    for found in owners.values():
        first = found[0][0]
        for rule, condition, phrase in found[1:]:
            if rule.id != first.id and rule.where.speaker == first.where.speaker:
                problems.warning(condition.origin, "overlapping", phrase=phrase, rule=rule.id, other=first.id)
