"""Finds personal data in what people say and write, and masks it.

Found are phone numbers, ID cards, bank cards, passwords and codes, e-mail addresses, licence plates, and any other run
of 11 or more digits: in figures, in spoken digits (一三八, 幺, 三个八), with pauses, fillers and punctuation in between,
and split over neighbouring turns. Left alone are amounts, dates, hotlines (400, 800, 95xxx), last-four digits, and
shorter order, ticket and staff numbers. A long order number is masked too: it leads to a person, and privacy goes
first. Names and addresses are not found.

Every character of a number is masked (no last four are kept), and a masked text is as long as the original, so that
offsets of evidence stay true.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, NamedTuple

import re2
from stdnum import luhn

from speech.types import Transcript

MASK = "*"
MIN_UNKNOWN_DIGITS = 11  # a run this long is personal whatever it is; the shortest mobile number
MIN_NAMED_DIGITS = {
    "phone": 7,
    "id_card": 8,
    "bank_card": 8,
    "secret": 4,
}  # what its name in the text makes it
MAX_SECRET_DIGITS = 10
DIGEST_CHARACTERS = 32  # the shortest hexadecimal digest (MD5)
CONTEXT_CHARACTERS = 14  # how far before a number its name may stand


class Kind(StrEnum):
    PHONE = "phone"
    ID_CARD = "id_card"
    BANK_CARD = "bank_card"
    SECRET = "secret"  # password, PIN, verification code
    EMAIL = "email"
    PLATE = "plate"
    NUMBER = "number"  # a long run of digits of no known kind


class Found(NamedTuple):
    """Personal data at characters [start, end) of a text."""

    kind: Kind
    start: int
    end: int


_DIGITS = {
    **{str(n): str(n) for n in range(10)},
    **{chr(0xFF10 + n): str(n) for n in range(10)},
    **dict(zip("零〇一二三四五六七八九", "00123456789", strict=True)),
    **dict(zip("壹贰叁肆伍陆柒捌玖", "123456789", strict=True)),
    "幺": "1",
}
# Digits by sound or in jargon, which are everyday characters elsewhere: counted only between digits.
_WEAK_DIGITS = {"两": "2", "妖": "1", "腰": "1", "洞": "0", "拐": "7", "勾": "9"}
_ENGLISH_DIGITS = dict(
    zip(
        ["zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
        "00123456789",
        strict=True,
    )
)
_TIMES = {
    **dict(zip("二两三四五六", (2, 2, 3, 4, 5, 6), strict=True)),
    **{str(n): n for n in range(2, 7)},
    "double": 2,
    "triple": 3,
}

_DIGIT = f"[{''.join(_DIGITS)}{''.join(_WEAK_DIGITS)}]"
_TOKEN = (
    rf"(?:[二两三四五六2-6]个{_DIGIT}|{_DIGIT}"
    rf"|(?:\b(?:double|triple)\s+)?\b(?:{'|'.join(_ENGLISH_DIGITS)})\b)"
)
_PAUSE = (
    r"(?:[\s，、。,.．；;…~～·\-—–－_/()（）]|嗯|呃|额|啊|哦|噢|诶|哎|那个|这个|然后|就是|接着|再来|再|后面|最后|中间|前面"
    r"|横杠|杠|空格|是的|是|对的|对|好的|好|您说|您讲|请说|请讲|您继续|继续|\b(?:um|uh|and|then|dash|space|okay|ok|yes|yeah)\b)"
)
MAX_PAUSES = 10  # fillers and punctuation marks between two digits of one number

# Whole texts are searched in linear time (re2); the short pieces around a number by the quicker standard engine.
_OPTIONS = re2.Options()
_OPTIONS.case_sensitive = False
_RUN = re2.compile(rf"{_TOKEN}(?:{_PAUSE}{{0,{MAX_PAUSES}}}{_TOKEN})+|[四五六4-6]个{_DIGIT}", _OPTIONS)
_TOKEN_RE = re.compile(_TOKEN, re.IGNORECASE | re.ASCII)
_CHECK_X = re.compile(rf"^{_PAUSE}{{0,4}}(?:[xＸ叉]|艾克斯|埃克斯|爱克斯)", re.IGNORECASE | re.ASCII)
_EMAIL = re2.compile(
    r"[A-Za-z0-9._%+\-]*[A-Za-z0-9][A-Za-z0-9._%+\-]*@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}"
)
_PLATE = re2.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z][·•\s]?[A-Z0-9]{5,6}", _OPTIONS
)
# Not personal, and no part of a number: dates, clock times, addresses of machines, digests.
_BARRIER = re2.compile(
    r"(?:19|20)[0-9]{2}([-/.])(?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12][0-9]|3[01])(?:[T ][0-9]{1,2})?"
    r"|[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
    rf"|\b[0-9a-f]{{{DIGEST_CHARACTERS},}}\b",
    _OPTIONS,
)
_UNIT_AFTER = re.compile(
    r"^\s*(?:年|月|日|号|元|块|角|分|万|亿|次|位|个|天|点|秒|%|％|折|倍|件|单|遍|岁|度|兆|G|M|K)",
    re.IGNORECASE | re.ASCII,
)
# What a number is called, and so what it is; the name nearest before it counts.
_NAMES = re.compile(
    r"(?:(?P<phone>手机|电话|座机|联系方式|联系|来电|号码|\b(?:phone|mobile|cell|telephone)\b)"
    r"|(?P<id_card>身份证|证件|\b(?:id card|ssn|social security|passport)\b)"
    r"|(?P<bank_card>银行卡|卡号|信用卡|储蓄卡|借记卡|账号|帐号|账户|\b(?:card|account)\b)"
    r"|(?P<secret>密码|验证码|校验码|口令|动态码|安全码|cvv|\b(?:password|passcode|pin|verification code)\b)"
    r"|(?P<neutral>订单|单号|工单|运单|快递|流水|工号|编号|尾号|[后末]四位|金额|余额|热线|客服电话|取件码"
    r"|\b(?:order|ticket|tracking|ending in|last four)\b))(?:号码|号)?",
    re.IGNORECASE | re.ASCII,
)
_EVERYDAY_ONE = frozenset("个会下共样定直些起点般次位边旦切")
_HOTLINE = re.compile(r"(?:400|800)[0-9]{7}|95[0-9]{3,6}|96[0-9]{3,4}|1[012][0-9]{1,3}")
_MOBILE = re.compile(r"(?:0|86|086|0086)?1[3-9][0-9]{9}")
_LANDLINE = re.compile(r"(?:86)?0(?:10|2[0-9]|[3-9][0-9]{2})[2-8][0-9]{6,7}")


class _Group(NamedTuple):
    """Digits that stand together with no pause between them."""

    digits: str
    start: int
    end: int


def find(text: str) -> list[Found]:
    """Personal data in a text, in order, without overlap."""
    found: list[Found] = []
    for kind, pattern in ((Kind.EMAIL, _EMAIL), (Kind.PLATE, _PLATE)):
        for match in pattern.finditer(text):
            item = Found(kind, match.start(), match.end())
            if not any(item.start < other.end and other.start < item.end for other in found):
                found.append(item)
    barriers = [match.span() for match in _BARRIER.finditer(text) if _is_barrier(text, *match.span())]
    taken = sorted([*((item.start, item.end) for item in found), *barriers])
    for run in _runs(text, taken):
        found += _judge(text, run)
    return sorted(found, key=lambda item: item.start)


def mask(text: str) -> str:
    """The text with its personal data as asterisks, as long as before. Masking twice changes nothing."""
    return cover(text, find(text))


def find_in_turns(texts: Sequence[str]) -> list[list[Found]]:
    """Personal data in each of a call's turns, also where a number or its name begins in an earlier turn."""
    starts = list(itertools.accumulate((len(text) + 1 for text in texts), initial=0))
    found: list[list[Found]] = [[] for _ in texts]
    for item in find("\n".join(texts)):
        for number, text in enumerate(texts):
            start, end = max(item.start - starts[number], 0), min(item.end - starts[number], len(text))
            if start < end:
                found[number].append(Found(item.kind, start, end))
    return found


