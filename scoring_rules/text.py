"""Characters as rules see them: one table lookup a character, so that every offset leads back to the received text.

A call's turns stand in one string, joined by JOINT, on one axis of character positions; three views of it are made:

    plain    as long as the received text: NFKC, simplified, lower case, marks as the language writes them (，？！ or
             , ? !). Patterns and grammar read it.
    compact  plain without punctuation and spaces (English: words parted by one space), Chinese digits as 0–9.
             Phrases are found in it; `offsets` lead back.
    sounds   compact with every Chinese character replaced by the symbol of its folded syllable.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

JOINT = " \n "  # between turns: the spaces are word limits for English, and vanish for Chinese
DROP = 0x110000 - 1  # a code point that no text holds (a non-character): what is to be left out
BREAK = ord("\n")
BMP = 0x10000
_DIGITS = {
    "零": "0", "〇": "0", "一": "1", "壹": "1", "幺": "1", "二": "2", "两": "2", "贰": "2", "三": "3", "叁": "3", "四": "4", "肆": "4",
    "五": "5", "伍": "5", "六": "6", "陆": "6", "七": "7", "柒": "7", "八": "8", "捌": "8", "九": "9", "玖": "9",
}  # fmt: skip
_APOSTROPHES = "'’‘`´ʼ"
_HALF_MARKS, _FULL_MARKS = ",?!;:()", "，？！；：（）"
SENTENCE_END = "。！？!?；;"

Points = np.ndarray  # (characters,) uint32 code points


def points(text: str) -> Points:
    """The code points of a text; lone surrogates, which JSON can carry, pass."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def string(values: Points) -> str:
    return values.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


@cache
def plain_table(language: str) -> Points:
    """(65536,) code point → NFKC, simplified, lower case; only where that is one character again."""
    table = _letters_table()
    if language != "en":
        table = table.copy()
        for half, full in zip(_HALF_MARKS, _FULL_MARKS, strict=True):
            table[ord(half)] = table[ord(full)] = ord(full)
    return table


@cache
def _letters_table() -> Points:
    import opencc

    table = np.arange(BMP, dtype=np.uint32)
    for code in range(0x80, BMP):
        if 0xD800 <= code < 0xF900:
            continue  # surrogates and private use
        folded = unicodedata.normalize("NFKC", chr(code))
        if len(folded) == 1 and ord(folded) < BMP:
            table[code] = ord(folded)
    han = [*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000), *range(0xF900, 0xFB00)]
    source = [chr(int(table[code])) for code in han]
    simplified = opencc.OpenCC("t2s").convert("\n".join(source)).split("\n")
    for code, old, new in zip(han, source, simplified, strict=True):
        table[code] = ord(new) if len(new) == 1 and ord(new) < BMP else ord(old)
    lower = np.arange(BMP, dtype=np.uint32)
    for code in range(BMP):
        small = chr(code).lower()
        if len(small) == 1:
            lower[code] = ord(small)
    return lower[table]


@cache
def compact_table(language: str) -> Points:
    """(65536,) plain code point → itself, a digit, a space (English) or DROP."""
    english = language == "en"
    table = np.arange(BMP, dtype=np.uint32)
    gap = ord(" ") if english else DROP
    for code in range(BMP):
        if unicodedata.category(chr(code))[0] in "PZSC" and not 0xE000 <= code < 0xF900:
            table[code] = gap
    for mark in _APOSTROPHES:
        table[ord(mark)] = DROP
    if not english:
        for word, digit in _DIGITS.items():
            table[ord(word)] = ord(digit)
    return table


def _look_up(table: Points, values: Points, beyond: int | None = None) -> Points:
    """Characters beyond the basic plane (rare characters, emoji) stay, or become `beyond`."""
    found = table[np.minimum(values, BMP - 1)]
    high = values >= BMP
    if high.any():
        found[high] = values[high] if beyond is None else np.where(values[high] >= 0x1F000, beyond, values[high])
        if beyond is not None:
            found[high & (values >= 0x20000) & (values < 0x40000)] = values[high & (values >= 0x20000) & (values < 0x40000)]
    return found


class Views(NamedTuple):
    text: str  # received, joined
    plain: str  # as long as text
    compact: str
    offsets: memoryview  # of each compact character into text (int64): read one by one, or as an array without a copy
    starts: list[int]  # of each turn into text
    ends: list[int]


def views(texts: Sequence[str], language: str) -> Views:
    """The views of a call's turns."""
    text = JOINT.join(("", *texts, ""))  # a joint before the first and after the last turn, too
    received = points(text)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + len(JOINT)
    ends = np.cumsum(lengths)
    starts = ends - lengths + len(JOINT)
    plain = _look_up(plain_table(language), received)
    compact = _look_up(compact_table(language), plain, DROP)
    compact[starts - 2] = BREAK
    compact[-2] = BREAK
    keep = compact != DROP
    if language == "en":
        space = compact == ord(" ")
        keep[1:] &= ~(space[1:] & _previous_kept_space(space, keep)[1:])
    offsets = np.flatnonzero(keep)
    return Views(text, string(plain), string(compact[keep]), offsets.data, starts.tolist(), ends.tolist())


def _previous_kept_space(space: Points, keep: Points) -> Points:
    """For each character, whether the last kept one before it is a space (dropped apostrophes between them do not count)."""
    kept = np.flatnonzero(keep)
    before = np.searchsorted(kept, np.arange(len(space))) - 1
    return np.where(before >= 0, space[kept[np.maximum(before, 0)]], False)


def fold(phrase: str, language: str) -> str:
    """A phrase as it stands in the compact view; English phrases keep a space at both ends as word limits."""
    view = views([phrase], language)
    bare = view.compact.strip()
    return f" {bare} " if language == "en" else bare


# --- numbers -----------------------------------------------------------------------------------------------

_ARABIC = re.compile(r"(?<!\d)\d{2,4}(?!\d)")
_CHINESE = re.compile(r"[1-9]?[千百十](?:[1-9][百十]|0)*[1-9]?|[1-9][千百](?:[0-9十百])*")
_UNITS = {"十": 10, "百": 100, "千": 1000}


def number_forms(folded: str) -> tuple[str, ...]:
    """A folded Chinese phrase with its numbers as they are read and as they are written: 24小时, 2十4小时."""
    forms = [folded]
    read = _ARABIC.sub(lambda found: _read(int(found[0])) if found[0][0] != "0" else found[0], folded)
    written = _CHINESE.sub(lambda found: str(_value(found[0]) or found[0]), folded)
    return tuple(dict.fromkeys([*forms, read, written]))


def _read(number: int) -> str:
    """1–9999 as it is read, with digits for 一…九."""
    text, zero = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, unit)
        if digit:
            text += ("0" if zero and text else "") + ("" if name == "十" and digit == 1 and not text else str(digit)) + name
            zero = False
        elif text:
            zero = True
    return text


def _value(text: str) -> int | None:
    total, digit = 0, 0
    for character in text:
        if character.isdigit():
            digit = int(character)
        else:
            total, digit = total + (digit or 1) * _UNITS[character], 0
    value = total + digit
    return value if _read(value) == text else None
