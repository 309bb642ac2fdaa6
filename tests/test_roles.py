"""Agent and customer, announcements, a second agent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speech.roles import infer_roles, second_agent, split_ivr, with_roles
from speech.types import Role, Span, Turn, Word

A, C, IVR = Role.AGENT, Role.CUSTOMER, Role.IVR
DIALOGUES = [json.loads(line) for line in (Path(__file__).parent / "data/roles.jsonl").read_text("utf-8").splitlines()]
FIXTURES = Path(__file__).parents[2] / "shared/fixtures/text"


def turns(*said: tuple[str, str]) -> list[Turn]:
    return [Turn(speaker, text) for speaker, text in said]


def right(dialogue: dict) -> bool:
    found = infer_roles(turns(*dialogue["turns"]))
    return all(found[speaker].role == role for speaker, role in dialogue["roles"].items())


# -- agent and customer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialogue", [d for d in DIALOGUES if d["split"] == "tune"], ids=lambda d: f"{d['id']} {d['note']}")
def test_dialogues_that_the_cues_were_tuned_on(dialogue):
    assert right(dialogue)


def test_dialogues_that_they_were_not_tuned_on():
    check = [d for d in DIALOGUES if d["split"] == "check"]
    assert len(check) >= 30
    assert sum(map(right, check)) / len(check) >= 0.9


def test_a_wrong_guess_is_an_unsure_one():
    wrong = [d for d in DIALOGUES if not right(d)]
    assert all(guess.confidence < 0.75 for d in wrong for guess in infer_roles(turns(*d["turns"])).values())


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="no shared fixtures")
def test_foreign_dialogues():
    lines = (FIXTURES / "crosswoz_test.jsonl").read_text("utf-8").splitlines() + (FIXTURES / "abcd_en.jsonl").read_text("utf-8").splitlines()
    dialogues = [[t for t in json.loads(line)["turns"] if t["role"] in ("agent", "customer")] for line in lines]
    ok = 0
    for dialogue in dialogues:
        told = [Turn("X" if t["role"] == "agent" else "Y", t["text"]) for t in dialogue]
        found = infer_roles(told)
        ok += found["X"].role is A and found["Y"].role is C
        assert not any(turn.role for turn in split_ivr(told))
        assert not any("#" in turn.speaker for turn in second_agent(told))
    assert ok / len(dialogues) > 0.96


TALK = turns(("A", "您好，感谢您的来电，请问有什么可以帮您？"), ("B", "我的快递怎么还没到？"), ("A", "我帮您查一下，请您稍等。"))


def test_channels_the_other_way_round_are_put_right_by_words():
    found = infer_roles(TALK, {"A": (C, 0.85), "B": (A, 0.85)})
    assert (found["A"].role, found["A"].why) == (A, "words")
    assert (found["B"].role, found["B"].why) == (C, "words")


def test_words_and_channel_agree():
    found = infer_roles(TALK, {"A": (A, 0.85), "B": (C, 0.85)})
    assert (found["A"].role, found["A"].why) == (A, "words+channel")
    assert found["A"].confidence > infer_roles(TALK[:1] + TALK[1:2])["A"].confidence - 0.01


def test_where_words_say_nothing_the_channel_decides():
    found = infer_roles(turns(("A", "嗯"), ("B", "哦")), {"A": (C, 0.85), "B": (A, 0.85)})
    assert (found["A"].role, found["B"].role, found["B"].why) == (C, A, "channel")


def test_with_nothing_to_go_by_somebody_is_the_agent_without_confidence():
    found = infer_roles(turns(("A", "嗯"), ("B", "哦")))
    assert {guess.role for guess in found.values()} == {A, C}
    assert all(guess.confidence < 0.55 for guess in found.values())


def test_roles_that_are_told_are_kept():
    told = [Turn("A", "我要退货", role=A), Turn("B", "帮您查一下", role=C)]
    assert {(s, g.role, g.why) for s, g in infer_roles(told).items()} == {("A", A, "metadata"), ("B", C, "metadata")}


def test_one_role_told_leaves_the_other():
    assert infer_roles([Turn("A", "嗯", role=A), Turn("B", "好的")])["B"].role is C


def test_a_lone_speaker():
    assert infer_roles(turns(("A", "您好，很高兴为您服务，请问有什么可以帮您？")))["A"].role is A
    assert infer_roles(turns(("A", "喂，我要投诉，我的快递丢了，你们管不管？")))["A"].role is C
    assert infer_roles([]) == {}


def test_roles_are_written_into_turns():
    told = with_roles([*TALK, Turn("A", "录音", role=IVR)], infer_roles(TALK))
    assert [turn.role for turn in told] == [A, C, A, IVR]


# -- announcements --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "欢迎致电星河电信，您的通话可能会被录音。",
        "业务查询请按一，投诉建议请按二，人工服务请按零。",
        "正在为您转接人工客服，请稍候。",
        "当前座席繁忙，请耐心等待。",
        "您前面还有三位客户，预计等待两分钟。",
        "为了保证服务质量，本次通话将被录音。",
        "请对本次服务进行评价，满意请按一，不满意请按二。",
        "您拨打的电话暂时无人接听，请在嘀声后留言。",
        "Your call may be recorded for quality and training purposes.",
        "For billing, press two. To speak to an agent, press zero.",
    ],
)
def test_what_machines_say(text):
    found = split_ivr(turns(("A", text), ("A", "您好，请问有什么可以帮您？"), ("B", "我想问一下套餐")))
    assert [turn.role for turn in found] == [IVR, None, None]
    assert found[0].speaker == "A#ivr"


@pytest.mark.parametrize(
    "text",
    [
        "您好，我们的通话是有录音的，我不会骗您。",
        "您打进来以后听语音提示，然后按二再按一就行了。",
        "我帮您转接到技术部门，请您稍等。",
        "好的，我现在正在为您转接，您别挂机。",
        "您先等一下，前面还有两位客户，我给您排上号。",
        "请您稍后对我的服务做个评价，谢谢您。",
        "您可以按井号键试一下吗？",
        "不好意思，刚才客服都在忙，让您久等了。",
        "感谢您的耐心等待，查到了，您的包裹在杭州。",
    ],
)
def test_what_agents_say_that_sounds_like_it(text):
    found = split_ivr(turns(("A", "您好，请讲。"), ("B", "我的宽带坏了，语音让我按一，我按了没用"), ("A", text), ("B", "好的")))
    assert not any(turn.role for turn in found)


def test_an_announcement_in_one_turn_with_the_agent_is_cut_off():
    text = "您的通话可能会被录音。正在为您转接，请稍候。您好，工号八零二六，很高兴为您服务。"
    words = tuple(Word(c, i * 0.2, i * 0.2 + 0.2, 0.9) for i, c in enumerate(text))
    ivr, agent, customer = split_ivr([Turn("A", text, 0.0, len(text) * 0.2, words), Turn("B", "你好，我要报修")])
    assert (ivr.text, ivr.role, ivr.speaker) == ("您的通话可能会被录音。正在为您转接，请稍候。", IVR, "A#ivr")
    assert (agent.text, agent.role, agent.speaker) == ("您好，工号八零二六，很高兴为您服务。", None, "A")
    assert "".join(w.text for w in agent.words) == agent.text
    assert customer.text == "你好，我要报修"


def test_music_tells_a_misheard_announcement_from_a_person():
    heard = "欢迎志电员方旅行网，当些人工作习惯忙，请您在心等待。"
    call = [Turn("A", heard, 0.6, 5.3), Turn("A", "你好，请问有什么可以帮您？", 12.7, 17.8), Turn("B", "我的航班取消了", 18.0, 21.0)]
    assert [turn.role for turn in split_ivr(call, [Span(5.8, 12.3)])] == [IVR, None, None]
    greeting = [Turn("A", "欢迎致电远方旅行网，我是小李。", 0.6, 5.3), Turn("B", "你好，我想退票", 6.0, 8.0)]
    assert split_ivr(greeting, [Span(9.0, 12.0)])[0].role is None
    curt = [Turn("A", "您好，江海银行。", 0.6, 2.0), Turn("B", "我要查余额", 13.0, 15.0)]
    assert split_ivr(curt, [Span(2.5, 12.0)])[0].role is None
    asked = [Turn("A", "好的，请您稍等。", 0.6, 2.0), Turn("B", "嗯", 2.5, 3.0), Turn("A", "请您稍等。", 3.5, 4.5)]
    assert not any(turn.role for turn in split_ivr(asked, [Span(5.0, 9.0)]))


def test_a_survey_at_the_end_is_cut_off():
    found = split_ivr(turns(("A", "您好请讲"), ("B", "我的快递呢"), ("A", "明天到，再见。请对本次服务进行评价，满意请按一，不满意请按二。")))
    assert [(turn.text, turn.role) for turn in found[2:]] == [
        ("明天到，再见。", None),
        ("请对本次服务进行评价，满意请按一，不满意请按二。", IVR),
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_text_survives_the_cutting(order):
    parts = ["您的通话可能会被录音。", "您好，我是小李。", "人工服务请按零。"]
    text = "".join(parts[i] for i in order)
    found = split_ivr(turns(("A", text), ("B", "喂你好，我想问一下")))
    assert "".join(turn.text for turn in found[:-1]) == text
    assert {turn.role for turn in found if "小李" in turn.text} == {None}


def test_a_machine_with_a_channel_of_its_own():
    found = infer_roles(turns(("X", "您的通话可能会被录音。业务办理请按一。"), ("A", "您好请讲，工号一零一"), ("B", "我要退货")))
    assert {s: g.role for s, g in found.items()} == {"X": IVR, "A": A, "B": C}


# -- a second agent -------------------------------------------------------------------------------------------------


def speakers(*said: tuple[str, str]) -> list[str]:
    return [turn.speaker for turn in second_agent(turns(*said))]


def test_a_second_agent_after_a_hand_over():
    talk = (
        ("A", "您好，客服小王，请问有什么可以帮您？"),
        ("B", "我的贷款为什么没批？"),
        ("A", "这个要信贷部看，我帮您转过去，请您稍等。"),
        ("B", "好。"),
        ("A", "您好，这里是信贷部，我姓李，请问您的身份证后四位？"),
        ("B", "三三二一"),
        ("A", "我看一下。"),
    )
    assert speakers(*talk) == ["A", "B", "A", "B", "A#2", "B", "A#2"]
    found = infer_roles(second_agent(turns(*talk)))
    assert {s: g.role for s, g in found.items()} == {"A": A, "B": C, "A#2": A}


def test_a_manager_who_comes_without_a_hand_over_heard():
    assert speakers(("A", "我给您转接过去，请稍等。"), ("B", "嗯"), ("A", "您好，感谢您的耐心等待，我是贷款中心的专员。"))[-1] == "A#2"
    assert speakers(("A", "您好请讲，工号一零一"), ("B", "叫你们经理来"), ("A", "您好，我是值班经理孙浩。")) == ["A", "B", "A#2"]


@pytest.mark.parametrize(
    "said",
    [
        [("A", "您好，我是小王，请问有什么可以帮您？"), ("B", "你叫什么？"), ("A", "我是小王，工号八零二六。")],
        [("A", "您好，请问有什么可以帮您？"), ("B", "喂？"), ("A", "喂，您好，您听得到吗？")],
        [("A", "您好请讲，帮您查一下"), ("B", "转给你们主管"), ("A", "您说的情况我了解了，我帮您登记")],
        [("A", "您好，我是您的专员小李，请问是张先生吗"), ("B", "是我"), ("A", "您好，我是给您做回访的")],
        [("A", "我帮您转给财务，请稍等"), ("B", "好"), ("A", "财务那边占线，我给您登记吧")],
    ],
    ids=["tells her name again", "greets again", "customer asks for it", "greets again outbound", "transfer failed"],
)
def test_no_second_agent(said):
    assert "#" not in "".join(speakers(*said))


def test_a_customer_who_speaks_of_transferring_stays_one():
    found = second_agent(turns(("A", "您好，请问有什么可以帮您？"), ("B", "我帮您转接一下，不对，我是说你帮我转给经理"), ("A", "好的，请稍等"), ("B", "您好，我是刚才那个人")))
    assert {turn.speaker for turn in found} == {"A", "B"}
