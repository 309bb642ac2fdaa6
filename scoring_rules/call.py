"""One conversation as the rules look at it: one axis of characters, roles, runs of turns, clauses, word probabilities.

Everything that costs is worked out when first asked for. Offsets are positions on the joined text (scoring_rules.text);
`place` leads back to a turn and its own characters.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import NamedTuple

from scoring_rules.block import Block
from scoring_rules.conversation import WordLike
from scoring_rules.grammar import FAR, Interval, Region, piece_at

_SAID = re.compile(r"\w")  # a hyphen that a recogniser puts between digits was not spoken, and cannot be doubted
RUN_PAUSE = 5.0  # s: from here on the domain calls a silence a finding, so what follows is a new turn


class Hit(NamedTuple):
    """Where a condition holds. `turn` is -1 for what concerns the whole call; `time` in seconds."""

    start: int
    end: int
    turn: int
    how: str
    sure: bool = True
    time: tuple[float, float] | None = None
    turns: tuple[int, ...] = ()  # the turns around a silence, or those a whole-call measure spans
    parts: tuple[Hit, ...] = ()  # further places that belong to the same event
    note: str = ""


class Call:
    """One call of a scanned block. Turns are counted from the call's first; offsets are the block's."""

    def __init__(self, block: Block, number: int, doubtful: float) -> None:
        self.block, self.number = block, number
        self.first, last = block.firsts[number], block.firsts[number + 1]
        self.conversation = block.conversations[number]
        self.turns = self.conversation.turns
        self.grammar = block.grammar
        self.view = block.view
        self.plain = block.view.plain
        self.starts, self.ends = block.view.starts[self.first : last], block.view.ends[self.first : last]
        self._turns: Region = tuple(zip(self.starts, self.ends, strict=True))
        self.role = block.roles[self.first : last]
        self.found = block.found[number]
        self.left = block.tries.left[number]  # patterns that may match, not yet tried
        self._units: dict[int, int] = {}
        self._all_clear = all(not t.words and not t.marks for t in self.turns) and None not in self.role
        self.doubtful = doubtful
        self.reasons: set[str] = set()  # why conditions could not be evaluated, since last cleared
        self.waiting = False  # the rule at hand asked for an embedding that is not there yet
        self._regions: dict[tuple[str, ...], Region] = {}
        self._run_regions: dict[int, Region] = {}
        self._runs: dict[tuple[str, ...], list[Interval]] = {}
        self._sentences: dict[int, list[Interval]] = {}
        self._spoken: dict[int, list[tuple[int, int, WordLike]]] = {}
        self.memory: dict[object, object] = {}  # what conditions want to keep during a call

    # --- turns and runs

    def turn_of(self, position: int) -> int:
        return bisect_right(self.starts, position) - 1

    def place(self, start: int, end: int) -> tuple[int, int, int]:
        """(turn, start character, end character) in the turn's own text."""
        turn = self.turn_of(start)
        base = self.starts[turn]
        return turn, start - base, min(end, self.ends[turn]) - base

    def is_of(self, turn: int, roles: tuple[str, ...]) -> bool:
        return "any" in roles or self.role[turn] in roles

    def region(self, roles: tuple[str, ...]) -> Region:
        """All turns of these roles."""
        found = self._regions.get(roles)
        if found is None:
            found = self.stretch(0, len(self.turns), roles)
            self._regions[roles] = found
        return found

    def runs(self, roles: tuple[str, ...]) -> list[Interval]:
        """[first, last] turn indices of the unbroken runs of one role, of these roles only; a long pause breaks one."""
        found = self._runs.get(roles)
        if found is None:
            every, role = self._all_runs, self.role
            found = self._runs[roles] = every if "any" in roles else [run for run in every if role[run[0]] in roles]
        return found

    @cached_property
    def _all_runs(self) -> list[Interval]:
        found: list[Interval] = []
        first, before, pauses = 0, None, self.pauses
        for index, role in enumerate(self.role):
            if role != before or role is None or index in pauses:
                if index:
                    found.append((first, index - 1))
                first, before = index, role
        if self.role:
            found.append((first, len(self.role) - 1))
        return found

    @cached_property
    def pauses(self) -> frozenset[int]:
        """The turns that begin so long after the one before them that they are no longer the same breath."""
        return frozenset(
            [
                index
                for index, (before, turn) in enumerate(pairwise(self.turns), 1)
                if turn.start is not None and before.end is not None and turn.start - before.end >= RUN_PAUSE
            ]
        )

    def run_of(self, turn: int) -> Interval:
        """The unbroken run of one role that holds a turn."""
        runs = self.runs(("any",))
        return runs[bisect_right(runs, (turn, FAR)) - 1]

    def run_region(self, turn: int) -> Region:
        """The unbroken run of one role that holds a turn."""
        found = self._run_regions.get(turn)
        if found is None:
            first, last = self.run_of(turn)
            found = self.stretch(first, last)
            for each in range(first, last + 1):
                self._run_regions[each] = found
        return found

    def stretch(self, first: int, last: int, roles: tuple[str, ...] = ("any",)) -> Region:
        """The turns first..last of these roles."""
        first, last = max(0, first), min(last, len(self.turns) - 1) + 1
        if "any" in roles:
            return self._turns[first:last]
        return tuple([span for span, role in zip(self._turns[first:last], self.role[first:last], strict=True) if role in roles])

    # --- clauses and sentences, as intervals on the call's axis

    def text(self, interval: Interval) -> str:
        return self.plain[interval[0] : interval[1]]

    def clauses(self, turn: int) -> list[Interval]:
        return self.block.clauses(self.first + turn)

    def sentences(self, turn: int) -> list[Interval]:
        found = self._sentences.get(turn)
        if found is None:
            base = self.starts[turn]
            found = [(lo + base, hi + base) for lo, hi in self.grammar.sentences(self.plain[base : self.ends[turn]])]
            self._sentences[turn] = found
        return found

    def pieces(self, turn: int, unit: str) -> list[Interval]:
        if unit == "clause":
            return self.clauses(turn)
        return self.sentences(turn) if unit == "sentence" else [(self.starts[turn], self.ends[turn])]

    def around(self, hit: Hit, unit: str) -> Interval:
        """The clause(s) or sentence(s) that a hit touches."""
        pieces = self.pieces(hit.turn, unit)
        first = piece_at(pieces, hit.start)
        last = piece_at(pieces, max(hit.start, min(hit.end, self.ends[hit.turn]) - 1))
        return pieces[first][0], pieces[last][1]

    # --- how well it was heard

    def spoken(self, turn: int) -> list[tuple[int, int, WordLike]]:
        """(start, end, word) of the turn's words on the call's axis, as far as they are found in its text."""
        found = self._spoken.get(turn)
        if found is None:
            found = []
            text, base, cursor = self.turns[turn].text, self.starts[turn], 0
            for word in self.turns[turn].words:
                bare = word.text.strip()
                at = text.find(bare, cursor) if bare else -1
                if at >= 0:
                    cursor = at + len(bare)
                    found.append((base + at, base + cursor, word))
            self._spoken[turn] = found
        return found

    def well_heard(self, start: int, end: int, turn: int) -> bool:
        """Whether no word of the stretch is doubtful and its turn carries no mark."""
        if self.turns[turn].marks:
            return False
        if not self.turns[turn].words:
            return True
        return all(
            word.probability >= self.doubtful or not _SAID.search(word.text)
            for lo, hi, word in self.spoken(turn)
            if lo < end and start < hi
        )

    def doubtful_part(self, start: int, end: int, turn: int) -> float:
        """Share of the characters spoken in a stretch of a turn that are doubtful; 0 where words are not given."""
        said = [
            (hi - lo, word.probability)
            for lo, hi, word in self.spoken(turn)
            if lo < end and start < hi and _SAID.search(word.text)
        ]
        total = sum(length for length, _ in said)
        return sum(length for length, sure in said if sure < self.doubtful) / total if total else 0.0

    def doubtful_share(self, region: Region) -> float:
        """Share of the characters between a region's first and last turn, of its roles or of nobody's, that are doubtful."""
        if not region:
            return 1.0
        if self._all_clear:
            return 0.0 if any(lo < hi for lo, hi in region) else 1.0
        inside = {self.turn_of(lo) for lo, _ in region}
        total = doubtful = 0
        for turn in range(min(inside), max(inside) + 1):
            length = self.ends[turn] - self.starts[turn]
            if turn in inside:
                total += length
                if self.turns[turn].marks:
                    doubtful += length
                elif self.turns[turn].words:
                    doubtful += sum(hi - lo for lo, hi, word in self.spoken(turn) if word.probability < self.doubtful)
            elif self.role[turn] is None:
                total += length
                doubtful += length
        return doubtful / total if total else 1.0

    def units(self, turn: int) -> int:
        """Characters that are spoken in a turn; words in English."""
        found = self._units.get(turn)
        if found is None:
            found = self._units[turn] = self.grammar.units(self.text((self.starts[turn], self.ends[turn])))
        return found

    # --- time

    @cached_property
    def times(self) -> list[tuple[float, float] | None]:
        """Seconds of each turn, where they are known."""
        return [
            None if (start := turn.start) is None or (end := turn.end) is None else (start, end) for turn in self.turns
        ]

    @cached_property
    def all_begin(self) -> bool:
        """Whether it is known of each turn when it begins."""
        return all(turn.start is not None for turn in self.turns)

    def time_at(self, hit: Hit) -> tuple[float, float] | None:
        """Seconds of a hit: its own, its words', or its turn's."""
        if hit.time is not None or hit.turn < 0:
            return hit.time
        if not self.turns[hit.turn].words:
            return self.times[hit.turn]
        words = [word for lo, hi, word in self.spoken(hit.turn) if lo < hit.end and hit.start < hi]
        return (words[0].start, words[-1].end) if words else self.times[hit.turn]

    def end_time(self) -> float | None:
        if self.conversation.duration is not None:
            return self.conversation.duration
        ends = [turn.end for turn in self.turns if turn.end is not None]
        return max(ends) if ends else None


