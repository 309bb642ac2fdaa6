"""Silence, overlap, interruption, latency, rate, talk time, loudness, pitch, hold music."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.acoustics import (
    QUIETEST_DB,
    intersect,
    is_back_channel,
    measure,
    measure_turns,
    merge,
    owes,
    spoken_characters,
    subtract,
    turn_rate,
    voice,
)
from speech.music import find_music
from speech.types import Mark, Role, Span, Turn, Word

A, C, IVR = Role.AGENT, Role.CUSTOMER, Role.IVR
RATE = 8000


def turn(role: Role | None, text: str, start: float, end: float, speaker: str | None = None, **more) -> Turn:
    return Turn(speaker or ("A" if role in (A, IVR) else "B"), text, start, end, role=role, **more)


def spoken(role: Role, text: str, start: float, end: float) -> Turn:
    """A turn with one word a character, evenly spread."""
    step = (end - start) / len(text)
    words = tuple(Word(c, start + i * step, start + (i + 1) * step, 0.9) for i, c in enumerate(text))
    return turn(role, text, start, end, words=words)


# -- silence ------------------------------------------------------------------------------------------------------


def test_silence_is_both_sides_quiet_for_three_seconds():
    turns = [turn(A, "您好", 0, 2), turn(C, "我查一下订单", 4.9, 7), turn(A, "好的请说单号是多少", 10.0, 12)]
    found = measure(turns, {"A": [Span(0, 2), Span(10, 12)], "B": [Span(4.9, 7)]}, 20.0).silences
    assert [(s.span, s.before, s.after) for s in found] == [(Span(7, 10.0), 1, 2), (Span(12, 20.0), 2, None)]


def test_silence_needs_both_sides():
    turns = [turn(A, "说明说明", 0, 20), turn(C, "嗯", 1, 2)]
    assert measure(turns, {"A": [Span(0, 20)], "B": [Span(1, 2)]}, 20.0).silences == ()


def test_music_is_not_silence_but_recorded():
    turns = [turn(A, "请您稍等", 0, 2), turn(A, "让您久等了", 20, 22)]
    found = measure(turns, {"A": [Span(0, 2), Span(20, 22)], "B": []}, 22.0, [Span(3, 16)])
    assert [(s.span, s.music) for s in found.silences] == [(Span(3, 16), True), (Span(16, 20), False)]
    assert found.silence_share == pytest.approx(4 / 22)
    assert found.music == (Span(3, 16),)


def test_music_that_a_voice_detector_took_for_speech_stays_music():
    turns = [turn(A, "请您稍等", 0, 2), turn(A, "让您久等了", 20, 22)]
    found = measure(turns, {"A": [Span(0, 2), Span(5, 7), Span(20, 22)], "B": []}, 22.0, [Span(3, 19)])
    assert [(s.span, s.music) for s in found.silences] == [(Span(3, 19), True)]


def test_an_announcement_is_neither_silence_nor_a_speaker():
    turns = [
        turn(IVR, "您的通话可能会被录音", 0, 8, speaker="A#ivr"),
        turn(A, "您好请讲什么事情", 8.5, 10),
        turn(C, "我的快递呢", 10.5, 12),
    ]
    found = measure(turns, {"A": [Span(0, 10)], "B": [Span(10.5, 12)]}, 12.0)
    assert found.silences == ()
    assert set(found.talk_seconds) == {"A", "B"}
    assert found.talk_seconds["A"] == pytest.approx(1.75)  # from the middle of the gap to the announcement
    assert [latency.turn for latency in found.latencies] == [2]


def test_bleed_and_hallucinations_are_no_speech():
    turns = [turn(A, "请您稍等一下", 0, 2), turn(C, "字幕由志愿者提供", 5, 7, marks=(Mark.HALLUCINATION,)), turn(A, "好了查到了", 10, 12)]
    assert [s.span for s in measure_turns(turns, 12).silences] == [Span(2, 10)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("said", "owed"),
    [
        ([(C, "我的包裹到哪里了")], A),
        ([(A, "请问您的订单号是多少？")], C),
        ([(A, "请您提供一下手机号")], C),
        ([(A, "请您稍等，我帮您查一下")], A),
        ([(A, "请您稍等一下好吗？")], A),
        ([(A, "您的订单号是多少？好的，请稍等")], A),
        ([(A, "请稍等，我看一下。请问您贵姓？")], C),
        ([(A, "我这边帮您核实一下"), (C, "好的")], A),
        ([(A, "我这边帮您核实一下"), (C, "嗯嗯，好，谢谢")], A),
        ([(A, "是本人吗？"), (C, "对")], A),
        ([(A, "单号报一下？"), (C, "你等一下，我找找")], C),
        ([(A, "单号报一下？"), (C, "我想查一下我的订单，单号是八八二三")], A),
        ([(A, "感谢您的来电，再见")], None),
        ([(C, "好的，再见")], None),
        ([(A, "您的快递明天到")], None),
        ([(A, "Let me check that for you, one moment please.")], A),
        ([(A, "May I have your name?")], C),
        ([(C, "Hold on, let me find it.")], C),
        ([(A, "您好"), (IVR, "您的通话可能会被录音")], None),
    ],
)
def test_who_owes_the_next_word(said, owed):
    turns = [Turn("A" if role is A else "B", text, role=role) for role, text in said]
    assert owes(turns, len(turns) - 1) is owed


# -- overlap and interruption -------------------------------------------------------------------------------------


def interruptions(*turns: Turn) -> list[tuple[int, int]]:
    found = measure_turns(turns)
    assert found is not None
    return [(o.turn, o.against) for o in found.overlaps if o.interruption]


def test_an_interruption_begins_a_second_in_and_goes_on_for_a_second():
    assert interruptions(spoken(C, "我从上个月开始就一直在等你们的回复", 0, 6), spoken(A, "您先听我说这个事情是这样", 4, 8)) == [(1, 0)]


@pytest.mark.parametrize(
    ("start", "end"), [(0.5, 4.0), (5.2, 8.0)], ids=["starts with the other", "overlaps for under a second"]
)
def test_short_or_early_overlaps_are_none(start, end):
    assert interruptions(spoken(C, "我从上个月开始就一直在等你们的回复", 0, 6), spoken(A, "您先听我说这个事情是这样", start, end)) == []


def test_back_channels_never_interrupt():
    assert interruptions(spoken(C, "我从上个月开始就一直在等你们的回复", 0, 8), spoken(A, "嗯，对，是的，好的好的", 3, 5)) == []


def test_a_nod_that_runs_into_the_reply_after_the_other_has_ended_is_none():
    words = (Word("对", 4.0, 4.5, 0.9), Word("对", 4.5, 5.2, 0.9), Word("对，", 5.2, 5.9, 0.9), *(Word(c, 6.1 + i * 0.2, 6.3 + i * 0.2, 0.9) for i, c in enumerate("这个我来处理")))
    reply = turn(A, "对对对，这个我来处理", 4.0, 7.3, words=words)
    assert interruptions(spoken(C, "我从上个月开始就一直在等你们的回复", 0, 6), reply) == []


def test_the_one_who_goes_on_is_not_the_one_who_interrupts():
    found = measure_turns([spoken(C, "我先把这个事情从头到尾说完好不好", 0, 9), spoken(A, "您听我说公司规定就是", 3, 6)])
    assert found is not None
    [overlap] = found.overlaps
    assert (overlap.turn, overlap.against, overlap.span.start) == (1, 0, pytest.approx(3, abs=0.1))


@pytest.mark.parametrize("text", ["嗯", "嗯嗯。", "对，对", "好的", "是的是的", "啊，哦", "mm-hmm", "Yeah, okay.", "I see", "嗯，好的，明白了"])
def test_back_channel_texts(text):
    assert is_back_channel(text)


@pytest.mark.parametrize("text", ["", "好的我帮您查", "对不起", "嗯这个不行", "是不是", "yes but", "不是", "行不通"])
def test_texts_that_claim_the_floor(text):
    assert not is_back_channel(text)


# -- latency, rate, talk time ---------------------------------------------------------------------------------------


def test_latency_is_from_the_other_sides_end_and_never_negative():
    turns = [turn(C, "我的快递呢", 0, 2), turn(A, "帮您查一下", 5, 7), turn(C, "查到了没有", 6.5, 8), turn(C, "到底在哪", 9, 10)]
    found = measure_turns(turns)
    assert found is not None
    assert [(x.turn, pytest.approx(x.seconds)) for x in found.latencies] == [(1, 3.0), (2, 0.0)]


def test_latency_skips_nods_within_the_others_talk():
    turns = [turn(C, "我从上个月就开始等", 0, 6), turn(A, "嗯", 2, 2.4), turn(A, "我帮您看", 8, 9)]
    found = measure_turns(turns)
    assert found is not None
    assert [(x.turn, x.seconds) for x in found.latencies] == [(2, pytest.approx(2.0))]


def test_rate_leaves_out_short_turns_and_pauses():
    turns = [spoken(A, "一二三四五六七八九十", 0, 2), spoken(A, "好的", 5, 9)]
    found = measure_turns(turns)
    assert found is not None
    assert found.rate == {"A": pytest.approx(300)}
    assert turn_rate(turns[0]) == pytest.approx(300)
    assert turn_rate(turns[1]) is None


def test_rate_counts_voice_not_the_pauses_between():
    turns = [turn(A, "一二三四五六七八九十", 0, 10)]
    assert measure(turns, {"A": [Span(0, 1), Span(9, 10)]}, 10.0).rate["A"] == pytest.approx(300)


@pytest.mark.parametrize(
    ("text", "count"), [("您好，请问？", 4), ("13800", 5), ("VIP客户", 5), ("OK", 2), ("the morning table", 5), ("", 0), ("用APP办理", 6)]
)
def test_spoken_characters(text, count):
    assert spoken_characters(text) == count


def test_a_transcript_without_times_is_not_measured():
    assert measure_turns([Turn("A", "您好"), Turn("B", "你好")]) is None


def test_a_second_agent_has_measures_of_her_own():
    turns = [turn(A, "您好我帮您转接", 0, 2), turn(C, "好的谢谢你啊", 3, 4), turn(A, "您好我是专员", 6, 8, speaker="A#2")]
    found = measure(turns, {"A": [Span(0, 2), Span(6, 8)], "B": [Span(3, 4)]}, 8.0)
    assert found.talk_seconds == {"A": pytest.approx(2), "A#2": pytest.approx(2), "B": pytest.approx(1)}


# -- intervals --------------------------------------------------------------------------------------------------------

spans = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)).map(lambda t: Span(t[0] / 2, (t[0] + t[1]) / 2)), max_size=8)


def ticks(items) -> set[int]:
    return {t for span in items for t in range(round(span.start * 2), round(span.end * 2))}


@given(spans, spans)
def test_interval_arithmetic_is_set_arithmetic(left, right):
    assert ticks(merge(left)) == ticks(left)
    assert ticks(subtract(left, right)) == ticks(left) - ticks(right)
    assert ticks(intersect(left, right)) == ticks(left) & ticks(right)
    for result in (merge(left), subtract(left, right), intersect(left, right)):
        assert all(a.end <= b.start for a, b in itertools.pairwise(result))


@given(spans, spans)
def test_measures_hold_together(agent, customer):
    turns = sorted(
        [turn(A, "我帮您看一下这个", s.start, s.end) for s in merge(agent)] + [turn(C, "我的订单在哪里", s.start, s.end) for s in merge(customer)],
        key=lambda t: t.start or 0,
    )
    found = measure_turns(turns, 130.0)
    if found is None:
        assert not turns
        return
    assert 0 <= found.silence_share <= 1
    assert 0 <= found.overlap_share <= 1
    assert all(latency.seconds >= 0 for latency in found.latencies)
    assert all(s.span.duration >= 3 for s in found.silences)
    assert sum(found.talk_seconds.values()) == pytest.approx(sum(s.duration for s in merge(agent)) + sum(s.duration for s in merge(customer)))
    assert all(o.turn != o.against for o in found.overlaps)


# -- voice --------------------------------------------------------------------------------------------------------------


def buzz(hertz: float, seconds: float = 1.0, level: float = 0.1, lowest: float = 300.0) -> np.ndarray:
    """A voiced sound as a telephone lets it through: harmonics between 300 and 3400 Hz only."""
    t = np.arange(int(seconds * RATE)) / RATE
    return (level * sum(np.sin(2 * np.pi * hertz * k * t + k) / k for k in range(1, 40) if lowest <= hertz * k <= 3400)).astype(np.float32)


@pytest.mark.parametrize("hertz", [85, 120, 180, 240, 330])
def test_pitch_without_the_fundamental(hertz):
    found = voice(buzz(hertz), RATE, [Span(0, 1)])
    assert found.pitch_hz == pytest.approx(hertz, rel=0.02)


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert voice(noise, RATE, [Span(0, 1)]).pitch_hz is None


def test_loudness_is_rms_over_the_regions():
    samples = np.concatenate([np.full(RATE, 0.1, np.float32), np.zeros(RATE, np.float32)])
    assert voice(samples, RATE, [Span(0, 1)]).loudness_db == pytest.approx(-20, abs=0.01)
    assert voice(samples, RATE, [Span(0, 2)]).loudness_db == pytest.approx(-23.01, abs=0.01)


@pytest.mark.parametrize("regions", [[], [Span(1.2, 1.8)], [Span(5, 6)]])
def test_nothing_heard_has_the_quietest_loudness(regions):
    samples = np.concatenate([np.full(RATE, 0.1, np.float32), np.zeros(RATE, np.float32)])
    assert voice(samples, RATE, regions) == type(voice(samples, RATE, []))(QUIETEST_DB, None)


# -- music --------------------------------------------------------------------------------------------------------------


def noise(seconds: float, level: float = 0.001, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, int(seconds * RATE)).astype(np.float32)


def tune(seconds: float, seed: int, chord: tuple[int, ...] = (0,), decay: float = 3.0) -> np.ndarray:
    """Notes of random pitch and length, with harmonics."""
    rng = np.random.default_rng(seed)
    out = np.zeros(int(seconds * RATE))
    at = 0.0
    while at < seconds - 0.3:
        length = float(rng.choice([0.2, 0.3, 0.5, 0.8]))
        t = np.arange(int(min(1.5 * length, seconds - at) * RATE)) / RATE
        root = int(rng.integers(-10, 12))
        for step in chord:
            hertz = 440 * 2 ** ((root + step) / 12)
            out[int(at * RATE) : int(at * RATE) + len(t)] += np.exp(-decay * t) * np.minimum(1, t / 0.02) * sum(np.sin(2 * np.pi * hertz * k * t) / k for k in (1, 2, 3))
        at += length
    return (0.2 * out / np.abs(out).max()).astype(np.float32)


def babble(seconds: float, seed: int) -> np.ndarray:
    """Syllables of gliding pitch with pauses: no voice, but as unsteady as one."""
    rng = np.random.default_rng(seed)
    out = np.zeros(int(seconds * RATE))
    at = 0.0
    while at < seconds - 0.5:
        length = float(rng.uniform(0.12, 0.3))
        t = np.arange(int(length * RATE)) / RATE
        start, end = rng.uniform(110, 260, 2)
        phase = 2 * np.pi * np.cumsum(np.linspace(start, end, len(t))) / RATE
        out[int(at * RATE) : int(at * RATE) + len(t)] += np.sin(np.pi * t / length) * sum(np.sin(k * phase) / k for k in range(2, 14))
        at += length + float(rng.choice([0.02, 0.05, 0.4], p=[0.6, 0.25, 0.15]))
    return (0.2 * out / np.abs(out).max()).astype(np.float32)


@pytest.mark.parametrize(("seed", "chord", "decay"), [(0, (0,), 3.0), (1, (0, 4, 7), 0.8), (2, (0,), 7.0), (3, (0, 3, 7), 2.0)])
def test_a_tune_is_found_where_it_is(seed, chord, decay):
    sound = np.concatenate([babble(6, seed), noise(1) * 0, tune(8, seed, chord, decay), noise(1) * 0, babble(6, seed + 9)])
    [found] = find_music(sound + noise(22), RATE, [Span(0, 6), Span(16, 22)])
    assert found.start == pytest.approx(7, abs=0.3)
    assert found.end == pytest.approx(15, abs=0.5)


@pytest.mark.parametrize(("on", "off"), [(1.0, 4.0), (0.35, 0.35), (2.0, 4.0)], ids=["ring-back", "busy", "long ring-back"])
def test_call_progress_tones(on, off):
    t = np.arange(15 * RATE) / RATE
    tone = (0.15 * np.sin(2 * np.pi * 450 * t) * ((t % (on + off)) < on)).astype(np.float32)
    [found] = find_music(np.concatenate([tone, noise(1) * 0, babble(5, 1)]) + noise(21), RATE, [Span(16, 21)])
    assert found.start == pytest.approx(0, abs=0.2)
    assert found.end > 15 - off - 0.3


def test_a_detector_that_fires_on_a_tune_does_not_hide_it():
    assert find_music(tune(8, 4) + noise(8), RATE, [Span(2, 5)])[0].duration > 7


def hum(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.003 * sum(np.sin(2 * np.pi * f * t) for f in (350, 450, 550))).astype(np.float32)


@pytest.mark.parametrize(
    "sound",
    [noise(10), noise(10, 0.1), np.zeros(10 * RATE, np.float32), babble(20, 5), babble(20, 6), hum(10) + noise(10), np.concatenate([hum(6), hum(6) + babble(6, 3)]), noise(0.1)],
    ids=["hiss", "loud hiss", "nothing", "talk", "more talk", "mains hum", "talk over hum", "a click"],
)
def test_what_is_no_music(sound):
    assert find_music(sound, RATE, []) == ()
