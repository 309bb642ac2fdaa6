"""Of whose turns each condition is asked, read off the rules: what nobody asks about need not be searched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from scoring_rules.model import (
    All,
    AnyOf,
    AtLeast,
    Condition,
    Entity,
    Head,
    InOrder,
    Language,
    Length,
    Meaning,
    Not,
    Phrase,
    Place,
    Regex,
    Repeat,
    Rule,
    Where,
)

Speakers = frozenset[str]
ANY: Speakers = frozenset(("any",))
_OWN = ("hit", "clause", "sentence", "turn", "before", "after", "clause before", "clause after")


def speakers_asked(rules: Iterable[Rule]) -> Mapping[int, Speakers]:
    """id(test) → the speakers in whose turns it may be looked for; with "any" where that is not limited."""
    asked: dict[int, set[str]] = defaultdict(set)
    for rule in rules:
        mine = frozenset(rule.where.speaker)
        hit = ANY
        if rule.match:
            hit = frozenset().union(*[_ask(condition, mine, ANY, asked) for condition in rule.match])
        for condition in (*rule.unless, *rule.suspect):
            _ask(condition, hit, hit, asked)
        if rule.mitigate:
            within = _of_places(rule.mitigate.places, hit)
            for condition in rule.mitigate.conditions:
                _ask(condition, within, hit, asked)
        for condition in rule.when:
            _ask(condition, ANY, ANY, asked)
        if rule.where.near:
            _ask(rule.where.near.of, ANY, ANY, asked)
    return {key: frozenset(speakers) for key, speakers in asked.items()}


def _ask(condition: Condition, around: Speakers, anchor: Speakers, asked: dict[int, set[str]]) -> Speakers:
    """Notes a condition's speakers, and gives those in whose turns its hits lie."""
    test, where = condition.test, condition.where
    here = _speakers(where, around, anchor)
    if where.near:
        _ask(where.near.of, ANY, ANY, asked)
    if where.places:
        anchor = ANY
    if isinstance(test, All):
        first = _ask(test.items[0], here, anchor, asked)
        beside = ANY if test.same == "call" else first
        for item in test.items[1:]:
            _ask(item, beside, first, asked)
        return first
    if isinstance(test, AnyOf | AtLeast | InOrder):
        return frozenset().union(*[_ask(item, here, anchor, asked) for item in test.items])
    if isinstance(test, Not):
        _ask(test.item, here, anchor, asked)
        return ANY
    if isinstance(test, Meaning):
        return _ask(test.among, here, anchor, asked)
    if isinstance(test, Phrase | Regex):
        asked[id(test)] |= here
    return here if isinstance(test, Phrase | Regex | Entity | Head | Length | Repeat) else _located(test, here, anchor)


def _located(test: object, here: Speakers, anchor: Speakers) -> Speakers:
    """Questions of grammar are about the hit at hand; what was measured may lie anywhere."""
    return here | anchor if isinstance(test, Language) else ANY


def _speakers(where: Where, around: Speakers, anchor: Speakers) -> Speakers:
    if where.speaker:
        return frozenset(where.speaker)
    return _of_places(where.places, anchor) if where.places else around


def _of_places(places: Iterable[Place], anchor: Speakers) -> Speakers:
    found: Speakers = frozenset()
    for place in places:
        if place.name in _OWN:
            found |= anchor
        elif place.amount is not None and place.amount.role:
            found |= {place.amount.role}
        else:
            return ANY
    return found
