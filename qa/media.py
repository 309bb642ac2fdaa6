"""Recordings as people may hear them: with personal data beeped, or as they were recorded.

A copy is made once, on the first play, into the data folder: Ogg Opus, which every browser plays and seeks, with all
channels kept. Its time runs exactly as that of the transcript: samples are counted as `speech.audio.decode` counts
them. A recording that browsers play and in which nothing is to be beeped is played as it is. Peaks for the waveform are
measured at night, or at the first look.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qa.redact import Found, find_in_turns
from speech.types import Span, Transcript, Turn, Word

if TYPE_CHECKING:
    import av.container

MAKE = 2  # goes into a copy's name: raise it whenever copies must be made anew
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

    `beeps` are replaced by a tone on every channel.
    """
    if hearing is Hearing.ORIGINAL and beeps:
        raise ValueError("an original is not beeped")
    path = _file(folder, ".ogg", sha256, hearing, [[round(s.start, 3), round(s.end, 3)] for s in beeps])
    with _making[path]:
        if not path.exists():
            _make(recording, sha256, path, lambda partial: _transcode(recording, partial, beeps))
    return path


def keep_peaks(folder: Path, recording: Path, sha256: str) -> Path:
    """The file with a recording's peaks, made if it is not there yet: some 400 times faster than the recording runs.

    Raises RecordingGone.
    """
    path = _file(folder, ".json", sha256, "peaks")
    with _making[path]:
        if not path.exists():
            _make(recording, sha256, path, lambda partial: _measure(recording, partial))
    return path


def peaks(folder: Path, recording: Path, sha256: str, beeps: Sequence[Span]) -> dict[str, Any]:
    """`{"seconds": per peak, "channels": [[0–255, …], …]}` of a recording as it sounds with its `beeps`.

    Raises RecordingGone where they were never measured and cannot be now.
    """
    found = json.loads(keep_peaks(folder, recording, sha256).read_text("utf-8"))
    step, beep = found["seconds"], round(BEEP_LEVEL * 255)
    for channel in found["channels"]:
        for span in beeps:
            first = int(span.start / step)
            last = len(channel) if span.end == float("inf") else min(len(channel), math.ceil(span.end / step))
            channel[first:last] = [beep] * max(0, last - first)
    return found


def _file(folder: Path, suffix: str, *made_of: object) -> Path:
    """Where a derived file lies: named after all that makes it."""
    name = hashlib.sha256(json.dumps([MAKE, *made_of]).encode()).hexdigest()
    return folder / name[:2] / f"{name}{suffix}"


def _make(recording: Path, sha256: str, path: Path, write: Callable[[Path], None]) -> None:
    """Let a derived file be written, and put it in its place when it is whole. Raises RecordingGone."""
    import av.error

    from speech.audio import content_hash

    try:
        found = content_hash(recording)
    except OSError as error:
        raise RecordingGone(f"{recording.name}: {error.strerror}") from error
    if found != sha256:
        raise RecordingGone(f"{recording.name}: the file has changed since it was scored")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.stem}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        write(partial)
        partial.replace(path)
    except av.error.FFmpegError as error:
        raise RecordingGone(f"{recording.name}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _transcode(recording: Path, out: Path, beeps: Sequence[Span]) -> None:
    """Decode, beep, encode, block by block: memory does not grow with the length of the call."""
    import av

    with av.open(str(out), "w", format="ogg") as target:
        encoder, done = None, 0  # samples
        for samples, rate in _decoded(recording):
            layout = "stereo" if samples.shape[0] == 2 else "mono"
            if encoder is None:
                encoder = target.add_stream("libopus", rate=rate, layout=layout)
                encoder.bit_rate = BITS_A_CHANNEL * samples.shape[0]
            _beep(samples, done, rate, beeps)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, done
            done += samples.shape[1]
            target.mux(encoder.encode(frame))
        if encoder is None:
            raise RecordingGone(f"{recording.name}: there is no sound in it")
        target.mux(encoder.encode(None))


def _measure(recording: Path, out: Path) -> None:
    found: _Peaks | None = None
    for samples, rate in _decoded(recording):
        found = found or _Peaks(rate)
        found.add(samples)
    result = found.result() if found else {"seconds": PEAK_SECONDS, "channels": []}
    out.write_text(json.dumps(result, separators=(",", ":")), encoding="utf-8")


def _decoded(recording: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks of (channels, samples) float32, with their rate in Hz."""
    import av
    from av.audio.resampler import AudioResampler

    with av.open(str(recording), metadata_errors="ignore") as source:
        stream = source.streams.audio[0]
        rate = LOW_RATE if stream.codec_context.sample_rate <= LOW_RATE else HIGH_RATE
        layout = "stereo" if stream.codec_context.channels == 2 else "mono"
        for block in _blocks(source, stream, AudioResampler(format="fltp", layout=layout, rate=rate)):
            yield block.to_ndarray(), rate


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
