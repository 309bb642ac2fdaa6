"""Small questions of grammar, answered from word lists: where clauses end, what is asked, quoted, denied, and of whom.

Not a parser: transcripts have no reliable punctuation and few whole sentences, and each question is about one
stretch of a few characters. The word lists are the pack's (lexicon.yaml); offsets count into the text that is passed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from scoring_rules.model import Lexicon

Interval = tuple[int, int]
Region = tuple[Interval, ...]  # sorted, apart
FAR = 1 << 60  # beyond any position
_OPENING, _CLOSING = "“‘「『《", "”’」』》"
_A_NOT_A = r"([\u4e00-\u9fff])[不没]\1|([\u4e00-\u9fff]{2})[不没]\2|有没有|([\u4e00-\u9fff])[不没]\3[\u4e00-\u9fff]"
_UNSPOKEN = re.compile(r"[\W_]+")
_MARK = re.compile(r"[，。？！,?!;；]")
QUOTE_REACH = 24  # characters from a reporting verb within which speech counts as reported
CHAIN_REACH = 2  # characters between two denials that still meet (不能就不 …)


class Grammar:
    """The grammar questions of one language."""

    def __init__(self, language: str, lexicon: Lexicon) -> None:
        self.english = language == "en"
        word = self._words
        openers = word(lexicon["clause_openers"])
        stop = r"[，。？！；：,?!;\n]|(?<!\d)[.:]|[.:](?!\d)|…+|——"
        if not self.english:
            stop += r"|(?<=[\u4e00-\u9fff])[ \t]+(?=[\u4e00-\u9fff])"
        self._clause_end = re.compile(stop)
        self._clause_open = re.compile(openers) if openers else None
        self._sentence_end = re.compile(r"[。？！?!；;\n]|(?<!\d)\.(?!\d)|(?<=\d)\.(?=\s|$)|(?<=[a-z])\.(?=\s|$)")
        self._question_word = re.compile(
            "|".join(filter(None, [word(lexicon["question_words"]), "" if self.english else _A_NOT_A])) or r"(?!)"
        )
        self._question_not = re.compile(word(lexicon["question_not"]) or r"(?!)")
        ends = word(lexicon["question_ends"])
        self._question_end = re.compile(rf"(?:{ends})[呀啊哈]?[ ,，。.]*$" if ends else r"(?!)")
        self._back = self._backchannels(lexicon["backchannels"])
        self._quote = self._reporting(lexicon)
        self._subjects = self._subject_pattern(lexicon)
        self._prepositions = tuple(lexicon["subject_prepositions"])
        self._denial = re.compile(word(lexicon["negators"]) or r"(?!)")
        self._no_denial = re.compile(word(lexicon["not_negators"]) or r"(?!)")
        self._double = self._denial_before(lexicon)
        self._choice = re.compile(r"(?!)" if self.english else _A_NOT_A)

    def _words(self, words: Sequence[str]) -> str:
        """An alternation, longest first; English words stand alone."""
        parts = sorted((re.escape(w.lower()) for w in words), key=len, reverse=True)
        if not parts:
            return ""
        joined = "|".join(parts)
        return rf"(?<![a-z])(?:{joined})(?![a-z])" if self.english else f"(?:{joined})"

    def _backchannels(self, words: Sequence[str]) -> re.Pattern[str]:
        if not words:
            return re.compile(r"(?!)")
        return re.compile(rf"[\W_]*(?:{self._words(words)}[\W_]*)+")

    def _reporting(self, lexicon: Lexicon) -> re.Pattern[str]:
        subjects, verbs = self._words(lexicon["quote_subjects"]), self._words(lexicon["quote_verbs"])
        if not subjects or not verbs:
            return re.compile(r"(?!)")
        if self.english:
            return re.compile(rf"{subjects}(?: \w+){{0,2}}? {verbs}")
        to = "".join(re.escape(w) for w in lexicon["quote_to"] if len(w) == 1)
        return re.compile(rf"(?<![{to}]){subjects}[^，。？！,?!我咱]{{0,4}}?{verbs}(?:了|过|到)?(?:就是|的是|是)?(?![的得])")

    def _denial_before(self, lexicon: Lexicon) -> re.Pattern[str]:
        """A denial just before another, a subject between them at the most: 不是我不能."""
        before = self._words(lexicon["double_before"])
        if not before:
            return re.compile(r"(?!)")
        who = self._words((*lexicon["subject_us"], *lexicon["subject_you"])) or r"(?!)"
        return re.compile(rf"{before}\s?{who}?(?:[就都也的]{{0,2}}|\s)$")

    def _subject_pattern(self, lexicon: Lexicon) -> re.Pattern[str]:
        groups = []
        for name in ("possessives", "subject_us", "subject_you", "subject_thing"):
            if words := self._words(lexicon[name]):
                groups.append(f"(?P<{name}>{words})")
        return re.compile("|".join(groups) or r"(?!)")

    # --- clauses and sentences

    def clauses(self, text: str) -> list[Interval]:
        """The clauses of a turn, covering it from end to end."""
        cuts = {found.end() for found in self._clause_end.finditer(text)}
        if self._clause_open:
            cuts.update(found.start() for found in self._clause_open.finditer(text))
        return _between(cuts, text)

    def sentences(self, text: str) -> list[Interval]:
        return _between({found.end() for found in self._sentence_end.finditer(text)}, text)

    # --- questions about a stretch

    def is_question(self, clause: str) -> bool:
        """Whether a clause asks; its closing mark belongs to it."""
        if clause.rstrip().endswith(("?", "？")):
            return True
        if self._question_end.search(clause):
            return True
        if not self._question_word.search(clause):
            return False
        return self._question_word.search(self._question_not.sub(" ", clause)) is not None

    def units(self, text: str) -> int:
        """Characters that are spoken; words in English."""
        return len(text.split()) if self.english else len(_UNSPOKEN.sub("", text))

    def is_backchannel(self, text: str) -> bool:
        return self._back.fullmatch(text) is not None

    def is_quoted(self, sentence: str, start: int, end: int) -> bool:
        """Whether [start, end) of a sentence stands in quotation marks or is reported speech."""
        for opening, closing in zip(_OPENING, _CLOSING, strict=True):
            if sentence.rfind(opening, 0, start + 1) > sentence.rfind(closing, 0, start):
                return True
        if sentence.count('"', 0, start) % 2 and '"' in sentence[end:]:
            return True
        for found in self._quote.finditer(sentence, max(0, start - QUOTE_REACH), start):
            between = sentence[found.end() : start].lstrip(" ,，:：“‘\"")
            if not _MARK.search(between):  # a mark ends the report: 您说的对，我不能 …
                return True
        return False

    def subject(self, clause: str, start: int, end: int) -> str:
        """us | you | thing | none: the nearest candidate at or before [start, end) that is no object."""
        best = "none"
        for found in self._subjects.finditer(clause, 0, end):
            if found.start() > start and best != "none":
                break
            kind = found.lastgroup or ""
            before = clause[: found.start()].rstrip()
            if kind != "subject_thing" and before.endswith(self._prepositions):
                continue
            best = {"subject_us": "us", "subject_you": "you"}.get(kind, "thing")
        return best

    def is_denied(self, clause: str, start: int, end: int) -> bool:
        """Whether an odd number of denials meets in [start, end): 不能 is a denial, 不能不 and 能不能 are none."""
        if any(found.start() < end and start < found.end() for found in self._choice.finditer(clause)):
            return False
        spoken = self._no_denial.sub(lambda found: "\0" * len(found[0]), clause)
        places = [found.start() for found in self._denial.finditer(spoken)]
        inside = [place for place in places if start <= place < end]
        chain = len(inside)
        last = end
        for place in places:
            if end <= place <= last + CHAIN_REACH - 1:
                chain, last = chain + 1, place + 1
        if self._double.search(clause[:start]):
            chain += 1
        return chain % 2 == 1


def _between(cuts: set[int], text: str) -> list[Interval]:
    """Intervals between the cuts; one with nothing but marks joins the one before it."""
    edges = sorted({0, len(text), *cuts})
    found: list[Interval] = []
    for lo, hi in pairwise(edges):
        if found and not any(character.isalnum() for character in text[lo:hi]):
            found[-1] = (found[-1][0], hi)
        else:
            found.append((lo, hi))
    return found or [(0, len(text))]


def piece_at(pieces: Sequence[Interval], position: int) -> int:
    """Index of the piece that holds `position` (the last one for the end of the text)."""
    return max(0, bisect_right(pieces, (position, FAR)) - 1)
