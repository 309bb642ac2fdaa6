"""Hold music and ring-back tones in a channel.

Notes hold their pitch; voices glide. So the measure is steadiness: the spectrum's peaks (its envelope taken off) are
compared with those an eighth of a second later. Medians seen on telephone sound: tunes 0.67–0.82, a ring-back tone
0.77, speech 0.00–0.11, hiss 0.01. Mains hum is as steady as music, but it is the floor of its channel and nothing
more: only sound well above the floor counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speech.acoustics import merge, subtract
from speech.types import Span

WINDOW = 0.128  # s a spectrum looks at
HOP = 0.032  # s
LAG = 4  # hops between compared spectra: windows that just do not overlap
BAND = (250.0, 3600.0)  # Hz: what a telephone line lets through
ENVELOPE = 260.0  # Hz over which the spectrum's envelope is smoothed
BLOCK = 60.0  # s analysed at once

ABOVE_FLOOR = 8.0  # dB over the channel's floor (5th percentile of its frames)
LOUD_ENOUGH = -55.0  # dBFS
LEAST_SPREAD = 15.0  # dB: a floor nearer to the loudest frames is no floor, but sound without a pause …
HUM_SPREAD = 6.0  # dB: … and one as near as this is a hum or hiss: notes rise and fade
SMOOTH = 1.6  # s over which steadiness is averaged
STEADY = 0.42
NOT_STEADY = 0.25  # below it a speech region inside a tune is a voice, not a detector's mistake
REST = 1.5  # s between two notes of one piece
SHORTEST = 2.5  # s of music

RING_PURITY = 0.95  # of a frame's energy in its strongest 80 Hz or so
RING_BURST = (0.25, 2.6)  # s: 0.35 s busy tone to 2 s of ring-back
RING_GAP = 5.0  # s: 4 s in China and the USA
RING_ALONE = 0.9  # s that a single burst must last


def find_music(samples: np.ndarray, rate: int, speech_regions: Sequence[Span]) -> tuple[Span, ...]:
    """Stretches of music or call-progress tones: `samples` # (samples,) float32 of one channel.

    `speech_regions` are a voice detector's; they are cut out, except where the sound in them is itself as steady as
    music (detectors fire on tunes). Conservative: music under somebody's talk is not looked for.
    """
    if len(samples) < rate * (WINDOW + (LAG + 1) * HOP):
        return ()
    level, steady, purity = _measure(samples, rate)
    floor = float(np.percentile(level, 5))
    if HUM_SPREAD < float(np.percentile(level, 95)) - floor < LEAST_SPREAD:
        floor = min(floor, LOUD_ENOUGH - ABOVE_FLOOR)
    loud = (level > floor + ABOVE_FLOOR) & (level > LOUD_ENOUGH)
    tunes = [span for span in merge(_spans(_smooth(steady, loud) >= STEADY, loud), REST) if span.duration >= SHORTEST]
    tones = _tones(steady, purity, loud)
    found = merge([*tunes, *tones], HOP)
    voices = [r for r in speech_regions if _mean(steady, loud, r) < NOT_STEADY]
    kept = subtract(found, voices)
    return tuple(span for span in kept if span.duration >= SHORTEST or span in tones)


def _measure(samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each frame its level (dBFS), its steadiness (−1…1) and its purity (0…1), each # (frames,)"""
    size, hop = round(WINDOW * rate), round(HOP * rate)
    per_block = round(BLOCK / HOP)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    starts = range(0, len(frames) - LAG, per_block)
    parts = [_measure_block(frames[start : start + per_block + LAG], rate) for start in starts]
    level, steady, purity = (np.concatenate([part[column] for part in parts]) for column in range(3))
    return level, steady, purity


def _measure_block(frames: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = frames.shape[1]
    hertz = np.fft.rfftfreq(size, 1 / rate)
    inside = (hertz > BAND[0]) & (hertz < BAND[1])
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)[:, inside]) ** 2  # (frames, bins)
    level = 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-12)
    log = np.log(power + 1e-10 * power.max() + 1e-12)
    peaks = np.maximum(log - _envelope(log, round(ENVELOPE / hertz[1])), 0)
    peaks -= peaks.mean(axis=1, keepdims=True)
    peaks /= np.linalg.norm(peaks, axis=1, keepdims=True) + 1e-9
    steady = (peaks[LAG:] * peaks[:-LAG]).sum(axis=1)
    strongest = np.sort(power, axis=1)[:, -10:].sum(axis=1) / (power.sum(axis=1) + 1e-20)
    return level[:-LAG], steady, strongest[:-LAG]


def _envelope(log: np.ndarray, width: int) -> np.ndarray:
    """Moving average over the bins."""
    half = width // 2
    padded = np.pad(log, ((0, 0), (half + 1, half)), mode="edge")
    total = np.cumsum(padded, axis=1)
    return (total[:, 2 * half + 1 :] - total[:, : -2 * half - 1]) / (2 * half + 1)


def _smooth(steady: np.ndarray, loud: np.ndarray) -> np.ndarray:
    """Mean steadiness of the loud frames around each frame; zero where hardly any is loud."""
    kernel = np.ones(round(SMOOTH / HOP))
    count = np.convolve(loud, kernel, mode="same")
    total = np.convolve(steady * loud, kernel, mode="same")
    return np.where(count >= len(kernel) / 3, total / np.maximum(count, 1), 0.0)


def _spans(flags: np.ndarray, loud: np.ndarray) -> list[Span]:
    """Runs of flagged frames, shrunk to the loud frames in them."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    spans: list[Span] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        sounding = np.flatnonzero(loud[start:end])
        if len(sounding):
            first, last = start + sounding[0], start + sounding[-1]
            spans.append(Span(float(first * HOP), float(last * HOP + WINDOW)))
    return spans


def _tones(steady: np.ndarray, purity: np.ndarray, loud: np.ndarray) -> tuple[Span, ...]:
    """Ring-back, busy and other call-progress tones: bursts of one pure tone, one after the other."""
    pure = loud & (purity >= RING_PURITY) & (steady >= STEADY)
    bursts = [span for span in merge(_spans(pure, loud), 2 * HOP) if RING_BURST[0] <= span.duration <= RING_BURST[1]]
    trains: list[list[Span]] = []
    for burst in bursts:
        # A cadence: each burst about as long as the one before.
        same = trains and abs(burst.duration - trains[-1][-1].duration) <= 0.25 * trains[-1][-1].duration
        if same and burst.start - trains[-1][-1].end <= RING_GAP:
            trains[-1].append(burst)
        else:
            trains.append([burst])
    return tuple(
        Span(train[0].start, train[-1].end) for train in trains if len(train) > 1 or train[0].duration >= RING_ALONE
    )


def _mean(steady: np.ndarray, loud: np.ndarray, span: Span) -> float:
    first, last = int(span.start / HOP), int(span.end / HOP) + 1
    mine = steady[first:last][loud[first:last]]
    return float(mine.mean()) if len(mine) else 0.0
