"""The frozen shape of a pack: rules, their conditions, and how points are counted. Nothing here runs.

    Pack ── rules: Rule ── match / unless / suspect / mitigate / when / near: Condition ── test + where
         └─ scoring: Scoring
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from scoring_rules.problems import Origin

Text = Mapping[str, str]  # a locale ("zh", "en") to its text
SLOT_PATTERN = re.compile(r"\{([a-z_]+)\}")  # {company} in a phrase


class RuleClass(StrEnum):
    """Fatal classes fail the whole call by themselves and are reported apart from points."""

    NON_FATAL = "non-fatal"
    CUSTOMER_CRITICAL = "customer-critical"
    BUSINESS_CRITICAL = "business-critical"
    COMPLIANCE_CRITICAL = "compliance-critical"


class RuleStatus(StrEnum):
    DRAFT = "draft"  # runs and is listed, costs nothing
    STABLE = "stable"
    RETIRED = "retired"  # kept for old scorecards, does not run


class Expect(StrEnum):
    ABSENT = "absent"
    PRESENT = "present"


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not_applicable"
    NOT_EVALUATED = "not_evaluated"


class FindingStatus(StrEnum):
    CONFIRMED = "confirmed"
    SUSPECTED = "suspected"  # phonetic or low-probability evidence, or a condition under `suspect`
    MITIGATED = "mitigated"


class Reason(StrEnum):
    """Why an item was not evaluated, or a condition could not be."""

    LOW_CONFIDENCE = "low_confidence"  # the window is mostly doubtful, marked or unattributed speech
    NO_SPEECH = "no_speech"  # nobody of the rule's role speaks
    NO_ENCODER = "no_encoder"  # a meaning condition without a sentence model
    UNCALIBRATED = "uncalibrated"  # there is ordinary talk to set a threshold against in Chinese alone
    NO_HEAD = "no_head"  # no trained classifier that fits this sentence model
    NO_TIMES = "no_times"  # the conversation carries no seconds
    NO_EMOTION = "no_emotion"
    NO_LOUDNESS = "no_loudness"
    NO_DURATION = "no_duration"


class Tolerance(StrEnum):
    EXACT = "exact"  # the characters as received
    VARIANTS = "variants"  # script, width, case, fillers, stutters, punctuation, digits
    PINYIN = "pinyin"  # variants, and what sounds alike to a Mandarin recogniser (suspected)


# --- where a condition looks -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Amount:
    """`3 turns`, `2 agent turns`, `30 seconds`, `20 chars`, or `rest`. A turn here is an unbroken run of one role."""

    count: float
    unit: str  # turns | seconds | chars | rest
    role: str = ""  # count only this role's turns; empty: everybody's


@dataclass(frozen=True, slots=True)
class Place:
    """A region relative to the hit in question.

    `name` is hit | clause | sentence | turn | before | after | clause before | clause after | call | earlier |
    later | previous | next; the last two carry an amount of turns.
    """

    name: str
    amount: Amount | None = None


@dataclass(frozen=True, slots=True)
class Near:
    """A window around another condition's hit."""

    of: Condition
    which: str = "any"  # first | last | nth | any | every
    nth: int = 1
    before: Amount | None = None
    after: Amount | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """Limits on where a test looks; all that are given hold together. `places` are joined with each other."""

    speaker: tuple[str, ...] = ()  # empty: as its surroundings say
    first: Amount | None = None
    last: Amount | None = None
    places: tuple[Place, ...] = ()
    near: Near | None = None


EVERYWHERE = Where()


# --- what a condition tests --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phrase:
    phrases: tuple[str, ...]
    tolerance: Tolerance = Tolerance.VARIANTS


@dataclass(frozen=True, slots=True)
class Regex:
    pattern: str  # RE2 syntax, over the turn in simplified characters and half width, lower case


