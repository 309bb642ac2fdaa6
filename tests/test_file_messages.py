"""What became of a file, told in the language of whoever reads it."""

from __future__ import annotations

import os
import pickle
import re
import wave
from pathlib import Path

import pytest

from qa.file_messages import BY_SOUND, keep, keep_refusal, retell
from qa.messages import catalogue, in_language
from speech.audio import decode
from speech.types import AudioError, Sign

RATE = 8_000  # Hz


def sound(path: Path, seconds: float, promised: float | None = None) -> Path:
    """A quiet file; with `promised`, its header says that it is so long."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(2 * int(RATE * seconds)))
    if promised is not None:
        raw = bytearray(path.read_bytes())
        size = int(RATE * promised) * 2
        raw[4:8], raw[40:44] = (size + 36).to_bytes(4, "little"), size.to_bytes(4, "little")
        path.write_bytes(raw)
    return path


def refused(path: Path, **limits: float) -> AudioError:
    with pytest.raises(AudioError) as caught:
        decode(path, **limits)
    return pickle.loads(pickle.dumps(caught.value))  # as it comes from a worker


@pytest.fixture
def errors(tmp_path: Path) -> list[AudioError]:
    empty, words, gone = tmp_path / "empty.wav", tmp_path / "words.mp3", tmp_path / "gone.wav"
    empty.touch()
    words.write_text("这不是录音" * 500, "utf-8")
    return [
        refused(empty),
        refused(words),
        refused(gone),
        refused(sound(tmp_path / "cut.wav", 2, promised=60)),
        refused(sound(tmp_path / "long.wav", 5), max_seconds=3),
    ]


@pytest.mark.parametrize("sign", BY_SOUND)
def test_what_the_sound_is_like_is_told_in_both_languages(sign: Sign):
    older = f"b07.opus: clipped, {sign}"  # as nights before stored it
    for stored in (keep_refusal(sign, {}, older), older):
        for language in ("zh", "en"):
            with in_language(language):
                assert retell(stored) == catalogue(language)[f"file.{sign}"]
    assert retell("b07.opus: something else") == "b07.opus: something else"


def test_why_a_recording_was_refused_is_told_in_both_languages(errors: list[AudioError]):
    assert [error.sign for error in errors] == [
        Sign.EMPTY, Sign.NOT_AUDIO, Sign.UNREADABLE, Sign.TRUNCATED, Sign.TOO_LONG,
    ]  # fmt: skip
    for error in errors:
        stored = keep_refusal(error.sign, error.detail, str(error))
        with in_language("zh"):
            chinese = retell(stored)
        with in_language("en"):
            english = retell(stored)
        # What the system or the decoder said stands in brackets, named as such.
        assert not re.search(r"[A-Za-z]{2,}", re.sub(r"（(解码器|系统)：.*）", "", chinese)), chinese
        assert not re.search(r"[\u4e00-\u9fff]", english), english
        assert "{" not in chinese + english


def test_figures_are_told(errors: list[AudioError]):
    with in_language("zh"):
        told = [retell(keep_refusal(error.sign, error.detail, "")) for error in errors]
    assert "60.0 秒" in told[3]
    assert "2.0 秒" in told[3]
    assert "上限 3 秒" in told[4]


def test_what_is_no_message_of_ours_comes_back_as_it_stands():
    for stored in ("ValueError: no", "{broken", '{"other": 1}', "[1]"):
        assert retell(stored) == stored
    assert retell(None) == retell("") == ""
    assert keep_refusal("clipped", {}, "x.wav: clipped") == "x.wav: clipped"


def test_every_message_that_can_be_kept_is_in_the_catalogues():
    """The ids are put together from what is told: here they are, one by one."""
    source = "".join((Path(__file__).parents[1] / name).read_text("utf-8") for name in ("qa/night.py", "qa/receive.py"))
    named = set(re.findall(r'(?<!def )\bkeep\("(\w+)"', source))
    assert {"duplicate", "worker_died", "missing_file"} <= named
    signs = {
        "empty_size", "not_audio_streams", "not_audio_ffmpeg", "unreadable_system", "unreadable_ffmpeg",
        "unreadable_damaged", "too_long_limit", "too_long_limit_seconds", "truncated_promised_there",
    }  # fmt: skip
    assert {f"file.{name}" for name in named | signs | set(BY_SOUND)} == {name for name in catalogue("zh") if name.startswith("file.")}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_told_with_the_systems_words(tmp_path: Path):
    path = sound(tmp_path / "closed.wav", 1)
    path.chmod(0)
    with in_language("en"):
        assert "system: Permission denied" in retell(keep_refusal("unreadable", refused(path).detail, ""))


def test_values_may_hold_anything():
    with in_language("en"):
        assert retell(keep("duplicate", twin='a"{b}\\')).endswith('a"{b}\\')
