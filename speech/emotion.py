"""How a turn feels, and how the customer feels over a call. Words first, voice second.

Which model looks at the words and which at the voice is a setting; see speech/emotion_models.py for the kinds. Nothing
here needs torch until a model is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from speech.acoustics import channel_of
from speech.audio import SAMPLE_RATE
from speech.types import Emotion, Mark, Role, Turn

if TYPE_CHECKING:
    from speech.devices import Device
    from speech.options import SpeechOptions
    from speech.sound import Sound

LABELS = ("angry", "anxious", "sad", "neutral", "happy")
NEGATIVE = frozenset({"angry", "anxious", "sad"})

VOICE_WEIGHT = 0.3  # of the voice model beside the words; measure on the site's own calls before raising it
MIN_VOICE = 0.5  # s; shorter clips tell a voice model nothing
FLOOR = 1e-6  # probability, so that one model cannot veto the other
UNSPOKEN = frozenset({Mark.HALLUCINATION, Mark.LOOP, Mark.PROMPT_ECHO, Mark.BLEED})  # nobody said these words


class JudgesText(Protocol):
    """Emotion by words: one row a text over LABELS, rows sum to 1.  # (texts, 5) float"""

    fingerprint: str

    def probabilities(self, texts: Sequence[str]) -> np.ndarray: ...


class JudgesVoice(Protocol):
    """Emotion by sound: clips are mono float32 at 16 kHz; one row a clip over LABELS.  # (clips, 5) float"""

    fingerprint: str

    def probabilities(self, clips: Sequence[np.ndarray]) -> np.ndarray: ...


class TurnEmotion:
    """Gives turns their emotion. IVR and system turns, and words that nobody said, keep none."""

    def __init__(self, words: JudgesText, voice: JudgesVoice | None = None) -> None:
        self._words = words
        self._voice = voice
        made_of = [words.fingerprint, *([voice.fingerprint, str(VOICE_WEIGHT)] if voice else [])]
        self.fingerprint = hashlib.sha256(" ".join(made_of).encode()).hexdigest()

    def __call__(self, turns: Sequence[Turn], sound: Sound | None = None) -> tuple[Turn, ...]:
        felt = [i for i, turn in enumerate(turns) if _is_felt(turn)]
        if not felt:
            return tuple(turns)
        judged = self._words.probabilities([turns[i].text for i in felt])  # (felt, 5)
        if self._voice is not None and sound is not None:
            judged = self._with_voice([turns[i] for i in felt], judged, sound)
        result = list(turns)
        for i, row in zip(felt, judged, strict=True):
            best = int(np.argmax(row))
            result[i] = replace(turns[i], emotion=Emotion(LABELS[best], round(float(row[best]), 4)))
        return tuple(result)

    def _with_voice(self, turns: Sequence[Turn], words: np.ndarray, sound: Sound) -> np.ndarray:
        assert self._voice is not None
        clips = [_clip(turn, sound) for turn in turns]
        heard = [i for i, clip in enumerate(clips) if len(clip) >= MIN_VOICE * SAMPLE_RATE]
        both = words.copy()
        if heard:
            both[heard] = combine(words[heard], self._voice.probabilities([clips[i] for i in heard]))
        return both


def combine(words: np.ndarray, voice: np.ndarray, weight: float = VOICE_WEIGHT) -> np.ndarray:
    """Logarithmic opinion pool: p ∝ words^(1 − weight) · voice^weight, rows normalised.  # (n, 5)"""
    pooled = np.maximum(words, FLOOR) ** (1 - weight) * np.maximum(voice, FLOOR) ** weight
    return pooled / pooled.sum(axis=1, keepdims=True)


def load_emotion(options: SpeechOptions, device: Device) -> TurnEmotion:
    """The models that the settings name; ModelError when one is missing or does not fit."""
    from speech.emotion_models import load_text, load_voice

    return TurnEmotion(load_text(options, device), load_voice(options, device))


def _is_felt(turn: Turn) -> bool:
    unspoken = UNSPOKEN.intersection(turn.marks)
    return bool(turn.text.strip()) and turn.role not in (Role.IVR, Role.SYSTEM) and not unspoken


def _clip(turn: Turn, sound: Sound) -> np.ndarray:
    """The turn's sound on its own track; empty where the turn has no time."""
    if turn.span is None:
        return np.zeros(0, np.float32)
    channel = channel_of(turn.speaker)
    track = 1 if len(sound.tracks) == 2 and channel == "B" else 0
    return sound.tracks[track][int(turn.span.start * SAMPLE_RATE) : int(turn.span.end * SAMPLE_RATE)]


# -- the customer over the call -----------------------------------------------------------------------------------

VALENCE = {"angry": -1.0, "anxious": -0.6, "sad": -0.6, "neutral": 0.0, "happy": 1.0}
LAST_WEIGHTS = (0.5, 0.3, 0.2)  # the last customer turn, the one before, and the one before that
END_BAND = 0.25  # |smoothed valence| from which the end counts as negative or positive
TREND_TURNS = 3  # fewer turns have no direction


@dataclass(frozen=True, slots=True)
class CustomerEmotion:
    """The customer's feeling over a call.

    The valence of a turn is its label's weight (VALENCE) times its score: −1 furious … 0 … +1 delighted.
    `peak` is the lowest valence, `peak_turn` its index among all turns (None: never below 0).
    `trend` is the slope of the least-squares line through the valences, in valence from the first customer turn to the
    last: positive means it got better; 0 below three turns.
    `end_valence` is the mean of the last three turns, weighted 0.5, 0.3, 0.2 from the last; `end` names it: negative
    at −0.25 or below, positive at +0.25 or above, else neutral.
    """

    peak_turn: int | None
    peak: float
    peak_label: str
    trend: float
    end: str  # negative | neutral | positive
    end_valence: float


def valence(emotion: Emotion) -> float:
    return VALENCE[emotion.label] * emotion.score


def customer_emotion(turns: Sequence[Turn]) -> CustomerEmotion | None:
    """Peak, trend and end of the customer's feeling; None where no customer turn has an emotion."""
    felt = [(i, t.emotion) for i, t in enumerate(turns) if t.role == Role.CUSTOMER and t.emotion is not None]
    if not felt:
        return None
    course = np.array([valence(emotion) for _, emotion in felt])
    lowest = int(course.argmin())
    has_peak = course[lowest] < 0
    slope = 0.0
    if len(course) >= TREND_TURNS:
        slope = float(np.polyfit(np.linspace(0, 1, len(course)), course, 1)[0])
    weights = np.array(LAST_WEIGHTS[: len(course)])
    end = float(course[::-1][: len(weights)] @ weights / weights.sum())
    return CustomerEmotion(
        peak_turn=felt[lowest][0] if has_peak else None,
        peak=round(float(course[lowest]), 4) if has_peak else 0.0,
        peak_label=felt[lowest][1].label if has_peak else "",
        trend=round(slope, 4),
        end="negative" if end <= -END_BAND else "positive" if end >= END_BAND else "neutral",
        end_valence=round(end, 4),
    )
