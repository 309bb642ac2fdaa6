"""Many recordings in, one result each, as soon as its last window is heard.

    decode threads → examined calls → one queue of windows of many calls → recogniser → assembled transcripts

Memory stays flat: at most `PREFETCH` decoded calls wait, and a call's sound is dropped when its result leaves.
"""

from __future__ import annotations

import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from speech.audio import decode
from speech.options import SpeechOptions
from speech.recognise import Heard, Recogniser
from speech.sound import Sound, examine
from speech.types import AudioError, Sign, Span, Transcript
from speech.vad import Piece, Window, halves, pack

DECODERS = 2  # threads; decoding and features take a tenth of the time of recognition on a CPU
PREFETCH = 4  # calls decoded ahead of the recogniser
MISSED_PIECE = 1.0  # seconds of speech without a single word that make a window worth a second look
MISSED_TAIL = 3.0  # seconds of speech after a piece's last word; aligned words end early by up to two
MISSED_GAP = 0.2  # seconds of silence between such stretches in their own window


@dataclass(frozen=True, slots=True)
class Job:
    """One recording to transcribe. `agent_channel` is 0-based, None where nobody knows."""

    id: str
    path: Path
    attributes: Mapping[str, Any] = field(default_factory=dict)
    agent_channel: int | None = None
    stop_on: frozenset[Sign] = frozenset()  # signs of the sound that make recognition pointless


@dataclass(frozen=True, slots=True)
class Refused:
    """A recording that was not transcribed, and why. `duration` in seconds, None where it could not be told."""

    id: str
    signs: tuple[Sign, ...]
    message: str
    duration: float | None = None
    detail: Mapping[str, str | float] = field(default_factory=dict)  # of the error, as AudioError has it


@dataclass(frozen=True, slots=True)
class Failed:
    """A recording on which our own code or a library broke."""

    id: str
    message: str
    trace: str


Result = Transcript | Refused | Failed


class Progress(Protocol):
    """A listener: the command line's bar, the log and the tests are some."""

    def __call__(self, step: str, call: str, completed: float, total: float) -> None: ...


class Assemble(Protocol):
    """Words of every track → the finished transcript (speech/assemble.py)."""

    def __call__(self, job: Job, sound: Sound, heard: list[tuple[Window, Heard]]) -> Transcript: ...


