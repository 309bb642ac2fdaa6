"""From hits to findings to outcomes: mitigated, suspected, missing, not applicable, not evaluated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rulepack import RULE, Bench, make_pack

from scoring_rules.evaluate import Evaluator
from scoring_rules.examples import Acoustics, Dialogue, Emotion, Silence, Span, Turn, Word, dialogue
from scoring_rules.load import load_pack

MITIGATED = "match: [{phrase: [不能退]}], mitigate: {within: next agent turn, any: [{phrase: [因为]}]}"


@pytest.fixture
def refusal(tmp_path: Path) -> Bench:
    return Bench(tmp_path, MITIGATED)


@pytest.mark.parametrize(
    ("turns", "status"),
    [
        (["a: 不能退"], "confirmed"),
        (["a: 因为过期了，不能退"], "mitigated"),
        (["a: 不能退，因为过期了"], "mitigated"),
        (["a: 不能退", "c: 为什么", "a: 因为过期了"], "mitigated"),
        (["a: 不能退", "a: 因为过期了"], "mitigated"),
        (["a: 不能退", "c: 为什么", "a: 就是不行", "c: 啊", "a: 因为过期了"], "confirmed"),
        (["a: 因为下雨", "c: 退货", "a: 不能退"], "confirmed"),
        (["a: 不能退", "c: 因为坏了呀", "a: 嗯"], "confirmed"),
    ],
)
def test_a_reason_in_the_same_or_the_next_turn_mitigates(refusal: Bench, turns: list[str], status: str) -> None:
    result = refusal.say(*turns)
    assert [finding.status for finding in result.findings] == [status]
    assert result.outcome == ("fail" if status == "confirmed" else "pass")
    assert bool(result.findings[0].why) == (status == "mitigated")


def test_only_the_speaker_of_the_rule_counts(refusal: Bench) -> None:
    assert refusal.found("c: 不能退", "i: 不能退", "?: 不能退") == []


def test_suspect_lowers_and_unless_removes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "match: [{phrase: [不能退]}], suspect: [{phrase: [好像]}], unless: [{question: true}]")
    assert bench.statuses("a: 好像不能退") == ["suspected"]
    assert bench.statuses("a: 不能退吗") == []
    assert bench.say("a: 好像不能退").outcome == "pass"


def worded(text: str, probability: float, marks: tuple[str, ...] = (), role: str | None = "agent") -> Turn:
    words = tuple(Word(character, n * 0.2, n * 0.2 + 0.2, probability) for n, character in enumerate(text))
    return Turn("A", text, role, 0.0, len(text) * 0.2, words, None, marks)


def test_doubtful_words_and_marked_turns_are_only_suspected(refusal: Bench) -> None:
    for turn, status in (
        (worded("不能退", 0.9), "confirmed"),
        (worded("不能退", 0.3), "suspected"),
        (worded("不能退", 0.9, ("hallucination",)), "suspected"),
        (worded("不能退", 0.9, ("loop",)), "suspected"),
    ):
        assert [finding.status for finding in refusal.run(Dialogue((turn,))).findings] == [status]
    one_bad = worded("不能退", 0.9)
    words = (*one_bad.words[:1], replace(one_bad.words[1], probability=0.2), *one_bad.words[2:])
    assert refusal.run(Dialogue((replace(one_bad, words=words),))).findings[0].status == "suspected"
    elsewhere = worded("不能退呢亲", 0.9)
    words = (*elsewhere.words[:4], replace(elsewhere.words[4], probability=0.1))
    assert refusal.run(Dialogue((replace(elsewhere, words=words),))).findings[0].status == "confirmed"


def test_a_hyphen_between_digits_is_not_doubted_and_a_number_is_judged_as_a_whole(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "match: [{entity: phone}]")
    said = [("手机", 0.9), ("13", 0.8), ("9", 0.9), ("-", 0.1), ("27", 0.9), ("46", 0.9), ("-", 0.1), ("80", 0.9), ("15", 0.9)]

    def status(doubted: int) -> str:
        words, at = [], 0.0
        for number, (text, probability) in enumerate(said):
            sure = 0.2 if text[0].isdigit() and number < doubted else probability
            words.append(Word(text, at, at + 0.2, sure))
            at += 0.2
        text = "".join(word.text for word in words)
        return bench.run(Dialogue((Turn("A", text, "agent", 0.0, at, tuple(words), None, ()),))).findings[0].status

    assert [status(doubted) for doubted in (0, 2, 6)] == ["confirmed", "confirmed", "suspected"]


def test_a_feeling_read_from_doubtful_words_is_only_suspected(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "speaker: customer, match: [{emotion: {label: angry, at_least: 0.6}}]")

    def status(probability: float) -> str:
        turn = replace(worded("我叫何丽娟后四位", 0.9, role="customer"), emotion=Emotion("angry", 0.7))
        words = tuple(replace(w, probability=probability) if n > 4 else w for n, w in enumerate(turn.words))
        return bench.run(Dialogue((replace(turn, words=words),))).findings[0].status

    assert [status(0.9), status(0.3)] == ["confirmed", "suspected"]


def test_evidence_carries_the_seconds_of_its_words(refusal: Bench) -> None:
    (finding,) = refusal.run(Dialogue((worded("这个不能退了", 0.9),))).findings
    place = finding.evidence[0]
    assert (place.turn, place.start_char, place.end_char) == (0, 2, 5)
    assert place.start == pytest.approx(0.4)
    assert place.end == pytest.approx(1.0)


def test_overlapping_hits_are_one_event_and_the_surest_names_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "match: [{phrase: [不能给您退], tolerance: pinyin}, {regex: '不能.{1,3}退'}, {phrase: [不能]}]")
    result = bench.say("a: 不能给您退")
    assert [(finding.how, finding.status) for finding in result.findings] == [("phrase", "confirmed")]
    assert len(bench.say("a: 不能，也不能").findings) == 2


# --- what must be said -------------------------------------------------------------------------------------

GREETING = RULE.replace("absent", "present") + "first: 2 turns, match: [{phrase: [您好, 欢迎致电客服], tolerance: pinyin}]}"


@pytest.fixture
def greeting(tmp_path: Path) -> Evaluator:
    return Evaluator(make_pack(tmp_path, GREETING))


def test_missing_is_told_with_the_turns_that_were_searched(greeting: Evaluator) -> None:
    (result,) = greeting.run(dialogue([("ivr", "您好"), ("agent", "喂"), ("customer", "查单"), ("agent", "说"), ("customer", "啊"), ("agent", "您好")]))
    assert result.outcome == "fail"
    assert result.findings[0].how == "missing"
    assert result.findings[0].evidence[0].turns == (1, 3)


def test_said_is_a_pass_with_evidence(greeting: Evaluator) -> None:
    (result,) = greeting.run(dialogue([("agent", "喂，您好")]))
    assert (result.outcome, result.findings[0].evidence[0].start_char) == ("pass", 2)
    (result,) = greeting.run(dialogue([("agent", "欢迎自电客服")]))
    assert (result.outcome, result.findings[0].status) == ("pass", "suspected")


@pytest.mark.parametrize(
    "turns",
    [
        (worded("喂什么事呀您讲", 0.2),),
        (worded("喂什么事呀您讲", 0.9, ("hallucination",)),),
        (worded("喂", 0.9), worded("嗯哼呜嗯哼呜嗯", 0.9, role=None), worded("说", 0.9)),
    ],
)
def test_nothing_is_missing_where_nothing_was_heard(greeting: Evaluator, turns: tuple[Turn, ...]) -> None:
    (result,) = greeting.run(Dialogue(turns))
    assert (result.outcome, result.reason) == ("not_evaluated", "low_confidence")


def test_nobody_speaks(greeting: Evaluator) -> None:
    for turns in ([], [("customer", "喂")]):
        (result,) = greeting.run(dialogue(turns))
        assert (result.outcome, result.reason) == ("not_evaluated", "no_speech")


def hold(folder: Path, which: str) -> Evaluator:
    body = f"near: {{of: {{silence: 5}}, which: {which}, before: 2 turns}}, match: [{{phrase: [稍等]}}]}}"
    return Evaluator(make_pack(folder, RULE.replace("absent", "present") + body))


def test_every_silence_needs_its_own_request(tmp_path: Path) -> None:
    texts = [("customer", "查一下"), ("agent", "您稍等"), ("agent", "查到了"), ("customer", "再查一个"), ("customer", "喂"), ("agent", "嗯查到了")]
    starts = [0, 2, 12, 14, 16, 26]
    turns = tuple(
        Turn(role[0], text, role, start, start + 2.0) for start, (role, text) in zip(starts, texts, strict=True)
    )
    silences = (Silence(Span(4, 12), 1, 2, "agent"), Silence(Span(18, 26), 4, 5, "agent"))
    call = Dialogue(turns, acoustics=Acoustics(silences=silences))
    (result,) = hold(tmp_path / "every", "every").run(call)
    assert result.outcome == "fail"
    window, anchor = result.findings[0].evidence
    assert window.turns == (2,)
    assert (anchor.start, anchor.end, anchor.turns) == (18, 26, (4, 5))
    (result,) = hold(tmp_path / "any", "any").run(call)
    assert result.outcome == "pass"
    (result,) = hold(tmp_path / "none", "any").run(Dialogue(turns, acoustics=Acoustics()))
    assert result.outcome == "not_applicable"
    (result,) = hold(tmp_path / "unknown", "any").run(Dialogue(turns))
    assert (result.outcome, result.reason) == ("not_evaluated", "no_times")


def test_a_doubtful_occasion_makes_no_fault(tmp_path: Path) -> None:
    body = "when: [{phrase: [我要投诉你们], tolerance: pinyin, speaker: customer}], match: [{phrase: [抱歉]}]}"
    evaluator = Evaluator(make_pack(tmp_path, RULE.replace("absent", "present") + body))
    (sure,) = evaluator.run(dialogue([("customer", "我要投诉你们"), ("agent", "哦")]))
    (unsure,) = evaluator.run(dialogue([("customer", "我要投素你们"), ("agent", "哦")]))
    (never,) = evaluator.run(dialogue([("customer", "查单"), ("agent", "哦")]))
    assert [sure.outcome, unsure.outcome, never.outcome] == ["fail", "not_evaluated", "not_applicable"]
    assert unsure.reason == "low_confidence"


def test_meaning_without_a_model(tmp_path: Path) -> None:
    """It finds nothing and excuses nothing; a phrase it might have found is not missing, and alone it is not evaluated."""
    meaning = "{meaning: [这个我没有办法], among: {phrase: [办, 退]}}"
    alone = Bench(tmp_path / "1", f"match: [{meaning}]").say("a: 这个退不了")
    assert (alone.outcome, alone.reason) == ("not_evaluated", "no_encoder")
    beside = Bench(tmp_path / "2", f"match: [{{phrase: [不能]}}, {meaning}]")
    assert beside.say("a: 退不了").outcome == "pass"
    assert beside.say("a: 退不了").unevaluated == ("no_encoder",)
    assert beside.say("a: 不能退").outcome == "fail"
    excuse = Bench(tmp_path / "3", f"match: [{{phrase: [不能]}}], unless: [{meaning}]").say("a: 不能退")
    assert (excuse.outcome, excuse.unevaluated) == ("fail", ("no_encoder",))
    present = RULE.replace("absent", "present") + f"match: [{{phrase: [抱歉]}}, {meaning}]}}"
    (missing,) = Evaluator(make_pack(tmp_path / "4", present)).run(dialogue([("agent", "退不了")]))
    assert (missing.outcome, missing.reason) == ("not_evaluated", "no_encoder")
    (nothing,) = Evaluator(make_pack(tmp_path / "4", present)).run(dialogue([("agent", "您好")]))
    assert nothing.outcome == "fail"


def test_a_conversation_of_another_language_has_no_results(refusal: Bench) -> None:
    assert refusal.evaluator.run(dialogue([("agent", "不能退")], "en")) == ()
    assert refusal.evaluator.run(dialogue([("agent", "不能退")], "zh-CN"))[0].outcome == "fail"


def test_strange_texts_do_no_harm(refusal: Bench) -> None:
    for text in ("", " ", "\n\n不能退", "不能\ud83d退", "\x00不能退\U0001f600", "不能退" * 3000):
        assert refusal.say(f"a: {text}").outcome in ("pass", "fail")


def _labelled() -> list[Dialogue]:
    lines = (Path(__file__).parent / "language/tune.jsonl").read_text("utf-8").splitlines()
    cases = [json.loads(line)["turns"] for line in lines[::12]]
    said = [(turn["role"], turn["text"]) for case in cases for turn in case]
    calls = [dialogue([(turn["role"], turn["text"]) for turn in case], kind="投诉") for case in cases]
    return [*calls, *[dialogue(said[at : at + 30], ended_by="customer") for at in range(0, len(said), 30)], dialogue([])]


def test_a_rules_result_depends_on_no_other_rule_and_no_other_call() -> None:
    """What is worked out once for all rules and all calls of a block is the same for whoever asks first."""
    pack, calls = load_pack(), _labelled()
    together = [{result.rule: result for result in results} for results in Evaluator(pack).run_all(calls)]
    turned = Evaluator(replace(pack, rules=pack.rules[::-1]))
    for call, results in zip(calls, together, strict=True):
        assert {result.rule: result for result in turned.run(call)} == results
    own = Evaluator(replace(pack, rules=tuple(rule for rule in pack.rules if rule.id in ("complaint.commitment", "closing.order", "emotion.soothe"))))
    for call, results in zip(calls, together, strict=True):
        assert all(results[result.rule] == result for result in own.run(call))


def test_what_could_not_be_judged_is_told_to_everyone_who_asks(tmp_path: Path) -> None:
    """A shared condition is worked out once; its reasons go to the rule that stops early and to the one that asks for all."""
    define = "upset:\n  any:\n    - phrase: [气死]\n    - emotion: {label: angry, at_least: 0.6}\n"
    rules = (
        "- {id: test.first, name: a, dimension: language, expect: absent, points: 1, when: [{use: upset}], match: [{phrase: [甲]}]}\n"
        "- {id: test.all, name: b, dimension: language, expect: absent, points: 1, match: [{use: upset, speaker: any}]}\n"
    )
    for order in (1, -1):
        pack = make_pack(tmp_path / str(order), rules, define)
        evaluator = Evaluator(replace(pack, rules=pack.rules[::order]))
        for said in (["气死我了", "甲"], ["甲"]):
            results = {result.rule: result for result in evaluator.run(dialogue([("agent", text) for text in said]))}
            alone = {
                rule.id: Evaluator(replace(pack, rules=(rule,))).run(dialogue([("agent", text) for text in said]))[0] for rule in pack.rules
            }
            assert results == alone
            assert results["test.all"].unevaluated == ("no_emotion",)
