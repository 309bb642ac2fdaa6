"""Numbers that are personal data, as people say them: digits or spoken digits, in groups, over fillers and turns.

A number is a chain of digit groups with nothing but pauses, fillers and joining words between them. It goes on in
the same speaker's next turn when the other side only confirmed in between. What the number is follows from its
shape (length, prefix, check digit) and from the nearest word before it that names a kind of number.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from scoring_rules.block import Block
from scoring_rules.call import Call, Hit
from scoring_rules.grammar import Interval

CONTEXT = 30  # characters before a number in which its kind may be named
ANSWER = 14  # characters: a turn of the other side up to this length does not end a number
MAX_PIECES = 12  # groups of turns that one number may be spread over

_CHINESE_DIGITS = dict(zip("零〇一幺二两三四五六七八九", "0011223456789", strict=True))
# Characters that recognisers write for a digit (and 洞, 拐, 勾 as radio operators say them): only amid digits.
_MISHEARD_DIGITS = dict(zip("洞灵凌儿而尔耳妖腰夭邀伞散思寺司午武舞流留溜起气期其拐巴酒久勾", "0002222111133444555666777778999", strict=True))
_AS_DIGITS = str.maketrans(_MISHEARD_DIGITS | _CHINESE_DIGITS | {"*": "", "＊": ""})
_ENGLISH_DIGITS = {
    "zero": "0", "oh": "0", "o": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9",
}  # fmt: skip
_ZH_JOIN = r"(?:[\s,.。，、·\-–—_~]|呃|嗯|啊|哦|唉|额|然后|那个|再|接着|后面|是|的|杠|横杠|横线|空格|完了|来|哈|吧|呢)*"
_EN_JOIN = r"(?:[\s,.\-–—_]|\b(?:um|uh|er|and|then|dash|that is|so|okay|ok)\b)*"
_ZH_DIGIT = "[0-9零〇一幺二两三四五六七八九]"
_ZH_MISHEARD = f"[{''.join(_MISHEARD_DIGITS)}]"
_ZH_GROUP = rf"{_ZH_DIGIT}+(?:{_ZH_MISHEARD}{_ZH_DIGIT}+)*(?:(?<={_ZH_DIGIT}{{2}}){_ZH_MISHEARD}(?![\u4e00-\u9fff]))?(?:[xX×*＊]+|叉)?"
_EN_GROUP = r"(?:[0-9]+|\b(?:(?:double|triple) )?(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)\b)"
_ZH_OPEN = r"(?:对|是|好|嗯|呃|啊|然后|接着|后面|再|就是|[\s,.，。、])*"
_EN_OPEN = r"(?:okay|ok|then|and|yes|right|[\s,.])*"
_ZH_CLOSE = r"(?:对吧|对吗|是吧|是吗|对不对|是不是|没错吧|记一下|您记一下|您核对一下|[\s,.，。、?？啊吧])*"
_EN_CLOSE = r"(?:right|correct|is that right|[\s,.?])*"
# Kinds of number by the word before them; the nearest wins.
_ZH_NAMES = (
    ("last_digits", r"尾号|后四位|末四位|最后四位|后六位|后几位|末尾|前三位|前六位|结尾"),
    ("order_number", r"(?:订单|运单|快递|物流|工单|流水|受理|参考|票|合同|保|案件|投诉|服务|发票|退款|退货|预约|会员|批次|房|取件|取票|确认)(?:编?号码?|码)|单号|编号|流水|序列号|条码|型号|尾数"),
    ("staff_number", r"工号|坐席号|员工号"),
    ("hotline", r"热线|客服电话|服务电话|服务号码|投诉电话|拨打|官方电话|咱们电话|我们电话|我们的电话|店里电话|门店电话|网点电话|前台电话|酒店电话|商家电话"),
    ("verification_code", r"验证码|校验码|动态码|短信码"),
    ("password", r"密码|口令|密钥"),
    ("id_card", r"身份证|证件号|证件"),
    ("bank_card", r"银行卡|信用卡|储蓄卡|卡号|账号|帐号|账户|支付宝|收款"),
    ("phone", r"手机|电话|联系方式|号码|预留"),
)
_EN_NAMES = (
    ("last_digits", r"ending in|ends in|last (?:four|4|six|6)"),
    ("order_number", r"(?:order|tracking|confirmation|reference|ticket|case|invoice|booking|policy|claim|serial|model)(?: (?:number|id|code|no))?"),
    ("staff_number", r"(?:employee|badge|agent|staff) (?:id|number)"),
    ("hotline", r"hotline|toll[- ]free|customer service (?:line|number)|reach us|call us|our number"),
    ("verification_code", r"verification code|security code|one[- ]time (?:code|password|passcode)"),
    ("password", r"password|passcode|\bpin\b"),
    ("id_card", r"social security|\bssn\b|passport|driver'?s licen[sc]e|id number"),
    ("bank_card", r"card number|credit card|debit card|account number|routing"),
    ("phone", r"phone|mobile|cell|contact number|call you|reach you"),
)  # fmt: skip
_HOTLINE = re.compile(r"(?:400|800)\d{7}|95\d{3,6}|100\d{2,3}|96\d{3,4}|123\d{2}|11[0-9]|12\d{1,3}")
_PATTERNS = {
    "email": re.compile(r"[a-z0-9._%+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,4}"),
    "plate": re.compile(r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][a-z][·\s]?[a-z0-9]{5,6}(?![a-z0-9])"),
    "amount": re.compile(r"(?:\d{1,9}(?:\.\d{1,2})?|[一二两三四五六七八九十百千万零]{1,12})\s?(?:元|块钱|块|万元|美元|dollars?|yuan)|\$\s?\d{1,9}(?:\.\d{1,2})?"),
    "date": re.compile(r"(?:\d{1,4}年)?(?:\d{1,2}|[一二三四五六七八九十]{1,3})月(?:\d{1,2}|[一二三四五六七八九十]{1,3})[日号]|\d{4}-\d{1,2}-\d{1,2}"),
}  # fmt: skip
_SECRETS = ("密码", "口令", "password", "passcode")
_WORD_SECRET = re.compile(rf"(?:{'|'.join(_SECRETS)})[^，。？！,?!]{{0,6}}?(?:是|为|:|：|就是|is)\s?([a-z0-9]{{4,20}})(?![a-z0-9])")


@dataclass(slots=True)
class _Number:
    """Digits heard so far, and where: intervals on the call's axis with their turn."""

    digits: str
    pieces: list[tuple[int, int, int]] = field(default_factory=list)  # (turn, start, end)
    masked: bool = False