def mask_turns(texts: Sequence[str]) -> list[str]:
    """The turns of a call, masked together."""
    return [cover(text, found) for text, found in zip(texts, find_in_turns(texts), strict=True)]


def mask_transcript(transcript: Transcript) -> Transcript:
    """A call with its personal data masked: turns, words and attributes; every place and time stays true."""
    texts = mask_turns([turn.text for turn in transcript.turns])
    spoken = mask_turns(["".join(word.text for word in turn.words) for turn in transcript.turns])
    turns = []
    for turn, text, said in zip(transcript.turns, texts, spoken, strict=True):
        ends = itertools.accumulate(len(word.text) for word in turn.words)
        words = tuple(
            replace(word, text=said[end - len(word.text) : end])
            for word, end in zip(turn.words, ends, strict=True)
        )
        turns.append(replace(turn, text=text, words=words))
    return replace(
        transcript,
        id=mask_identifier(transcript.id),
        turns=tuple(turns),
        attributes=mask_value(transcript.attributes),
    )


def cover(text: str, found: Sequence[Found]) -> str:
    """A text with what was found in it as asterisks, as long as before."""
    pieces, place = [], 0
    for item in found:
        pieces.append(text[place : item.start])
        pieces.append(
            "".join(MASK if character.isalnum() else character for character in text[item.start : item.end])
        )
        place = item.end
    return "".join([*pieces, text[place:]])