@dataclass(frozen=True, slots=True)
class Meaning:
    """Nearness to exemplar sentences, by cosine. `threshold` None: set against ordinary talk, for the model in use."""

    exemplars: tuple[str, ...]
    among: Condition
    threshold: float | None = None
    unit: str = "sentence"  # what is encoded: clause | sentence | turn


@dataclass(frozen=True, slots=True)
class Head:
    """A question that trained heads answer: a family of faults (heads.py), FAMILY.mitigated, .unexcused or .clean,
    or an act (acts.py).

    The heads find their own candidates: turns, or parts of long ones.
    """

    question: str


@dataclass(frozen=True, slots=True)
class Entity:
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EmotionIs:
    """Turns whose emotion is one of `labels` with a score of at least `at_least`, or whose score for them is `below`."""

    labels: tuple[str, ...]
    at_least: float | None = None
    below: float | None = None
    peak: bool = False  # only the turn with the highest score


@dataclass(frozen=True, slots=True)
class SilenceIs:
    at_least: float  # seconds
    owed_by: str = ""  # the role that owes the next word, or "nobody"; empty: whoever
    music: bool | None = None


@dataclass(frozen=True, slots=True)
class Interruption:
    at_least: float = 0.0  # seconds of overlap beyond what the measure itself asks


@dataclass(frozen=True, slots=True)
class SpeechRate:
    """Characters (words in English) a minute of speaking time; turns under `min_chars` are left out."""

    over: float | None = None
    under: float | None = None
    per: str = "call"  # call | turn
    min_chars: int = 5  # domain: turns under five characters say nothing about pace


@dataclass(frozen=True, slots=True)
class ReplyLatency:
    over: float  # seconds


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same speaker says nearly the same again within twelve of their turns."""

    similarity: float = 0.85  # of characters, 0–1
    min_chars: int = 6
    times: int = 2


@dataclass(frozen=True, slots=True)
class TalkShare:
    over: float | None = None
    under: float | None = None


@dataclass(frozen=True, slots=True)
class Loudness:
    """Turns louder than the speaker's own median by `over` dB."""

    over: float


@dataclass(frozen=True, slots=True)
class Duration:
    over: float | None = None
    under: float | None = None


@dataclass(frozen=True, slots=True)
class TurnCount:
    over: float | None = None
    under: float | None = None


@dataclass(frozen=True, slots=True)
class Length:
    """Turns in which at least so many characters (words in English) are said within the region."""

    at_least: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """Every named attribute has one of the values listed, or lies between `over` and `under`."""

    values: Mapping[str, tuple[Any, ...]]
    over: Mapping[str, float]
    under: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Slot:
    """The site has filled this slot."""

    name: str


@dataclass(frozen=True, slots=True)
class Language:
    """A question of grammar about the stretch at hand, or, with nothing at hand, the clauses of which it is true.

    `name` is question | quoted | negated | backchannel | subject; `wanted` is true/false, or subjects out of
    us, you, thing, none.
    """

    name: str
    wanted: tuple[str, ...] | bool


@dataclass(frozen=True, slots=True)
class All:
    """Hits of the first item for which every other item holds in the same unit (or where it says itself)."""

    items: tuple[Condition, ...]
    same: str = "turn"  # clause | sentence | turn | call


@dataclass(frozen=True, slots=True)
class AnyOf:
    items: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    item: Condition


@dataclass(frozen=True, slots=True)
class AtLeast:
    """At least `count` of `items` (or `count` hits, where there is one item) in the same unit."""

    count: int
    items: tuple[Condition, ...]
    same: str = "turn"


@dataclass(frozen=True, slots=True)
class InOrder:
    """The items one after the other, each beginning within `gap` of the one before."""

    items: tuple[Condition, ...]
    gap: Amount


