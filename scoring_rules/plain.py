"""What a rule looks for in plain words, for people who do not read YAML: its places, conditions and exceptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scoring_rules.messages import has_message, message
from scoring_rules.model import (
    EVERYWHERE,
    All,
    Amount,
    AnyOf,
    AtLeast,
    Attribute,
    Condition,
    Duration,
    EmotionIs,
    Entity,
    Expect,
    Head,
    InOrder,
    Interruption,
    Language,
    Length,
    Loudness,
    Meaning,
    Near,
    Not,
    Pack,
    Phrase,
    Place,
    Regex,
    Repeat,
    ReplyLatency,
    Rule,
    SilenceIs,
    Slot,
    SpeechRate,
    TalkShare,
    TurnCount,
    Where,
)
from scoring_rules.patterns import required_literals
from scoring_rules.plan import fill

SHOWN = 12  # phrases of a list that are told; how many more there are is said


@dataclass(frozen=True, slots=True)
class Part:
    """One paragraph: `kind` is where | when | match | unless | suspect | mitigate; `label` is its heading."""

    kind: str
    label: str
    lines: tuple[str, ...]


def in_words(rule: Rule, pack: Pack, locale: str) -> tuple[Part, ...]:
    """A rule told part by part; `locale` is the reader's."""
    told = _Teller(pack, locale)

    def part(kind: str, conditions: Sequence[Condition]) -> Iterator[Part]:
        if conditions:
            yield Part(kind, message(f"plain.part_{kind}", locale), tuple(map(told.condition, conditions)))

    where = told.where(rule.where)
    places = Part("where", message("plain.part_where", locale), (where,))
    match = "match_present" if rule.expect is Expect.PRESENT else "match"
    found = [places, *part("when", rule.when), *part(match, rule.match), *part("unless", rule.unless)]
    found += part("suspect", rule.suspect)
    if rule.mitigate:
        within = told.many([told.place(place) for place in rule.mitigate.places], "or")
        label = message("plain.part_mitigate", locale, within=within, points=rule.mitigate.points)
        found.append(Part("mitigate", label, tuple(map(told.condition, rule.mitigate.conditions))))
    return tuple(found)


def in_few_words(condition: Condition, pack: Pack, locale: str) -> str:
    """A condition as it is told inside a sentence; a shared one by its name."""
    return _Teller(pack, locale).condition(condition, inner=True)


def term(name: str, locale: str) -> str:
    """A shared condition's name as people say it; a site's own as it is written."""
    return message(f"term.{name}", locale) if has_message(f"term.{name}") else name.replace("_", " ")


def _together(test: All) -> list[Condition]:
    """What must all hold in one unit: an `all` right inside another of the same unit adds nothing but its items."""
    found: list[Condition] = []
    for item in test.items:
        inner = item.test
        same = isinstance(inner, All) and inner.same == test.same and not item.name and item.where is EVERYWHERE
        found += _together(inner) if same else [item]  # pyright: ignore[reportArgumentType]
    return found