def _is_barrier(text: str, start: int, end: int) -> bool:
    """A date or an address ends where its digits end; a digest has letters in it."""
    inside = text[start:end]
    if len(inside) >= DIGEST_CHARACTERS:
        return not inside.isdecimal()
    if inside.count(".") == 3 and any(int(part) > 255 for part in inside.split(".")):
        return False
    return not (text[max(0, start - 1) : start].isdecimal() or text[end : end + 1].isdecimal())


def _runs(text: str, taken: Sequence[tuple[int, int]]) -> Iterator[list[_Group]]:
    """Runs of digits with pauses in them, as groups, none reaching into what is taken."""
    ends = itertools.accumulate((end for _, end in taken), max, initial=0)
    starts = [*(start for start, _ in taken), len(text)]
    for left, right in zip(ends, starts, strict=True):
        for match in _RUN.finditer(text, left, max(left, right)):
            groups: list[_Group] = []
            # Searched in the run's own text: offsets into a long text cost its whole length each time.
            for token in _TOKEN_RE.finditer(text[match.start() : match.end()]):
                start, end = match.start() + token.start(), match.start() + token.end()
                digits = _read(token.group())
                if groups and _is_joined(text[groups[-1].end : start], token.group()):
                    groups[-1] = _Group(groups[-1].digits + digits, groups[-1].start, end)
                else:
                    groups.append(_Group(digits, start, end))
            if groups := _trim(text, groups):
                yield groups


def _is_joined(between: str, token: str) -> bool:
    """English digits that are said in one breath are written with a space."""
    return not between or (between == " " and token[0].isascii() and token[0].isalpha())


def _trim(text: str, groups: list[_Group]) -> list[_Group]:
    """Without the everyday characters at the ends: 两 and the like, and the 一 of 一共, 一个, 一下."""
    while groups and (
        text[groups[-1].start : groups[-1].end] in _WEAK_DIGITS
        or (
            text[groups[-1].start : groups[-1].end] == "一"
            and text[groups[-1].end : groups[-1].end + 1] in _EVERYDAY_ONE
        )
    ):
        groups = groups[:-1]
    while groups and text[groups[0].start : groups[0].end] in _WEAK_DIGITS:
        groups = groups[1:]
    return groups


def _read(token: str) -> str:
    if "个" in token:
        count, _, digit = token.partition("个")
        return _TIMES[count] * (_DIGITS.get(digit) or _WEAK_DIGITS[digit])
    if len(token) == 1:
        return _DIGITS.get(token) or _WEAK_DIGITS[token]
    *count, digit = token.lower().split()
    return _ENGLISH_DIGITS[digit] * (_TIMES[count[0]] if count else 1)


