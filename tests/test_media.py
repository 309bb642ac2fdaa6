"""Sound as people may hear it: what is beeped, and that copies keep time."""

from __future__ import annotations

import itertools
import wave
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from appsite import PERSON_TONE, REST_TONE, number_span, transcript, write_sound
from hypothesis import given
from hypothesis import strategies as st

from qa.media import (
    BEEP_HERTZ,
    PADDING,
    Hearing,
    RecordingGone,
    copy_for_browser,
    keep_peaks,
    peaks,
    personal_spans,
    playable,
)
from speech.audio import SAMPLE_RATE, content_hash, decode
from speech.types import Role, Span, Transcript, Turn, Word

CUSTOMER = Role.CUSTOMER


def call(*turns: Turn) -> Transcript:
    return Transcript("c", "zh", turns)


def spoken(text: str, at: float = 0.0, probability: float = 0.9, **values) -> Turn:
    words = tuple(Word(c, at + n * 0.2, at + (n + 1) * 0.2, probability) for n, c in enumerate(text))
    return Turn("B", text, at, words[-1].end, words, CUSTOMER, **values)


def test_a_number_is_beeped_with_a_margin_and_nothing_else():
    span = number_span()
    assert personal_spans(transcript("number")) == [
        Span(pytest.approx(span.start - PADDING), pytest.approx(span.end + PADDING))
    ]
    assert personal_spans(transcript("thanks")) == []


def test_a_number_over_two_turns_is_beeped_in_both():
    spans = personal_spans(call(spoken("我的电话是一三八零零", 0.0), spoken("一三八零零零", 5.0)))
    assert [(round(s.start, 2), round(s.end, 2)) for s in spans] == [(0.75, 2.25), (4.75, 6.45)]


def test_the_whole_turn_is_beeped_where_a_word_or_its_time_is_doubtful():
    turn = spoken("你记一下一三八零零一三八零零零好吧", 10.0)
    whole = [Span(turn.start - PADDING, turn.end + PADDING)]
    unsure = replace(turn, words=(*turn.words[:6], replace(turn.words[6], probability=0.2), *turn.words[7:]))
    untimed = replace(turn, words=(*turn.words[:6], replace(turn.words[6], end=turn.words[6].start), *turn.words[7:]))
    astray = replace(turn, words=(*turn.words[:-4], *(replace(w, start=40.0, end=40.2) for w in turn.words[-4:])))
    without_words = replace(turn, words=())
    otherwise = replace(turn, text="你记一下13800138000好吧", words=spoken("你记一下我手机吧", 10.0).words)
    for doubtful in (unsure, untimed, without_words, otherwise):
        assert personal_spans(call(doubtful)) == whole
    assert personal_spans(call(astray))[0].end >= 40.2


def test_misheard_digits_that_nobody_recognised_as_a_number_are_beeped():
    turn = spoken("是一三八零零那个", 3.0)
    assert personal_spans(call(turn)) == []
    misheard = replace(turn, words=(*turn.words[:3], replace(turn.words[3], probability=0.3), *turn.words[4:]))
    assert personal_spans(call(misheard)) == [Span(3.0 - PADDING, turn.end + PADDING)]


def test_without_times_all_is_beeped():
    turn = Turn("B", "我的手机是13800138000", role=CUSTOMER)
    assert personal_spans(call(turn)) == [Span(0.0, float("inf"))]


@given(st.lists(st.tuples(st.sampled_from(["好的", "一三八零零一三八零零零", "四一二三"]), st.floats(0, 1)), max_size=8))
def test_spans_are_in_order_and_apart(turns: list[tuple[str, float]]):
    made, at = [], 0.0
    for text, probability in turns:
        made.append(spoken(text, at, probability))
        at = made[-1].end + 0.3
    spans = personal_spans(call(*made))
    assert all(0 <= s.start < s.end for s in spans)
    assert all(a.end < b.start for a, b in itertools.pairwise(spans))


# Copies


def loudest(samples: np.ndarray, start: float, end: float) -> float:
    """The strongest frequency of a stretch, in Hz."""
    part = samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
    power = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(np.argmax(power)) * SAMPLE_RATE / len(part)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sound(tmp_path_factory.mktemp("sound") / "number.wav")


def masked(folder: Path, recording: Path) -> Path:
    beeps = personal_spans(transcript("number"))
    return copy_for_browser(folder, recording, content_hash(recording), Hearing.MASKED, beeps)


