"""The kind of service, from the words alone and with the sentence encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import MODELS

from speech import kind
from speech.kind import KINDS, infer_kind
from speech.types import Mark, Role, Turn

A, C = Role.AGENT, Role.CUSTOMER
DIALOGUES = [json.loads(line) for line in (Path(__file__).parent / "data/kinds.jsonl").read_text("utf-8").splitlines()]
CHECK = [d for d in DIALOGUES if d["split"] == "check"]
# The check half says it in every way but the usual ones; see bench/results/kind.json for what was measured.
PHRASES_RIGHT, HEAD_RIGHT = 0.45, 0.8


def turns(dialogue: dict, roles: bool = True) -> list[Turn]:
    who = {"a": A, "c": C}
    return [Turn(speaker, text, role=who[speaker] if roles else None) for speaker, text in dialogue["turns"]]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("我想查一下我的快递到哪了", "查询"),
        ("帮我看一下这个月话费还剩多少", "查询"),
        ("我要投诉你们的快递员，态度太差了", "投诉"),
        ("我都打了三遍电话了，到现在都没人处理", "投诉"),
        ("我想给你们提个建议，字能不能大一点", "建议"),
        ("我要表扬一下上门的师傅", "建议"),
        ("我想把宽带退订了", "办理"),
        ("帮我挂失一下银行卡", "办理"),
        ("请问办护照需要什么材料", "咨询"),
        ("你们周末几点关门，停车收费吗？", "咨询"),
        ("I want to cancel my subscription", "办理"),
        ("Where is my package? Can you check the status?", "查询"),
    ],
)
def test_plain_requests(said, expected):
    assert infer_kind([Turn("A", "您好，请问有什么可以帮您？", role=A), Turn("B", said, role=C)])[0] == expected


def test_the_agents_words_are_not_the_customers():
    told = [Turn("A", "投诉请找主管，建议请写信，查询请按一", role=A), Turn("B", "请问你们几点关门", role=C)]
    assert infer_kind(told)[0] == "咨询"


def test_machines_and_bleed_say_nothing():
    told = [
        Turn("A#ivr", "投诉请按一，投诉请按二", role=Role.IVR),
        Turn("B", "我要投诉，我要投诉你们", role=C, marks=(Mark.BLEED,)),
        Turn("B", "想了解一下年卡多少钱", role=C),
    ]
    assert infer_kind(told)[0] == "咨询"


def test_nothing_said_is_an_enquiry_with_little_confidence():
    found, confidence = infer_kind([])
    assert found == "咨询"
    assert confidence < 0.4


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda d: d["id"])
def test_confidence_is_a_probability(dialogue):
    found, confidence = infer_kind(turns(dialogue, roles=False))
    assert found in KINDS
    assert 1 / len(KINDS) <= confidence <= 1


def test_phrases_on_the_tuning_half_and_beyond():
    tuned = [infer_kind(turns(d))[0] == d["kind"] for d in DIALOGUES if d["split"] == "tune"]
    assert sum(tuned) / len(tuned) > 0.95
    right = [infer_kind(turns(d))[0] == d["kind"] for d in CHECK]
    assert sum(right) / len(right) >= PHRASES_RIGHT


def test_where_phrases_fail_they_are_less_sure():
    found = [(infer_kind(turns(d)), d["kind"]) for d in CHECK]
    right = np.mean([confidence for (k, confidence), truth in found if k == truth])
    wrong = np.mean([confidence for (k, confidence), truth in found if k != truth])
    assert wrong < right - 0.15


class OtherEncoder:
    fingerprint = "another model"

    def encode(self, texts):
        raise AssertionError("asked although the head does not fit it")


def test_an_encoder_that_the_head_does_not_fit_is_not_asked():
    dialogue = turns(DIALOGUES[0])
    assert infer_kind(dialogue, OtherEncoder()) == infer_kind(dialogue)


def test_the_head_has_a_row_a_kind():
    head = kind._head()
    assert head.weight.shape[0] == len(head.bias) == len(KINDS)


@pytest.mark.models
@pytest.mark.skipif(not (MODELS / "multilingual-e5-small").is_dir(), reason="huiting models pull")
def test_the_head_knows_more_than_the_phrases():
    from speech.devices import cpu
    from speech.embed import SentenceEncoder
    from speech.models import locate

    encoder = SentenceEncoder(locate("package:multilingual-e5-small", MODELS), cpu())
    assert encoder.fingerprint == kind._head().embedding
    right = [infer_kind(turns(d), encoder)[0] == d["kind"] for d in CHECK]
    assert sum(right) / len(right) >= HEAD_RIGHT
