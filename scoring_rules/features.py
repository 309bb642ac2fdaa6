"""What a trained head sees of a turn: its situation in the call, its character sequences, its cues.

Training (bench/train_heads.py) and judging use these same functions. Sequences of characters are hashed, so that a head is
a table of numbers; cues are classes of words (data/cues-zh.toml) that stand for what no list of sequences can learn from
a few thousand turns.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scoring_rules.sounds import sounds
from scoring_rules.text import BREAK, fold, points

DATA = Path(__file__).parent / "data"
BITS = 16  # of a hashed character sequence: 65,536 slots a field
FIELDS = ("here", "sound", "asked", "after")
LENGTHS = {"here": (1, 2, 3), "sound": (2, 3), "asked": (1, 2), "after": (1, 2)}
WEIGHT = {"here": 1.0, "sound": 1.0, "asked": 0.5, "after": 0.3, "cue": 0.4}  # chosen by cross-validation, see data/HEADS.md
DAMPING = 0.35  # sums are divided by (number of sequences)^0.35: between counting and averaging
SCREEN_LENGTHS = (1, 2, 3)
REACH = {"before": 60, "asked": 60, "between": 40, "after": 80, "here": 160}  # characters that count, see `situation`
_MARKS = re.compile(r"[^\w]+|_+")


class Situation(NamedTuple):
    """A stretch of an agent's talk and what stands around it, without punctuation."""

    here: str
    before: str = ""  # what the same speaker said last
    asked: str = ""  # what the other side said just before
    between: str = ""  # what the other side says next
    after: str = ""  # what the speaker then says


def bare(text: str) -> str:
    """Without punctuation; pauses and marks become single spaces."""
    return _MARKS.sub(" ", text).strip()


def squeezed(text: str) -> str:
    """Without punctuation and spaces."""
    return _MARKS.sub("", text)


def situation(turns: Sequence[tuple[str | None, str]], index: int, here: str = "") -> Situation:
    """The situation of turn `index` of (role, text) turns; `here` narrows it to a part of the turn.

    Turns of one role that follow each other belong together before the turn, and stand apart after it: what an agent
    adds in a turn of their own is the next turn.
    """
    role = turns[index][0]
    asked: list[str] = []
    place = index - 1
    while place >= 0 and turns[place][0] != role:
        asked.insert(0, turns[place][1])
        place -= 1
    before = turns[place][1] if place >= 0 else ""
    between: list[str] = []
    place = index + 1
    while place < len(turns) and turns[place][0] != role:
        between.append(turns[place][1])
        place += 1
    after = turns[place][1] if place < len(turns) else ""
    return Situation(
        bare(here or turns[index][1])[: REACH["here"]],
        bare(before)[-REACH["before"] :],
        bare(" ".join(asked))[-REACH["asked"] :],
        bare(" ".join(between))[: REACH["between"]],
        bare(after)[: REACH["after"]],
    )


def sentence(seen: Situation) -> str:
    """The situation as one text for the sentence model."""
    parts = []
    if seen.before:
        parts.append("客服 " + seen.before[-40:])
    if seen.asked:
        parts.append("客户 " + seen.asked)
    parts.append("客服说 " + seen.here)
    if seen.between or seen.after:
        parts.append("之后")
    if seen.between:
        parts.append("客户 " + seen.between)
    if seen.after:
        parts.append("客服 " + seen.after)
    return " ".join(parts)


# --- character sequences -----------------------------------------------------------------------------------


def slots(values: np.ndarray, length: int, field: int) -> np.ndarray:
    """(characters - length + 1,) slot of each sequence of `length` code points."""
    count = max(0, len(values) - length + 1)
    state = np.full(count, (field * 8 + length) * 0x9E3779B1 & 0xFFFFFFFF, dtype=np.uint32)
    for step in range(length):
        state ^= values[step : step + count]
        state *= np.uint32(0x85EBCA6B)
        state ^= state >> np.uint32(13)
    state *= np.uint32(0xC2B2AE35)
    return (state >> np.uint32(32 - BITS)).astype(np.int64)


def _framed(text: str) -> np.ndarray:
    return np.concatenate(([BREAK], points(text), [BREAK])).astype(np.uint32)


def sequences(seen: Situation) -> list[tuple[int, np.ndarray, float]]:
    """(field, slots, value of each) of a situation; a slot counts once a field."""
    compact = fold(seen.here, "zh")
    texts = {
        "here": compact,
        "sound": sounds(compact),
        "asked": fold(seen.asked, "zh")[-30:],
        "after": fold(seen.after, "zh")[:40],
    }
    found = []
    for number, field in enumerate(FIELDS):
        values = _framed(texts[field])
        unique = np.unique(np.concatenate([slots(values, length, number) for length in LENGTHS[field]]))
        found.append((number, unique, WEIGHT[field]))
    total = sum(len(unique) * value**2 for _, unique, value in found)
    scale = total**-DAMPING
    return [(number, unique, value * scale) for number, unique, value in found]


# --- cues --------------------------------------------------------------------------------------------------

_SEEN = {"here": "here", "before": "asked", "said": "before", "after": "after"}


@cache
def cues() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """(section, name, pattern) of each cue."""
    with (DATA / "cues-zh.toml").open("rb") as file:
        sections = tomllib.load(file)
    return tuple(
        (section, name, re.compile(pattern)) for section, patterns in sections.items() for name, pattern in patterns.items()
    )


def cue_values(seen: Situation) -> np.ndarray:
    """(cues,) float32: 1 where a cue stands."""
    texts = {section: squeezed(getattr(seen, part)) for section, part in _SEEN.items()}
    return np.array([1.0 if texts[section] and pattern.search(texts[section]) else 0.0 for section, _, pattern in cues()], np.float32)


# --- the screen: which turns are worth a look -----------------------------------------------------------------


def screen_scores(compact: str, table: np.ndarray, intercept: float) -> np.ndarray:
    """(turns,) log-odds that a turn is worth a look, for all turns of a call at once.

    compact: the call's turns, each between two BREAK characters (text.Views.compact); table: (2^BITS,) float32.
    """
    values = points(compact)
    breaks = np.flatnonzero(values == BREAK)
    first, last = breaks[:-1], breaks[1:]
    total = np.zeros(len(first), dtype=np.float64)
    count = np.zeros(len(first), dtype=np.int64)
    for length in SCREEN_LENGTHS:
        weights = table[slots(values, length, 7)]
        running = np.concatenate(([0.0], np.cumsum(weights, dtype=np.float64)))
        end = np.maximum(last - length + 2, first)
        total += running[end] - running[first]
        count += end - first
    return total * np.maximum(count, 1) ** -DAMPING + intercept
