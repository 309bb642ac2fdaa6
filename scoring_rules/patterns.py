"""Patterns of all rules over a call: RE2, tried only on the turns that hold the words a pattern cannot do without.

A pattern falls into its outermost alternatives. One that is nothing but words is found by an automaton. Of any other,
the words that whatever it matches must hold are known, as up to four sets of which each gives one; the automaton finds
them all in one pass, and a table of sets and turns says where an alternative is worth a try. It is tried when a condition
looks there, which few of them do. So the cost hardly depends on the number of patterns, and RE2 keeps each try linear.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any, NamedTuple

import ahocorasick
import numpy as np

from scoring_rules.grammar import FAR, Region
from scoring_rules.match import PATTERN, Found
from scoring_rules.text import BMP, JOINT, Views, points

ROLE_BITS = {"agent": 1, "customer": 2}
OTHER_BIT, ANY_BITS = 4, 7
BLOCK = 4096  # turns looked at together: bounds the table's memory in calls of any length


def role_bits(roles: Sequence[str]) -> int:
    """The speakers as bits, to leave out turns that no rule asks a pattern about."""
    if "any" in roles:
        return ANY_BITS
    bits = 0
    for role in roles:
        bits |= ROLE_BITS.get(role, OTHER_BIT)
    return bits


def compiled_pattern(pattern: str) -> Any:
    """RE2's search over bytes: (bytes, from, to) → a list of one span, (-1, -1) for none. Raises re2.error.

    It is the binding's own call: the module's `search` makes a generator and a match object around it, which costs
    three times the search. Groups capture nothing, which keeps RE2 on its automaton.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    binding = re2.compile(pattern, options)._regexp
    return partial(binding.Match, re2._re2.RE2.Anchor.UNANCHORED)


