"""The telephone line: levels, band, noise, bleed, hold music, and the codecs of recorders.

Everything here is at 8 kHz, float32, full scale ±1.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import av
import numpy as np

RATE = 8_000  # Hz
BAND = (300.0, 3400.0)  # Hz, the telephone channel of ITU-T G.712
SPEECH_DB = -21.0  # dBFS, RMS over a sentence; about where recorders' level control settles
CEILING = 0.89  # -1 dBFS
EDGE = 60.0  # Hz, roll-off of the band filter

# A tune of its own: quarter notes as semitones above A4 (None: rest), 0.4 s each.
# fmt: off
TUNE = [0, 4, 7, 4, 5, 9, 7, None, 2, 5, 9, 5, 4, 7, 4, None, 0, 4, 7, 12, 11, 9, 7, None, 5, 4, 2, 4, 0, None, 0, None]
# fmt: on
NOTE = 0.4


def db(value: float) -> float:
    """Decibels to a factor of amplitude."""
    return 10 ** (value / 20)


def levelled(sound: np.ndarray, gain_db: float) -> np.ndarray:
    """Bring a sentence to the speech level plus `gain_db`; peaks bend softly instead of clipping."""
    rms = float(np.sqrt((sound**2).mean()))
    return CEILING * np.tanh(sound * (db(SPEECH_DB + gain_db) / max(rms, 1e-6)) / CEILING)


def band(sound: np.ndarray) -> np.ndarray:
    """Keep the telephone band, with raised-cosine edges, no delay. (samples,)"""
    spectrum = np.fft.rfft(sound)
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    rise = np.clip((hertz - (BAND[0] - EDGE)) / EDGE, 0, 1)
    fall = np.clip(((BAND[1] + EDGE) - hertz) / EDGE, 0, 1)
    spectrum *= (0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall))
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


def line_noise(samples: int, level_db: float, rng: np.random.Generator) -> np.ndarray:
    """Hiss that leans to the low side, breathes a little, over the odd harmonics of 50 Hz mains hum."""
    white = rng.normal(size=samples)
    spectrum = np.fft.rfft(white)
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum /= np.sqrt(np.maximum(hertz, 200.0) / 200.0)
    hiss = np.fft.irfft(spectrum, samples)
    seconds = np.arange(samples) / RATE
    hiss *= 1 + 0.25 * np.sin(2 * np.pi * 0.11 * seconds + rng.uniform(0, 6))
    hum = sum(np.sin(2 * np.pi * f * seconds + rng.uniform(0, 6)) for f in (350.0, 450.0, 550.0))
    noise = band(hiss) + 0.2 * hiss.std() * hum
    return (noise / noise.std() * db(level_db)).astype(np.float32)


def hold_music(seconds: float, level_db: float = -23.0) -> np.ndarray:
    """A plain plucked tune with a soft bass, faded at both ends. (samples,)"""
    out = np.zeros(round(seconds * RATE), np.float32)
    length = round(NOTE * RATE)
    t = np.arange(3 * length) / RATE
    for start in range(0, len(out), length):
        step = TUNE[(start // length) % len(TUNE)]
        bar = (start // length) // 8 % 4
        tones = [] if step is None else [(440 * 2 ** (step / 12), 1.0, 3.0)]
        if (start // length) % 4 == 0:
            tones.append((440 * 2 ** ((0, -7, -5, 0)[bar] / 12) / 1.0, 0.5, 1.5))
        for hertz, strength, decay in tones:
            wave_ = sum(np.sin(2 * np.pi * hertz * k * t) / k**2 for k in (1, 2, 3))
            piece = (strength * wave_ * np.exp(-decay * t) * np.minimum(t / 0.01, 1))[: len(out) - start]
            out[start : start + len(piece)] += piece.astype(np.float32)
    fade = np.minimum(1, np.minimum(np.arange(len(out)), np.arange(len(out))[::-1]) / (0.3 * RATE))
    out *= fade
    return (out / np.sqrt((out**2).mean()) * db(level_db)).astype(np.float32)


# Recorder formats. WAV is written here, GSM through sox (FFmpeg decodes GSM but has no encoder of its own),
# the others through PyAV. name -> (file ending, PyAV container, codec, bits/s a channel)
CODED = {
    "mp3": (".mp3", "mp3", "libmp3lame", 16_000),
    "opus": (".opus", "ogg", "libopus", 11_000),
    "m4a": (".m4a", "mp4", "aac", 12_000),
    "alaw": (".wav", "wav", "pcm_alaw", None),
    "ulaw": (".wav", "wav", "pcm_mulaw", None),
    "pcm16": (".wav", "wav", "pcm_s16le", None),
    "amr": (".amr", "amr", "libopencore_amrnb", 12_200),
}
SOX = {"wav49": ".wav", "gsm": ".gsm"}


def encode(channels: np.ndarray, codec: str, target: Path) -> None:
    """Write (channels, samples) to `target` as a recorder would."""
    pcm = np.round(np.clip(channels, -1, 1) * 32767).astype(np.int16)
    if codec in SOX:
        _encode_sox(pcm, codec, target)
        return
    _, container_name, codec_name, rate = CODED[codec]
    layout = "mono" if len(pcm) == 1 else "stereo"
    with av.open(str(target), "w", format=container_name, options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec_name, rate=RATE)
        stream.layout = layout
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        if rate:
            stream.bit_rate = rate * len(pcm)
        if codec == "opus":
            stream.codec_context.options = {"application": "voip"}
        frame = av.AudioFrame.from_ndarray(pcm.T.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = RATE
        frame.pts = 0
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=RATE)
        fifo = av.AudioFifo()
        for piece in resampler.resample(frame) + resampler.resample(None):
            fifo.write(piece)
        size = stream.codec_context.frame_size or 1024
        while (piece := fifo.read(size, partial=True)) is not None:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def _encode_sox(pcm: np.ndarray, codec: str, target: Path) -> None:
    sox = shutil.which("sox")
    if sox is None:
        raise SystemExit("GSM is encoded with sox, which is not installed: apt-get install sox")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.wav"
        with wave.open(str(source), "wb") as file:
            file.setnchannels(len(pcm))
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(pcm.T.tobytes())
        coding = ["-e", "gsm-full-rate"] if codec == "wav49" else []
        subprocess.run([sox, "-D", str(source), *coding, str(target)], check=True, timeout=60)
