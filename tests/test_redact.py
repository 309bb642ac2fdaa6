"""Personal data in text: what is masked, what is left, and what holds for any text."""

from __future__ import annotations

import re
import string
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa.redact import (
    Found,
    Kind,
    find,
    find_in_turns,
    mask,
    mask_event,
    mask_identifier,
    mask_transcript,
    mask_turns,
)
from speech.types import Transcript, Turn, Word

MASKED = [
    ("您的手机号是13812345678对吧", Kind.PHONE, "13812345678"),
    ("+86 138-1234-5678", Kind.PHONE, "86 138-1234-5678"),
    ("138.1234.5678", Kind.PHONE, "138.1234.5678"),
    ("１３８１２３４５６７８", Kind.PHONE, "１３８１２３４５６７８"),
    ("我手机号一三八，零零零零，幺二三四，您记一下", Kind.PHONE, "一三八，零零零零，幺二三四"),
    ("号码是1390000，嗯嗯，那个，1234", Kind.PHONE, "1390000，嗯嗯，那个，1234"),
    ("号码是一三九，四个零，一二三四", Kind.PHONE, "一三九，四个零，一二三四"),
    ("电话 021-6225 1234", Kind.PHONE, "021-6225 1234"),
    ("零五七一杠八八零六一二三四", Kind.PHONE, "零五七一杠八八零六一二三四"),
    ("打我座机62251234就行", Kind.PHONE, "62251234"),
    ("13812345678，一会儿打给我，一共三件", Kind.PHONE, "13812345678"),
    ("400-812-3123 13812345678", Kind.PHONE, "13812345678"),
    ("my number is 415 555 2671 thanks", Kind.PHONE, "415 555 2671"),
    (
        "it's four one five, five five five, two six seven one",
        Kind.PHONE,
        "four one five, five five five, two six seven one",
    ),
    ("身份证号是11010519491231002X", Kind.ID_CARD, "11010519491231002X"),
    (
        "身份证一一零一零五，一九四九一二三一，零零二，叉",
        Kind.ID_CARD,
        "一一零一零五，一九四九一二三一，零零二，叉",
    ),
    ("440308199901010012", Kind.ID_CARD, "440308199901010012"),
    ("卡号6222 0210 0100 1234 567", Kind.BANK_CARD, "6222 0210 0100 1234 567"),
    (
        "卡号是六二二二，零二一零，嗯，零一零零，一二三四，五六七",
        Kind.BANK_CARD,
        "六二二二，零二一零，嗯，零一零零，一二三四，五六七",
    ),
    ("4111111111111111", Kind.BANK_CARD, "4111111111111111"),
    ("密码是123456", Kind.SECRET, "123456"),
    ("密码是六个八", Kind.SECRET, "六个八"),
    ("验证码8321，收到了吗", Kind.SECRET, "8321"),
    ("我的邮箱是zhang.san@qq.com谢谢", Kind.EMAIL, "zhang.san@qq.com"),
    ("车牌京A12345", Kind.PLATE, "京A12345"),
    ("订单号202403151234567，麻烦查一下", Kind.NUMBER, "202403151234567"),
    ("幺三八三个八零零幺二，嗯，三四", Kind.NUMBER, "幺三八三个八零零幺二，嗯，三四"),
]

LEFT = [
    "我的卡尾号是1234",
    "银行卡后四位是8 8 6 6",
    "客服电话4008123123，或者拨打95588",
    "您可以拨打400-812-3123转1",
    "拨打12345，12315，10086",
    "订单号88231907",
    "订单号码是88231907",
    "工号10278888为您服务",
    "今天是2024-03-15 10:20:30，2024年3月15日",
    "二零二四年三月十五号",
    "一共一千三百八十元，退您12345678.90元",
    "两百一十三块五，一共三件，一会儿到",
    "密码错误超过3次，2024年改的",
    "那个，一二三，二三四",
    "一是，二是，三是，四是，五是这样",
    "服务器 10.0.12.255 和 192.168.100.200",
    "指纹 a3f5b2c9d8e7f6a5b4c3d2e1f0a9b8c712345678901234567890abcdefabcdef",
    "I have one or two questions, three at most",
    "",
]


@pytest.mark.parametrize(("text", "kind", "part"), MASKED)
def test_personal_data_is_found_whole(text: str, kind: Kind, part: str):
    start = text.index(part)
    assert find(text) == [Found(kind, start, start + len(part))]


@pytest.mark.parametrize("text", LEFT)
def test_what_is_not_personal_is_left(text: str):
    assert mask(text) == text


def test_a_masked_text_keeps_its_punctuation_and_places():
    assert mask("手机一三八，零零零零，幺二三四，记下了吗") == "手机***，****，****，记下了吗"


