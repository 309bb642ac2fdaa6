"""The sound of a clip: cut to the sample out of the masked copy of its call, as MP3, which every browser plays."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from qa.media import Hearing, RecordingGone, copy_for_browser
from speech.types import Span

MAKE = 1  # goes into a cut's name: raise it whenever cuts must be made anew
SOUND_TYPE = "audio/mpeg"
SUFFIX = ".mp3"
BITS_A_CHANNEL = 32_000  # a second
RUN_UP = 1.0  # seconds decoded before the cut: Opus needs 80 ms to find its feet after a jump


def cut_sound(folder: Path, recording: Path, sha256: str, beeps: Sequence[Span], span: Span) -> Path:
    """The file that holds a stretch of a call's masked sound, made if it is not there yet. Raises RecordingGone."""
    copy = copy_for_browser(folder, recording, sha256, Hearing.MASKED, beeps)
    made_of = json.dumps([MAKE, copy.stem, round(span.start, 3), round(span.end, 3)])
    name = hashlib.sha256(made_of.encode()).hexdigest()
    path = folder / name[:2] / f"{name}{SUFFIX}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{name}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}")
        try:
            _encode(partial, copy, span)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def _encode(out: Path, copy: Path, span: Span) -> None:
    import av

    with av.open(str(out), "w", format="mp3") as target:
        encoder, done = None, 0  # samples
        for samples, rate in _stretch(copy, span):
            layout = "stereo" if samples.shape[0] == 2 else "mono"
            if encoder is None:
                encoder = target.add_stream("libmp3lame", rate=rate, layout=layout)
                encoder.bit_rate = BITS_A_CHANNEL * samples.shape[0]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, done
            done += samples.shape[1]
            target.mux(encoder.encode(frame))
        if encoder is None:
            raise RecordingGone(f"the recording has no sound from {span.start:g} to {span.end:g} s")
        target.mux(encoder.encode(None))


def _stretch(copy: Path, span: Span) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks of (channels, samples) float32 of a stretch of a copy, with their rate in Hz."""
    import av
    from av.audio.resampler import AudioResampler

    with av.open(str(copy)) as source:
        stream = source.streams.audio[0]
        layout = "stereo" if stream.codec_context.channels == 2 else "mono"
        rate = stream.codec_context.sample_rate
        plain = AudioResampler(format="fltp", layout=layout, rate=rate)
        if span.start > RUN_UP:
            source.seek(int((span.start - RUN_UP) * av.time_base))
        for decoded in source.decode(stream):
            for frame in plain.resample(decoded):
                first = round((frame.time or 0.0) * rate)
                start, end = round(span.start * rate), round(span.end * rate)
                if first >= end:
                    return
                samples = frame.to_ndarray()[:, max(0, start - first) : end - first]
                if samples.shape[1]:
                    yield np.ascontiguousarray(samples), rate
