"""What each condition of the rule language finds, and where it looks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from rulepack import Bench

from scoring_rules.examples import Acoustics, Dialogue, Emotion, Latency, Overlap, Silence, Span, Turn

Make = type[Bench]


def bench(folder: Path, body: str, define: str = "", head: str = "") -> Bench:
    return Bench(folder, body, define, head=head)


# --- grammar -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "subject"),
    [
        ("我不能退", "us"),
        ("这个我们这边不能退", "us"),
        ("订单我这边不能改", "us"),
        ("您不能退", "you"),
        ("不能给您退", "none"),
        ("给您不能退", "none"),
        ("您的账户不能退", "thing"),
        ("我们系统不能退", "thing"),
        ("这个订单不能退", "thing"),
        ("系统里我不能退", "us"),
        ("这个不能退", "none"),
        ("帮我看下，不能退", "none"),
    ],
)
def test_subject(tmp_path: Path, said: str, subject: str) -> None:
    for kind in ("us", "you", "thing", "none"):
        found = bench(tmp_path / kind, f"match: [{{phrase: [不能], subject: {kind}}}]").found(f"a: {said}")
        assert bool(found) == (kind == subject), kind


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        ("能不能退", True),
        ("您不能退吗", True),
        ("不能退？", True),
        ("不能退。", False),
        ("为什么不能退", True),
        ("没什么不能退的", False),
        ("我不能退，您看可以吗？", False),
        ("不能退呢", True),
        ("怎么都不能退", False),
    ],
)
def test_question_is_asked_of_the_hits_clause(tmp_path: Path, said: str, asks: bool) -> None:
    assert bool(bench(tmp_path, "match: [{phrase: [不能退, 能退], question: true}]").found(f"a: {said}")) == asks


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        ("您刚才说“我不能”对吧", True),
        ("您刚才说我不能对吧", True),
        ("客户说，我不能等", True),
        ("系统提示我不能操作", True),
        ("我跟您说我不能退", False),
        ("我说我不能退", False),
        ("您说的对，我不能退", False),
        ("您说的那个我不能退", False),
        ("我不能退", False),
        ('他写的是"我不能"', True),
    ],
)
def test_quoted(tmp_path: Path, said: str, quoted: bool) -> None:
    rule = bench(tmp_path, "match: [{phrase: [我不能]}], unless: [{quoted: true}]")
    assert (rule.found(f"a: {said}") == []) == quoted


@pytest.mark.parametrize(
    ("said", "denied"),
    [("我不能退", True), ("我不能不退", False), ("不是我不能退", False), ("我不是不能退", False), ("能不能退", False), ("不但不能退", True), ("没有不能退的", False)],
)
def test_double_denial_denies_nothing(tmp_path: Path, said: str, denied: bool) -> None:
    assert bool(bench(tmp_path, "match: [{phrase: [不能], negated: true}]").found(f"a: {said}")) == denied


def test_backchannels_are_turns_of_their_own(tmp_path: Path) -> None:
    rule = bench(tmp_path, "match: [{backchannel: true}]")
    assert rule.found("a: 嗯嗯，对", "c: 好", "a: 好的我帮您查") == ["嗯嗯，对"]


def test_discourse_words_end_a_clause_where_the_comma_is_missing(tmp_path: Path) -> None:
    rule = bench(tmp_path, "match: [{phrase: [不能退]}], unless: [{phrase: [可以换]}]")
    assert rule.found("a: 这个不能退但是可以换") == ["不能退"]
    assert rule.found("a: 这个不能退可以换") == []


# --- places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "hits"),
    [
        ("hit", []),
        ("clause", ["clause"]),
        ("sentence", ["clause", "sentence"]),
        ("turn", ["clause", "sentence", "turn"]),
        ("before", ["sentence"]),
        ("after", ["clause", "turn"]),
        ("clause before", ["sentence"]),
        ("previous turn", ["said before"]),
        ("next agent turn", ["next"]),
        ("next 2 agent turns", ["next", "later"]),
        ("earlier", ["said before", "opening"]),
        ("later", ["customer", "next", "later"]),
        ("call", ["clause", "sentence", "turn", "said before", "opening", "customer", "next", "later"]),
    ],
)
def test_places_relative_to_a_hit(tmp_path: Path, place: str, hits: list[str]) -> None:
    words = {"clause": "甲", "sentence": "乙", "turn": "丙", "said before": "丁", "opening": "戊", "customer": "己", "next": "庚", "later": "辛"}
    turns = ["a: 您好戊", "c: 丁退款", "a: 先说乙，我不能退甲。再说丙", "c: 己", "a: 庚", "c: 啊", "a: 辛"]
    for name, word in words.items():
        rule = bench(tmp_path / name, f"match: [{{phrase: [我不能]}}], unless: [{{phrase: [{word}], in: {place}}}]")
        assert (rule.found(*turns) == []) == (name in hits), name


def test_first_and_last_count_runs_of_the_speaker(tmp_path: Path) -> None:
    said = ["i: 甲，请按一", "a: 甲一", "a: 甲二", "c: 甲", "a: 甲三", "c: 嗯", "a: 甲四"]
    assert bench(tmp_path / "1", "first: 1 turns, match: [{phrase: [甲一, 甲二, 甲三, 甲四]}]").found(*said) == ["甲一", "甲二"]
    assert bench(tmp_path / "2", "last: 2 turns, match: [{phrase: [甲一, 甲二, 甲三, 甲四]}]").found(*said) == ["甲三", "甲四"]


def test_a_limit_without_speaker_or_place_keeps_the_region_it_is_asked_in(tmp_path: Path) -> None:
    rule = bench(tmp_path, "match: [{all: [{phrase: [甲]}, {phrase: [乙], first: 2 agent turns}]}]")
    assert rule.found("a: 甲乙", "c: 嗯") == ["甲"]
    assert rule.found("a: 乙", "c: 嗯", "a: 甲") == []  # among the first two, but not in the turn of the hit
    assert rule.found("a: 丙", "c: 嗯", "a: 丙", "c: 嗯", "a: 甲乙") == []


@pytest.mark.parametrize(
    ("near", "found"),
    [
        ("{of: {phrase: [投诉], speaker: customer}, after: 1 agent turn}", ["甲二", "甲三"]),
        ("{of: {phrase: [投诉], speaker: customer}, which: first, after: 1 agent turn}", ["甲二"]),
        ("{of: {phrase: [投诉], speaker: customer}, which: nth, nth: 2, after: rest}", ["甲三", "甲四"]),
        ("{of: {phrase: [投诉], speaker: customer}, which: last, before: 3 turns}", ["甲一", "甲二"]),
        ("{of: {phrase: [三]}, around: 2 chars}", ["甲三"]),
    ],
)
def test_near_another_hit(tmp_path: Path, near: str, found: list[str]) -> None:
    turns = ["a: 甲一", "c: 我要投诉", "a: 甲二", "c: 投诉你", "a: 甲三", "c: 好", "a: 甲四"]
    assert bench(tmp_path, f"near: {near}, match: [{{phrase: [甲一, 甲二, 甲三, 甲四, 甲]}}]").found(*turns) == found


def test_near_nothing_is_not_applicable(tmp_path: Path) -> None:
    rule = bench(tmp_path, "near: {of: {phrase: [投诉]}, after: rest}, match: [{phrase: [甲]}]")
    assert rule.say("a: 甲").outcome == "not_applicable"


# --- logic -------------------------------------------------------------------------------------------------


def test_all_holds_in_the_unit(tmp_path: Path) -> None:
    both = "match: [{{all: [{{phrase: [不能]}}, {{phrase: [规定]}}], same: {unit}}}]"
    assert bench(tmp_path / "c", both.format(unit="clause")).found("a: 规定不能退", "a: 有规定，不能退") == ["不能"]
    assert bench(tmp_path / "t", both.format(unit="turn")).found("a: 有规定，不能退", "c: 规定", "a: 不能") == ["不能"]
    assert bench(tmp_path / "w", both.format(unit="call")).found("a: 不能退", "c: 为什么", "a: 规定") == ["不能"]


def test_at_least_and_sequence(tmp_path: Path) -> None:
    twice = bench(tmp_path / "n", "match: [{at_least: 2, of: [{phrase: [不行]}], same: call}]")
    assert twice.found("a: 不行", "c: 啊", "a: 好") == []
    assert len(twice.say("a: 不行", "c: 啊", "a: 就是不行").findings[0].evidence) == 2
    two = bench(tmp_path / "m", "match: [{at_least: 2, of: [{phrase: [甲]}, {phrase: [乙]}, {phrase: [丙]}]}]")
    assert two.found("a: 甲和丙", "c: 嗯", "a: 甲甲") == ["甲"]
    order = bench(tmp_path / "s", "match: [{sequence: [{phrase: [理解]}, {phrase: [但是]}], gap: 6 chars}]")
    assert order.found("a: 我理解您，但是不行", "c: 嗯", "a: 但是我理解", "c: 嗯", "a: 理解您的这些心情呀，但是") == ["理解"]


def test_not_and_question_of_the_turn_before(tmp_path: Path) -> None:
    rule = bench(tmp_path, "match: [{all: [{phrase: [可能]}, {question: true, in: previous customer turn}, {not: {phrase: [可能会给您]}}]}]")
    assert rule.found("c: 几天到？", "a: 可能三天") == ["可能"]
    assert rule.found("c: 好的", "a: 可能三天") == []
    assert rule.found("c: 几天到？", "a: 可能会给您带来不便") == []


def test_shared_conditions_are_used_by_name(tmp_path: Path) -> None:
    rule = bench(tmp_path, "match: [{phrase: [不能]}], unless: [{use: reason, in: next agent turn}]", define="reason:\n  phrase: [因为]\n")
    assert rule.found("a: 不能", "c: 啊", "a: 因为过期了") == []
    assert rule.found("a: 不能", "c: 因为", "a: 好") == ["不能"]


# --- metadata and slots ------------------------------------------------------------------------------------


def test_attributes_as_tables_write_them(tmp_path: Path) -> None:
    rule = bench(tmp_path, "when: [{attribute: {kind: [投诉, 建议], elderly: true, age: {over: 60}}}], match: [{phrase: [甲]}]")
    assert rule.say("a: 甲", kind="投诉", elderly="是", age="71").outcome == "fail"
    assert rule.say("a: 甲", kind="投诉", elderly=False, age=71).outcome == "not_applicable"
    assert rule.say("a: 甲", kind="投诉", elderly=True).outcome == "not_applicable"


def test_slots_of_the_site_and_of_the_call(tmp_path: Path) -> None:
    rule = bench(tmp_path, "match: [{phrase: ['我是{agent_name}', '{company}欢迎您']}]", head="slots: {company: [回听科技, 回听]}")
    assert rule.found("a: 回听欢迎您，我是小林", agent_name="小林") == ["回听欢迎您", "我是小林"]
    assert rule.found("a: 我是小林") == []


# --- what was measured -------------------------------------------------------------------------------------


def talk(*turns: tuple[str, float, float, str], **more: object) -> Dialogue:
    made = tuple(Turn(role[0], text, role, start, end) for role, start, end, text in turns)
    return Dialogue(made, **more)  # type: ignore[arg-type]


CALL = talk(
    ("customer", 0, 4, "帮我查一下订单到哪里了"),
    ("agent", 12, 14, "查到了昨天已经发出"),
    ("customer", 15, 20, "那我要投诉你们送得太慢"),
    ("agent", 18, 21, "您先听我说这个事情"),
    acoustics=Acoustics(
        silences=(Silence(Span(4, 12), 0, 1, "agent"),),
        overlaps=(Overlap(Span(18, 20), 3, 2, True),),
        latencies=(Latency(1, 8.0), Latency(3, 0.0)),
    ),
    duration=22.0,
)


@pytest.mark.parametrize(
    ("match", "note"),
    [
        ("{silence: 5}", "8.0"),
        ("{silence: {at_least: 5, owed_by: agent, music: false}}", "8.0"),
        ("{silence: {at_least: 5, owed_by: customer}}", None),
        ("{silence: {at_least: 5, music: true}}", None),
        ("{silence: 9}", None),
        ("{interruption: true}", "2.0"),
        ("{interruption: {at_least: 3}}", None),
        ("{interruption: true, speaker: customer}", None),
        ("{reply_latency: {over: 3}}", "8.0"),
        ("{reply_latency: {over: 9}}", None),
        ("{speech_rate: {over: 200}}", "216"),
        ("{speech_rate: {over: 240}}", None),
        ("{speech_rate: {over: 240, per: turn}}", "270"),
        ("{talk_share: {under: 0.5}}", "0.36"),
        ("{duration: {over: 20}}", "22.00"),
        ("{turn_count: {over: 1}}", "2.00"),
    ],
)
def test_measures(tmp_path: Path, match: str, note: str | None) -> None:
    result = bench(tmp_path, f"match: [{match}]").run(CALL)
    assert [finding.note for finding in result.findings] == ([] if note is None else [note])
    for finding in result.findings:
        assert finding.evidence[0].start is not None
        assert finding.evidence[0].end is not None
        assert finding.evidence[0].turns or finding.evidence[0].turn is not None


@pytest.mark.parametrize("match", ["{silence: 5}", "{interruption: true}", "{reply_latency: {over: 1}}", "{speech_rate: {over: 1}}", "{talk_share: {over: 0}}", "{duration: {over: 0}}"])
def test_without_times_measures_are_not_evaluated(tmp_path: Path, match: str) -> None:
    result = bench(tmp_path, f"match: [{match}]").say("a: 您好，请问有什么可以帮您", "c: 嗯")
    assert result.outcome == "not_evaluated"
    assert result.reason in ("no_times", "no_duration")


def test_a_silence_that_was_announced(tmp_path: Path) -> None:
    rule = bench(tmp_path, "match: [{all: [{silence: 5}, {not: {phrase: [稍等], in: previous agent turn}}]}]")
    quiet = Acoustics(silences=(Silence(Span(4, 12), 1, 2, "agent"),))
    turns = [("customer", 0.0, 2.0, "查一下"), ("agent", 2.0, 4.0, "您稍等"), ("agent", 12.0, 14.0, "查到了")]
    assert rule.run(talk(*turns, acoustics=quiet)).outcome == "pass"
    turns[1] = ("agent", 2.0, 4.0, "好的")
    assert rule.run(talk(*turns, acoustics=quiet)).outcome == "fail"


def test_seconds_at_the_start_and_the_end(tmp_path: Path) -> None:
    assert bench(tmp_path / "f", "first: 15 seconds, match: [{phrase: [查到, 听我]}]").run(CALL).findings[0].evidence[0].turn == 1
    assert bench(tmp_path / "l", "last: 5 seconds, match: [{phrase: [查到, 听我]}]").run(CALL).findings[0].evidence[0].turn == 3


def test_emotion_its_peak_and_its_fall(tmp_path: Path) -> None:
    scores = [("neutral", 0.9), ("angry", 0.6), ("angry", 0.8), ("angry", 0.3)]
    call = Dialogue(tuple(Turn("B", "我等了三天了", "customer", emotion=Emotion(*score)) for score in scores))

    def turns(match: str, name: str) -> list[int | None]:
        result = bench(tmp_path / name, f"match: [{match}], speaker: customer").run(call)
        return [finding.evidence[0].turn for finding in result.findings]

    assert turns("{emotion: angry}", "a") == [1, 2]
    assert turns("{emotion: {label: angry, at_least: 0.5, peak: true}}", "b") == [2]
    assert turns("{emotion: {label: angry, below: 0.5}}", "c") == [0, 3]
    assert turns("{emotion: sad}", "d") == []
    quiet = bench(tmp_path / "e", "match: [{emotion: angry}], speaker: customer").say("c: 气死了")
    assert (quiet.outcome, quiet.reason) == ("not_evaluated", "no_emotion")


def test_loudness_against_the_speakers_own_median(tmp_path: Path) -> None:
    levels = [-30.0, -29.0, -31.0, -18.0]
    turns = tuple(Turn("A", "您先听我说", "agent", voice=SimpleNamespace(loudness_db=level)) for level in levels)  # type: ignore[arg-type]
    result = bench(tmp_path, "match: [{loudness: {over: 8}}]").run(Dialogue(turns))
    assert [finding.evidence[0].turn for finding in result.findings] == [3]


def test_repetition(tmp_path: Path) -> None:
    rule = bench(tmp_path, "match: [{repeat: {similarity: 0.8, times: 2}}]")
    assert rule.found("a: 这个我们是有规定的", "c: 那怎么办", "a: 这个我们是有规定的呀", "c: 那怎么办") == ["这个我们是有规定的呀"]


def test_a_pattern_over_the_simplified_turn(tmp_path: Path) -> None:
    rule = bench(tmp_path, "match: [{regex: '没.{0,4}(办法|辙)'}]")
    assert rule.found("a: 這個沒有什么辦法了", "a: 真没辙ＯＫ", "c: 没办法", "a: 有办法") == ["沒有什么辦法", "没辙"]
