"""The words of a turn as one small blob.

Precision kept: times to 1 ms, probabilities to 0.0001; texts exactly. `at_stored_precision` gives a transcript as it
will come back, so that a fresh result and a loaded one score alike.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace

from speech.types import Transcript, Word

TIME_STEPS = 1_000  # a second
PROBABILITY_STEPS = 10_000
FORMAT = 1


def at_stored_precision(transcript: Transcript) -> Transcript:
    """The same transcript with its words rounded to what the database keeps."""
    return replace(
        transcript,
        turns=tuple(
            replace(turn, words=tuple(_round(word) for word in turn.words)) for turn in transcript.turns
        ),
    )


def _round(word: Word) -> Word:
    start, end, probability = _steps(word)
    return Word(word.text, start / TIME_STEPS, end / TIME_STEPS, probability / PROBABILITY_STEPS)


def _steps(word: Word) -> tuple[int, int, int]:
    return (
        round(word.start * TIME_STEPS),
        round(word.end * TIME_STEPS),
        round(word.probability * PROBABILITY_STEPS),
    )


def pack_words(words: Sequence[Word], text: str) -> bytes | None:
    """Words → blob; None for no words. `text` is the turn's text, not stored again where the words spell it."""
    if not words:
        return None
    lengths, starts, durations, probabilities = [], [], [], []
    previous = 0
    for word in words:
        start, end, probability = _steps(word)
        lengths.append(len(word.text))
        starts.append(start - previous)
        durations.append(end - start)
        probabilities.append(probability)
        previous = start
    spelled = "".join(word.text for word in words)
    content = [FORMAT, None if spelled == text else spelled, lengths, starts, durations, probabilities]
    return zlib.compress(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), 6)


def unpack_words(blob: bytes | None, text: str) -> tuple[Word, ...]:
    """Blob → words. Raises ValueError for a blob of another format."""
    if blob is None:
        return ()
    form, spelled, lengths, starts, durations, probabilities = json.loads(zlib.decompress(blob))
    if form != FORMAT:
        raise ValueError(f"words in format {form}, expected {FORMAT}")
    source = text if spelled is None else spelled
    words, place, start = [], 0, 0
    for length, step, duration, probability in zip(lengths, starts, durations, probabilities, strict=True):
        start += step
        words.append(
            Word(
                source[place : place + length],
                start / TIME_STEPS,
                (start + duration) / TIME_STEPS,
                probability / PROBABILITY_STEPS,
            )
        )
        place += length
    return tuple(words)
