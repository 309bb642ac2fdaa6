"""Recordings: probe, decode, and what their sound says about them before anybody transcribes it.

Everything downstream works on 16 kHz float32; telephone recordings (8 kHz A-law, GSM, …) are resampled once here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speech.types import AudioError, Sign, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE_RATE = 16_000  # Hz: what Silero VAD, Whisper and the speaker models are trained on
HASH_BLOCK = 1 << 20  # bytes

# A header may promise a little more than the last packet holds (encoder padding, rounding).
TRUNCATED_SHARE = 0.95  # decoded ÷ promised seconds below which a file counts as cut off
TRUNCATED_SECONDS = 1.0  # … and at least this much is missing

# Natural speech has ever fewer samples towards its peak; cut tops pile up there. Resampling rounds them a little, so
# two wide bands below the top are compared. A full-scale sine has a ratio of 1.7, speech under 0.5.
CLIP_PEAK = 0.95  # full scale is 1.0; A-law's top code is 0.984
CLIP_TOP, CLIP_BELOW = 0.9, 0.75  # of the peak: samples above the first, against those between the two
CLIP_RATIO = 2.5
CLIPPED_SHARE = 0.003  # of a channel's active samples; above it recognition suffers audibly

DUAL_MONO_RESIDUAL_DB = -20.0  # energy left after subtracting the scaled other channel
BLEED_DB = 12.0  # how much fainter a copy on the other channel must be
BLEED_CORRELATION = 0.5  # of the two channels over the region, at the best small lag
BLEED_LAG = 0.03  # seconds either way searched for that lag

CONTAINER_LIES = frozenset({"mp3", "amr", "gsm", "aac"})  # containers whose duration is often estimated from the bit rate


@dataclass(frozen=True, slots=True)
class Audio:
    """One decoded recording."""

    path: Path
    samples: np.ndarray  # (channels, samples) float32, 16 kHz, ±1.0
    source_rate: int  # Hz, as recorded
    codec: str
    container: str
    sha256: str  # of the file's bytes
    damaged_packets: int
    promised: float | None  # seconds the container claims, None where it claims nothing

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    @property
    def duration(self) -> float:
        return self.samples.shape[1] / SAMPLE_RATE


def content_hash(path: Path) -> str:
    """sha256 of a file's bytes, hex.

    Raises OSError when the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def decode(path: Path, *, max_seconds: float = float("inf")) -> Audio:
    """Decode any recording that FFmpeg reads: A-law, μ-law, PCM, MP3, Opus, AAC/M4A, GSM, AMR, FLAC …

    One or two channels are kept; more are mixed to one. Damaged packets are skipped and counted, since half a call
    can still be worth hearing; the caller decides what to do with the count.

    Raises AudioError with the sign `empty`, `not_audio`, `unreadable`, `truncated` or `too_long`.
    """
    import av
    import av.error
    from av.audio.resampler import AudioResampler

    try:
        size = path.stat().st_size
    except OSError as error:
        raise AudioError(Sign.UNREADABLE, f"{path.name}: {error.strerror}", system=error.strerror or "") from error
    if size == 0:
        raise AudioError(Sign.EMPTY, f"{path.name}: the file has no content (0 bytes)", size=0)
    damaged, rate, codec, name, promised = 0, 0, "", "", None
    blocks: list[np.ndarray] = []
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise AudioError(Sign.NOT_AUDIO, f"{path.name}: no audio stream in this file", streams=0)
            stream = container.streams.audio[0]
            promised = _promised_seconds(container, stream)
            if promised is not None and promised > max_seconds:
                told = f"{path.name}: {promised:.0f} s, the limit is {max_seconds:.0f} s"
                raise AudioError(Sign.TOO_LONG, told, seconds=round(promised), limit=round(max_seconds))
            channels = stream.codec_context.channels
            layout = "stereo" if channels == 2 else "mono"
            resampler = AudioResampler(format="fltp", layout=layout, rate=SAMPLE_RATE)
            rate, codec = stream.codec_context.sample_rate, stream.codec_context.name
            name = container.format.name
            heard = 0
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    damaged += 1
                    continue
                for frame in frames:
                    for out in resampler.resample(frame):
                        blocks.append(out.to_ndarray())
                        heard += blocks[-1].shape[1]
                if heard > max_seconds * SAMPLE_RATE:
                    told = f"{path.name}: longer than the limit of {max_seconds:.0f} s"
                    raise AudioError(Sign.TOO_LONG, told, limit=round(max_seconds))
            blocks.extend(out.to_ndarray() for out in resampler.resample(None))
    except av.error.FFmpegError as error:
        if blocks:  # the container broke off after good sound: judged below, as a truncated file
            damaged += 1
        else:
            sign = Sign.NOT_AUDIO if isinstance(error, av.error.InvalidDataError) else Sign.UNREADABLE
            told = f"{path.name}: FFmpeg cannot read it ({error.strerror})"
            raise AudioError(sign, told, ffmpeg=error.strerror or "") from error
    if not blocks:
        told = f"{path.name}: no sound could be decoded ({damaged} damaged packets)"
        raise AudioError(Sign.UNREADABLE, told, damaged=damaged)
    samples = np.concatenate(blocks, axis=1).astype(np.float32, copy=False)  # (channels, samples)
    audio = Audio(path, samples, rate, codec, name, content_hash(path), damaged, promised)
    if promised is not None and name not in CONTAINER_LIES:
        missing = promised - audio.duration
        if missing > TRUNCATED_SECONDS and audio.duration < TRUNCATED_SHARE * promised:
            told = f"{path.name}: the header promises {promised:.1f} s, {audio.duration:.1f} s are there"
            raise AudioError(
                Sign.TRUNCATED, told, promised=round(promised, 1), there=round(audio.duration, 1)
            )
    return audio


