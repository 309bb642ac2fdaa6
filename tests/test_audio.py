"""Decoding every format of the trade, and what the sound itself says about a recording."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from speech.audio import SAMPLE_RATE, content_hash, decode, is_clipped, is_dual_mono, level_db, without_bleed
from speech.types import AudioError, Sign, Span

SECONDS = 4.0
FORMATS = [
    ("wav", "pcm_s16le", 8000, 2),
    ("wav", "pcm_alaw", 8000, 2),
    ("wav", "pcm_mulaw", 8000, 1),
    ("mp3", "libmp3lame", 16000, 2),
    ("ogg", "libopus", 48000, 2),
    ("mp4", "aac", 16000, 2),
    ("flac", "flac", 16000, 1),
    ("gsm", "libgsm", 8000, 1),
    ("amr", "libopencore_amrnb", 8000, 1),
]


def tone(rate: int, channels: int, seconds: float = SECONDS) -> np.ndarray:
    """A different tone on every channel: (channels, samples) float32."""
    time = np.arange(int(rate * seconds)) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * (440 + 300 * c) * time) for c in range(channels)]).astype(np.float32)


def encode(path: Path, container: str, codec: str, samples: np.ndarray, rate: int) -> Path:
    layout = "stereo" if len(samples) == 2 else "mono"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        for resampled in resampler.resample(frame):
            fifo.write(resampled)
        size = stream.codec_context.frame_size or 1024
        while (block := fifo.read(size, partial=True)) is not None:
            out.mux(stream.encode(block))
        out.mux(stream.encode(None))
    return path


def wav(path: Path, samples: np.ndarray, rate: int = 8000) -> Path:
    return encode(path, "wav", "pcm_s16le", samples, rate)


@pytest.mark.parametrize(("container", "codec", "rate", "channels"), FORMATS)
def test_every_format_comes_out_as_16_khz(tmp_path, container, codec, rate, channels):
    if codec not in av.codecs_available or not av.Codec(codec, "w").is_encoder:
        pytest.skip(f"this FFmpeg cannot encode {codec}; the demo's own files cover decoding")
    path = encode(tmp_path / f"call.{container}", container, codec, tone(rate, channels), rate)
    audio = decode(path)
    assert audio.channels == channels
    assert audio.samples.dtype == np.float32
    assert audio.duration == pytest.approx(SECONDS, abs=0.15)  # codecs pad to whole frames
    assert audio.source_rate in (rate, 48000)
    middle = audio.samples[:, SAMPLE_RATE : 3 * SAMPLE_RATE]
    for channel, sound in enumerate(middle):
        peak = np.argmax(np.abs(np.fft.rfft(sound))) * SAMPLE_RATE / sound.size
        assert peak == pytest.approx(440 + 300 * channel, abs=5)
    assert audio.sha256 == content_hash(path)


def test_bad_files_are_named(tmp_path):
    good = wav(tmp_path / "good.wav", tone(8000, 2))
    cases = {
        "empty.wav": b"",
        "letter.wav": ("您好，这是一封信，不是录音。" * 50).encode(),
        "cut.wav": good.read_bytes()[: good.stat().st_size // 2],
        "head.wav": good.read_bytes()[:30],
    }
    expected = {"empty.wav": Sign.EMPTY, "letter.wav": Sign.NOT_AUDIO, "cut.wav": Sign.TRUNCATED, "head.wav": None}
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(AudioError) as caught:
            decode(path)
        assert name in str(caught.value)
        if expected[name] is not None:
            assert caught.value.sign is expected[name]
    with pytest.raises(AudioError) as caught:
        decode(tmp_path / "nowhere.wav")
    assert caught.value.sign is Sign.UNREADABLE


def test_a_stream_without_length_is_no_truncated_file(tmp_path):
    content = bytearray(wav(tmp_path / "good.wav", tone(8000, 1)).read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path = tmp_path / "live.wav"
    path.write_bytes(content)
    assert decode(path).duration == pytest.approx(SECONDS, abs=0.1)


def test_too_long_is_told_before_it_is_decoded(tmp_path):
    path = wav(tmp_path / "long.wav", tone(8000, 1))
    with pytest.raises(AudioError) as caught:
        decode(path, max_seconds=2.0)
    assert caught.value.sign is Sign.TOO_LONG


def test_levels():
    assert level_db(np.ones(100, np.float32)) == pytest.approx(0.0, abs=0.01)
    assert level_db(np.zeros(100, np.float32)) == -120.0
    assert level_db(np.empty(0, np.float32)) == -120.0


def test_dual_mono_is_a_copy_at_any_gain_and_nothing_else():
    rng = np.random.default_rng(7)
    left, right = rng.normal(0, 0.1, (2, SAMPLE_RATE)).astype(np.float32)
    noise = rng.normal(0, 0.002, SAMPLE_RATE).astype(np.float32)
    assert is_dual_mono(np.stack([left, 0.4 * left + noise]))
    assert not is_dual_mono(np.stack([left, right]))
    assert not is_dual_mono(np.stack([left, np.zeros_like(left)]))


def test_clipping_is_flat_tops_not_loudness():
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sine = 0.99 * np.sin(2 * np.pi * 200 * time).astype(np.float32)
    assert is_clipped(np.clip(3 * sine, -1, 1))
    assert not is_clipped(0.5 * sine)
    speech_like = sine * np.abs(np.sin(2 * np.pi * 3 * time)).astype(np.float32) ** 3
    assert not is_clipped(speech_like)


def test_bleed_goes_and_talk_over_stays():
    rng = np.random.default_rng(3)
    voice, other = rng.normal(0, 0.2, (2, 2 * SAMPLE_RATE)).astype(np.float32)
    span = (Span(0.2, 1.8),)
    faint = 0.05 * np.roll(voice, 40)
    assert without_bleed(np.stack([voice, faint]), [span, span]) == (span, ())
    assert without_bleed(np.stack([voice, other]), [span, span]) == (span, span)
    assert without_bleed(np.stack([voice, 0.05 * other]), [span, span]) == (span, span)  # a quiet person, not an echo


def test_the_decoder_is_loaded_before_several_threads_ask_for_it():
    """Its parts import each other: of two first requests at once one was refused, and its sound did not play."""
    import subprocess
    import sys

    code = "import sys; from qa.web import _Sound; assert 'av' not in sys.modules; _Sound(None); print('av.container' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "True"


def test_the_decoders_library_is_whole_before_threads_use_it():
    """Two threads that import it at once may meet it half made. A fresh process: here it is loaded long since."""
    told = subprocess.run(
        [
            sys.executable, "-c",
            "import sys, speech.batch as batch\n"
            "assert 'av' not in sys.modules\n"
            "def pool(*_, **__): print('av.error' in sys.modules); raise SystemExit\n"
            "batch.ThreadPoolExecutor = pool\n"
            "list(batch.transcribe([], None, None, None))\n",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (told.stdout.strip(), told.returncode) == ("True", 0), told.stderr
