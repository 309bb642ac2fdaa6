"""Who speaks when in a mono recording: pyannote.audio's pipelines, and our own grouping over the embedded weights.

Stereo calls never come here: their channels are their speakers. Two ways in:

- The embedded weights (pyannote segmentation-3.0, 3D-Speaker CAM++): pyannote's segmentation tells where speech,
  pauses, overlaps and changes of speaker are; each piece between them is embedded once; speech/voices.py says whose
  it is. The local speakers of the segmentation are not believed: on a telephone line it often hears two women as one,
  where the embedding does not.
- Any other pyannote pipeline, by hub id or folder: run as its authors made it, its speaker embeddings computed with
  one pass a window instead of one a speaker (`pipelines.one_pass`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from speech import quiet, voices
from speech.activity import FRAME, PAUSE, SHORTEST, Activity
from speech.audio import SAMPLE_RATE
from speech.models import Weights, locate
from speech.options import SpeechOptions
from speech.pipelines import EMBEDDING, embedded_pipeline, hub_pipeline, one_pass
from speech.types import Span
from speech.voices import Piece

if TYPE_CHECKING:
    from speech.campplus import Features
    from speech.devices import Device

# pyannote's window moves by a tenth of its 10 s; a quarter gave the same DER on our clips in 0.4 of the time.
STEP = 0.25
SHORTEST_PART = 0.5  # s that a part of a mixed piece must have
SCAN_WINDOW, SCAN_HOP = 1.2, 0.4  # s
# Small networks on short pieces gain little from threads, and lose much to waiting where the recogniser has the
# cores: on two busy cores one thread was 25 times as fast as two.
MOST_THREADS = 4
REVISION = 1


@dataclass(frozen=True, slots=True)
class Diarization:
    """`turns` may overlap, `exclusive` do not; both in order of their start. Speakers are S1, S2 … as they appear."""

    turns: tuple[tuple[Span, str], ...]
    exclusive: tuple[tuple[Span, str], ...]
    embeddings: Mapping[str, np.ndarray]  # unit vectors by speaker
    fingerprint: str


def load_diarizer(options: SpeechOptions, device: Device) -> Diarizer:
    """The diarizer that the settings name. Raises ModelError with what to do when its weights are missing."""
    weights = locate(options.models.diarizer, options.models_folder, offline=options.offline)
    quiet.prepare(offline=options.offline)
    import torch

    from speech.devices import cores, torch_device

    torch.set_num_threads(options.cpu_threads or max(1, min(MOST_THREADS, cores() // 2)))
    return Diarizer(weights, torch_device(device))


class Diarizer:
    """One diarization model on one device, loaded once."""

    def __init__(self, weights: Weights, device: str = "cpu") -> None:
        quiet.prepare()
        import torch

        self.fingerprint = f"{weights.fingerprint} revision {REVISION}"
        self._device = torch.device(device)
        self._embedded = (weights.path / EMBEDDING).exists()
        self._pipeline: Any = embedded_pipeline(weights.path, STEP) if self._embedded else hub_pipeline(weights)
        self._pipeline.to(self._device)
        one_pass(self._pipeline)

    def diarize(self, samples: np.ndarray, rate: int = SAMPLE_RATE) -> Diarization:
        """`samples` # (samples,) float32 mono, 16 kHz. No speech gives no turns."""
        _require_rate(rate)
        if len(samples) < SAMPLE_RATE // 2:
            return Diarization((), (), {}, self.fingerprint)
        if self._embedded:
            return self._by_voice(samples)
        return self._by_pipeline(samples)

    def voices_on_channel(self, samples: np.ndarray, regions: Sequence[Span], rate: int = SAMPLE_RATE) -> list[tuple[Span, int]]:
        """Which of a channel's voices speaks in each of its speech regions: 0 for the main one, 1 for the next.

        For a channel that should hold one person: an announcement or a second agent stands out as another voice.
        Conservative: short regions go with their neighbours. Needs the embedded weights; else everything is 0.
        """
        _require_rate(rate)
        if not regions or not self._embedded:
            return [(region, 0) for region in regions]
        from speech.campplus import Features

        pieces = [Piece(region.start, region.end) for region in regions]
        features = Features(samples)
        embeddings, seconds = self._embed(features, pieces, None)
        centroids = voices.found_voices(embeddings, seconds)
        if not len(centroids):
            return [(region, 0) for region in regions]
        labels = voices.whose(pieces, embeddings, seconds, centroids)
        return list(zip(regions, labels, strict=True))

    def _by_pipeline(self, samples: np.ndarray) -> Diarization:
        import torch

        file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE, "uri": "call"}
        output = self._pipeline.apply(file)
        names: dict[str, str] = {}
        turns = _named(output.speaker_diarization, names)
        exclusive = _named(output.exclusive_speaker_diarization, names)
        found: dict[str, np.ndarray] = {}
        if output.speaker_embeddings is not None:
            for label, vector in zip(output.speaker_diarization.labels(), output.speaker_embeddings, strict=True):
                found[names[label]] = vector / max(float(np.linalg.norm(vector)), 1e-9)
        return Diarization(turns, exclusive, found, self.fingerprint)

    def _by_voice(self, samples: np.ndarray) -> Diarization:
        from speech.campplus import Features

        activity = self._listen(samples)
        pieces = activity.pieces()
        if not pieces:
            return Diarization((), (), {}, self.fingerprint)
        features = Features(samples)
        embeddings, seconds = self._embed(features, pieces, activity)
        centroids = voices.found_voices(embeddings, seconds)
        if len(centroids) > 1:
            pieces, embeddings, seconds = self._part(features, activity, pieces, embeddings, seconds, centroids)
            centroids = voices.found_voices(embeddings, seconds)
        labels = voices.whose(pieces, embeddings, seconds, centroids)
        order = list(dict.fromkeys(labels))
        speakers = [f"S{order.index(label) + 1}" for label in labels]
        exclusive = _joined([(Span(p.start, p.end), speaker) for p, speaker in zip(pieces, speakers, strict=True)])
        turns = _joined([*exclusive, *_second_voices(activity.overlaps(), exclusive)])
        found = {f"S{position + 1}": centroids[label] for position, label in enumerate(order) if label < len(centroids)}
        return Diarization(turns, exclusive, found, self.fingerprint)

    def _listen(self, samples: np.ndarray) -> Activity:
        import torch

        pipeline = self._pipeline
        file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE, "uri": "call"}
        windows = pipeline.get_segmentations(file)  # (windows, frames, local speakers), 0 or 1
        frames = pipeline._segmentation.model.receptive_field
        count = pipeline.speaker_count(windows, frames, warm_up=(0.0, 0.0))
        starts = [windows.sliding_window[index].start for index in range(len(windows.data))]
        return Activity(
            np.nan_to_num(windows.data), np.array(starts), count.data[:, 0], count.sliding_window.start, frames.step, frames.duration
        )

    def _embed(self, features: Features, pieces: Sequence[Piece], activity: Activity | None) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings # (pieces, 192), NaN where too short, and the seconds of speech behind each # (pieces,)"""
        import torch

        from speech.campplus import embed_features

        network = self._pipeline._embedding.model_.network
        vectors = np.full((len(pieces), self._pipeline._embedding.dimension), np.nan, dtype=np.float32)
        seconds = np.zeros(len(pieces))
        for index, piece in enumerate(pieces):
            mel = features.between(piece.start, piece.end)  # (frames, 80)
            if activity is not None:
                alone = activity.alone(piece.start, len(mel))
                if alone.sum() * FRAME >= SHORTEST:
                    mel = mel[torch.from_numpy(alone)]
            seconds[index] = len(mel) * FRAME
            if seconds[index] >= SHORTEST:
                vectors[index] = embed_features(network, mel.to(self._device)).cpu().numpy()
        return vectors, seconds

    def _part(
        self,
        features: Features,
        activity: Activity,
        pieces: list[Piece],
        embeddings: np.ndarray,
        seconds: np.ndarray,
        centroids: np.ndarray,
    ) -> tuple[list[Piece], np.ndarray, np.ndarray]:
        """Cut the pieces that seem to hold two voices where sliding windows over them change sides."""
        labels = voices.whose(pieces, embeddings, seconds, centroids)
        suspects = set(voices.mixed(embeddings, seconds, labels, centroids).tolist())
        parts: list[Piece] = []
        kept: dict[int, int] = {}  # part → the piece that it is, whole
        for index, piece in enumerate(pieces):
            cuts = self._changes(features, activity, piece, centroids) if index in suspects else []
            edges = [piece.start, *cuts, piece.end]
            if not cuts:
                kept[len(parts)] = index
            parts.append(Piece(edges[0], edges[1], piece.change))
            parts.extend(Piece(start, end, 1.0) for start, end in pairwise(edges[1:]))
        vectors = np.full((len(parts), embeddings.shape[1]), np.nan, dtype=embeddings.dtype)
        spoken = np.zeros(len(parts))
        new = [number for number in range(len(parts)) if number not in kept]
        vectors[new], spoken[new] = self._embed(features, [parts[number] for number in new], activity)
        for number, index in kept.items():
            vectors[number], spoken[number] = embeddings[index], seconds[index]
        return parts, vectors, spoken

    def _changes(self, features: Features, activity: Activity, piece: Piece, centroids: np.ndarray) -> list[float]:
        count = max(1, int((piece.end - piece.start - SCAN_WINDOW) / SCAN_HOP) + 1)
        windows = [Piece(piece.start + i * SCAN_HOP, piece.start + i * SCAN_HOP + SCAN_WINDOW) for i in range(count)]
        embeddings, seconds = self._embed(features, windows, activity)
        labels = voices.whose(windows, embeddings, seconds, centroids)
        cuts: list[float] = []
        for index in range(1, count):
            if labels[index] != labels[index - 1]:
                at = (windows[index - 1].start + windows[index].end) / 2
                last = cuts[-1] if cuts else piece.start
                if at - last >= SHORTEST_PART and piece.end - at >= SHORTEST_PART:
                    cuts.append(activity.quietest(at))
        return cuts


