"""A rule's examples: short dialogues in YAML, and the conversations they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from scoring_rules.model import Example, ExampleTurn, Expect, FindingStatus, Outcome
from scoring_rules.parse import EMOTIONS
from scoring_rules.source import Source

SPEAKERS = {"agent": "A", "customer": "B", "ivr": "I", "system": "S", "unknown": "U"}
TURN_OPTIONS = ("here", "at", "emotion", "overlap", "probability", "marks", "rate", "loudness", "silence", "music")
# An example's turn with no times of its own is spoken at this pace, after this pause: ordinary talk, no finding.
CHARS_PER_SECOND = 3.5
PAUSE = 0.4  # seconds


def read_examples(node: Source, expect: Expect) -> tuple[Example, ...]:
    return tuple(example for item in node.many() if (example := _example(item, expect)) is not None)


def _example(node: Source, expect: Expect) -> Example | None:
    before = len(node.problems.errors)
    keys = node.mapping(("expect", "turns", "attributes", "needs"))
    for key in ("expect", "turns"):
        if key not in keys:
            node.error("missing_key", key=key)
    if len(node.problems.errors) > before:
        return None
    outcomes = [outcome.value for outcome in Outcome]
    allowed = outcomes if expect is Expect.PRESENT else [*(s.value for s in FindingStatus), "none", *outcomes[2:]]
    expected = keys["expect"].choice(allowed)
    turns: list[ExampleTurn] = []
    here = None
    for item in keys["turns"].many():
        turn, marked = _turn(item)
        if turn is None:
            continue
        if marked:
            if here is not None:
                item.error("two_marks")
            here = len(turns)
        turns.append(turn)
    if not turns and len(node.problems.errors) == before:
        keys["turns"].error("no_items")
    needs = keys["needs"].choice(("meaning",)) if "needs" in keys else ""
    attributes = keys["attributes"].value() if "attributes" in keys and keys["attributes"].mapping() else {}
    if len(node.problems.errors) > before:
        return None
    return Example(expected, tuple(turns), here, MappingProxyType(attributes), node.origin, bool(needs))


def _turn(node: Source) -> tuple[ExampleTurn | None, bool]:
    keys = node.mapping((*SPEAKERS, *TURN_OPTIONS))
    roles = [key for key in keys if key in SPEAKERS]
    if not roles and "silence" in keys:
        music = keys["music"].boolean() if "music" in keys else False
        return ExampleTurn("", "", silence=keys["silence"].number(0, 3600), music=music), False
    if len(roles) != 1:
        if keys:
            node.error("one_speaker", allowed=", ".join(SPEAKERS))
        return None, False
    start = end = None
    if "at" in keys:
        times = keys["at"].items() if keys["at"].kind == "list" else []
        if len(times) != 2:
            keys["at"].error("bad_times")
        else:
            start, end = (time.number(0, 86_400) for time in times)
            if end < start:
                keys["at"].error("bad_times")
    emotion = None
    if "emotion" in keys:
        parts = keys["emotion"].many()
        emotion = (parts[0].choice(EMOTIONS), parts[1].number(0, 1) if len(parts) > 1 else 0.9)
    turn = ExampleTurn(
        role=roles[0],
        text=keys[roles[0]].text(),
        start=start,
        end=end,
        emotion=emotion,
        overlap=keys["overlap"].number(0, 60) if "overlap" in keys else 0.0,
        probability=keys["probability"].number(0, 1) if "probability" in keys else None,
        marks=keys["marks"].texts() if "marks" in keys else (),
        rate=keys["rate"].number(1, 2000) if "rate" in keys else None,
        loudness=keys["loudness"].number(-120, 0) if "loudness" in keys else None,
    )
    return turn, keys["here"].boolean() if "here" in keys else False


# --- the conversation an example stands for (the shape of scoring_rules.conversation) ------------------------


@dataclass(frozen=True, slots=True)
class Span:
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True)
class Emotion:
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Voice:
    loudness_db: float  # dBFS


@dataclass(frozen=True, slots=True)
class Turn:
    speaker: str
    text: str
    role: str | None = None
    start: float | None = None
    end: float | None = None
    words: tuple[Word, ...] = ()
    emotion: Emotion | None = None
    marks: tuple[str, ...] = ()
    voice: Voice | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    span: Span
    before: int | None = None
    after: int | None = None
    owed_by: str | None = None
    music: bool = False


@dataclass(frozen=True, slots=True)
class Overlap:
    span: Span
    turn: int
    against: int
    interruption: bool = True


@dataclass(frozen=True, slots=True)
class Latency:
    turn: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Acoustics:
    silences: tuple[Silence, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    latencies: tuple[Latency, ...] = ()
    music: tuple[Span, ...] = ()
    talk_seconds: Mapping[str, float] = field(default_factory=dict)
    rate: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation in memory: what examples, `rules try` and tests score."""

    turns: tuple[Turn, ...]
    id: str = "example"
    language: str = "zh"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    duration: float | None = None
    acoustics: Acoustics | None = None


