"""Numbers that are personal data, as people say them."""

from __future__ import annotations

from pathlib import Path

import pytest
from rulepack import Bench

PRIVATE = "[phone, id_card, bank_card, password]"


@pytest.fixture
def readout(tmp_path: Path) -> Bench:
    return Bench(tmp_path, f"match: [{{entity: {PRIVATE}}}]")


@pytest.mark.parametrize(
    "said",
    [
        "您的手机号是13800138000对吧",
        "一三八零零一三八零零零",
        "幺三八 零零幺三 八零零零",
        "幺三八，嗯，零零一三，呃，八零零零",
        "138-0013-8000",
        "138零零13八000",
        "身份证是110101199003072535",
        "身份证号 一一零一零一 一九九零零三零七 二五三五",
        "11010119900307253叉",
        "卡号是6222021234567890128",
        "六二二二 零二一二 三四五六 七八九零 一二八 卡号对吗",
        "您的密码是八八六六二一",
        "初始密码为abc123",
    ],
)
def test_whole_numbers_read_out(readout: Bench, said: str) -> None:
    assert readout.say(f"a: {said}").outcome == "fail"


@pytest.mark.parametrize(
    "said",
    [
        "请问您的手机号是多少",
        "尾号8000的手机",
        "您的卡后四位是0128",
        "手机号138****8000",
        "订单号是13800138000",
        "您的工单编号 二零二四零八一二三四五六",
        "请拨打4008001234",
        "客服热线是13800138000",
        "我的工号是10086",
        "一共三百五十八块",
        "二十四小时内到账",
        "三个工作日，一般一到两天",
        "快递单号七七三三零零一二三四五六七八九",
        "请您输入密码",
        "验证码发到您手机了",
        "余额还有一千三百八十元",
    ],
)
def test_what_is_no_readout(readout: Bench, said: str) -> None:
    assert readout.found(f"a: {said}") == []


def test_a_number_in_pieces_over_turns_is_one_event(readout: Bench) -> None:
    result = readout.say("a: 我跟您核对一下，手机号一三八", "c: 嗯", "a: 零零一三", "c: 对", "a: 八零零零，是吧", "c: 是的")
    (finding,) = result.findings
    assert [place.turn for place in finding.evidence] == [0, 2, 4]
    assert finding.note == "phone"


def test_an_answer_of_the_other_side_ends_a_number(readout: Bench) -> None:
    said = ["a: 一三八", "c: 不用念了吧你们那边不是都有记录的吗我赶时间", "a: 零零一三八零零零"]
    assert readout.found(*said) == []
    assert readout.found("c: 一三八零零一三八零零零", "a: 好的记下了") == []


def test_one_digit_too_many_is_suspected(readout: Bench) -> None:
    assert readout.statuses("a: 手机号一三八零零一三八零零零零") == ["suspected"]


def test_other_kinds(tmp_path: Path) -> None:
    for kind, said in {
        "hotline": "拨打 4008001234",
        "order_number": "订单号 88123456",
        "staff_number": "工号 0086",
        "last_digits": "尾号 8899",
        "amount": "退您35.5元",
        "date": "3月15日到",
        "email": "发到abc@example.com",
        "plate": "京A12345",
        "landline": "01062345678",
        "verification_code": "验证码是 902211",
    }.items():
        bench = Bench(tmp_path / kind, f"match: [{{entity: {kind}}}]")
        assert len(bench.found(f"a: {said}")) == 1, kind


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("your number is 415 555 2671 right", True),
        ("four one five five five five two six seven one", True),
        ("card number 4111 1111 1111 1111", True),
        ("your password is apple99", True),
        ("the card ending in 1111", False),
        ("order number 4155552671", False),
        ("call us at 1 800 555 0199", False),
        ("one moment please, two minutes", False),
    ],
)
def test_english(tmp_path: Path, said: str, found: bool) -> None:
    assert bool(Bench(tmp_path, f"match: [{{entity: {PRIVATE}}}]", language="en").found(f"a: {said}")) == found