def _joined(turns: Sequence[tuple[Span, str]], gap: float = PAUSE) -> tuple[tuple[Span, str], ...]:
    """In order of their start, a speaker's touching stretches as one."""
    result: list[tuple[Span, str]] = []
    latest: dict[str, int] = {}
    for span, speaker in sorted(turns, key=lambda turn: turn[0]):
        at = latest.get(speaker)
        # Touching is enough with nobody in between; across another's turn only an overlap joins.
        reach = gap if at == len(result) - 1 else 0.0
        if at is not None and span.start <= result[at][0].end + reach:
            result[at] = (Span(result[at][0].start, max(result[at][0].end, span.end)), speaker)
        else:
            latest[speaker] = len(result)
            result.append((span, speaker))
    return tuple(result)


def _second_voices(overlaps: Sequence[Span], exclusive: Sequence[tuple[Span, str]]) -> list[tuple[Span, str]]:
    """Who else speaks in an overlap: the nearest other speaker, before or after."""
    found: list[tuple[Span, str]] = []
    for overlap in overlaps:
        inside = [(span & overlap, speaker) for span, speaker in exclusive]
        for shared, speaker in inside:
            if shared is None:
                continue
            near = [
                (max(0.0, span.start - shared.end, shared.start - span.end), other)
                for span, other in exclusive
                if other != speaker
            ]
            if near:
                found.append((shared, min(near)[1]))
    return found


def _named(annotation: Any, names: dict[str, str]) -> tuple[tuple[Span, str], ...]:
    turns = []
    for segment, _, label in annotation.itertracks(yield_label=True):
        names.setdefault(label, f"S{len(names) + 1}")
        turns.append((Span(float(segment.start), float(segment.end)), names[label]))
    return tuple(sorted(turns))


def _require_rate(rate: int) -> None:
    if rate != SAMPLE_RATE:
        raise ValueError(f"diarization works on {SAMPLE_RATE} Hz, got {rate}")