def test_a_number_split_over_turns_is_found_in_each():
    turns = ["请报一下您的手机号码", "一三八零零", "嗯，您说", "零零幺二三四", "好的，马上为您查询"]
    assert mask_turns(turns) == ["请报一下您的手机号码", "*****", "*，**", "******", "好的，马上为您查询"]
    assert [len(found) for found in find_in_turns(turns)] == [0, 1, 1, 1, 0]


def test_a_number_is_known_by_the_question_before_it():
    assert mask("62251234") == "62251234"
    assert mask_turns(["请问您的座机是？", "62251234"]) == ["请问您的座机是？", "********"]


def test_last_four_digits_repeated_by_the_customer_stay():
    turns = ["尾号1234，对吗", "对，1234"]
    assert mask_turns(turns) == turns


def test_log_events_are_masked_at_any_depth_but_ids_stay_readable():
    event = mask_event(
        None,
        "info",
        {
            "event": "caller 13812345678",
            "call_id": "C20261122000123",
            "path": "/audio/20261122_13812345678_A1.wav",
            "bytes": 13812345678,
            "detail": {"lines": ["卡号6222021001001234567"]},
        },
    )
    assert event == {
        "event": "caller ***********",
        "call_id": "C20261122000123",
        "path": "/audio/20261122_***********_A1.wav",
        "bytes": 13812345678,
        "detail": {"lines": ["卡号*******************"]},
    }


def test_digests_are_left_whatever_digits_follow_each_other():
    event = {"fingerprint": "ab13812345678cde", "fingerprints": {"hear": "13812345678"}, "event": "ok"}
    assert mask_event(None, "info", event) == event


def test_a_call_is_masked_in_turns_words_and_attributes():
    words = [
        Word(part, n, n + 1, 0.9) for n, part in enumerate(["号码", "一三八", "零零零零", "幺二", "三四"])
    ]
    transcript = Transcript(
        "20261120-13812345678",
        "zh",
        (Turn("A", "号码一三八，零零零零，幺二三四", words=tuple(words)), Turn("B", "好")),
        attributes={"来电": "13812345678", "elderly": True},
        fingerprints={"hear": "13812345678"},
    )
    masked = mask_transcript(transcript)
    assert masked.id == "20261120-***********"
    assert masked.turns[0].text == "号码***，****，****"
    assert [word.text for word in masked.turns[0].words] == ["号码", "***", "****", "**", "**"]
    assert [word.start for word in masked.turns[0].words] == [0, 1, 2, 3, 4]
    assert masked.attributes == {"来电": "***********", "elderly": True}
    assert masked.fingerprints == transcript.fingerprints


def test_an_identifier_loses_only_what_is_certain():
    assert mask_identifier("20261122000123-13812345678") == "20261122000123-***********"


pieces = st.sampled_from(
    list("0123456789") * 2
    + list("零一二三四五六七八九幺两个０９")
    + [
        "，",
        "。",
        " ",
        "-",
        "\n",
        ".",
        "嗯",
        "那个",
        "杠",
        "x",
        "X",
        "@",
        "qq.com",
        "三个八",
        "two",
        "double five ",
    ]
    + [
        "手机号",
        "密码",
        "卡号",
        "身份证",
        "订单号",
        "尾号",
        "年",
        "元",
        "400",
        "138",
        "1990",
        "2024-03-15",
        "京A",
        "*",
        "您好",
    ]
)
texts = st.lists(pieces, max_size=60).map("".join) | st.text(max_size=60)
LONG_RUN = re.compile(r"[0-9０-９零〇一二三四五六七八九幺]{11,}")
DIGEST = re.compile(r"[0-9a-f]{32,}", re.IGNORECASE)


@given(texts)
def test_masking_holds_for_any_text(text: str):
    masked = mask(text)
    assert len(masked) == len(text)
    assert mask(masked) == masked
    assert not LONG_RUN.search(DIGEST.sub("", masked))
    assert all(before == after or after == "*" for before, after in zip(text, masked, strict=True))
    found = find(text)
    assert all(0 <= item.start < item.end <= len(text) for item in found)
    assert all(left.end <= right.start for left, right in pairwise(found))


@given(st.text(string.digits, min_size=11, max_size=40))
def test_any_long_number_is_masked_whole(number: str):
    assert mask(f"号{number}。") == f"号{'*' * len(number)}。"


@given(st.lists(texts, max_size=6))
def test_masking_turns_holds_for_any_call(turns: list[str]):
    masked = mask_turns(turns)
    assert [len(text) for text in masked] == [len(text) for text in turns]
    assert mask_turns(masked) == masked


def test_time_grows_with_the_length_of_the_text_and_no_faster():
    def seconds(text: str) -> float:
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            find(text)
            best = min(best, time.process_time() - started)
        return best

    for unit in ("一 ", "一二三的", "138，", "嗯那个"):
        seconds(unit * 1_000)
        assert seconds(unit * 8_000) < 8 * 4 * max(seconds(unit * 1_000), 0.002)
