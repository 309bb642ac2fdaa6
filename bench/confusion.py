"""Puts the errors of a Mandarin recogniser into text: what sounds alike, what falls out, what is said twice.

Sounds alike: the same syllable in another tone, zh/z, ch/c, sh/s, n/l, h/f, in/ing, en/eng, an/ang, as a word of two
or three characters where one exists, else as a single character, common ones more often. The inventory of characters
and words is pypinyin's, so nothing is downloaded; how common a character is, is counted over those words.

    python -m bench.confusion "这个我真没办法给您弄" --rate 0.1 --seed 3
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache

from scoring_rules.sounds import folded

HAN = re.compile(r"[\u4e00-\u9fff]")
MARKS = re.compile(r"[，。？！、；：,.?!;:…]+")
FILLERS = re.compile(r"[呃嗯啊哦呀嘛呢吧哈诶欸]")
RARE = 3  # a character in fewer of the dictionary's words is not what a recogniser writes
SAME_SYLLABLE, SAME_TONE = 4.0, 2.0  # how much likelier than a confused initial or final


@dataclass(frozen=True, slots=True)
class Noise:
    """Shares of characters (words, fillers, marks) that an error befalls, 0–1."""

    alike: float = 0.06
    word: float = 0.5  # of the errors: a whole word that sounds alike, where there is one
    dropped: float = 0.01
    doubled: float = 0.01
    filler: float = 0.3  # of the fillers fall out
    mark: float = 0.3  # of the texts lose all their marks; as many have them thinned out


CLEAN = Noise(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Inventory:
    characters: dict[str, list[tuple[str, str]]]  # folded syllable → (character, syllable with tone)
    words: dict[tuple[str, ...], list[str]]  # folded syllables → words
    reading: dict[str, str]  # character → its commonest syllable with tone
    common: Counter[str]


def bare(syllable: str) -> str:
    """A syllable without its tone figure: ban4 → ban."""
    return syllable.rstrip("12345")


@cache
def inventory() -> Inventory:
    from pypinyin import Style, pinyin_dict
    from pypinyin.constants import PHRASES_DICT
    from pypinyin.contrib.tone_convert import to_tone3

    common: Counter[str] = Counter(character for word in PHRASES_DICT for character in word)
    characters: dict[str, list[tuple[str, str]]] = defaultdict(list)
    reading: dict[str, str] = {}
    for code, readings in pinyin_dict.pinyin_dict.items():
        character = chr(code)
        if common[character] < RARE:
            continue
        syllables = [to_tone3(r, neutral_tone_with_five=True) for r in readings.split(",")]
        reading[character] = syllables[0]
        characters[folded(bare(syllables[0]))].append((character, syllables[0]))
    words: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for word, readings in PHRASES_DICT.items():
        if 2 <= len(word) <= 3 and all(common[character] >= 4 * RARE for character in word):
            words[tuple(folded(bare(to_tone3(r[0]))) for r in readings)].append(word)
    assert Style.TONE3
    return Inventory(dict(characters), dict(words), reading, common)


def character_alike(character: str, rng: random.Random) -> str:
    """Another character that sounds alike, or the same where there is none."""
    stock = inventory()
    syllable = stock.reading.get(character)
    if syllable is None:
        return character
    options = [(c, s) for c, s in stock.characters[folded(bare(syllable))] if c != character]
    if not options:
        return character
    weights = [
        stock.common[c] ** 0.7 * (SAME_SYLLABLE if bare(s) == bare(syllable) else 1) * (SAME_TONE if s[-1] == syllable[-1] else 1)
        for c, s in options
    ]
    return rng.choices([c for c, _ in options], weights)[0]


def word_alike(text: str, start: int, rng: random.Random) -> str:
    """A word for the two or three characters from `start` on that sounds alike; empty where there is none."""
    stock = inventory()
    for length in rng.sample((2, 3), 2):
        piece = text[start : start + length]
        if len(piece) < length or not all(character in stock.reading for character in piece):
            continue
        key = tuple(folded(bare(stock.reading[character])) for character in piece)
        options = [word for word in stock.words.get(key, ()) if word != piece]
        if options:
            return rng.choice(options)
    return ""


def confuse(text: str, rng: random.Random, noise: Noise = Noise()) -> str:
    """The text as a recogniser might have written it."""
    text = _marks(text, rng, noise)
    out: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if not HAN.match(character):
            out.append(character)
            continue
        if FILLERS.match(character) and rng.random() < noise.filler:
            continue
        draw = rng.random()
        if draw < noise.alike:
            word = word_alike(text, position - 1, rng) if rng.random() < noise.word else ""
            out.append(word or character_alike(character, rng))
            position += max(0, len(word) - 1)
        elif draw < noise.alike + noise.dropped:
            continue
        elif draw < noise.alike + noise.dropped + noise.doubled:
            out.append(character * 2)
        else:
            out.append(character)
    return "".join(out)


def _marks(text: str, rng: random.Random, noise: Noise) -> str:
    draw = rng.random()
    if draw < noise.mark:
        return MARKS.sub("", text)
    if draw < 2 * noise.mark:
        return MARKS.sub(lambda found: found[0] if rng.random() < 0.5 else "", text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--rate", type=float, default=Noise.alike)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(confuse(given.text, random.Random(given.seed), Noise(alike=given.rate)))


if __name__ == "__main__":
    main()