class _Teller:
    def __init__(self, pack: Pack, locale: str) -> None:
        self._pack, self._locale = pack, locale

    def say(self, key: str, /, **values: object) -> str:
        return message(f"plain.{key}", self._locale, **values)

    def many(self, parts: Sequence[str], key: str) -> str:
        return self.say(f"{key}_joint").join(parts)

    def condition(self, condition: Condition, *, inner: bool = False) -> str:
        """A shared condition is told by its name alone where it stands inside another."""
        name = self.say("term", name=term(condition.name, self._locale)) if condition.name else ""
        told = name if name and inner else name + self.test(condition.test)
        where = self.where(condition.where)
        return self.say("placed", what=told, where=where) if where else told

    def items(self, conditions: Sequence[Condition], key: str) -> str:
        return self.many([self.condition(item, inner=True) for item in conditions], key)

    def words(self, words: Sequence[str]) -> str:
        filled, waiting = fill(words, self._pack)
        shown = [*filled, *waiting]
        told = self.say("word_joint").join(self.say("word", word=word) for word in shown[:SHOWN])
        return told + (self.say("more", count=len(shown) - SHOWN) if len(shown) > SHOWN else "")

    def band(self, test: SpeechRate | TalkShare | Duration | TurnCount) -> str:
        parts = [self.say("over", value=f"{test.over:g}")] if test.over is not None else []
        parts += [self.say("under", value=f"{test.under:g}")] if test.under is not None else []
        return self.many(parts, "and")

    def test(self, test: object) -> str:
        match test:
            case Phrase():
                return self.say(f"phrase_{test.tolerance.value}", words=self.words(test.phrases))
            case Regex():
                return self.pattern(test.pattern)
            case Meaning():
                return self.say("meaning", words=self.words(test.exemplars))
            case Head():
                return self.say("head", family=test.question)
            case Entity():
                return self.say("entity", kinds=self.many([self.say(f"entity_{kind}") for kind in test.kinds], "or"))
            case EmotionIs():
                labels = self.many([self.say(f"emotion_{label}") for label in test.labels], "or")
                limit = "" if test.at_least is None else self.say("at_least", value=f"{test.at_least:g}")
                limit += "" if test.below is None else self.say("under", value=f"{test.below:g}")
                return self.say("emotion_peak" if test.peak else "emotion", labels=labels, limit=limit)
            case SilenceIs():
                owed = self.say("owed", role=self.say(f"role_{test.owed_by}")) if test.owed_by else ""
                music = "" if test.music is None else self.say("music" if test.music else "no_music")
                return self.say("silence", seconds=f"{test.at_least:g}", owed=owed, music=music)
            case Interruption():
                return self.say("interruption")
            case SpeechRate():
                return self.say(f"rate_{test.per}", band=self.band(test))
            case ReplyLatency():
                return self.say("latency", seconds=f"{test.over:g}")
            case Repeat():
                return self.say("repeat", times=test.times)
            case TalkShare():
                return self.say("talk_share", band=self.band(test))
            case Loudness():
                return self.say("loudness", value=f"{test.over:g}")
            case Duration():
                return self.say("duration", band=self.band(test))
            case TurnCount():
                return self.say("turn_count", band=self.band(test))
            case Length():
                return self.say("length", count=test.at_least)
            case Attribute():
                parts = [f"{name} = {self.say('or_joint').join(map(str, values))}" for name, values in test.values.items()]
                parts += [f"{name} > {value:g}" for name, value in test.over.items()]
                parts += [f"{name} < {value:g}" for name, value in test.under.items()]
                return self.say("attribute", told=self.many(parts, "and"))
            case Slot():
                return self.say("slot", name=test.name)
            case Language():
                return self.language(test)
            case All():
                return self.say("all", items=self.items(_together(test), "and"), unit=self.say(f"unit_{test.same}"))
            case AnyOf():
                return self.items(test.items, "or")
            case Not():
                return self.say("not", item=self.condition(test.item, inner=True))
            case AtLeast():
                inner = self.items(test.items, "or")
                return self.say("several", count=test.count, items=inner, unit=self.say(f"unit_{test.same}"))
            case InOrder():
                return self.say("sequence", items=self.items(test.items, "then"), gap=self.amount(test.gap))
        raise TypeError(f"no words for {type(test).__name__}")

    def pattern(self, pattern: str) -> str:
        """A pattern by some of the words that it looks for, spread over all of them; itself where it names none."""
        words = [word for word in required_literals(pattern) or () if len(word) > 1 or not word.isascii()]
        if not words:
            return self.say("regex", pattern=pattern)
        shown = words[:: max(1, -(-len(words) // SHOWN))][:SHOWN]
        told = self.say("word_joint").join(self.say("word", word=word) for word in shown)
        return self.say("regex_words", words=told + (self.say("and_such") if len(words) > len(shown) else ""))

    def language(self, test: Language) -> str:
        if isinstance(test.wanted, bool):
            return self.say(f"{'is' if test.wanted else 'is_no'}_{test.name}")
        return self.say("subject", who=self.many([self.say(f"subject_{who}") for who in test.wanted], "or"))

    def where(self, where: Where) -> str:
        parts: list[str] = []
        if where.speaker:
            roles = self.many([self.say(f"role_{role}") for role in where.speaker], "or")
            parts.append(self.say("speaker", roles=roles))
        if where.first is not None:
            parts.append(self.say("first", amount=self.amount(where.first)))
        if where.last is not None:
            parts.append(self.say("last", amount=self.amount(where.last)))
        if where.places:
            parts.append(self.many([self.place(place) for place in where.places], "or"))
        if where.near is not None:
            parts.append(self.near(where.near))
        return self.many(parts, "where")

    def near(self, near: Near) -> str:
        sides = [self.say("near_before", amount=self.amount(near.before))] if near.before is not None else []
        sides += [self.say("near_after", amount=self.amount(near.after))] if near.after is not None else []
        which = self.say(f"which_{near.which}", nth=near.nth)
        return self.say("near", of=self.condition(near.of, inner=True), which=which, sides=self.many(sides, "or"))

    def place(self, place: Place) -> str:
        name = place.name.replace(" ", "_")
        return self.say(f"place_{name}", amount="" if place.amount is None else self.amount(place.amount))

    def amount(self, amount: Amount) -> str:
        if amount.unit == "rest":
            return self.say("amount_rest")
        unit = "turn" if amount.unit == "turns" and amount.count == 1 else amount.unit
        if amount.role:
            return self.say(f"amount_role_{unit}", count=f"{amount.count:g}", role=self.say(f"role_{amount.role}"))
        return self.say(f"amount_{unit}", count=f"{amount.count:g}")
