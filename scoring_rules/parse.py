"""From YAML nodes to conditions. One function a condition; the table `TESTS` is the list of what there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

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
    Head,
    InOrder,
    Interruption,
    Language,
    Length,
    Loudness,
    Meaning,
    Near,
    Not,
    Phrase,
    Place,
    Regex,
    Repeat,
    ReplyLatency,
    SilenceIs,
    Slot,
    SpeechRate,
    TalkShare,
    Test,
    Tolerance,
    TurnCount,
    Where,
)  # fmt: skip
from scoring_rules.source import Source

ROLES = ("agent", "customer", "ivr", "system", "any")
EMOTIONS = ("angry", "anxious", "sad", "neutral", "happy")
ENTITIES = (
    "phone", "landline", "id_card", "bank_card", "password", "verification_code", "order_number", "staff_number",
    "hotline", "last_digits", "plate", "email", "amount", "date",
)  # fmt: skip
SUBJECTS = ("us", "you", "thing", "none")
UNITS = ("clause", "sentence", "turn", "call")
WHERE_KEYS = ("speaker", "first", "last", "in", "near")
PLACES = ("hit", "clause", "sentence", "turn", "before", "after", "clause before", "clause after", "call", "earlier", "later")
MAX_PHRASE = 60  # characters; anything longer is a sentence, for which `meaning` is the tool
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ?(?:(agent|customer) )?(turns?|seconds?|chars?)|rest")
_NEIGHBOUR = re.compile(r"(previous|next)(?: (\d+))?(?: (agent|customer))? turns?")


class Conditions:
    """Reads conditions of one pack; `definitions` are its shared ones, read when first used."""

    def __init__(self, definitions: Mapping[str, list[Source]]) -> None:
        self._sources = definitions
        self._read: dict[str, Condition | None] = {}
        self._open: list[str] = []
        self.used: set[str] = set()

    def named(self, node: Source, name: str) -> Condition | None:
        """The shared condition `name`, or None after noting why not."""
        self.used.add(name)
        if name in self._read:
            if self._read[name] is None:
                node.error("broken_definition", name=name)
            return self._read[name]
        if name not in self._sources:
            from scoring_rules.source import nearest

            node.error("unknown_definition", name=name, hint=nearest(name, list(self._sources)))
            return None
        if name in self._open:
            node.error("circular_definition", name=" → ".join([*self._open, name]))
            return None
        self._open.append(name)
        parts = [self.read(source) for source in self._sources[name]]
        self._open.pop()
        good = tuple(part for part in parts if part is not None)
        if len(good) < len(parts) or not good:
            self._read[name] = None
        else:
            test = good[0].test if len(good) == 1 else AnyOf(good)
            where = good[0].where if len(good) == 1 else EVERYWHERE
            self._read[name] = Condition(test, where, good[0].origin, name)
        return self._read[name]

    def read_all(self, node: Source, same: str = "turn") -> tuple[Condition, ...]:
        """A condition or a list of them."""
        return tuple(found for item in node.many() if (found := self.read(item, same)) is not None)

    def read(self, node: Source, same: str = "turn") -> Condition | None:
        """One condition, or None after noting what is wrong. `same` is the unit in which `all` holds by default."""
        before = len(node.problems.errors)
        keys = node.mapping((*TESTS, "of", *OPTIONS, *WHERE_KEYS))
        names = [key for key in keys if key in TESTS and not (key == "at_least" and "of" not in keys)]
        if not names:
            if len(node.problems.errors) == before:
                node.error("no_test", allowed=", ".join(TESTS))
            return None
        for key, child in keys.items():
            owners = OPTIONS.get(key, ())
            if owners and not any(name in owners for name in names):
                child.error("stray_option", key=key, owners=", ".join(owners))
        where = self.where(keys)
        items: list[Condition] = []
        for name in names:
            if name == "use":
                found = self.named(keys[name], keys[name].text())
                if found is not None:
                    items.append(found)
                continue
            test = TESTS[name](self, keys[name], keys, same)
            if test is not None:
                items.append(Condition(test, EVERYWHERE, keys[name].origin))
        if len(node.problems.errors) > before or len(items) < len(names):
            return None
        if len(items) > 1:
            unit = keys["same"].choice(UNITS) if "same" in keys else same
            return Condition(All(locating_first(items), unit), where, node.origin)
        only = items[0]
        if where == EVERYWHERE:
            return only
        if only.where == EVERYWHERE:
            return Condition(only.test, where, only.origin, only.name)
        return Condition(AnyOf((only,)), where, only.origin, only.name)

    def where(self, keys: Mapping[str, Source]) -> Where:
        speaker: tuple[str, ...] = ()
        if "speaker" in keys:
            speaker = tuple(item.choice(ROLES) for item in keys["speaker"].many())
        near = self.near(keys["near"]) if "near" in keys else None
        return Where(
            speaker=speaker,
            first=amount(keys["first"], ("turns", "seconds")) if "first" in keys else None,
            last=amount(keys["last"], ("turns", "seconds")) if "last" in keys else None,
            places=places(keys["in"]) if "in" in keys else (),
            near=near,
        )

    def near(self, node: Source) -> Near | None:
        keys = node.mapping(("of", "which", "nth", "before", "after", "around"))
        if "of" not in keys:
            if keys:
                node.error("missing_key", key="of")
            return None
        of = self.read(keys["of"])
        spans = {name: amount(keys[name], ("turns", "seconds", "chars", "rest")) for name in ("before", "after", "around") if name in keys}
        if not spans:
            node.error("missing_key", key="before, after, around")
        which = keys["which"].choice(("any", "first", "last", "nth", "every")) if "which" in keys else "any"
        if of is None:
            return None
        around = spans.get("around")
        return Near(
            of=of,
            which=which,
            nth=keys["nth"].integer(1, 1000) if "nth" in keys else 1,
            before=spans.get("before", around),
            after=spans.get("after", around),
        )


one_amount = lru_cache(None)(Amount)  # equal ones are one: what is worked out for an amount is kept by its identity


def amount(node: Source, units: tuple[str, ...]) -> Amount | None:
    found = _AMOUNT.fullmatch(node.text())
    if not found:
        node.error("bad_amount", value=node.text(), units=", ".join(units))
        return None
    if found[0] == "rest":
        result = one_amount(0, "rest")
    else:
        unit = found[3] if found[3].endswith("s") else found[3] + "s"
        result = one_amount(float(found[1]), unit, found[2] or "")
    if result.unit not in units:
        node.error("bad_amount", value=node.text(), units=", ".join(units))
        return None
    return result


def places(node: Source) -> tuple[Place, ...]:
    found = []
    for item in node.many():
        text = item.text()
        match = _NEIGHBOUR.fullmatch(text)
        if match:
            found.append(Place(match[1], Amount(float(match[2] or 1), "turns", match[3] or "")))
        elif text in PLACES:
            found.append(Place(text))
        else:
            item.error("bad_place", value=text, allowed=", ".join([*PLACES, "previous/next [n] [agent|customer] turn"]))
    return tuple(found)


# --- tests -------------------------------------------------------------------------------------------------

Keys = Mapping[str, Source]


def _phrase(_: Conditions, node: Source, keys: Keys, __: str) -> Test | None:
    return read_phrases(node, keys)


def read_phrases(node: Source, keys: Keys) -> Phrase | None:
    """A list of phrases with the `tolerance` among `keys`, or None after noting that there is none."""
    phrases = node.texts()
    for item in node.many():
        text = item.text()
        if len(text) > MAX_PHRASE:
            item.error("phrase_too_long", limit=MAX_PHRASE)
        elif text and not any(character.isalnum() for character in text):
            item.error("phrase_of_marks")
    if not phrases:
        node.error("no_phrases")
        return None
    tolerance = keys["tolerance"].choice([t.value for t in Tolerance]) if "tolerance" in keys else "variants"
    return Phrase(tuple(dict.fromkeys(phrases)), Tolerance(tolerance))


def _regex(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    import re2

    pattern = node.text()
    if not pattern:
        if node.kind == "text":
            node.error("regex_matches_nothing")
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else ""
        node.error("bad_regex", reason=reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason)
        return None
    if compiled.search(""):
        node.error("regex_matches_nothing")
        return None
    return Regex(pattern)


def _meaning(reader: Conditions, node: Source, keys: Keys, _: str) -> Test | None:
    exemplars = node.texts()
    threshold = None
    if "at_least" in keys and keys["at_least"].kind != "number":
        keys["at_least"].choice(("calibrated",))
    elif "at_least" in keys:
        threshold = keys["at_least"].number(0, 1)
    among = _among(reader, node, keys)
    if not exemplars or among is None:
        return None
    return Meaning(exemplars, among, threshold, _unit(keys))


def _head(reader: Conditions, node: Source, keys: Keys, _: str) -> Test | None:
    family = node.text()
    if not re.fullmatch(r"[a-z][a-z0-9_.]*", family):
        node.error("bad_family", value=family)
        return None
    return Head(family)


def _among(reader: Conditions, node: Source, keys: Keys) -> Condition | None:
    if "among" not in keys:
        node.error("no_among")
        return None
    return reader.read(keys["among"])


def _unit(keys: Keys) -> str:
    return keys["unit"].choice(("sentence", "clause", "turn")) if "unit" in keys else "sentence"


def _entity(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    return Entity(tuple(item.choice(ENTITIES) for item in node.many()))


def _emotion(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    if node.kind != "mapping":
        return EmotionIs(tuple(item.choice(EMOTIONS) for item in node.many()))
    keys = node.mapping(("label", "at_least", "below", "peak"))
    if "label" not in keys:
        node.error("missing_key", key="label")
        return None
    return EmotionIs(
        tuple(item.choice(EMOTIONS) for item in keys["label"].many()),
        at_least=_optional(keys, "at_least", 0, 1),
        below=_optional(keys, "below", 0, 1),
        peak=keys["peak"].boolean() if "peak" in keys else False,
    )


def _silence(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    if node.kind == "number":
        return SilenceIs(node.number(0.1, 3600))
    keys = node.mapping(("at_least", "owed_by", "music"))
    if "at_least" not in keys:
        node.error("missing_key", key="at_least")
        return None
    return SilenceIs(
        keys["at_least"].number(0.1, 3600),
        keys["owed_by"].choice(("agent", "customer", "nobody")) if "owed_by" in keys else "",
        keys["music"].boolean() if "music" in keys else None,
    )


def _interruption(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    if node.kind == "boolean":
        return Interruption() if node.boolean() else node.error("only_true")
    keys = node.mapping(("at_least",))
    return Interruption(_optional(keys, "at_least", 0, 600) or 0.0)


def _speech_rate(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    keys = node.mapping(("over", "under", "per", "min_chars"))
    over, under = _band(node, keys, 0, 2000)
    return SpeechRate(
        over,
        under,
        keys["per"].choice(("call", "turn")) if "per" in keys else "call",
        keys["min_chars"].integer(1, 1000) if "min_chars" in keys else 5,
    )


def _reply_latency(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    keys = node.mapping(("over",))
    if "over" not in keys:
        node.error("missing_key", key="over")
        return None
    return ReplyLatency(keys["over"].number(0, 3600))


def _repeat(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    if node.kind == "boolean":
        return Repeat() if node.boolean() else node.error("only_true")
    keys = node.mapping(("similarity", "min_chars", "times"))
    return Repeat(
        keys["similarity"].number(0.5, 1) if "similarity" in keys else 0.85,
        keys["min_chars"].integer(1, 1000) if "min_chars" in keys else 6,
        keys["times"].integer(2, 20) if "times" in keys else 2,
    )


def _optional(keys: Keys, name: str, low: float, high: float) -> float | None:
    return keys[name].number(low, high) if name in keys else None


def _band(node: Source, keys: Keys, low: float, high: float) -> tuple[float | None, float | None]:
    over, under = _optional(keys, "over", low, high), _optional(keys, "under", low, high)
    if over is None and under is None:
        node.error("missing_key", key="over, under")
    return over, under


def _banded(make: Callable[[float | None, float | None], Test], high: float) -> Reader:
    def read(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
        return make(*_band(node, node.mapping(("over", "under")), 0, high))

    return read


def _loudness(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    keys = node.mapping(("over",))
    if "over" not in keys:
        node.error("missing_key", key="over")
        return None
    return Loudness(keys["over"].number(0, 60))


def _length(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    keys = node.mapping(("at_least",))
    if "at_least" not in keys:
        node.error("missing_key", key="at_least")
        return None
    return Length(keys["at_least"].integer(1, 10_000))


def _attribute(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    values: dict[str, tuple[object, ...]] = {}
    over: dict[str, float] = {}
    under: dict[str, float] = {}
    for name, child in node.mapping().items():
        if child.kind == "mapping":
            limits = child.mapping(("over", "under"))
            low, high = _band(child, limits, -1e12, 1e12)
            if low is not None:
                over[name] = low
            if high is not None:
                under[name] = high
        else:
            values[name] = tuple(item.scalar() for item in child.many() if item.kind not in ("mapping", "list"))
    if not (values or over or under):
        node.error("no_attributes")
        return None
    return Attribute(MappingProxyType(values), MappingProxyType(over), MappingProxyType(under))


def _slot(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    return Slot(node.text())


def _yes_or_no(name: str) -> Reader:
    def read(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
        return Language(name, node.boolean())

    return read


def _subject(_: Conditions, node: Source, __: Keys, ___: str) -> Test | None:
    return Language("subject", tuple(item.choice(SUBJECTS) for item in node.many()))


def _all(reader: Conditions, node: Source, keys: Keys, same: str) -> Test | None:
    unit = keys["same"].choice(UNITS) if "same" in keys else same
    items = _items(reader, node, unit)
    return All(locating_first(items), unit) if items else None


def locating_first(items: Sequence[Condition]) -> tuple[Condition, ...]:
    """The order in which `all` works: what finds a place before what only asks about one."""
    return tuple(sorted(items, key=lambda item: isinstance(item.test, Not | Language | Attribute | Slot)))


def _any(reader: Conditions, node: Source, _: Keys, same: str) -> Test | None:
    items = _items(reader, node, same)
    return AnyOf(items) if items else None


def _items(reader: Conditions, node: Source, same: str) -> tuple[Condition, ...]:
    if node.kind != "list":
        node.expected("list")
        return ()
    if not node.items():
        node.error("no_items")
    return reader.read_all(node, same)


def _not(reader: Conditions, node: Source, _: Keys, same: str) -> Test | None:
    item = reader.read(node, same)
    return Not(item) if item else None


def _at_least(reader: Conditions, node: Source, keys: Keys, same: str) -> Test | None:
    count = node.integer(1, 100)
    unit = keys["same"].choice(UNITS) if "same" in keys else same
    items = _items(reader, keys["of"], unit)
    return AtLeast(count, items, unit) if items and count else None


def _sequence(reader: Conditions, node: Source, keys: Keys, same: str) -> Test | None:
    items = _items(reader, node, same)
    gap = amount(keys["gap"], ("turns", "seconds", "chars", "rest")) if "gap" in keys else Amount(0, "rest")
    if len(items) == 1:
        node.error("short_sequence")
    return InOrder(items, gap) if len(items) > 1 and gap else None


Reader = Callable[[Conditions, Source, Keys, str], Test | None]

TESTS: Mapping[str, Reader] = MappingProxyType(
    {
        "phrase": _phrase,
        "regex": _regex,
        "meaning": _meaning,
        "head": _head,
        "entity": _entity,
        "emotion": _emotion,
        "silence": _silence,
        "interruption": _interruption,
        "speech_rate": _speech_rate,
        "reply_latency": _reply_latency,
        "repeat": _repeat,
        "talk_share": _banded(TalkShare, 1),
        "loudness": _loudness,
        "duration": _banded(Duration, 86_400),
        "turn_count": _banded(TurnCount, 100_000),
        "length": _length,
        "attribute": _attribute,
        "slot": _slot,
        "question": _yes_or_no("question"),
        "quoted": _yes_or_no("quoted"),
        "negated": _yes_or_no("negated"),
        "backchannel": _yes_or_no("backchannel"),
        "subject": _subject,
        "all": _all,
        "any": _any,
        "not": _not,
        "at_least": _at_least,
        "sequence": _sequence,
        "use": _slot,
    }
)
OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "tolerance": ("phrase",),
        "at_least": ("meaning", "at_least"),
        "among": ("meaning",),
        "unit": ("meaning", "head"),
        "same": tuple(name for name in TESTS),
        "gap": ("sequence",),
        "of": ("at_least",),
    }
)