def _promised_seconds(container, stream) -> float | None:
    """What the container says the recording lasts, in seconds.

    FFmpeg clips a WAV's duration to the file's size, so there the data chunk's own header is asked.
    """
    if container.format.name == "wav":
        claimed = _wav_data_seconds(Path(container.name))
        if claimed is not None:
            return claimed
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def _wav_data_seconds(path: Path) -> float | None:
    """Seconds a RIFF/WAVE header promises; None for streams written without a length (0 or 0xFFFFFFFF)."""
    byte_rate = 0
    with path.open("rb") as file:
        if file.read(4) not in (b"RIFF", b"RIFX"):
            return None
        file.seek(12)
        while len(header := file.read(8)) == 8:
            size = int.from_bytes(header[4:], "little")
            if header[:4] == b"fmt ":
                byte_rate = int.from_bytes(file.read(12)[8:12], "little")
                file.seek(size - 12 + size % 2, 1)
            elif header[:4] == b"data":
                unknown = size in (0, 0xFFFFFFFF) or size >= 0x7FFFF000
                return None if unknown or not byte_rate else size / byte_rate
            else:
                file.seek(size + size % 2, 1)
    return None


def level_db(samples: np.ndarray) -> float:
    """RMS level in dBFS of any array of samples; −120 for nothing."""
    if not samples.size:
        return -120.0
    return float(20 * np.log10(max(1e-6, float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))))


def is_clipped(channel: np.ndarray) -> bool:
    """Whether the waveform's tops are cut flat often enough to hurt: `channel` is (samples,) float32."""
    magnitude = np.abs(channel)
    peak = min(1.0, float(magnitude.max(initial=0.0)))
    if peak < CLIP_PEAK:
        return False
    top = int(np.count_nonzero(magnitude >= CLIP_TOP * peak))
    below = int(np.count_nonzero(magnitude >= CLIP_BELOW * peak)) - top
    active = int(np.count_nonzero(magnitude > 0.01 * peak)) or 1
    return top > CLIP_RATIO * below and top / active > CLIPPED_SHARE


def is_dual_mono(samples: np.ndarray) -> bool:
    """Whether two channels carry one signal, possibly at two gains: `samples` is (2, samples) float32."""
    left, right = (channel.astype(np.float64) - channel.mean() for channel in samples)
    energy_left, energy_right = float(left @ left), float(right @ right)
    if min(energy_left, energy_right) < 1e-8 * left.size:  # a silent channel is dead, not a copy
        return False
    explained = float(left @ right) ** 2 / (energy_left * energy_right)
    return 10 * np.log10(max(1e-12, 1 - explained)) < DUAL_MONO_RESIDUAL_DB


def without_bleed(
    samples: np.ndarray, regions: Sequence[Sequence[Span]]
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Speech regions of two channels, less those that are the other channel heard faintly.

    A region is bleed when it is at least `BLEED_DB` fainter than the other channel at the same time and its waveform
    follows that of the other channel. `samples` is (2, samples); returns the kept regions of both channels.
    """
    kept = tuple(
        tuple(span for span in own if not _is_bleed(samples[index], samples[1 - index], span))
        for index, own in enumerate(regions)
    )
    return kept[0], kept[1]


def _is_bleed(own: np.ndarray, other: np.ndarray, span: Span) -> bool:
    first, last = int(span.start * SAMPLE_RATE), int(span.end * SAMPLE_RATE)
    mine, theirs = own[first:last], other[first:last]
    if level_db(theirs) - level_db(mine) < BLEED_DB:
        return False
    size = 1 << (2 * len(mine) - 1).bit_length()
    cross = np.fft.irfft(np.fft.rfft(mine, size) * np.conj(np.fft.rfft(theirs, size)), size)
    lag = int(BLEED_LAG * SAMPLE_RATE)
    best = float(np.abs(np.concatenate((cross[: lag + 1], cross[-lag:]))).max())
    norm = float(np.sqrt(np.dot(mine, mine) * np.dot(theirs, theirs))) or 1.0
    return best / norm > BLEED_CORRELATION
