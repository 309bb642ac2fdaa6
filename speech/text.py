"""Text as people read it and rules match it: simplified script, and marks on what a recogniser makes up."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from speech.types import Mark, Turn, Word

# What Whisper writes on silence and noise, learnt from subtitles. Compared without spaces and punctuation.
KNOWN_HALLUCINATIONS = (
    "字幕由",
    "字幕志愿者",
    "字幕制作",
    "字幕提供",
    "中文字幕",
    "明镜与点点",
    "请不吝点赞",
    "点赞订阅",
    "订阅转发",
    "打赏支持",
    "谢谢观看",
    "感谢观看",
    "多谢收看",
    "感谢收看",
    "下期再见",
    "下期节目再见",
    "优优独播剧场",
    "yoyotelevisionseries",
    "词曲李宗盛",
    "amaraorg",
    "subtitlesbythe",
    "thanksforwatching",
    "thankyouforwatching",
    "pleasesubscribe",
)
PROMPTS = ("以下是普通话", "以下是普通話")  # what people prompt Whisper with, and it then returns

LOOP_MIN_REPEATS = 4  # of one unit of up to LOOP_MAX_UNIT characters, back to back
LOOP_MAX_UNIT = 12
LOOP_MIN_CHARACTERS = 10  # 对对对对 is how people talk; a loop is longer
_LOOP = re.compile(rf"(.{{1,{LOOP_MAX_UNIT}}}?)\1{{{LOOP_MIN_REPEATS - 1},}}")
_NOT_TEXT = re.compile(r"[\W_]+")

LOW_PROBABILITY = 0.4  # of a word; below it Whisper base is wrong more often than right (docs/models.md)
LOW_CONFIDENCE_SHARE = 0.5  # of a turn's words


# One word in two spellings that both pass for simplified; recognisers write either, phrases only the common one.
_ACCOUNT = re.compile(r"帐(?=[单户号款目本面务]|期)|(?<=[转到入记结算对出查付挂赊欠还销])帐(?!篷)")
_ASPECT = re.compile(r"(?<![名显原编卓昭土巨论专遗译所])著(?![名作称述者录译])")


@cache
def _converter():
    import opencc

    return opencc.OpenCC("t2s")


def to_simplified(words: Sequence[str]) -> list[str]:
    """Words in simplified script and NFKC letters and digits; as many come back as went in.

    They are converted together, since the right character depends on its neighbours (乾坤, 乾净 → 干净), and apart
    only where that would change a length. Chinese punctuation stays full-width.
    """
    joined = "".join(words)
    converted = _common_spelling(_converter().convert(joined))
    if len(converted) == len(joined):
        out, at = [], 0
        for word in words:
            out.append(converted[at : at + len(word)])
            at += len(word)
    else:
        out = [_common_spelling(_converter().convert(word)) for word in words]
    return [_narrow(word) for word in out]


def _common_spelling(text: str) -> str:
    return _ASPECT.sub("着", _ACCOUNT.sub("账", text))


def _narrow(text: str) -> str:
    """Full-width letters and digits to ASCII; punctuation as it is."""
    return "".join(
        unicodedata.normalize("NFKC", c) if unicodedata.category(c)[0] in "LN" and ord(c) > 0xFF00 else c for c in text
    )


PAUSE_COMMA = 0.35  # seconds between two words that a reader hears as a break …
PAUSE_STOP = 0.9  # … and as an end
_CJK_END = re.compile(r"[\u3400-\u9fff]\W*$")
_ENDS = "，。？！、；：,.?!;:…"
_QUESTION = re.compile(r"(吗|呢|么|什么|多少|几|哪里|哪儿|怎么样|怎么办|为什么|可以吗|是不是|有没有|能不能|行不行|好不好)$")
_HALF_TO_FULL = str.maketrans({",": "，", "?": "？", "!": "！", ";": "；"})


def punctuate(words: Sequence[Word]) -> tuple[Word, ...]:
    """Mandarin words with the punctuation a reader needs: full-width, a comma at a pause, a stop at a long one.

    Whisper leaves marks out of half the windows. They are for people: matching ignores them. What the recogniser
    did write stays.
    """
    out: list[Word] = []
    for index, word in enumerate(words):
        text = word.text.translate(_HALF_TO_FULL)
        following = words[index + 1] if index + 1 < len(words) else None
        if text and text[-1] not in _ENDS and following is not None and following.text[:1] not in _ENDS:
            pause = following.start - word.end
            if pause >= PAUSE_STOP:
                text += _stop([w.text for w in words[max(0, index - 5) : index + 1]])
            elif pause >= PAUSE_COMMA:
                text += "，"
        out.append(replace(word, text=text))
    return tuple(out)


def close(turn: Turn) -> Turn:
    """The turn with a stop at its end, if it is Mandarin and has none."""
    if not turn.words or not _CJK_END.search(turn.text):
        return turn
    last = turn.words[-1]
    text = last.text.rstrip("，、,")
    if text[-1:] not in _ENDS:
        text += _stop([word.text for word in turn.words[-6:]])
    words = (*turn.words[:-1], replace(last, text=text))
    return replace(turn, words=words, text="".join(word.text for word in words))


def _stop(words: Sequence[str]) -> str:
    return "？" if _QUESTION.search(bare("".join(words))) else "。"


def bare(text: str) -> str:
    """Text without spaces and punctuation, lower-case: what counts when two texts are compared."""
    return _NOT_TEXT.sub("", text).lower()


def is_loop(text: str) -> bool:
    """Whether most of a text is one unit repeated, as a decoder does that has lost its way."""
    plain = bare(text)
    looped = sum(len(found.group(0)) for found in _LOOP.finditer(plain))
    return looped >= LOOP_MIN_CHARACTERS and looped * 2 >= len(plain)


def marks(text: str, probabilities: Sequence[float] = (), *, no_speech: float = 0.0) -> tuple[Mark, ...]:
    """What a reader of a turn must know about it.

    A known hallucination is marked when it is all that a turn says, or when the recogniser itself doubted that there
    was speech (`no_speech`, a probability): a customer may well say 谢谢观看 in earnest inside a longer sentence.
    """
    plain = bare(text)
    found: list[Mark] = []
    if any(prompt in plain for prompt in PROMPTS):
        found.append(Mark.PROMPT_ECHO)
    known = sum(len(phrase) for phrase in KNOWN_HALLUCINATIONS if phrase in plain)
    if known and (known * 2 >= len(plain) or no_speech > 0.5):
        found.append(Mark.HALLUCINATION)
    if is_loop(text):
        found.append(Mark.LOOP)
    doubtful = sum(probability < LOW_PROBABILITY for probability in probabilities)
    if probabilities and doubtful >= LOW_CONFIDENCE_SHARE * len(probabilities):
        found.append(Mark.LOW_CONFIDENCE)
    return tuple(found)
