"""What one recording sounds like before anyone transcribes it: its tracks, where speech is, what is the matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from speech.audio import Audio, is_clipped, is_dual_mono, level_db, without_bleed
from speech.options import SpeechOptions
from speech.types import Sign, Span
from speech.vad import speech_regions

DEAD_LEVEL_DB = -70.0  # RMS dBFS; A-law idle noise lies near −66, a muted leg at digital silence
DEAD_SPEECH = 0.5  # seconds of speech on one channel below which it counts as dead …
LIVE_SPEECH = 5.0  # … when the other has at least this much
DAMAGED_PACKETS = 3  # one bad packet in a call is nobody's business


@dataclass(frozen=True, slots=True)
class Sound:
    """A decoded recording, examined. Stereo calls have two tracks, everything else one."""

    audio: Audio
    tracks: np.ndarray  # (tracks, samples) float32, 16 kHz
    regions: tuple[tuple[Span, ...], ...]  # speech per track, tight, less bleed
    signs: tuple[Sign, ...]

    @property
    def duration(self) -> float:
        return self.audio.duration


def examine(audio: Audio, options: SpeechOptions) -> Sound:
    """Find speech on every track and name what is wrong with the sound."""
    signs: list[Sign] = []
    tracks = audio.samples
    if audio.channels == 2 and is_dual_mono(tracks):
        signs.append(Sign.DUAL_MONO)
        tracks = tracks.mean(axis=0, keepdims=True)
    regions = tuple(speech_regions(track) for track in tracks)
    if len(tracks) == 2:
        regions = without_bleed(tracks, regions)
    spoken = [sum(span.duration for span in own) for own in regions]
    if audio.duration < options.min_seconds:
        signs.append(Sign.TOO_SHORT)  # says all that there is to say of its speech
    elif sum(spoken) < options.min_speech_seconds:
        signs.append(Sign.NO_SPEECH)
    elif len(tracks) == 2 and max(spoken) >= LIVE_SPEECH:
        quiet = int(np.argmin(spoken))
        if spoken[quiet] < DEAD_SPEECH or level_db(tracks[quiet]) < DEAD_LEVEL_DB:
            signs.append(Sign.DEAD_CHANNEL)
    if any(is_clipped(track) for track in tracks):
        signs.append(Sign.CLIPPED)
    if audio.damaged_packets >= DAMAGED_PACKETS:
        signs.append(Sign.DAMAGED)
    return Sound(audio, tracks, regions, tuple(signs))