def test_the_masked_copy_has_a_tone_for_the_number_and_the_rest_in_its_place(recording: Path, tmp_path: Path):
    copy = decode(masked(tmp_path, recording))
    original, span = decode(recording), number_span()
    assert copy.channels == 2
    assert copy.duration == pytest.approx(original.duration, abs=0.05)
    for channel, before in zip(copy.samples, original.samples, strict=True):
        assert loudest(before, span.start, span.end) == pytest.approx(PERSON_TONE, abs=3)
        for start in np.arange(span.start, span.end - 0.1, 0.1):
            assert loudest(channel, start, start + 0.1) == pytest.approx(BEEP_HERTZ, abs=15)
        for start, end in ((0.2, span.start - PADDING - 0.1), (span.end + PADDING + 0.1, original.duration - 0.2)):
            assert loudest(channel, start, end) == pytest.approx(REST_TONE, abs=3)


def test_a_copy_is_made_once_and_anew_for_other_spans(recording: Path, tmp_path: Path):
    first = masked(tmp_path, recording)
    made = first.stat().st_mtime_ns
    assert masked(tmp_path, recording) == first
    assert first.stat().st_mtime_ns == made
    other = copy_for_browser(tmp_path, recording, content_hash(recording), Hearing.MASKED, [Span(0, 1)])
    assert other != first
    assert len(list(tmp_path.rglob("*.ogg"))) == 2


def test_peaks_show_both_channels_in_tenths_of_a_second(recording: Path, tmp_path: Path):
    beeps, span = personal_spans(transcript("number")), number_span()
    found = peaks(tmp_path, recording, content_hash(recording), beeps)
    assert len(found["channels"]) == 2
    for channel in found["channels"]:
        assert len(channel) == pytest.approx((transcript("number").duration or 0) * 10, abs=1)
        assert 90 < channel[2] < 115  # 0.4 of 255
        assert channel[int(span.start * 10) + 2] < 30  # the beep


def test_peaks_are_measured_once_and_outlive_the_recording(recording: Path, tmp_path: Path):
    own = tmp_path / "own.wav"
    own.write_bytes(recording.read_bytes())
    made = keep_peaks(tmp_path, own, content_hash(recording))
    own.unlink()
    assert keep_peaks(tmp_path, own, content_hash(recording)) == made
    assert len(peaks(tmp_path, own, content_hash(recording), ())["channels"][0]) > 10
    with pytest.raises(RecordingGone):
        keep_peaks(tmp_path / "elsewhere", own, content_hash(recording))


def test_peaks_of_a_recording_without_times_are_beeped_to_its_end(recording: Path, tmp_path: Path):
    found = peaks(tmp_path, recording, content_hash(recording), [Span(0.0, float("inf"))])
    assert {peak for channel in found["channels"] for peak in channel} == {round(0.08 * 255)}


def test_a_recording_that_changed_is_not_played(recording: Path, tmp_path: Path):
    moved = tmp_path / "moved.wav"
    moved.write_bytes(recording.read_bytes() + b"\0")
    with pytest.raises(RecordingGone, match="changed"):
        copy_for_browser(tmp_path, moved, content_hash(recording), Hearing.MASKED, ())
    with pytest.raises(RecordingGone, match="changed"):
        playable(moved, recording.stat().st_size)
    with pytest.raises(RecordingGone):
        copy_for_browser(tmp_path, tmp_path / "none.wav", content_hash(recording), Hearing.MASKED, ())
    assert not list(tmp_path.rglob("*.ogg"))


@pytest.mark.parametrize(("suffix", "codec", "rate"), [("wav", "pcm_alaw", 8_000), ("mp3", "mp3", 16_000)])
def test_what_browsers_cannot_play_or_seek_is_copied(tmp_path: Path, suffix: str, codec: str, rate: int):
    path = tmp_path / f"call.{suffix}"
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate) * 32_767).astype(np.int16)
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None, :], format="s16", layout="mono")
        frame.sample_rate = rate
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    assert playable(path, path.stat().st_size) is None
    copy = decode(copy_for_browser(tmp_path, path, content_hash(path), Hearing.ORIGINAL, ()))
    assert copy.channels == 1
    assert copy.duration == pytest.approx(3.0, abs=0.15)
    assert loudest(copy.samples[0], 0.5, 2.5) == pytest.approx(440, abs=3)


def test_plain_wav_is_played_as_it_is(recording: Path, tmp_path: Path):
    assert playable(recording, recording.stat().st_size) == "audio/wav"
    broken = tmp_path / "x.wav"
    with wave.open(str(broken), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
    broken.write_bytes(b"not sound at all")
    with pytest.raises(RecordingGone):
        playable(broken, broken.stat().st_size)
