"""What a trained head sees of a stretch of an agent's talk: its situation in the call, and its character sequences.

Training (bench/train_heads.py) and judging use these same functions. Sequences of characters are hashed, so that a head
is a table of numbers. Classes of words written by hand (a hundred patterns) were tried beside them: on labelled turns
that nobody had tuned on they added 0.009 to an average precision of 0.848, and cost more than all the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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


class Lens:
    """What is seen of a language: the lengths of its sequences, by field and for the screen, and how many characters it
    takes for what Chinese says in one."""

    def __init__(self, lengths: Mapping[str, Sequence[int]], screen: Sequence[int], wide: float) -> None:
        self.lengths, self.screen, self.wide = lengths, screen, wide
        self.kinds = [(number, length) for number, field in enumerate(FIELDS) for length in lengths[field]]
        self.field_of = np.array([number for number, _ in self.kinds])
        self.length_of = np.array([length for _, length in self.kinds])
        self.field_begins = np.searchsorted(self.field_of, np.arange(len(FIELDS)))
        self.heard = {field: int(reach * wide) for field, reach in HEARD.items()}


CHINESE = Lens(LENGTHS, SCREEN_LENGTHS, 1.0)
ENGLISH = Lens({"here": (3, 4, 5), "sound": (6,), "asked": (4,), "after": (4,)}, (3, 4, 5), 2.5)


def lens_of(language: str) -> Lens:
    return ENGLISH if language.startswith("en") else CHINESE


def bare(text: str) -> str:
    """Without punctuation; pauses and marks become single spaces."""
    return _MARKS.sub(" ", text).strip()


def situation(
    turns: Sequence[tuple[str | None, str]], index: int, part: tuple[int, int] | None = None, lens: Lens = CHINESE
) -> Situation:
    """The situation of turn `index` of (role, text) turns, or of a part of it (characters).

    Turns of one role that follow each other belong together before the turn, and stand apart after it: what an agent
    adds in a turn of their own is the next turn. Around a part stands the rest of its turn.
    """
    reach = {name: int(characters * lens.wide) for name, characters in REACH.items()}
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
        bare(text[start:end])[: reach["here"]],
        before[-reach["before"] :],
        bare(" ".join(asked))[-reach["asked"] :],
        "" if rest else bare(" ".join(between))[: reach["between"]],
        f"{rest} {after}".strip()[: reach["after"]],
    )


def sentence(seen: Situation, lens: Lens = CHINESE) -> str:
    """The situation as one text for the sentence model; who says what is told in Chinese, whatever the language."""
    parts = []
    if seen.before:
        parts.append("客服 " + seen.before[-int(BEFORE_SHOWN * lens.wide) :])
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


def readings(seen: Situation, lens: Lens = CHINESE) -> tuple[str, ...]:
    """The texts of which a reader's vector is the mean: with what the speaker said before the question, and without it.

    In a whole call there is nearly always such a sentence, often about something else; most training turns have none.
    """
    if not (seen.before and seen.asked):
        return (sentence(seen, lens),)
    return sentence(seen, lens), sentence(seen._replace(before=""), lens)


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
    return (state >> np.uint32(32 - BITS)).astype(np.int32)


def read(compact: str) -> np.ndarray:
    """The code points of a compact view, every digit the same: an order number says nothing of how it is told."""
    values = points(compact)
    return np.where((values >= ord("0")) & (values <= ord("9")), np.uint32(ord("0")), values)


class Sequences:
    """The character sequences of the turns of some calls, hashed once for all stretches of them.

    A stretch is a row of eight positions on the compact view: [low, high) of what is said here, the same again for its
    sounds, of what was asked before it, and of what its speaker says next; empty where low == high.
    """

    def __init__(
        self, compact: str, roles: Sequence[str | None], calls: Sequence[int] = (), lens: Lens = CHINESE
    ) -> None:
        """compact: all turns, each between two BREAK characters; calls: the call of each turn, one call by default."""
        self.roles, self.lens = roles, lens
        values = read(compact)
        breaks = np.flatnonzero(values == BREAK)
        self.first, self.last = breaks[:-1] + 1, breaks[1:]  # (turns,) of each turn, between its breaks
        heard = sound_table()[np.minimum(values, 0xFFFF)]
        texts = {"here": values, "sound": heard, "asked": values, "after": values}
        parts = [slots(texts[FIELDS[number]], length, number) + (number << BITS) for number, length in lens.kinds]
        self._slots = np.concatenate(parts)
        self._begins = np.concatenate(([0], np.cumsum([len(part) for part in parts])[:-1]))
        self._before, self._next = _neighbours(roles, calls or (0,) * len(roles))

    def turns(self, turns: Sequence[int] | np.ndarray) -> np.ndarray:
        """(turns, 8) stretches of whole turns, with their neighbours as `situation` has them."""
        chosen = np.asarray(turns, dtype=np.int64)
        before, following = self._before[chosen], self._next[chosen]
        here = np.stack([self.first[chosen] - 1, self.last[chosen] + 1], axis=1)
        asked = np.stack([self.first[before] - 1, self.last[chosen - 1] + 1], axis=1)
        asked[:, 0] = np.maximum(asked[:, 0], asked[:, 1] - self.lens.heard["asked"])
        asked[before == chosen] = 0
        after = np.stack([self.first[following] - 1, self.last[following] + 1], axis=1)
        after[:, 1] = np.minimum(after[:, 1], after[:, 0] + self.lens.heard["after"])
        after[following < 0] = 0
        return np.concatenate([here, here, asked, after], axis=1)

    def parts(self, turns: Sequence[int], low: Sequence[int], high: Sequence[int]) -> np.ndarray:
        """(parts, 8) stretches of parts of turns (positions on the compact view): after each stands the rest of its turn."""
        chosen, lows, highs = (np.asarray(values, dtype=np.int64) for values in (turns, low, high))
        stretches = self.turns(chosen)
        first, last = self.first[chosen], self.last[chosen]
        stretches[:, 0] = stretches[:, 2] = lows - (lows == first)
        stretches[:, 1] = stretches[:, 3] = highs + (highs == last)
        cut = highs < last
        stretches[cut, 6] = highs[cut]
        stretches[cut, 7] = np.minimum(last[cut] + 1, highs[cut] + self.lens.heard["after"])
        return stretches

    def of(self, stretches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A sparse matrix by rows of (stretches, fields · 2^BITS): slots, values, and where each row begins and the last ends."""
        lens = self.lens
        spans = stretches.reshape(-1, len(FIELDS), 2)[:, lens.field_of]  # (stretches, kinds, 2)
        lengths = np.maximum(spans[..., 1] - spans[..., 0] - lens.length_of + 1, 0)
        counts = np.add.reduceat(lengths, lens.field_begins, axis=1)  # (stretches, fields)
        values = _WEIGHT * ((counts * _WEIGHT**2).sum(axis=1, keepdims=True) + 1e-9) ** -DAMPING
        sizes = lengths.ravel()
        ends = np.cumsum(sizes)
        total = int(ends[-1]) if len(ends) else 0
        places = np.repeat((self._begins + spans[..., 0]).ravel() - (ends - sizes), sizes) + np.arange(total)
        kinds = len(lens.field_of)
        rows = np.concatenate(([0], ends[kinds - 1 :: kinds]))
        return self._slots[places], np.repeat(values[:, lens.field_of].astype(np.float32).ravel(), sizes), rows

    def weighed(self, stretches: np.ndarray, table: np.ndarray) -> np.ndarray:
        """(stretches, columns) sums of the rows of a (fields · 2^BITS, columns) float32 table."""
        from scipy.sparse import csr_array

        slots_, values, rows = self.of(stretches)
        return csr_array((values, slots_, rows.astype(np.int32)), shape=(len(stretches), len(table))) @ table


