"""What a segmentation model heard, on one time line: speech, pauses, overlaps and changes of speaker."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from speech.types import Span
from speech.voices import Piece

PAUSE = 0.08  # s of quiet that ends a piece
CHANGE_VOTES = 0.3  # of the windows over a moment must hear a change of speaker for a cut
CHANGE_SPREAD = 0.25  # s over which their votes for one change scatter
SHORTEST = 0.25  # s that a piece has at least
FRAME = 0.01  # s a filter-bank frame


class Activity:
    """Speech, overlaps and changes of speaker on one time line, from the segmentation's overlapping windows."""

    def __init__(self, windows: np.ndarray, starts: np.ndarray, count: np.ndarray, origin: float, step: float, width: float) -> None:
        """windows # (windows, frames, local speakers) 0/1, starts # (windows,) s, count # (frames of the call,)"""
        self._count = count
        self._step = step
        self._first = origin + width / 2  # s: the middle of frame 0
        self._votes = _change_votes(windows, np.rint((starts - origin) / step).astype(int), len(count), step)

    def _time(self, frame: int) -> float:
        return self._first + frame * self._step

    def _frame(self, time: float) -> int:
        return min(len(self._count) - 1, max(0, round((time - self._first) / self._step)))

    def pieces(self) -> list[Piece]:
        """Speech cut at pauses and at changes of speaker."""
        regions = _runs(self._count > 0)
        changes = _runs(self._votes >= CHANGE_VOTES)
        cuts = [start + _top(self._votes[start:end]) for start, end in changes]
        joined: list[list[int]] = []
        for start, end in regions:
            crossed = any(joined[-1][1] - 2 <= cut <= start + 2 for cut in cuts) if joined else False
            if joined and (start - joined[-1][1]) * self._step < PAUSE and not crossed:
                joined[-1][1] = end
            else:
                joined.append([start, end])
        pieces: list[Piece] = []
        reach = round(CHANGE_SPREAD / self._step)
        for start, end in joined:
            margin = round(SHORTEST / self._step / 2)
            edges = [start, *(cut for cut in cuts if start + margin < cut < end - margin), end]
            for left, right in pairwise(edges):
                change = float(self._votes[max(0, left - reach) : left + reach].max(initial=0.0))
                pieces.append(Piece(self._time(left), self._time(right), change))
        return pieces

    def overlaps(self) -> list[Span]:
        return [Span(self._time(start), self._time(end)) for start, end in _runs(self._count > 1)]

    def alone(self, start: float, frames: int) -> np.ndarray:
        """Which of the filter-bank frames from `start` on have one speaker only # (frames,) bool"""
        times = start + FRAME * (np.arange(frames) + 1.25)
        index = np.clip(np.rint((times - self._first) / self._step).astype(int), 0, len(self._count) - 1)
        return self._count[index] < 2

    def quietest(self, time: float) -> float:
        """The moment nearest to `time`, within 0.3 s, at which nobody speaks; else `time`."""
        reach = round(0.3 / self._step)
        middle = self._frame(time)
        low = max(0, middle - reach)
        silent = np.flatnonzero(self._count[low : middle + reach] == 0) + low
        return self._time(int(silent[np.abs(silent - middle).argmin()])) if len(silent) else time


def _change_votes(windows: np.ndarray, starts: np.ndarray, length: int, step: float) -> np.ndarray:
    """For each frame of the call, the share of the windows over it that hear another speaker from about there on."""
    count, frames, _ = windows.shape
    speaking = windows.any(axis=2)
    speaker = np.where(speaking, windows.argmax(axis=2), -1)
    last = np.maximum.accumulate(np.where(speaking, np.arange(frames), 0), axis=1)  # the last frame with speech
    held = np.take_along_axis(speaker, last, axis=1)
    changed = (held[:, 1:] != held[:, :-1]) & (held[:, 1:] >= 0) & (held[:, :-1] >= 0)
    votes, seen = np.zeros(length), np.zeros(length)
    for window, start in zip(range(count), starts, strict=True):
        low, high = max(0, start), min(length, start + frames)
        seen[low:high] += 1
        votes[max(low, start + 1) : high] += changed[window, max(low, start + 1) - start - 1 : high - start - 1]
    spread = np.convolve(votes, np.ones(round(CHANGE_SPREAD / step) | 1), mode="same")
    return spread / np.maximum(seen, 1)


def _top(votes: np.ndarray) -> int:
    """The middle of the highest stretch."""
    return round(float(np.flatnonzero(votes >= votes.max() - 1e-9).mean()))


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) of each run of True."""
    padded = np.concatenate([[False], flags, [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
