"""A sentence tried against the rules: who says the lines around it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from scoring_rules.explain import SPEAKERS, UnknownSpeaker, spoken


@pytest.mark.parametrize(
    ("line", "role", "text"),
    [
        ("customer: 我要退", "customer", "我要退"),
        ("Agent：您稍等", "agent", "您稍等"),
        ("坐席: 您稍等", "agent", "您稍等"),
        ("顾客：三点：不行", "customer", "三点：不行"),
        ("我要退", "customer", "我要退"),
        ("退款时间：三天", "customer", "退款时间：三天"),  # a colon that was said
        ("12:30 到", "customer", "12:30 到"),
    ],
)
def test_who_says_a_line(line: str, role: str, text: str):
    conversation, place = spoken("我不知道", "agent", [line], [], "zh")
    turn = conversation.turns[0]
    assert (str(turn.role), turn.text, place) == (role, text, 1)


def test_a_speaker_that_there_is_not_is_told_and_not_taken_for_the_customer():
    with pytest.raises(UnknownSpeaker) as told:
        spoken("我不知道", "agent", ["agnt: 您稍等"], [], "zh")
    for locale in ("zh", "en"):
        assert "agnt" in told.value.told(locale)
        assert all(name in told.value.told(locale) for name in SPEAKERS)


def test_the_command_says_so_and_fails():
    from qa.cli import app

    answer = CliRunner().invoke(app, ["rules", "try", "我不知道", "--after", "operator: hello"])
    assert answer.exit_code == 2
    assert "operator" in answer.output
    assert "neg." not in answer.output