_WEIGHT = np.array([WEIGHT[field] for field in FIELDS])


def _neighbours(roles: Sequence[str | None], calls: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(turns,) each: the first turn of what others say just before a turn (itself where nobody does), and the next turn of
    its own role (-1: none), both within its call."""
    before = np.arange(len(roles))
    following = np.full(len(roles), -1)
    last: dict[str | None, int] = {}
    begin = 0
    for turn, role in enumerate(roles):
        if turn and calls[turn] != calls[turn - 1]:
            last, begin = {}, turn
        known = last.get(role)
        if known is None:
            before[turn] = begin
        else:
            before[turn], following[known] = known + 1, turn
        last[role] = turn
    return before, following


# --- the screen: which turns are worth a look -----------------------------------------------------------------


def screen_scores(compact: str, table: np.ndarray, intercept: float, lens: Lens = CHINESE) -> np.ndarray:
    """(turns,) log-odds that a turn is worth a look, for all turns of a call at once.

    compact: the call's turns, each between two BREAK characters (text.Views.compact); table: (2^BITS,) float32.
    """
    values = read(compact)
    breaks = np.flatnonzero(values == BREAK)
    first, last = breaks[:-1], breaks[1:]
    total = np.zeros(len(first), dtype=np.float64)
    count = np.zeros(len(first), dtype=np.int64)
    for length in lens.screen:
        weights = table[slots(values, length, SCREEN_FIELD)]
        running = np.concatenate(([0.0], np.cumsum(weights, dtype=np.float64)))
        end = np.maximum(last - length + 2, first)
        total += running[end] - running[first]
        count += end - first
    return total * np.maximum(count, 1) ** -DAMPING + intercept
