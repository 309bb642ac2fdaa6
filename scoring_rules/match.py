"""All phrases of all rules in one pass: an Aho-Corasick automaton over words, and one over sounds.

The cost is one step a character, whatever the number of phrases. Each phrase list is an *atom*; a scan gives, for
each atom, where it was found on the axis of the call's received text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

import ahocorasick
import numpy as np

from scoring_rules.grammar import FAR
from scoring_rules.model import Tolerance
from scoring_rules.sounds import allowed_differences, readings, sounds
from scoring_rules.text import BREAK, SENTENCE_END, Points, Views, fold, number_forms, points, string

WORDS, SOUND, PATTERN = 0, 1, 2


Found = tuple[int, int, int]  # a stretch [start, end) of the received text, and how: WORDS, SOUND or PATTERN


class Matcher:
    """Holds the automata of one language. Atoms are added first, then `scan` may be called."""

    def __init__(self, language: str, fillers: Sequence[str] = ()) -> None:
        self.language = language
        folded = [fold(filler, language) for filler in fillers]
        self._fillers = [(filler, points(filler)) for filler in folded]
        self._words: dict[str, dict[tuple[int, str], None]] = defaultdict(dict)
        self._sounds: dict[str, dict[tuple[int, str], None]] = defaultdict(dict)
        self._count = 0
        self._automata: tuple[ahocorasick.Automaton | None, ...] | None = None

    def add(self, phrases: Sequence[str], tolerance: Tolerance) -> int:
        """A new atom for these phrases; its number."""
        atom = self.new_atom()
        self._automata = None
        for phrase in phrases:
            base = fold(phrase, self.language)
            if not base.strip():
                continue
            if tolerance is Tolerance.EXACT:
                self._words[base][atom, phrase] = None
                continue
            for form in number_forms(base) if self.language == "zh" else (base,):
                self._words[form][atom, ""] = None
                if tolerance is Tolerance.PINYIN:
                    for spoken in readings(phrase, form):
                        self._sounds[spoken][atom, form] = None
        return atom

    def new_atom(self) -> int:
        """A number for something that is found by other means."""
        atom, self._count = self._count, self._count + 1
        return atom

    def _build(self) -> tuple[ahocorasick.Automaton | None, ...]:
        if self._automata is None:
            words, heard = ({key: tuple(owners) for key, owners in table.items()} for table in (self._words, self._sounds))
            self._automata = _automaton(words), _automaton(heard)
        return self._automata

    def scan(self, view: Views, calls: Sequence[int], found: Sequence[dict[int, list[Found]]]) -> None:
        """Adds to each call's `found`, by atom and in order of position. calls: the call of each turn of the view."""
        words, heard = self._build()
        if words is None:
            return
        compact, offsets, received = view.compact, view.offsets, view.text
        trim = 1 if self.language == "en" else 0  # English phrases carry their word limits
        place = _Places(view, calls)
        for end, (length, entries) in words.iter(compact):
            start = offsets[end - length + 1 + trim]
            stop = offsets[end - trim] + 1
            if start >= place.limit:
                place.go(start)
            here = found[place.call]
            for atom, exact in entries:
                if not exact or received[start:stop] == exact:
                    here[atom].append((start, stop, WORDS))
        unordered: set[tuple[int, int]] = set()
        self._without_fillers(view, words, trim, _Places(view, calls), found, unordered)
        if heard is not None:
            place = _Places(view, calls)
            for end, (length, entries) in heard.iter(sounds(compact)):
                said = compact[end - length + 1 : end + 1]
                for atom, phrase in entries:
                    if said != phrase and _differences(said, phrase) <= allowed_differences(length):
                        start = offsets[end - length + 1]
                        if start >= place.limit:
                            place.go(start)
                        found[place.call][atom].append((start, offsets[end] + 1, SOUND))
                        unordered.add((place.call, atom))
        for call, atom in unordered:
            found[call][atom].sort()

    def _without_fillers(
        self,
        view: Views,
        words: ahocorasick.Automaton,
        trim: int,
        place: _Places,
        found: Sequence[dict[int, list[Found]]],
        unordered: set[tuple[int, int]],
    ) -> None:
        """A second look at the turns that hold fillers or stutters, with these left out."""
        values = points(view.compact)
        dropped = _stutters(values) if self.language == "zh" else np.zeros(len(values), dtype=bool)
        for filler, word in self._fillers:
            if filler in view.compact:
                dropped |= _occurrences(values, word, keep=trim)
        if not dropped.any():
            return
        turn = np.cumsum(values == BREAK)
        affected = np.zeros(int(turn[-1]) + 1, dtype=bool)
        affected[turn[dropped]] = True
        kept = np.flatnonzero(affected[turn] & ~dropped)
        places, offsets, received = kept.tolist(), view.offsets, view.text
        for end, (length, entries) in words.iter(string(values[kept])):
            first, last = places[end - length + 1 + trim], places[end - trim]
            if last - first == length - 1 - 2 * trim:
                continue  # nothing was left out inside it: found before
            start, stop = offsets[first], offsets[last] + 1
            if start >= place.limit:
                place.go(start)
            for atom, exact in entries:
                if not exact and received[start] != " ":
                    found[place.call][atom].append((start, stop, WORDS))
                    unordered.add((place.call, atom))


class _Places:
    """Which call a position belongs to, asked from the first to the last: `call` holds up to `limit`."""

    def __init__(self, view: Views, calls: Sequence[int]) -> None:
        self._starts, self._calls = view.starts, calls
        self.call, self.limit = 0, view.ends[0] if view.ends else 0
        self.go(0)

    def go(self, position: int) -> None:
        """To the call of a position."""
        turn = max(0, bisect_right(self._starts, position) - 1)
        if turn >= len(self._calls):
            return
        self.call = self._calls[turn]
        following = bisect_right(self._calls, self.call)
        self.limit = self._starts[following] if following < len(self._starts) else FAR


def _automaton(entries: Mapping[str, object]) -> ahocorasick.Automaton | None:
    """Finds the keys; each gives its length and its value."""
    if not entries:
        return None
    made = ahocorasick.Automaton()
    for key, value in entries.items():
        made.add_word(key, (len(key), value))
    made.make_automaton()
    return made


def _differences(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def _occurrences(values: Points, word: Points, keep: int) -> np.ndarray:
    """(characters,) bool: where `word` stands, but for its last `keep` characters."""
    inside = np.zeros(len(values), dtype=bool)
    width = len(word)
    if width > len(values) or not width:
        return inside
    begins = values[: len(values) - width + 1] == word[0]
    for step in range(1, width):
        begins &= values[step : len(values) - width + 1 + step] == word[step]
    for step in range(width - keep):
        inside[step : len(values) - width + 1 + step] |= begins
    return inside


def _stutters(values: Points) -> np.ndarray:
    """(characters,) bool: all but the last of the same character or pair of characters said over again (我我不, 我不我不)."""
    dropped = np.zeros(len(values), dtype=bool)
    speech = (values != BREAK) & ((values < ord("0")) | (values > ord("9")))
    if len(values) > 1:
        dropped[:-1] |= (values[:-1] == values[1:]) & speech[:-1]
    if len(values) > 3:
        same = (values[:-2] == values[2:]) & speech[:-2]
        pair = same[:-1] & same[1:]
        dropped[: len(pair)] |= pair
        dropped[1 : len(pair) + 1] |= pair
    return dropped


@cache
def sentence_ends() -> frozenset[str]:
    return frozenset(SENTENCE_END)