def _judge(text: str, groups: Sequence[_Group]) -> list[Found]:
    """What a run of digits is, if it is personal."""
    digits = "".join(group.digits for group in groups)
    start, end = groups[0].start, groups[-1].end
    named = _named(text, start)
    if len(digits) == 17 and (tail := _CHECK_X.search(text[end : end + 12])):
        return [Found(Kind.ID_CARD, start, end + tail.end())]
    if len(digits) < MIN_UNKNOWN_DIGITS:
        kind = _short_kind(text, groups, digits, named)
        return [Found(kind, start, end)] if kind else []
    if kind := _kind(digits, named):
        return [Found(kind, start, end)]
    for first, last in _windows(groups):
        inside = "".join(group.digits for group in groups[first:last])
        hotline = _is_hotline(inside)
        kind = None if hotline else _kind(inside, named)
        if hotline or kind:
            found = [Found(kind, groups[first].start, groups[last - 1].end)] if kind else []
            before = _judge(text, groups[:first]) if first else []
            after = _judge(text, groups[last:]) if last < len(groups) else []
            return before + found + after
    return [Found(Kind(named) if named in ("phone", "id_card", "bank_card") else Kind.NUMBER, start, end)]


def _windows(groups: Sequence[_Group]) -> Iterator[tuple[int, int]]:
    """Parts of a run that may be a number of their own: long groups only, for single digits fit anything."""
    for count in range(min(len(groups), 5), 0, -1):
        for first in range(len(groups) - count + 1):
            if all(len(group.digits) >= 3 for group in groups[first : first + count]):
                yield first, first + count


def _named(text: str, start: int) -> str | None:
    last = None
    for match in _NAMES.finditer(text[max(0, start - CONTEXT_CHARACTERS) : start]):
        last = match
    return None if last is None else next(name for name, value in last.groupdict().items() if value)


def _short_kind(text: str, groups: Sequence[_Group], digits: str, named: str | None) -> Kind | None:
    if _is_hotline(digits):
        return None
    shape = tuple(len(group.digits) for group in groups)
    if shape == (3, 3, 4):  # North American phone
        return Kind.PHONE
    if shape == (3, 2, 4):  # US social security number
        return Kind.ID_CARD
    if named not in MIN_NAMED_DIGITS or len(digits) < MIN_NAMED_DIGITS[named]:
        return None
    if named == "secret" and _UNIT_AFTER.search(text[groups[-1].end : groups[-1].end + 4]):
        return None
    return Kind(named)


def _kind(digits: str, named: str | None) -> Kind | None:
    """The kind that a number's own form shows."""
    if len(digits) == 18 and _has_birth_date(digits):
        return Kind.ID_CARD
    if len(digits) == 15 and named == "id_card":
        return Kind.ID_CARD
    if _MOBILE.fullmatch(digits) or _LANDLINE.fullmatch(digits):
        return Kind.PHONE
    if (
        13 <= len(digits) <= 19
        and named not in ("neutral", "phone")
        and (named == "bank_card" or luhn.is_valid(digits))
    ):
        return Kind.BANK_CARD
    return None


def _has_birth_date(digits: str) -> bool:
    """Whether 18 digits read as an ID card: asked is the date of birth, which most mishearings leave alone, and not the
    checksum, which none does."""
    year, month, day = int(digits[6:10]), int(digits[10:12]), int(digits[12:14])
    return digits[0] in "12345678" and 1900 <= year <= 2099 and 1 <= month <= 12 and 1 <= day <= 31


def _is_hotline(digits: str) -> bool:
    return _HOTLINE.fullmatch(digits) is not None


# Under these keys stand names of things; only what is certainly personal is masked in them.
IDENTIFIER_KEYS = frozenset({"id", "call", "call_id", "path", "file", "folder", "recording", "database"})
# Under these stand digests, in which any digits may follow each other by chance.
DIGEST_KEYS = frozenset({"fingerprint", "fingerprints", "sha256"})
_CERTAIN = (Kind.PHONE, Kind.ID_CARD, Kind.EMAIL)


def mask_identifier(text: str) -> str:
    """Mask only what is certainly personal: for file names and ids, which may hold dates and serial numbers."""
    return cover(text, [item for item in find(text) if item.kind in _CERTAIN])


def mask_event(logger: object, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A structlog processor: masks every text in a log event, however deep; numbers stay numbers."""
    return mask_value(event)


def mask_value(value: Any, key: str = "") -> Any:
    """A value with every text in it masked, however deep; `key` is the name it stands under."""
    if key in DIGEST_KEYS:
        return value
    if isinstance(value, str):
        return mask_identifier(value) if key in IDENTIFIER_KEYS else mask(value)
    if isinstance(value, Mapping):
        return {
            name: mask_value(inner, name if isinstance(name, str) else "") for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [mask_value(inner, key) for inner in value]
    return value
