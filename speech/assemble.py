"""What the recogniser heard on every track → one finished transcript: turns, speakers, roles, measures, emotion.

    words → turns (by channel, or by diarization of true mono) → IVR and second agent apart → roles → emotion
          → acoustics → what is the matter with it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Protocol

import numpy as np

from speech.acoustics import channel_of, measure, voice, word_regions
from speech.attribute import attribute, channel_turns
from speech.audio import SAMPLE_RATE, level_db
from speech.batch import Job
from speech.kind import infer_kind
from speech.music import find_music
from speech.options import SpeechOptions
from speech.recognise import Heard, to_call
from speech.roles import infer_roles, second_agent, split_ivr
from speech.sound import Sound
from speech.text import close, marks, punctuate
from speech.types import Mark, Role, RoleGuess, Sign, Span, Transcript, Turn, Word
from speech.vad import Window

CHANNELS = ("A", "B")
CHANNEL_CONFIDENCE = 0.85  # in the site's channel convention, before anything is said

UNINTELLIGIBLE_PROBABILITY = 0.45  # mean over words; clear calls lie above 0.8, the worst usable ones near 0.6
UNINTELLIGIBLE_MARKED = 0.6  # share of turns that are loops, hallucinations or doubtful throughout
WRONG_LANGUAGE = 0.5  # probability that the site's languages must reach together, mean over windows


class Diarization(Protocol):
    """Who speaks when in a mono recording (speech/diarize.py)."""

    @property
    def turns(self) -> Sequence[tuple[Span, str]]: ...
    @property
    def exclusive(self) -> Sequence[tuple[Span, str]]: ...


class Diarizes(Protocol):
    fingerprint: str

    def diarize(self, samples: np.ndarray, rate: int) -> Diarization: ...


class FeelsEmotion(Protocol):
    """Turns in, the same turns with their emotion out (speech/emotion.py)."""

    fingerprint: str

    def __call__(self, turns: Sequence[Turn], sound: Sound | None) -> tuple[Turn, ...]: ...


class Assembler:
    """Turns what was heard into a transcript. `diarizer` is made when the first mono call comes."""

    def __init__(
        self,
        options: SpeechOptions,
        fingerprints: Mapping[str, str],
        make_diarizer,
        emotion: FeelsEmotion | None = None,
    ) -> None:
        self._options = options
        self._fingerprints = dict(fingerprints)
        self._make_diarizer = make_diarizer
        self._diarizer: Diarizes | None = None
        self._emotion = emotion

    def __call__(self, job: Job, sound: Sound, heard: list[tuple[Window, Heard]]) -> Transcript:
        """One call's transcript; `heard` holds its windows in any order."""
        tracks = _words_by_track(sound, heard)
        if len(sound.tracks) == 2:
            turns, speech = _by_channel(sound, tracks)
        else:
            turns, speech = self._by_voice(sound, tracks[0])
        no_speech = _no_speech(heard)
        turns = tuple(_read(turn, no_speech) for turn in turns)
        regions = [span for own in sound.regions for span in own]
        music = tuple(span for track in sound.tracks for span in find_music(track, SAMPLE_RATE, regions))
        turns = tuple(second_agent(split_ivr(turns, music)))
        guesses = infer_roles(turns, self._hint(job, sound))
        turns = tuple(replace(t, role=guesses[t.speaker].role if t.speaker in guesses else None) for t in turns)
        turns = tuple(_with_voice(turn, sound) for turn in turns)
        if self._emotion is not None:
            turns = self._emotion(turns, sound)
        attributes = dict(job.attributes)
        if not attributes.get("kind"):
            attributes["kind"], attributes["kind_confidence"] = infer_kind(turns)
        return Transcript(
            id=job.id,
            language=_language(heard, self._options),
            turns=turns,
            duration=round(sound.duration, 3),
            attributes=attributes,
            roles=dict(guesses),
            acoustics=measure(turns, speech, sound.duration, music),
            signs=(*sound.signs, *_signs(turns, guesses, heard, job, sound, self._options)),
            fingerprints=self._fingerprints,
        )

    def _by_voice(self, sound: Sound, words: Sequence[Word]) -> tuple[tuple[Turn, ...], dict[str, list[Span]]]:
        if not words:
            return (), {"S1": list(sound.regions[0])}
        self._diarizer = self._diarizer or self._make_diarizer()
        found = self._diarizer.diarize(sound.tracks[0], SAMPLE_RATE)
        speech: dict[str, list[Span]] = {}
        for span, speaker in found.turns:
            speech.setdefault(speaker, []).append(span)
        return attribute(words, found.exclusive), speech

    def _hint(self, job: Job, sound: Sound) -> dict[str, tuple[Role, float]] | None:
        channel = self._options.agent_channel if job.agent_channel is None else job.agent_channel
        if len(sound.tracks) != 2 or channel not in (0, 1):
            return None
        return {
            CHANNELS[channel]: (Role.AGENT, CHANNEL_CONFIDENCE),
            CHANNELS[1 - channel]: (Role.CUSTOMER, CHANNEL_CONFIDENCE),
        }