Test = (
    Phrase | Regex | Meaning | Head | Entity | EmotionIs | SilenceIs | Interruption | SpeechRate | ReplyLatency
    | Repeat | TalkShare | Loudness | Duration | TurnCount | Length | Attribute | Slot | Language
    | All | AnyOf | Not | AtLeast | InOrder
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    test: Test
    where: Where
    origin: Origin
    name: str = ""  # of the shared definition it came from


# --- rules and packs ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mitigation:
    conditions: tuple[Condition, ...]
    places: tuple[Place, ...]
    points: float = 0.0


@dataclass(frozen=True, slots=True)
class ExampleTurn:
    """`silence` seconds of quiet stand before the turn; a turn of role "" is a pause alone."""

    role: str
    text: str
    start: float | None = None
    end: float | None = None
    emotion: tuple[str, float] | None = None
    overlap: float = 0.0  # seconds by which it runs into the turn before
    probability: float | None = None  # of each of its words
    marks: tuple[str, ...] = ()
    silence: float = 0.0
    music: bool = False
    rate: float | None = None  # characters a minute
    loudness: float | None = None  # dBFS


@dataclass(frozen=True, slots=True)
class Example:
    expect: str  # confirmed | suspected | mitigated | none, or an Outcome
    turns: tuple[ExampleTurn, ...]
    here: int | None  # index of the marked turn
    attributes: Mapping[str, Any]
    origin: Origin
    needs_meaning: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    language: str
    name: Text
    dimension: str
    expect: Expect
    match: tuple[Condition, ...]  # any of them
    origin: Origin
    status: RuleStatus = RuleStatus.STABLE
    rule_class: RuleClass = RuleClass.NON_FATAL
    points: float = 0.0
    award: float = 0.0  # points added when an expected phrase is there
    per: str = "call"  # call | finding: what the points are for
    cap: float | None = None  # the most that findings of this rule cost
    where: Where = EVERYWHERE
    when: tuple[Condition, ...] = ()  # all of them
    unless: tuple[Condition, ...] = ()
    suspect: tuple[Condition, ...] = ()
    mitigate: Mitigation | None = None
    say_instead: Text = field(default_factory=lambda: MappingProxyType({}))
    why: Text = field(default_factory=lambda: MappingProxyType({}))
    references: tuple[str, ...] = ()
    false_positives: Text = field(default_factory=lambda: MappingProxyType({}))
    examples: tuple[Example, ...] = ()

    @property
    def fatal(self) -> bool:
        return self.rule_class is not RuleClass.NON_FATAL


@dataclass(frozen=True, slots=True)
class Dimension:
    id: str
    name: Text
    weight: float  # points of the whole: the most this dimension can cost
    principle: str = ""  # courteous | professional | clear | efficient


@dataclass(frozen=True, slots=True)
class Band:
    at_least: float
    name: Text


@dataclass(frozen=True, slots=True)
class Confidence:
    """Below these a recogniser's result is doubtful. Probabilities 0–1; `window` is a share of characters."""

    word: float = 0.5
    window: float = 0.5


@dataclass(frozen=True, slots=True)
class Scoring:
    start: float
    passing: float
    dimensions: Mapping[str, Dimension]
    bands: tuple[Band, ...]  # highest first
    award_cap: float
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Word lists of one language that its grammar questions rest on: data of the pack, not code."""

    words: Mapping[str, tuple[str, ...]]

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self.words.get(name, ())


@dataclass(frozen=True, slots=True)
class Pack:
    """Rules of one or more languages with overlays applied. `fingerprint` changes with anything that can change a result."""

    rules: tuple[Rule, ...]
    scoring: Scoring
    lexicons: Mapping[str, Lexicon]
    slots: Mapping[str, tuple[str, ...]]
    languages: tuple[str, ...]
    versions: Mapping[str, str]  # pack folder's id to its version
    fingerprint: str
    problems: tuple[Any, ...] = ()  # with collect=True

    def rule(self, rule_id: str, language: str | None = None) -> Rule:
        """The rule of that id, of the first language that has it. Raises KeyError."""
        for rule in self.rules:
            if rule.id == rule_id and language in (None, rule.language):
                return rule
        raise KeyError(rule_id)
