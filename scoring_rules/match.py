"""All phrases of all rules in one pass: an Aho-Corasick automaton over words, and one over sounds.

The cost is one step a character, whatever the number of phrases. Each phrase list is an *atom*; a scan gives, for
each atom, where it was found on the axis of the call's received text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import ahocorasick
import numpy as np

from scoring_rules.model import Tolerance
from scoring_rules.sounds import allowed_differences, readings, sounds
from scoring_rules.text import BREAK, SENTENCE_END, Points, Views, fold, number_forms, points, string

WORDS, SOUND = 0, 1


class Found(NamedTuple):
    """A stretch [start, end) of the received text; `how` is WORDS or SOUND."""

    start: int
    end: int
    how: int


class Matcher:
    """Holds the automata of one language. Atoms are added first, then `scan` may be called."""

    def __init__(self, language: str, fillers: Sequence[str] = ()) -> None:
        self.language = language
        folded = [fold(filler, language) for filler in fillers]
        self._fillers = [(filler, points(filler)) for filler in folded]
        self._words: dict[str, dict[tuple[int, str], None]] = defaultdict(dict)
        self._sounds: dict[str, dict[tuple[int, str], None]] = defaultdict(dict)
        self._plain: dict[str, int] = {}
        self._count = 0
        self._automata: tuple[ahocorasick.Automaton | None, ...] | None = None

    def add(self, phrases: Sequence[str], tolerance: Tolerance) -> int:
        """A new atom for these phrases; its number."""
        atom, self._count = self._count, self._count + 1
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

    def add_plain(self, words: Sequence[str]) -> frozenset[int]:
        """Numbers for the words of a pattern, which are found in the plain view just as they stand."""
        self._automata = None
        return frozenset(self._plain.setdefault(word, len(self._plain)) for word in words)

    def scan_plain(self, plain: str) -> dict[int, list[tuple[int, int]]]:
        """Number of a pattern's word to where it stands, [start, end)."""
        automaton = self._build()[2]
        found: dict[int, list[tuple[int, int]]] = {}
        if automaton is not None:
            for end, (length, word) in automaton.iter(plain):
                place = end - length + 1, end + 1
                if word in found:
                    found[word].append(place)
                else:
                    found[word] = [place]
        return found

    def _build(self) -> tuple[ahocorasick.Automaton | None, ...]:
        if self._automata is None:
            words, heard = ({key: tuple(owners) for key, owners in table.items()} for table in (self._words, self._sounds))
            self._automata = _automaton(words), _automaton(heard), _automaton(self._plain)
        return self._automata

    def scan(self, view: Views) -> dict[int, list[Found]]:
        """Atom to where it was found, in order of position."""
        words, heard, _ = self._build()
        found: dict[int, list[Found]] = defaultdict(list)
        if words is None:
            return found
        compact, offsets, received = view.compact, view.offsets, view.text
        trim = 1 if self.language == "en" else 0  # English phrases carry their word limits
        for end, (length, entries) in words.iter(compact):
            start = offsets[end - length + 1 + trim]
            stop = offsets[end - trim] + 1
            for atom, exact in entries:
                if not exact or received[start:stop] == exact:
                    found[atom].append(Found(start, stop, WORDS))
        unordered: set[int] = set()
        self._without_fillers(view, words, trim, found, unordered)
        if heard is not None:
            for end, (length, entries) in heard.iter(sounds(compact)):
                said = compact[end - length + 1 : end + 1]
                for atom, phrase in entries:
                    if said != phrase and _differences(said, phrase) <= allowed_differences(length):
                        found[atom].append(Found(offsets[end - length + 1], offsets[end] + 1, SOUND))
                        unordered.add(atom)
        for atom in unordered:
            found[atom].sort()
        return found

    def _without_fillers(
        self,
        view: Views,
        words: ahocorasick.Automaton,
        trim: int,
        found: dict[int, list[Found]],
        unordered: set[int],
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
            for atom, exact in entries:
                if not exact and received[start] != " ":
                    found[atom].append(Found(start, stop, WORDS))
                    unordered.add(atom)


def _automaton(entries: Mapping[str, object]) -> ahocorasick.Automaton | None:
    """Finds the keys; each gives its length and its value."""
    if not entries:
        return None
    automaton = ahocorasick.Automaton()
    for key, value in entries.items():
        automaton.add_word(key, (len(key), value))
    automaton.make_automaton()
    return automaton


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


Words = tuple[str, ...]


class Part(NamedTuple):
    """One alternative of a pattern: either just words, or a pattern to try where a word of each set stands."""

    pattern: str  # empty: the one set of words is all that it matches
    sets: tuple[Words, ...]  # none: the pattern is tried everywhere


def parts(pattern: str) -> list[Part]:
    """The alternatives of a pattern, cheap ones apart: all that is plain words is one part, found by the automaton.

    RE2 and Python read the constructs handled here alike; what Python does not read, or what sets flags, is one part
    that is tried everywhere.
    """
    if pattern.startswith("(?") and not pattern.startswith("(?:"):
        return [Part(pattern, ())]
    plain: dict[str, None] = {}
    found: list[Part] = []
    for alternative in _alternatives(pattern):
        tree = _parsed(alternative)
        words = _strings(tree) if tree is not None else None
        if words and all(words):
            plain.update(dict.fromkeys(words))
        else:
            found.append(Part(alternative, _required(tree) if tree is not None else ()))
    return [Part("", (tuple(plain),)), *found] if plain else found


def required_literals(pattern: str) -> tuple[str, ...] | None:
    """Words of which at least one stands in whatever the pattern matches; None where there is no such word."""
    found: dict[str, None] = {}
    for part in parts(pattern):
        if not part.sets:
            return None
        found.update(dict.fromkeys(part.sets[0]))
    return tuple(found)


def _parsed(pattern: str) -> list | None:
    import re
    import warnings

    try:
        from re import _parser as parser  # type: ignore[attr-defined]
    except ImportError:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError, ValueError):
        return None
    return None if tree.state.flags & (re.IGNORECASE | re.VERBOSE) else list(tree)


