"""Character error rate: edits ÷ characters of the reference, script, digits, case and punctuation aside."""

from __future__ import annotations

import re

import opencc
from rapidfuzz.distance import Levenshtein

DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")
SAME = str.maketrans("幺〇两", "一零二")
_SIMPLIFIED = opencc.OpenCC("t2s")


def plain(text: str) -> str:
    """What is compared: simplified characters, Chinese digits, Latin letters in lower case."""
    text = _SIMPLIFIED.convert(text).translate(DIGITS).translate(SAME)
    return re.sub(r"[^\u4e00-\u9fffA-Za-z]", "", text).lower()


def error_rate(reference: str, heard: str) -> float:
    """Levenshtein distance over the reference's length; 0 for two empty texts."""
    said = plain(reference)
    return Levenshtein.distance(said, plain(heard)) / max(1, len(said))