class Patterns:
    """All patterns of one language. Patterns are added first, then `scan` may be called."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self._set_numbers: dict[frozenset[int], int] = {}
        self._owners: dict[int, list[tuple[int, int]]] = defaultdict(list)  # word → (atom, speakers) that it matches by itself
        self._tries: list[tuple[int, int, Any, tuple[int, ...]]] = []  # atom, speakers, pattern, numbers of sets
        self._always: list[tuple[int, int, Any]] = []
        self._tables: _Tables | None = None

    def add(self, atom: int, pattern: str, roles: Sequence[str]) -> None:
        """Adds a pattern, asked of these speakers."""
        self._tables = None
        bits = role_bits(roles)
        for part in parts(pattern):
            if not part.pattern:
                for word in part.sets[0]:
                    self._owners[self._number(word)].append((atom, bits))
                continue
            compiled = compiled_pattern(part.pattern)
            sets = tuple(self._set_number(words) for words in part.sets)
            if sets:
                self._tries.append((atom, bits, compiled, sets))
            else:
                self._always.append((atom, bits, compiled))

    def _number(self, word: str) -> int:
        return self._words.setdefault(word, len(self._words))

    def _set_number(self, words: Sequence[str]) -> int:
        return self._set_numbers.setdefault(frozenset(map(self._number, words)), len(self._set_numbers))

    def scan(
        self, view: Views, speakers: Sequence[int], calls: Sequence[int], found: Sequence[dict[int, list[Found]]]
    ) -> Tries:
        """Adds to each call's `found`, by atom and in order, where words match by themselves. What else may match is left.

        speakers: each turn's role bit; calls: the call of each turn.
        """
        if self._tables is None:
            self._tables = _Tables(self._words, self._set_numbers, self._tries, self._owners)
        tables = self._tables
        left: list[dict[int, list[tuple[int, Any]]]] = [defaultdict(list) for _ in found]
        for atom, bits, pattern in self._always:
            for turn, speaker in enumerate(speakers):
                if speaker & bits:
                    left[calls[turn]][atom].append((turn, pattern))
        if tables.some and speakers:
            spoken = np.asarray(speakers, dtype=np.uint8)
            ends, words, turns = tables.said(view)
            for call, atom, hits in tables.matched(view, ends, words, turns, spoken, calls):
                here = found[call][atom]
                here += hits
                if len(here) > len(hits):
                    here.sort()
            tries = self._tries
            for number, turn in tables.worth_trying(words, turns, spoken):
                atom, _, pattern, _ = tries[number]
                left[calls[turn]][atom].append((turn, pattern))
        return Tries(view, left)


class Tries:
    """What is left to try of the patterns in some calls. RE2 is run only where a condition looks: most are never asked."""

    def __init__(self, view: Views, left: list[dict[int, list[tuple[int, Any]]]]) -> None:
        self._view = view
        self.left = left  # by call and atom: patterns, each in one turn
        self._texts: dict[int, bytes] = {}

    def run(self, call: int, atom: int, area: Region, found: list[Found]) -> None:
        """Tries a pattern in the turns of a call of which a region holds a part; adds to `found`, in order."""
        if not area:
            return
        starts, ends, left = self._view.starts, self._view.ends, self.left[call][atom]
        first, last = bisect_right(starts, area[0][0]) - 1, bisect_right(starts, area[-1][1]) - 1
        here = [one for one in left if first <= one[0] <= last and (first == last or _reaches(area, starts[one[0]], ends[one[0]]))]
        if not here:
            return
        for turn, pattern in here:
            found += self._matches(turn, pattern)
        if len(here) == len(left):
            del self.left[call][atom]
        else:
            done = {turn for turn, _ in here}
            self.left[call][atom] = [one for one in left if one[0] not in done]
        if len(found) > 1:
            found.sort()

    def _matches(self, turn: int, pattern: Any) -> list[Found]:
        """The matches of a pattern in a turn. RE2 works on bytes: only what matches is counted in characters."""
        begin = self._view.starts[turn]
        text = self._texts.get(turn)
        if text is None:
            text = self._texts[turn] = self._view.plain[begin : self._view.ends[turn]].encode("utf-8", "replace")
        size = len(text)
        [(low, high)] = pattern(text, 0, size)
        hits: list[Found] = []
        while low >= 0:
            if low < high:
                start = begin + len(text[:low].decode())
                hits.append((start, start + len(text[low:high].decode()), PATTERN))
            else:
                high = low + len(text[low:].decode()[:1].encode())
            if high >= size:
                break
            [(low, high)] = pattern(text, high, size)
        return hits


def _reaches(area: Region, start: int, end: int) -> bool:
    """Whether a region holds a place of a turn where a hit may begin; an empty interval of it holds its own place."""
    index = bisect_right(area, (start, FAR)) - 1
    if index >= 0 and start < max(area[index][1], area[index][0] + 1):
        return True
    return index + 1 < len(area) and area[index + 1][0] < end


class _Tables:
    """The words of all patterns as an automaton, and which sets and alternatives they belong to, as arrays."""

    def __init__(
        self,
        words: dict[str, int],
        sets: dict[frozenset[int], int],
        tries: Sequence[tuple[int, int, Any, tuple[int, ...]]],
        owners: dict[int, list[tuple[int, int]]],
    ) -> None:
        self.some = bool(words)
        self.character = np.full(BMP, -1, dtype=np.int64)  # code point → number of the word that is this one character
        self.words: Any = None  # finds the others, each gives its number
        for word, number in words.items():
            if len(word) == 1 and ord(word) < BMP:
                self.character[ord(word)] = number
                continue
            if self.words is None:
                self.words = ahocorasick.Automaton()
            self.words.add_word(word, number)
        if self.words is not None:
            self.words.make_automaton()
        self.lengths = np.array([len(word) for word in words], dtype=np.int64)
        owned = [owners.get(number, []) for number in range(len(words))]
        self.first_owner = np.cumsum([0, *map(len, owned)])  # (words + 1,) where a word's owners begin in the next two
        self.owner = np.array([atom for row in owned for atom, _ in row], dtype=np.int64)
        self.owner_bits = np.array([bits for row in owned for _, bits in row], dtype=np.uint8)
        members: list[list[int]] = [[] for _ in words]
        for chosen, number in sets.items():
            for word in chosen:
                members[word].append(number)
        self.first = np.cumsum([0, *map(len, members)])  # (words + 1,) where a word's sets begin in `sets`
        self.sets = np.array([number for row in members for number in row], dtype=np.int64)
        self.count = len(sets)
        full = [tuple(numbers) + (self.count,) * (MAX_SETS - len(numbers)) for _, _, _, numbers in tries]
        self.needs = np.array(full, dtype=np.int64).reshape(-1, MAX_SETS)  # (alternatives, sets); the last set always holds
        self.bits, self.bits_of = np.unique(np.array([bits for _, bits, _, _ in tries], dtype=np.uint8), return_inverse=True)

    def said(self, view: Views) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(hits,) each: last character, word and turn of every word that stands in the plain text."""
        single = self.character[np.minimum(points(view.plain), BMP - 1)]
        at = np.flatnonzero(single >= 0)
        longer = () if self.words is None else self.words.iter(view.plain)
        table = np.fromiter(chain.from_iterable(longer), dtype=np.int64).reshape(-1, 2)
        ends, words = np.concatenate([at, table[:, 0]]), np.concatenate([single[at], table[:, 1]])
        return ends, words, np.searchsorted(view.starts, ends, side="right") - 1

    def matched(
        self, view: Views, ends: np.ndarray, words: np.ndarray, turns: np.ndarray, spoken: np.ndarray, calls: Sequence[int]
    ) -> Iterator[tuple[int, int, list[Found]]]:
        """(call, atom, hits in order) of the alternatives that are just words."""
        hit, at = _rows(self.first_owner, words)
        turns = turns[hit]
        ends, starts = ends[hit] + 1, ends[hit] + 1 - self.lengths[words[hit]]
        own = (self.owner_bits[at] & spoken[turns]) != 0
        own &= (starts >= np.asarray(view.starts)[turns]) & (ends <= np.asarray(view.ends)[turns])
        if not own.any():
            return
        atoms, starts, ends, of = self.owner[at[own]], starts[own], ends[own], np.asarray(calls)[turns[own]]
        order = np.lexsort((ends, starts, atoms, of))
        atoms, of = atoms[order], of[order]
        new = np.flatnonzero((np.diff(atoms) != 0) | (np.diff(of) != 0)) + 1
        rows = list(zip(starts[order].tolist(), ends[order].tolist(), repeat(PATTERN), strict=False))
        low = 0
        heads = np.concatenate(([0], new))
        for call, atom, high in zip(of[heads].tolist(), atoms[heads].tolist(), [*new.tolist(), len(rows)], strict=True):
            yield call, atom, rows[low:high]
            low = high

    def worth_trying(self, words: np.ndarray, turns: np.ndarray, spoken: np.ndarray) -> list[tuple[int, int]]:
        """(alternative, turn) where a word of each set that the alternative needs stands in the turn."""
        if not len(words) or not len(self.needs):
            return []
        hit, row = _rows(self.first, words)
        numbers, places = self.sets[row], turns[hit]
        found: list[tuple[int, int]] = []
        for low in range(0, len(spoken), BLOCK):
            size = min(BLOCK, len(spoken) - low)
            here = slice(None) if size == len(spoken) else (places >= low) & (places < low + size)
            stands = np.zeros((self.count + 1, size), dtype=bool)  # (sets, turns)
            stands[numbers[here], places[here] - low] = True
            stands[self.count] = True
            packed = np.packbits(stands, axis=1)  # eight turns a byte
            worth = np.packbits((self.bits[:, None] & spoken[low : low + size]) != 0, axis=1)[self.bits_of]  # (alternatives, bytes)
            for column in self.needs.T:
                worth &= packed[column]
            tries, byte = np.nonzero(worth)
            of, bit = np.nonzero(np.unpackbits(worth[tries, byte][:, None], axis=1))
            found += zip(tries[of].tolist(), (byte[of] * 8 + bit + low).tolist(), strict=True)
        return found