def dialogue(turns: Sequence[tuple[str, str]], language: str = "zh", **attributes: Any) -> Dialogue:
    """A conversation of (role, text) pairs without times."""
    made = tuple(Turn(SPEAKERS[role], text, None if role == "unknown" else role) for role, text in turns)
    return Dialogue(made, language=language, attributes=attributes)


def conversation(example: Example, language: str) -> tuple[Dialogue, int | None]:
    """The example as a conversation, and the index of its marked turn in it."""
    timed = any(turn.start is not None or turn.silence or turn.overlap or turn.rate for turn in example.turns)
    turns: list[Turn] = []
    silences: list[Silence] = []
    overlaps: list[Overlap] = []
    latencies: list[Latency] = []
    clock, quiet, music, here = 0.0, 0.0, False, None
    for index, line in enumerate(example.turns):
        if not line.role:
            quiet, music = quiet + line.silence, music or line.music
            continue
        if index == example.here:
            here = len(turns)
        pace = (line.rate or CHARS_PER_SECOND * 60) / 60
        if line.start is not None and line.end is not None:
            start, end = line.start, line.end
        else:
            start = max(0.0, clock - line.overlap) if line.overlap else clock + (quiet or PAUSE)
            end = start + max(0.3, len(line.text) / pace)
        gap = start - clock
        place = len(turns)
        role = None if line.role == "unknown" else line.role
        if (quiet or gap >= 3) and place:
            silences.append(Silence(Span(clock, start), place - 1, place, role, music))
        if line.overlap and place:
            overlaps.append(Overlap(Span(start, min(end, clock)), place, place - 1))
        if place and turns[-1].speaker != SPEAKERS[line.role]:
            latencies.append(Latency(place, max(0.0, gap)))
        words: tuple[Word, ...] = ()
        if line.probability is not None:
            step = (end - start) / max(1, len(line.text))
            words = tuple(
                Word(char, start + step * n, start + step * (n + 1), line.probability) for n, char in enumerate(line.text)
            )
        turns.append(
            Turn(
                SPEAKERS[line.role],
                line.text,
                role,
                start if timed else None,
                end if timed else None,
                words,
                Emotion(*line.emotion) if line.emotion else None,
                line.marks,
                None if line.loudness is None else Voice(line.loudness),
            )
        )
        clock, quiet, music = max(clock, end), 0.0, False
    acoustics = None
    if timed:
        if quiet and turns:
            silences.append(Silence(Span(clock, clock + quiet), len(turns) - 1, None, None, music))
        talk: dict[str, float] = {}
        for turn in turns:
            talk[turn.speaker] = talk.get(turn.speaker, 0.0) + (turn.end or 0) - (turn.start or 0)
        acoustics = Acoustics(tuple(silences), tuple(overlaps), tuple(latencies), talk_seconds=talk)
    made = Dialogue(
        tuple(turns), "example", language, example.attributes, clock + quiet if timed else None, acoustics
    )
    return made, here