def entities(call: Call, kinds: Sequence[str]) -> list[Hit]:
    """What of these kinds was said in a call, by anybody, in order; worked out once a call. `note` names the kind."""
    found: list[Hit] = []
    if any(kind not in _PATTERNS for kind in kinds):
        if "numbers" not in call.memory:
            call.memory["numbers"] = [*_named_numbers(call), *_secret_words(call)]
        found += [hit for hit in call.memory["numbers"] if hit.note in kinds]  # type: ignore[union-attr]
    for kind in kinds:
        if kind in _PATTERNS:
            found += _written(call, kind, _PATTERNS[kind], 0)
    return sorted(found) if len(kinds) > 1 else found


def _named_numbers(call: Call) -> Iterator[Hit]:
    english = call.grammar.english
    for number in _numbers(call):
        kind, sure = _kind(call, number, english) if len(number.digits) > 1 else ("", True)
        if kind:
            sure &= not any(c in _MISHEARD_DIGITS for _, start, end in number.pieces for c in call.plain[start:end])
            hits = [Hit(start, end, turn, "entity", sure, note=kind) for turn, start, end in number.pieces]
            yield hits[0]._replace(parts=tuple(hits[1:]))


def _secret_words(call: Call) -> list[Hit]:
    """Passwords that are not digits alone; those are numbers."""
    if not call.starts or all(call.plain.find(word, call.starts[0], call.ends[-1]) < 0 for word in _SECRETS):
        return []
    hits = _written(call, "password", _WORD_SECRET, 1)
    return [hit for hit in hits if not call.plain[hit.start : hit.end].isdigit()]


def _written(call: Call, kind: str, pattern: re.Pattern[str], group: int) -> list[Hit]:
    found = []
    for turn, (lo, hi) in enumerate(zip(call.starts, call.ends, strict=True)):
        for match in pattern.finditer(call.plain, lo, hi):
            found.append(Hit(match.start(group), match.end(group), turn, "entity", note=kind))
    return found


def _groups(block: Block, group: re.Pattern[str]) -> dict[int, list[Interval]]:
    """The digit groups of each turn of the block that has any. No group reaches over the end of a turn."""
    known = block.memory.get(_groups)
    if known is None:
        known, starts = {}, block.view.starts
        for found in group.finditer(block.view.plain):
            known.setdefault(bisect_right(starts, found.start()) - 1, []).append(found.span())
        block.memory[_groups] = known
    return known  # type: ignore[return-value]


@cache
def _grammar(english: bool) -> tuple[re.Pattern[str], ...]:
    group, join = (_EN_GROUP, _EN_JOIN) if english else (_ZH_GROUP, _ZH_JOIN)
    opening, closing = (_EN_OPEN, _EN_CLOSE) if english else (_ZH_OPEN, _ZH_CLOSE)
    edge = r"\b" if english else ""
    names = "|".join(f"(?P<{name}>{edge}(?:{words}))" for name, words in (_EN_NAMES if english else _ZH_NAMES))
    return tuple(map(re.compile, (group, join, opening, closing, names)))


