"""Recordings as people may hear them: with personal data beeped, or as they were recorded.

A copy is made once, on the first play, into the data folder: Ogg Opus, which every browser plays and seeks, with all
channels kept. Its time runs exactly as that of the transcript: samples are counted as `speech.audio.decode` counts
them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import threading
from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa.redact import Found, find_in_turns
from speech.types import Span, Transcript, Turn, Word

if TYPE_CHECKING:
    import av.container

MAKE = 1  # goes into a copy's name: raise it whenever copies must be made anew
PADDING = 0.25  # seconds beeped before and after a number: word times are that far off
DOUBTFUL = 0.5  # probability of a word below which neither it nor its time is relied on
DOUBTFUL_DIGITS = 5  # digits in a turn that, misheard in part, may be a number that nobody recognised as one
TIME_SLACK = 0.5  # seconds by which a word may lie outside its turn before its time is not believed
BEEP_HERTZ, BEEP_LEVEL = 1_000.0, 0.08
LOW_RATE, HIGH_RATE = 16_000, 48_000  # Hz, of copies: telephone sound, and anything better
BITS_A_CHANNEL = 32_000  # a second
PEAK_SECONDS = 0.1
PLAYABLE = {  # (container, codec) that browsers play and seek as they are → media type
    ("wav", "pcm_s16le"): "audio/wav",
    ("wav", "pcm_u8"): "audio/wav",
    ("ogg", "opus"): "audio/ogg",
    ("flac", "flac"): "audio/flac",
}
COPY_TYPE = "audio/ogg"
DIGITS = frozenset("0123456789０１２３４５６７８９零〇一二三四五六七八九幺两")


class Hearing(StrEnum):
    MASKED = "masked"
    ORIGINAL = "original"


class RecordingGone(Exception):
    """The recording is not where it was, is no longer what was scored, or cannot be decoded."""


# --- what to beep ----------------------------------------------------------------------------------------------


def personal_spans(transcript: Transcript) -> list[Span]:
    """The stretches of a call that hold personal data, in order and apart from each other.

    The words of a number with a margin; the whole turn where words, times or digits are doubtful.
    """
    texts = find_in_turns([turn.text for turn in transcript.turns])
    spoken = find_in_turns(["".join(word.text for word in turn.words) for turn in transcript.turns])
    spans = [
        span
        for turn, in_text, in_words in zip(transcript.turns, texts, spoken, strict=True)
        for span in _spans_of_turn(turn, in_text, in_words)
    ]
    return _joined(spans)


def _spans_of_turn(turn: Turn, in_text: Sequence[Found], in_words: Sequence[Found]) -> list[Span]:
    if not in_text and not in_words:
        return [_whole(turn)] if _has_doubtful_digits(turn.words) else []
    if len(in_text) != len(in_words):
        return [_whole(turn)]
    ends = list(itertools.accumulate(len(word.text) for word in turn.words))
    spans = []
    for found in in_words:
        words = [
            word
            for word, end in zip(turn.words, ends, strict=True)
            if end - len(word.text) < found.end and found.start < end
        ]
        if not words or not all(_is_sure(word, turn) for word in words):
            return [_whole(turn)]
        spans.append(_padded(min(word.start for word in words), max(word.end for word in words)))
    return spans


def _is_sure(word: Word, turn: Turn) -> bool:
    if word.probability < DOUBTFUL or word.end <= word.start:
        return False
    if turn.start is None or turn.end is None:
        return True
    return turn.start - TIME_SLACK <= word.start and word.end <= turn.end + TIME_SLACK


def _has_doubtful_digits(words: Sequence[Word]) -> bool:
    digits = [word for word in words if any(character in DIGITS for character in word.text)]
    count = sum(character in DIGITS for word in digits for character in word.text)
    return count >= DOUBTFUL_DIGITS and any(word.probability < DOUBTFUL for word in digits)


def _whole(turn: Turn) -> Span:
    """All of a turn and of its words; all of the call where the turn has no times."""
    if turn.start is None or turn.end is None:
        return Span(0.0, float("inf"))
    starts, ends = [word.start for word in turn.words], [word.end for word in turn.words]
    return _padded(min([turn.start, *starts]), max([turn.end, *ends]))


def _padded(start: float, end: float) -> Span:
    return Span(max(0.0, start - PADDING), end + PADDING)


def _joined(spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


# --- copies ----------------------------------------------------------------------------------------------------

_making: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


def playable(recording: Path, size: int) -> str | None:
    """The media type under which browsers play a recording as it is; None where a copy is needed.

    Raises RecordingGone also where the file has not the `size` in bytes that it had when it was scored.
    """
    import av
    import av.error

    try:
        if recording.stat().st_size != size:
            raise RecordingGone(f"{recording.name}: the file has changed since it was scored")
        with av.open(str(recording), metadata_errors="ignore") as container:
            if not container.streams.audio:
                return None
            return PLAYABLE.get((container.format.name, container.streams.audio[0].codec_context.name))
    except (av.error.FFmpegError, OSError) as error:
        raise RecordingGone(f"{recording.name}: {error}") from error


def copy_for_browser(
    folder: Path, recording: Path, sha256: str, hearing: Hearing, beeps: Sequence[Span]
) -> Path:
    """The copy of a recording that browsers play, made if it is not there yet. Raises RecordingGone.

    `beeps` are replaced by a tone on every channel. Beside the copy lies `<name>.json` with its peaks.
    """
    if hearing is Hearing.ORIGINAL and beeps:
        raise ValueError("an original is not beeped")
    made_of = json.dumps([MAKE, sha256, hearing, [[round(s.start, 3), round(s.end, 3)] for s in beeps]])
    name = hashlib.sha256(made_of.encode()).hexdigest()
    path = folder / name[:2] / f"{name}.ogg"
    with _making[path]:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make(recording, sha256, path, beeps)
    return path


def peaks_of(copy: Path) -> dict[str, Any]:
    """`{"seconds": per peak, "channels": [[0–255, …], …]}` of a copy."""
    return json.loads(copy.with_suffix(".json").read_text("utf-8"))


def _make(recording: Path, sha256: str, path: Path, beeps: Sequence[Span]) -> None:
    import av.error

    from speech.audio import content_hash

    try:
        found = content_hash(recording)
    except OSError as error:
        raise RecordingGone(f"{recording.name}: {error.strerror}") from error
    if found != sha256:
        raise RecordingGone(f"{recording.name}: the file has changed since it was scored")
    partial = path.with_name(f".{path.stem}-{os.getpid()}-{secrets.token_hex(4)}.ogg")
    try:
        peaks = _transcode(recording, partial, beeps)
        peaks_path = partial.with_suffix(".json")
        peaks_path.write_text(json.dumps(peaks, separators=(",", ":")), encoding="utf-8")
        peaks_path.replace(path.with_suffix(".json"))
        partial.replace(path)  # last: where the copy is, its peaks are
    except av.error.FFmpegError as error:
        raise RecordingGone(f"{recording.name}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _transcode(recording: Path, out: Path, beeps: Sequence[Span]) -> dict[str, Any]:
    """Decode, beep, encode, block by block: memory does not grow with the length of the call."""
    import av
    from av.audio.resampler import AudioResampler

    with (
        av.open(str(recording), metadata_errors="ignore") as source,
        av.open(str(out), "w", format="ogg") as target,
    ):
        stream = source.streams.audio[0]
        rate = LOW_RATE if stream.codec_context.sample_rate <= LOW_RATE else HIGH_RATE
        layout = "stereo" if stream.codec_context.channels == 2 else "mono"
        encoder = target.add_stream("libopus", rate=rate, layout=layout)
        encoder.bit_rate = BITS_A_CHANNEL * (2 if layout == "stereo" else 1)
        resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
        peaks = _Peaks(rate)
        done = 0  # samples
        for block in _blocks(source, stream, resampler):
            samples = block.to_ndarray()  # (channels, samples) float32
            _beep(samples, done, rate, beeps)
            peaks.add(samples)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, done
            done += samples.shape[1]
            target.mux(encoder.encode(frame))
        target.mux(encoder.encode(None))
        return peaks.result()


def _blocks(source: av.container.InputContainer, stream, resampler):
    import av.error

    try:
        for packet in source.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # damaged packets are left out, as when the call was heard
            for frame in frames:
                yield from resampler.resample(frame)
    except av.error.FFmpegError:
        pass  # the file breaks off here, as it did when the call was heard
    yield from resampler.resample(None)


def _beep(samples: np.ndarray, first: int, rate: int, beeps: Sequence[Span]) -> None:
    """Replace what lies in the spans, in place; `first` is the number of the block's first sample."""
    last = first + samples.shape[1]
    for span in beeps:
        start = max(first, int(span.start * rate))
        end = last if span.end == float("inf") else min(last, int(np.ceil(span.end * rate)))
        if start < end:
            tone = BEEP_LEVEL * np.sin(2 * np.pi * BEEP_HERTZ * np.arange(start, end) / rate)
            samples[:, start - first : end - first] = tone.astype(np.float32)


class _Peaks:
    """The loudest sample of each tenth of a second and channel."""

    def __init__(self, rate: int) -> None:
        self._step = int(rate * PEAK_SECONDS)
        self._rest: np.ndarray | None = None
        self._found: list[np.ndarray] = []  # each (channels, peaks) uint8

    def add(self, samples: np.ndarray) -> None:
        joined = samples if self._rest is None else np.concatenate([self._rest, samples], axis=1)
        whole = joined.shape[1] // self._step * self._step
        self._rest = joined[:, whole:].copy()
        if whole:
            self._keep(joined[:, :whole].reshape(joined.shape[0], -1, self._step))

    def _keep(self, steps: np.ndarray) -> None:
        self._found.append(np.round(np.abs(steps).max(axis=2).clip(0, 1) * 255).astype(np.uint8))

    def result(self) -> dict[str, Any]:
        if self._rest is not None and self._rest.shape[1]:
            self._keep(self._rest[:, None, :])
            self._rest = None
        channels = np.concatenate(self._found, axis=1).tolist() if self._found else []
        return {"seconds": PEAK_SECONDS, "channels": channels}