def _alternatives(pattern: str) -> list[str]:
    """The pattern split at its outermost bars."""
    found, depth, inside, start, at = [], 0, False, 0, 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif inside:
            inside = character != "]" or pattern[at - 1] == "[" or pattern[at - 2 : at] == "[^"
        elif character == "[":
            inside = True
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and depth == 0:
            found.append(pattern[start:at])
            start = at + 1
        at += 1
    return [*found, pattern[start:]]


MAX_SETS = 4  # of required words that are looked at; more narrow little
MAX_COMBINED = 64  # words that one run of a pattern may be spelled out to
MAX_LITERALS = 1000  # of one pattern; one automaton holds them all


def _required(items: list) -> tuple[Words, ...]:
    """Sets of words, of each of which one must stand in whatever a sequence matches; the most telling first."""
    found: list[Words] = []
    run: Words = ("",)

    def close(candidate: Words | None) -> None:
        nonlocal run
        run = ("",)
        if candidate and all(candidate):
            found.append(candidate)

    for item in items:
        operation, argument = item
        strings = _strings([item])
        if strings is not None and len(run) * len(strings) <= MAX_COMBINED:
            run = tuple(dict.fromkeys(one + other for one in run for other in strings))
            continue
        name = str(operation)
        repeated = _strings(list(argument[2])) if name in ("MAX_REPEAT", "MIN_REPEAT") and argument[0] >= 1 else None
        if repeated is not None and len(run) * len(repeated) <= MAX_COMBINED:
            run = tuple(dict.fromkeys(one + other for one in run for other in repeated))
        close(run)
        for candidate in [strings] if strings else _inner(name, argument):
            close(candidate)
    close(run)
    found.sort(key=lambda words: (-min(map(len, words)), len(words)))
    return tuple(found[:MAX_SETS])


def _inner(name: str, argument: Any) -> Sequence[Words]:
    """The required words inside a construct that is no plain list of words itself."""
    if name == "SUBPATTERN" and not argument[1] and not argument[2]:
        return _required(list(argument[3]))
    if name in ("MAX_REPEAT", "MIN_REPEAT") and argument[0] >= 1:
        return _required(list(argument[2]))
    if name == "BRANCH":
        branches = [_required(list(branch)) for branch in argument[1]]
        if all(branches):
            words = tuple(dict.fromkeys(word for branch in branches for word in branch[0]))
            return (words,) if len(words) <= MAX_LITERALS else ()
    return ()


def _strings(items: list) -> Words | None:
    """All that a sequence can match, where that is a short list of words; else None."""
    found: Words = ("",)
    for operation, argument in items:
        name = str(operation)
        parts: Words | None = None
        if name == "LITERAL":
            parts = (chr(argument),)
        elif name == "IN" and all(str(kind) == "LITERAL" for kind, _ in argument):
            parts = tuple(chr(code) for _, code in argument)
        elif name == "SUBPATTERN" and not argument[1] and not argument[2]:
            parts = _strings(list(argument[3]))
        elif name == "BRANCH":
            branches = [_strings(list(branch)) for branch in argument[1]]
            if all(branch is not None for branch in branches):
                parts = tuple(word for branch in branches for word in branch or ())
        if parts is None or len(found) * len(parts) > MAX_COMBINED:
            return None
        found = tuple(dict.fromkeys(one + other for one in found for other in parts))
    return found
