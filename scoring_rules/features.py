"""What a trained head sees of a stretch of an agent's talk: its situation in the call, and its character sequences.

Training (bench/train_heads.py) and judging use these same functions. Sequences of characters are hashed, so that a head
is a table of numbers. Classes of words written by hand (a hundred patterns) were tried beside them: on labelled turns
that nobody had tuned on they added 0.009 to an average precision of 0.848, and cost more than all the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scoring_rules.sounds import sound_table
from scoring_rules.text import BREAK, points

BITS = 15  # of a hashed character sequence: 32,768 slots a field; 16 gave nothing more
FIELDS = ("here", "sound", "asked", "after")
LENGTHS = {"here": (1, 2, 3), "sound": (2, 3), "asked": (1, 2), "after": (1, 2)}
WEIGHT = {"here": 1.0, "sound": 1.0, "asked": 0.5, "after": 0.3}  # chosen by cross-validation
DAMPING = 0.35  # values are divided by (number of sequences)^0.35: between counting and averaging
SCREEN_LENGTHS = (1, 2, 3)
SCREEN_FIELD = 7  # a field of its own: the screen's table is another
REACH = {"before": 60, "asked": 60, "between": 40, "after": 80, "here": 160}  # characters that count, see `situation`
HEARD = {"asked": 30, "after": 40}  # characters of the neighbours whose sequences count
BEFORE_SHOWN = 40  # characters of the speaker's own last turn that the sentence model reads
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


def situation(
    turns: Sequence[tuple[str | None, str]], index: int, part: tuple[int, int] | None = None
) -> Situation:
    """The situation of turn `index` of (role, text) turns, or of a part of it (characters).

    Turns of one role that follow each other belong together before the turn, and stand apart after it: what an agent
    adds in a turn of their own is the next turn. Around a part stands the rest of its turn.
    """
    role, text = turns[index]
    start, end = part or (0, len(text))
    asked: list[str] = []
    place = index - 1
    while place >= 0 and turns[place][0] != role:
        asked.insert(0, turns[place][1])
        place -= 1
    before = bare(text[:start]) or bare(turns[place][1] if place >= 0 else "")
    rest = bare(text[end:])
    between: list[str] = []
    place = index + 1
    while place < len(turns) and turns[place][0] != role:
        between.append(turns[place][1])
        place += 1
    after = bare(turns[place][1]) if place < len(turns) else ""
    return Situation(
        bare(text[start:end])[: REACH["here"]],
        before[-REACH["before"] :],
        bare(" ".join(asked))[-REACH["asked"] :],
        "" if rest else bare(" ".join(between))[: REACH["between"]],
        f"{rest} {after}".strip()[: REACH["after"]],
    )


def sentence(seen: Situation) -> str:
    """The situation as one text for the sentence model."""
    parts = []
    if seen.before:
        parts.append("客服 " + seen.before[-BEFORE_SHOWN:])
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


def read(compact: str) -> np.ndarray:
    """The code points of a compact view, every digit the same: an order number says nothing of how it is told."""
    values = points(compact)
    return np.where((values >= ord("0")) & (values <= ord("9")), np.uint32(ord("0")), values)


class Stretch(NamedTuple):
    """Where the fields of a stretch of talk stand, as intervals of positions on the compact view of a call."""

    here: tuple[int, int]
    asked: tuple[int, int]
    after: tuple[int, int]


class Sequences:
    """The character sequences of one call, hashed once for all stretches of it."""

    def __init__(self, compact: str, roles: Sequence[str | None]) -> None:
        self.roles = roles
        values = read(compact)
        breaks = np.flatnonzero(values == BREAK)
        self.first, self.last = (breaks[:-1] + 1).tolist(), breaks[1:].tolist()  # of each turn, between its breaks
        heard = sound_table()[np.minimum(values, 0xFFFF)]
        texts = {"here": values, "sound": heard, "asked": values, "after": values}
        self._slots = [
            [(slots(texts[field], length, number) + (number << BITS), length) for length in LENGTHS[field]]
            for number, field in enumerate(FIELDS)
        ]

    def stretch(self, turn: int, part: tuple[int, int] | None = None) -> Stretch:
        """A turn, or a part of it (positions on the compact view), with its neighbours as `situation` has them."""
        role, count = self.roles[turn], len(self.roles)
        low, high = part or (self.first[turn], self.last[turn])
        before = turn
        while before > 0 and self.roles[before - 1] != role:
            before -= 1
        asked = (0, 0) if before == turn else (self.first[before] - 1, self.last[turn - 1] + 1)
        if high < self.last[turn]:
            after = (high, self.last[turn] + 1)
        else:
            place = turn + 1
            while place < count and self.roles[place] != role:
                place += 1
            after = (self.first[place] - 1, self.last[place] + 1) if place < count else (0, 0)
        return Stretch(
            (low - (low == self.first[turn]), high + (high == self.last[turn])),
            (max(asked[0], asked[1] - HEARD["asked"]), asked[1]),
            (after[0], min(after[1], after[0] + HEARD["after"])),
        )

    def of(self, stretches: Sequence[Stretch]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(slots of all fields, value of each, where each stretch begins); every stretch has at least one."""
        places: list[np.ndarray] = []
        counts = np.zeros((len(stretches), len(FIELDS)), dtype=np.int64)
        for index, stretch in enumerate(stretches):
            spans = (stretch.here, stretch.here, stretch.asked, stretch.after)
            for number, ((low, high), fields) in enumerate(zip(spans, self._slots, strict=True)):
                for found, length in fields:
                    if high - low >= length:
                        places.append(found[low : high - length + 1])
                        counts[index, number] += high - low - length + 1
        weight = np.array([WEIGHT[field] for field in FIELDS])
        values = weight * ((counts * weight**2).sum(axis=1, keepdims=True) + 1e-9) ** -DAMPING  # (stretches, fields)
        totals = counts.sum(axis=1)
        return (
            np.concatenate(places),
            np.repeat(values.ravel(), counts.ravel()),
            np.concatenate(([0], np.cumsum(totals)[:-1])),
        )


# --- the screen: which turns are worth a look -----------------------------------------------------------------


def screen_scores(compact: str, table: np.ndarray, intercept: float) -> np.ndarray:
    """(turns,) log-odds that a turn is worth a look, for all turns of a call at once.

    compact: the call's turns, each between two BREAK characters (text.Views.compact); table: (2^BITS,) float32.
    """
    values = read(compact)
    breaks = np.flatnonzero(values == BREAK)
    first, last = breaks[:-1], breaks[1:]
    total = np.zeros(len(first), dtype=np.float64)
    count = np.zeros(len(first), dtype=np.int64)
    for length in SCREEN_LENGTHS:
        weights = table[slots(values, length, SCREEN_FIELD)]
        running = np.concatenate(([0.0], np.cumsum(weights, dtype=np.float64)))
        end = np.maximum(last - length + 2, first)
        total += running[end] - running[first]
        count += end - first
    return total * np.maximum(count, 1) ** -DAMPING + intercept