@dataclass(slots=True)
class _Call:
    """A call under way."""

    job: Job
    sound: Sound
    waiting: int = 0
    language: str = ""
    heard: list[tuple[Window, Heard]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Queued:
    call: _Call
    window: Window
    features: np.ndarray
    second_look: bool = False


def transcribe(
    jobs: Iterable[Job | None],
    recogniser: Recogniser,
    assemble: Assemble,
    options: SpeechOptions,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Results in the order in which calls are finished, which is nearly that of `jobs`.

    A None among the jobs says "nothing more at the moment": what is queued is worked off without waiting for a full
    batch. One bad recording yields its Refused or Failed and stops nothing else.
    """
    tell = progress or (lambda step, call, completed, total: None)
    queue: deque[_Queued] = deque()
    ahead: deque[tuple[Job, Future[tuple[Sound, list[_Queued]]]]] = deque()
    source = iter(jobs)
    exhausted = False
    # Before threads use it: its parts import each other, and a second thread may meet one half made.
    import av.error  # noqa: F401

    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
        while True:
            idle = False
            while not exhausted and not idle and len(ahead) < PREFETCH:
                job = next(source, source)
                if job is source:
                    exhausted = True
                elif isinstance(job, Job):
                    ahead.append((job, pool.submit(_prepare, job, options, recogniser)))
                else:
                    idle = True
            while ahead and len(queue) < recogniser.batch_windows:
                job, future = ahead.popleft()
                outcome = _guarded(job, future.result)
                if isinstance(outcome, Refused | Failed):
                    yield outcome
                    continue
                sound, windows = outcome
                tell("decoded", job.id, sound.duration, sound.duration)
                if not windows:
                    call = _Call(job, sound)
                    yield _guarded(job, lambda call=call: assemble(call.job, call.sound, []))
                queue.extend(windows)
            if queue:
                batch = [queue.popleft() for _ in range(min(recogniser.batch_windows, len(queue)))]
                for call in _hear(batch, queue, recogniser, options, tell):
                    yield _guarded(call.job, lambda call=call: assemble(call.job, call.sound, call.heard))
                    tell("assembled", call.job.id, call.sound.duration, call.sound.duration)
                batch.clear()
            elif exhausted and not ahead:
                return


def _guarded(job: Job, work: Callable[[], Any]) -> Any:
    """`work`'s result, or what went wrong with this one recording: the edge at which a bad file stops mattering."""
    try:
        return work()
    except AudioError as error:
        return Refused(job.id, (error.sign,), str(error), detail=error.detail)
    except _Stopped as stopped:
        return Refused(job.id, stopped.sound.signs, f"{job.path.name}: {', '.join(stopped.sound.signs)}", stopped.sound.duration)
    except MemoryError:
        raise  # the process is in no state to go on; its supervisor starts another
    except Exception as error:  # noqa: BLE001 - any library may raise anything on one odd file; the night goes on
        return Failed(job.id, f"{type(error).__name__}: {error}", traceback.format_exc())


class _Stopped(Exception):
    def __init__(self, sound: Sound) -> None:
        super().__init__()
        self.sound = sound


def _prepare(job: Job, options: SpeechOptions, recogniser: Recogniser) -> tuple[Sound, list[_Queued]]:
    """Decode, examine, cut into windows and compute features: all that needs no model but the VAD."""
    sound = examine(decode(job.path, max_seconds=options.max_seconds), options)
    if job.stop_on.intersection(sound.signs):
        raise _Stopped(sound)
    call = _Call(job, sound)
    windows = [w for track, own in enumerate(sound.regions) for w in pack(own, track, sound.duration)]
    call.waiting = len(windows)
    return sound, [_Queued(call, w, recogniser.features(w.cut(sound.tracks[w.track]))) for w in windows]


def _hear(
    batch: list[_Queued], queue: deque[_Queued], recogniser: Recogniser, options: SpeechOptions, tell: Progress
) -> list[_Call]:
    """Recognise one batch; returns the calls that it completes.

    What needs a second look goes to the queue's front: the halves of a window that failed its checks, and stretches
    in which nothing was heard.
    """
    encoded = recogniser.encode([item.features for item in batch])
    detected = recogniser.languages(encoded)
    _choose_languages(batch, detected, options)
    heard = recogniser.decode(
        encoded,
        [item.call.language for item in batch],
        [item.window.duration for item in batch],
        detected,
        [len(item.window.pieces) == 1 for item in batch],
    )
    completed = []
    for item, result in zip(batch, heard, strict=True):
        call = item.call
        call.waiting -= 1
        if result.failed and len(item.window.pieces) > 1:
            again = list(halves(item.window))  # one bad stretch spoils its window: look at it in smaller pieces
        else:
            call.heard.append((item.window, result))
            missed = () if item.second_look else _missed(item.window, result)
            again = [Window(item.window.track, missed)] if missed else []
        for window in reversed(again):
            call.waiting += 1
            sound = window.cut(call.sound.tracks[window.track])
            second = item.second_look or not result.failed
            queue.appendleft(_Queued(call, window, recogniser.features(sound), second))
        tell("recognised", call.job.id, item.window.duration, call.sound.duration)
        if call.waiting == 0:
            completed.append(call)
    return completed


def _choose_languages(batch: list[_Queued], detected: list[dict[str, float]], options: SpeechOptions) -> None:
    """A call's language is settled by those of its windows that are heard first, weighted by their length."""
    votes: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for item, probabilities in zip(batch, detected, strict=True):
        if item.call.language:
            continue
        for language in options.languages:
            votes[id(item.call)][language] += probabilities.get(language, 0.0) * item.window.duration
    for item in batch:
        if not item.call.language:
            ballot = votes[id(item.call)]
            item.call.language = options.language if options.language != "auto" else max(ballot, key=lambda k: ballot[k])


def _missed(window: Window, heard: Heard) -> tuple[Piece, ...]:
    """Stretches of a window in which no word was heard: the decoder sometimes ends before the sound does.

    Nothing for a window without any word: a second look at noise only makes things up.
    """
    if not heard.words:
        return ()
    left: list[Piece] = []
    offset = 0.0
    for piece in window.pieces:
        there = Span(piece.offset, piece.offset + piece.source.duration)
        last = max((word.end for word in heard.words if (word.start + word.end) / 2 in there), default=there.start)
        silent_from = last if last == there.start or there.end - last > MISSED_TAIL else there.end
        if there.end - silent_from < MISSED_PIECE:
            continue
        source = Span(piece.source.start + silent_from - there.start, piece.source.end)
        left.append(Piece(source, offset))
        offset += source.duration + MISSED_GAP
    return tuple(left)