def _rows(firsts: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a ragged table, whose row n lies from firsts[n] to firsts[n + 1]: (index in `chosen`, place in the table) of each
    member of the chosen rows."""
    counts = firsts[chosen + 1] - firsts[chosen]
    of = np.repeat(np.arange(len(chosen)), counts)
    return of, np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts - firsts[chosen], counts)


# --- the words a pattern needs -----------------------------------------------------------------------------

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
MAX_COMBINED = 1500  # words that one run of a pattern may be spelled out to
MAX_TIMES = 3  # of a bounded repetition that is spelled out
MAX_CLASS = 64  # characters of a range that is spelled out
EDGES = {"AT_BEGINNING": (JOINT[1:],), "AT_BEGINNING_STRING": (JOINT[1:],), "AT_END": (JOINT[:2],), "AT_END_STRING": (JOINT[:2],)}
REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
MAX_LITERALS = 1000  # of one pattern; one automaton holds them all


def _required(items: list) -> tuple[Words, ...]:
    """Sets of words, of each of which one must stand in whatever a sequence matches; the most telling first.

    What stands side by side is spelled out together as far as MAX_COMBINED allows: 您先 is rarer than 您. The edges of
    a turn count as characters, for the joints of the plain view stand there.
    """
    found: list[Words] = []
    run: Words = ("",)
    for operation, argument in items:
        name = str(operation)
        strings = _strings([(operation, argument)], edges=True)
        if strings is not None and len(run) * len(strings) <= MAX_COMBINED:
            run = _joined(run, strings)
            continue
        found.append(run)
        if strings is not None:
            run = strings
            continue
        run = ("",)
        repeated = _strings(list(argument[2]), edges=True) if name in REPEATS and argument[0] >= 1 else None
        if repeated is None:
            found += _inner(name, argument)
            continue
        if len(found[-1]) * len(repeated) <= MAX_COMBINED:
            found[-1] = _joined(found[-1], repeated)  # the first time stands beside what is before it …
        if argument[0] > 1:
            found.append(_said_over(repeated, argument[0]))
        run = repeated  # … and the last beside what follows
    found.append(run)
    telling = [_shortest(words) for words in found if all(words) and not any(word in JOINT for word in words)]
    telling.sort(key=_telling, reverse=True)
    return tuple(dict.fromkeys(telling))[:MAX_SETS]


def _telling(words: Words) -> tuple[int, int]:
    """How much a set of words narrows: the longest are the rarest, and the fewest."""
    return min(map(len, words)), -len(words)


def _said_over(words: Words, times: int) -> Words:
    """Words said so many times over, or as often as can be spelled out."""
    found = words
    for _ in range(1, min(times, MAX_TIMES)):
        if len(found) * len(words) > MAX_COMBINED:
            break
        found = _joined(found, words)
    return found


def _joined(one: Words, other: Words) -> Words:
    return tuple(dict.fromkeys(a + b for a in one for b in other))


def _shortest(words: Words) -> Words:
    """Without the words that hold another of the set: where they stand, that one stands."""
    known = set(words)

    def holds_another(word: str) -> bool:
        return any(word[i:j] in known for i in range(len(word)) for j in range(i + 1, len(word) + 1) if j - i < len(word))

    return tuple(word for word in words if not holds_another(word))


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


def _strings(items: list, *, edges: bool = False) -> Words | None:
    """All that a sequence can match, where that is a short list of words; else None. With `edges`, turns' edges count."""
    found: Words = ("",)
    for operation, argument in items:
        name = str(operation)
        parts: Words | None = None
        if name == "LITERAL":
            parts = (chr(argument),)
        elif name == "IN":
            parts = _characters(argument)
        elif name == "SUBPATTERN" and not argument[1] and not argument[2]:
            parts = _strings(list(argument[3]), edges=edges)
        elif name == "BRANCH":
            branches = [_strings(list(branch), edges=edges) for branch in argument[1]]
            if all(branch is not None for branch in branches):
                parts = tuple(dict.fromkeys(word for branch in branches for word in branch or ()))
        elif name in REPEATS and argument[1] <= MAX_TIMES:
            parts = _times(_strings(list(argument[2]), edges=edges), argument[0], argument[1])
        elif name == "AT" and edges:
            parts = EDGES.get(str(argument))
        if parts is None or len(found) * len(parts) > MAX_COMBINED:
            return None
        found = _joined(found, parts)
    return found


def _characters(members: list) -> Words | None:
    """The characters of a class, where they can be listed."""
    found = ""
    for kind, value in members:
        if str(kind) == "LITERAL":
            found += chr(value)
        elif str(kind) == "RANGE" and value[1] - value[0] < MAX_CLASS:
            found += "".join(map(chr, range(value[0], value[1] + 1)))
        else:
            return None
    return tuple(dict.fromkeys(found))


def _times(words: Words | None, low: int, high: int) -> Words | None:
    """Words said low to high times over."""
    if words is None:
        return None
    found: Words = ()
    power: Words = ("",)
    for count in range(high + 1):
        if count >= low:
            found = tuple(dict.fromkeys((*found, *power)))
        if len(power) * len(words) > MAX_COMBINED or len(found) > MAX_COMBINED:
            return None
        power = _joined(power, words)
    return found