def _words_by_track(sound: Sound, heard: list[tuple[Window, Heard]]) -> list[list[Word]]:
    tracks: list[list[Word]] = [[] for _ in sound.tracks]
    for window, result in heard:
        tracks[window.track].extend(to_call(result, window, sound.regions[window.track]))
    for words in tracks:
        words.sort(key=lambda word: (word.start, word.end))
    chinese = any(result.language == "zh" for _, result in heard)
    return [list(punctuate(words)) for words in tracks] if chinese else tracks


def _by_channel(sound: Sound, tracks: Sequence[Sequence[Word]]) -> tuple[tuple[Turn, ...], dict[str, list[Span]]]:
    def loudness(speaker: str, span: Span) -> float:
        track = sound.tracks[CHANNELS.index(speaker)]
        return level_db(track[int(span.start * SAMPLE_RATE) : int(span.end * SAMPLE_RATE)])

    turns = channel_turns(dict(zip(CHANNELS, tracks, strict=True)), loudness)
    return turns, {name: list(own) for name, own in zip(CHANNELS, sound.regions, strict=True)}


def _no_speech(heard: list[tuple[Window, Heard]]) -> list[tuple[Span, float]]:
    """Stretches of the call with the recogniser's own doubt that anything was said there."""
    return [(piece.source, result.no_speech) for window, result in heard for piece in window.pieces]


def _read(turn: Turn, no_speech: list[tuple[Span, float]]) -> Turn:
    turn = close(turn)
    middle = ((turn.start or 0.0) + (turn.end or 0.0)) / 2
    doubt = max((doubt for span, doubt in no_speech if middle in span), default=0.0)
    found = marks(turn.text, [word.probability for word in turn.words], no_speech=doubt)
    return replace(turn, marks=(*turn.marks, *found))


def _with_voice(turn: Turn, sound: Sound) -> Turn:
    track = CHANNELS.index(channel_of(turn.speaker)) if len(sound.tracks) == 2 else 0
    return replace(turn, voice=voice(sound.tracks[track], SAMPLE_RATE, word_regions(turn)))


def _language(heard: list[tuple[Window, Heard]], options: SpeechOptions) -> str:
    if heard:
        return heard[0][1].language
    return options.languages[0] if options.language == "auto" else options.language


def _signs(
    turns: Sequence[Turn],
    guesses: Mapping[str, RoleGuess],
    heard: list[tuple[Window, Heard]],
    job: Job,
    sound: Sound,
    options: SpeechOptions,
) -> list[Sign]:
    """What recognition tells about the call: a foreign language, gibberish, channels the other way round."""
    signs: list[Sign] = []
    seconds = sum(window.duration for window, _ in heard) or 1.0
    known = sum(
        window.duration * sum(result.language_probabilities.get(language, 0.0) for language in options.languages)
        for window, result in heard
    )
    if heard and known / seconds < WRONG_LANGUAGE:
        signs.append(Sign.WRONG_LANGUAGE)
    words = [word.probability for turn in turns for word in turn.words]
    bad = {Mark.LOOP, Mark.HALLUCINATION, Mark.LOW_CONFIDENCE, Mark.PROMPT_ECHO}
    marked = sum(len(turn.text) for turn in turns if bad.intersection(turn.marks))
    said = sum(len(turn.text) for turn in turns)
    if not words or fmean(words) < UNINTELLIGIBLE_PROBABILITY or marked > UNINTELLIGIBLE_MARKED * said:
        signs.append(Sign.UNINTELLIGIBLE)
    channel = options.agent_channel if job.agent_channel is None else job.agent_channel
    if len(sound.tracks) == 2 and channel in (0, 1):
        guess = guesses.get(CHANNELS[channel])
        if guess is not None and guess.role is Role.CUSTOMER:
            signs.append(Sign.SWAPPED_CHANNELS)
    return signs