def _numbers(call: Call) -> Iterator[_Number]:
    """Chains of digit groups of one speaker, over turns that the other side only confirms."""
    english = call.grammar.english
    group, join, opening, closing, _ = _grammar(english)
    groups = _groups(call.block, group)
    open_numbers: dict[str | None, _Number] = {}
    for turn in range(len(call.turns)):
        here = groups.get(call.first + turn, ())
        if not here and not open_numbers:
            continue
        role = call.role[turn]
        lo, hi = call.starts[turn], call.ends[turn]
        if hi - lo > ANSWER and sum([end - start for start, end in here]) * 2 < hi - lo:  # does more than repeat digits
            for other in [key for key in open_numbers if key != role]:
                yield open_numbers.pop(other)
        current = open_numbers.pop(role, None)
        cursor = lo
        for start, end in here:
            digits, masked = _digits(call.plain[start:end], english)
            between = call.plain[cursor:start]
            linked = current is not None and (
                join.fullmatch(between)
                if current.pieces[-1][0] == turn
                else opening.fullmatch(between) and len(current.pieces) < MAX_PIECES
            )
            if current is not None and linked:
                current.digits += digits
                last = current.pieces[-1]
                if last[0] == turn:
                    current.pieces[-1] = (turn, last[1], end)
                else:
                    current.pieces.append((turn, start, end))
                current.masked |= masked
            else:
                if current is not None:
                    yield current
                current = _Number(digits, [(turn, start, end)], masked)
            cursor = end
        if current is not None:
            if current.pieces[-1][0] == turn and closing.fullmatch(call.plain, cursor, hi):
                open_numbers[role] = current
            else:
                yield current
    yield from open_numbers.values()


def _digits(text: str, english: bool) -> tuple[str, bool]:
    """The digits of a group, and whether it holds masked places."""
    if not english:
        bare = text.replace("叉", "x").replace("×", "x")
        masked = "*" in bare or "＊" in bare
        return bare.translate(_AS_DIGITS), masked
    if text[0].isdigit():
        return text, False
    *times, word = text.split()
    return _ENGLISH_DIGITS[word] * (2 if times == ["double"] else 3 if times == ["triple"] else 1), False


def _kind(call: Call, number: _Number, english: bool) -> tuple[str, bool]:
    """What a number is, and whether that is sure; an empty kind where it is nothing known."""
    digits, named = number.digits, _named(call, number, english)
    length = len(digits)
    if number.masked or named in ("order_number", "staff_number", "hotline"):
        return named if not number.masked else "", True
    if named == "last_digits" and length <= 8:
        return named, True
    if named == "verification_code" and 4 <= length <= 8:
        return named, True
    if named == "password" and 4 <= length <= 20:
        return named, True
    shape = _shape_en(digits) if english else _shape_zh(digits)
    if shape:
        return shape, True
    # One digit too few or too many, or a check digit that fails: heard wrong, more likely than said wrong.
    if named == "phone" and not english and length in (10, 12) and digits[0] == "1":
        return "phone", False
    if named == "id_card" and 15 <= length <= 19:
        return "id_card", length in (15, 18)
    if named == "bank_card" and 14 <= length <= 20:
        return "bank_card", 15 <= length <= 19
    if named == "id_card" and english and length == 9:
        return "id_card", True
    return "", True


def _named(call: Call, number: _Number, english: bool) -> str:
    """The kind that the nearest naming word before a number gives it, in its turn or the one before."""
    turn, start, _ = number.pieces[0]
    text = call.plain[max(call.starts[turn], start - CONTEXT) : start]
    if len(text) < 4 and turn:
        text = call.plain[max(call.starts[turn - 1], call.ends[turn - 1] - CONTEXT) : call.ends[turn - 1]] + text
    last = ""
    for found in _grammar(english)[4].finditer(text):
        last = found.lastgroup or last
    return last


def _shape_zh(digits: str) -> str:
    if re.fullmatch(r"(?:86)?1[3-9]\d{9}", digits):
        return "phone"
    if _HOTLINE.fullmatch(digits):
        return "hotline"
    if re.fullmatch(r"0(?:10|2\d|[3-9]\d{2})\d{7,8}", digits):
        return "landline"
    if re.fullmatch(r"\d{17}[\dx]", digits) and _id_card(digits):
        return "id_card"
    if re.fullmatch(r"\d{15,19}", digits) and digits[0] in "3456" and _luhn(digits):
        return "bank_card"
    return ""


def _shape_en(digits: str) -> str:
    if re.fullmatch(r"1?8(?:00|33|44|55|66|77|88)\d{7}", digits):
        return "hotline"
    if re.fullmatch(r"1?[2-9]\d{2}[2-9]\d{6}", digits):
        return "phone"
    return "bank_card" if re.fullmatch(r"\d{15,16}", digits) and digits[0] in "3456" and _luhn(digits) else ""


def _id_card(digits: str) -> bool:
    """GB 11643-1999: a birth date that can be, and its check digit, or at least one of the two with a province code."""
    from stdnum.cn import ric
    from stdnum.exceptions import ValidationError

    try:
        ric.validate(digits.upper())
    except (ValidationError, KeyError):  # stdnum: KeyError where its table of places has a gap
        year, month, day = int(digits[6:10]), int(digits[10:12]), int(digits[12:14])
        return digits[:1] in "12345689" and 1900 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= 31
    return True


def _luhn(digits: str) -> bool:
    from stdnum import luhn

    return luhn.is_valid(digits)
