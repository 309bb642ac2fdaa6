"""Mandarin by ear: each character as a folded syllable, so that what a recogniser confuses is the same symbol.

Folded: zh/z, ch/c, sh/s, initial n/l and h/f, in/ing, en/eng, an/ang, and tones. These are the confusions that
accents of Mandarin and their recognisers share (no retroflex in the south, n/l in the south-west, f/h in Hunan
and Fujian, front and back nasals almost everywhere).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import islice, product

import numpy as np

from scoring_rules.text import Points, points, string

MIN_SYLLABLES = 3  # below it, too much of the language sounds like the phrase: one in 400 syllables squared
MAX_READINGS = 16  # of one phrase; more are never needed for phrases of people
_FIRST_SYMBOL = 0xE000  # private use area
_DIGIT_NAMES = ("ling", "yi", "er", "san", "si", "wu", "liu", "qi", "ba", "jiu")
# f for h before u: 欢 huan is heard as fan, 辉 hui as fei.
_HU = {"hua": "ha", "huan": "han", "huang": "hang", "hui": "hei", "hun": "hen", "huo": "ho", "huai": "hai"}


def folded(syllable: str) -> str:
    """A toneless pinyin syllable folded to its confusion class."""
    for wide, narrow in (("zh", "z"), ("ch", "c"), ("sh", "s")):
        if syllable.startswith(wide):
            syllable = narrow + syllable[2:]
    if syllable.startswith("n") and len(syllable) > 1:
        syllable = "l" + syllable[1:]
    if syllable.startswith("f"):
        syllable = "h" + syllable[1:]
    syllable = _HU.get(syllable, syllable)
    return syllable[:-1] if syllable.endswith(("ang", "eng", "ing")) else syllable


def _toneless(syllable: str) -> str:
    bare = unicodedata.normalize("NFD", syllable.replace("ü", "v").replace("ɡ", "g"))
    bare = bare.replace("u\u0308", "v")
    return "".join(character for character in bare if character.isascii() and character.isalpha())


@cache
def _symbols() -> dict[str, int]:
    return {}


def _symbol(syllable: str) -> int:
    """A code point for a folded syllable; those of the table below are the same in every process."""
    table = _symbols()
    return table.setdefault(folded(syllable), _FIRST_SYMBOL + len(table))


@cache
def sound_table() -> Points:
    """(65536,) compact code point → the symbol of its commonest reading; what has none stays."""
    from pypinyin.constants import PINYIN_DICT

    table = np.arange(0x10000, dtype=np.uint32)
    heard = {code: folded(_toneless(readings.split(",")[0])) for code, readings in PINYIN_DICT.items() if code < 0x10000}
    for syllable in sorted({*heard.values()} - {""}):  # sorted, since trained heads hash the symbols
        _symbol(syllable)
    for code, syllable in heard.items():
        if syllable:
            table[code] = _symbol(syllable)
    for digit, name in enumerate(_DIGIT_NAMES):
        table[ord("0") + digit] = _symbol(name)
    return table


def sounds(compact: str) -> str:
    """The compact view by ear, character by character."""
    values = points(compact)
    found = sound_table()[np.minimum(values, 0xFFFF)]
    return string(np.where(values < 0x10000, found, values))


def readings(phrase: str, compact: str) -> tuple[str, ...]:
    """What a phrase may sound like, as strings of symbols; its own reading in context and the commonest of each character.

    `compact` is the phrase folded. Empty where the phrase is too short, or not Chinese throughout.
    """
    from pypinyin import Style, lazy_pinyin

    plain = sounds(compact)
    if len(compact) < MIN_SYLLABLES or any(not 0xE000 <= ord(symbol) < 0xF900 for symbol in plain):
        return ()
    options: list[list[str]] = [[symbol] for symbol in plain]
    spoken = [s for s in lazy_pinyin(compact, style=Style.NORMAL, v_to_u=False) if s]
    if len(spoken) == len(compact):
        for place, syllable in enumerate(spoken):
            if (bare := _toneless(syllable)) and (symbol := chr(_symbol(bare))) not in options[place]:
                options[place].append(symbol)
    return tuple("".join(combination) for combination in islice(product(*options), MAX_READINGS))


def allowed_differences(length: int) -> int:
    """How many characters of a phrase may differ from what was heard: half of them, rounded up."""
    return (length + 1) // 2