def inside(region: Region, position: int) -> bool:
    """Whether a position lies in a region; an empty turn holds its own start."""
    index = bisect_right(region, (position, FAR)) - 1
    return index >= 0 and (position < region[index][1] or position == region[index][0])


def touches(region: Region, start: int, end: int) -> bool:
    """Whether [start, end) shares characters with a region."""
    index = bisect_right(region, (start, FAR)) - 1
    return (index >= 0 and start < region[index][1]) or (index + 1 < len(region) and region[index + 1][0] < end)


def common(one: Region, other: Region) -> Region:
    """What two regions share."""
    if one is other or one == other:
        return one
    if len(one) > len(other):
        one, other = other, one
    if len(one) == 1 and one[0][0] < one[0][1]:
        return _cut(other, *one[0])
    if not one:
        return ()
    found: list[Interval] = []
    size, index = len(other), bisect_right(other, (one[0][0], FAR)) or 1
    index -= 1
    for interval in one:
        lo, hi = interval
        while index < size and other[index][1] < lo:
            index += 1
        at = index
        while at < size:
            there = other[at]
            if there is interval:  # whole turns, most of them
                found.append(interval)
                break
            start, end = there
            if start > hi:
                break
            low, high = lo if lo > start else start, hi if hi < end else end
            if low < high or (low == high and lo == start and hi == end):
                found.append((low, high))
            at += 1
    return tuple(found)


def _cut(region: Region, low: int, high: int) -> Region:
    """What of a region lies in one interval that is not empty."""
    first = max(0, bisect_right(region, (low, FAR)) - 1)
    last = bisect_right(region, (high, FAR))
    found = list(region[first:last])
    for at in {0, len(found) - 1} if found else ():
        lo, hi = found[at]
        found[at] = (max(lo, low), min(hi, high))
    return tuple([(lo, hi) for lo, hi in found if lo < hi])


def joined(regions: Sequence[Region]) -> Region:
    """Regions together, sorted, overlaps merged."""
    if len(regions) == 1:
        return regions[0]
    found: list[Interval] = []
    end = -1
    for interval in sorted(chain.from_iterable(regions)):
        lo, hi = interval
        if lo > end:
            found.append(interval)
            end = hi
        elif hi > end:
            found[-1] = (found[-1][0], hi)
            end = hi
    return tuple(found)
