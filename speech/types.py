"""The frozen data that passes between the parts of the pipeline.

Times are seconds as float from the start of the recording, intervals are half-open. Character offsets are
0-based, half-open, and count into a turn's text as it stands.

    SpeechError
    ├── AudioError          the recording itself: unreadable, empty, cut off …    (carries its Sign)
    └── ModelError          weights or a device: missing, gated, wrong checksum …  (carries the remedy)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class SpeechError(Exception):
    """Anything this package raises on purpose."""


class Sign(StrEnum):
    """What is the matter with a recording or with what was heard in it. docs/states.md says what follows from each."""

    # told while decoding: nothing further can be done with the file
    EMPTY = "empty"
    NOT_AUDIO = "not_audio"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    TOO_LONG = "too_long"
    # told by the sound
    TOO_SHORT = "too_short"
    NO_SPEECH = "no_speech"
    DEAD_CHANNEL = "dead_channel"
    DUAL_MONO = "dual_mono"
    CLIPPED = "clipped"
    DAMAGED = "damaged"
    # told by what was recognised
    SWAPPED_CHANNELS = "swapped_channels"
    WRONG_LANGUAGE = "wrong_language"
    UNINTELLIGIBLE = "unintelligible"


class AudioError(SpeechError):
    """The recording cannot be used; `sign` names why, `detail` what is told with it: seconds, counts, a system's words."""

    def __init__(self, sign: Sign, message: str, **detail: str | float) -> None:
        super().__init__(message)
        self.sign, self.detail = sign, detail

    def __reduce__(self) -> tuple[Any, ...]:
        return _audio_error, (self.sign, str(self), self.detail)


def _audio_error(sign: Sign, message: str, detail: Mapping[str, str | float]) -> AudioError:
    """An error that comes from another process."""
    return AudioError(sign, message, **detail)


class ModelError(SpeechError):
    """Weights or a device are not there; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}\n  → {remedy}" if remedy else message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open interval [start, end) in seconds."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        return max(0.0, self.end - self.start)

    def __and__(self, other: Span) -> Span | None:
        """The part both share, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start < end else None

    def __contains__(self, time: float) -> bool:
        return self.start <= time < self.end


class Role(StrEnum):
    AGENT = "agent"
    CUSTOMER = "customer"
    IVR = "ivr"
    SYSTEM = "system"


class Mark(StrEnum):
    """Why a turn's text is to be read with care. A marked text is kept, never deleted."""

    HALLUCINATION = "hallucination"  # known boiler-plate a recogniser makes up on silence
    LOOP = "loop"  # the same words over and over
    LOW_CONFIDENCE = "low_confidence"  # most words doubtful
    PROMPT_ECHO = "prompt_echo"  # the recogniser returned its own prompt
    BLEED = "bleed"  # the other channel, heard faintly


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True)
class Emotion:
    label: str  # angry | anxious | sad | neutral | happy
    score: float  # probability of the label, 0–1


@dataclass(frozen=True, slots=True)
class Voice:
    """How a turn sounds. Loudness in dBFS (RMS over speech), pitch as the median F0 in Hz (None: unvoiced)."""

    loudness_db: float
    pitch_hz: float | None


@dataclass(frozen=True, slots=True)
class Turn:
    """One stretch of one speaker's talk. `text` is simplified Chinese with punctuation (or the call's language)."""

    speaker: str
    text: str
    start: float | None = None
    end: float | None = None
    words: tuple[Word, ...] = ()
    role: Role | None = None
    emotion: Emotion | None = None
    voice: Voice | None = None
    marks: tuple[Mark, ...] = ()

    @property
    def span(self) -> Span | None:
        return None if self.start is None or self.end is None else Span(self.start, self.end)


@dataclass(frozen=True, slots=True)
class RoleGuess:
    role: Role
    confidence: float  # 0–1
    why: str = ""  # metadata | words | channel | words+channel | voice


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody speaks. `before`/`after` are indices of the turns around it; `owed_by` is the role that owes the next word."""

    span: Span
    before: int | None = None
    after: int | None = None
    owed_by: Role | None = None
    music: bool = False  # hold music or tones fill it


@dataclass(frozen=True, slots=True)
class Overlap:
    """Both speak. `turn` starts while `against` is still being spoken."""

    span: Span
    turn: int
    against: int
    interruption: bool  # domain.md §4: ≥ 1 s, begins ≥ 1 s into the other's turn, no back-channel


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the end of the other side's turn to the start of this one (never negative)."""

    turn: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Acoustics:
    """What was measured on a call; maps are keyed by speaker."""

    silences: tuple[Silence, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    latencies: tuple[Latency, ...] = ()
    music: tuple[Span, ...] = ()
    talk_seconds: Mapping[str, float] = field(default_factory=dict)
    rate: Mapping[str, float] = field(default_factory=dict)  # characters per minute of speaking time
    silence_share: float = 0.0  # of the call's duration
    overlap_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Transcript:
    """One call, heard. `fingerprints` maps a stage (decode, recognise, diarize, …) to what made its result."""

    id: str
    language: str
    turns: tuple[Turn, ...]
    duration: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, RoleGuess] = field(default_factory=dict)
    acoustics: Acoustics | None = None
    signs: tuple[Sign, ...] = ()  # of the sound and of the recognition
    fingerprints: Mapping[str, str] = field(default_factory=dict)
