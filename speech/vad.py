"""Where speech is, and how it is packed into windows for the recogniser."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speech.audio import SAMPLE_RATE
from speech.types import Span

# Silero's own default of 0.5 loses a third of the talk of some telephone voices, whose probability stays near 0.4;
# on the demo's lines noise stays under 0.15, and a tenth of the loud speech frames lies below 0.3.
THRESHOLD = 0.25
END_THRESHOLD = 0.12
MIN_SPEECH = 0.15  # seconds; shorter is a click
MIN_SILENCE = 0.25  # seconds; a shorter pause does not end a region
MAX_REGION = 24.0  # seconds; a longer one is cut at its best pause, and leaves room for padding in a window
FINGERPRINT = f"silero-v6 {THRESHOLD} {END_THRESHOLD} {MIN_SPEECH} {MIN_SILENCE} {MAX_REGION}"

WINDOW = 30.0  # seconds of sound Whisper's encoder takes at once
PAD = 0.2  # seconds of sound kept before and after a region, so that soft onsets are heard
WORD_EDGE = 0.1  # seconds by which a word's times and a speech region's may differ
KEEP_GAP = 0.6  # seconds: a longer pause inside a window is shortened to this


def speech_regions(channel: np.ndarray) -> tuple[Span, ...]:
    """Speech in one channel by Silero VAD: `channel` is (samples,) float32, 16 kHz; tight, unpadded, in order."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if channel.size < SAMPLE_RATE // 10:
        return ()
    options = VadOptions(
        threshold=THRESHOLD,
        neg_threshold=END_THRESHOLD,
        min_speech_duration_ms=int(MIN_SPEECH * 1000),
        min_silence_duration_ms=int(MIN_SILENCE * 1000),
        max_speech_duration_s=MAX_REGION,
        speech_pad_ms=0,
    )
    found = get_speech_timestamps(channel, options, sampling_rate=SAMPLE_RATE)
    return tuple(Span(x["start"] / SAMPLE_RATE, x["end"] / SAMPLE_RATE) for x in found if x["end"] > x["start"])


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a channel placed in a window: `source` seconds of the call, from `offset` seconds in the window."""

    source: Span
    offset: float


@dataclass(frozen=True, slots=True)
class Window:
    """At most 30 s of one speaker's speech with its long pauses shortened."""

    track: int
    pieces: tuple[Piece, ...]

    @property
    def duration(self) -> float:
        return self.pieces[-1].offset + self.pieces[-1].source.duration

    def cut(self, channel: np.ndarray) -> np.ndarray:
        """The window's sound out of its channel: (samples,) float32."""
        out = np.zeros(round(self.duration * SAMPLE_RATE), np.float32)
        for piece in self.pieces:
            sound = channel[round(piece.source.start * SAMPLE_RATE) : round(piece.source.end * SAMPLE_RATE)]
            at = round(piece.offset * SAMPLE_RATE)
            out[at : at + sound.size] = sound[: out.size - at]
        return out

    def to_call(self, span: Span) -> Span:
        """Window seconds → call seconds. A word that spills over a cut belongs to the piece in which it ends: the
        aligner stretches the first word after a pause back to the last word before it, and rarely one forward.
        """
        piece = next((p for p in reversed(self.pieces) if span.end > p.offset - PAD / 2), self.pieces[0])
        shift = piece.source.start - piece.offset
        start = min(max(span.start + shift, piece.source.start), piece.source.end)
        return Span(start, max(start, min(span.end + shift, piece.source.end)))


def tighten(span: Span, regions: Sequence[Span]) -> Span:
    """A word's interval without the pause it was stretched over: what lies in the speech region it ends in.

    `regions` are one track's, in order. A word outside all of them stays as it is.
    """
    index = bisect_left(regions, span.end - WORD_EDGE, key=lambda region: region.end)
    inside = regions[index] if index < len(regions) and regions[index].start < span.end else None
    if inside is None:  # it ends in a pause: cut back to the speech before
        before = regions[index - 1] if index else None
        if before is None or before.end <= span.start:
            return span
        return Span(span.start, before.end)
    return Span(min(max(span.start, inside.start - WORD_EDGE), span.end), span.end)


def pack(regions: Sequence[Span], track: int, duration: float) -> tuple[Window, ...]:
    """Regions of one channel into as few windows as fit, in order, each at most `WINDOW` seconds.

    Neighbouring regions keep the pause between them as it was, up to `KEEP_GAP`; what is cut out of a longer pause
    is not lost sound, it held no speech.
    """
    padded: list[Span] = []
    for region in regions:
        start, end = max(0.0, region.start - PAD), min(duration, region.end + PAD)
        if padded and start - padded[-1].end < KEEP_GAP and end - padded[-1].start <= MAX_REGION + 2 * PAD:
            padded[-1] = Span(padded[-1].start, end)
        else:
            padded.append(Span(max(start, padded[-1].end) if padded else start, end))
    windows: list[Window] = []
    pieces: list[Piece] = []
    for span in padded:
        offset = pieces[-1].offset + pieces[-1].source.duration + KEEP_GAP - 2 * PAD if pieces else 0.0
        if pieces and offset + span.duration > WINDOW:
            windows.append(Window(track, tuple(pieces)))
            pieces, offset = [], 0.0
        pieces.append(Piece(span, offset))
    if pieces:
        windows.append(Window(track, tuple(pieces)))
    return tuple(windows)


def halves(window: Window) -> tuple[Window, Window]:
    """A window of several pieces as two, cut between pieces where the sound divides most evenly.

    Raises ValueError for a window of one piece.
    """
    if len(window.pieces) < 2:
        raise ValueError("a window of one piece has no halves")
    cut = min(range(1, len(window.pieces)), key=lambda i: abs(window.pieces[i].offset - window.duration / 2))
    start = window.pieces[cut].offset
    right = tuple(Piece(piece.source, piece.offset - start) for piece in window.pieces[cut:])
    return Window(window.track, window.pieces[:cut]), Window(window.track, right)
