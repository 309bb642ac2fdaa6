"""pyannote.audio pipelines: the embedded weights, any other by folder or hub id, and embeddings in one pass a window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speech import quiet
from speech.activity import SHORTEST
from speech.audio import SAMPLE_RATE
from speech.models import Weights
from speech.types import ModelError

if TYPE_CHECKING:
    import torch

SEGMENTATION = "segmentation-3.0/pytorch_model.bin"
EMBEDDING = "campplus/campplus_cn_en_common.pt"
# The settings with which pyannote's own clustering is measured on these weights (bench/diarization.py).
STOCK_CLUSTERING = {"method": "centroid", "min_cluster_size": 12, "threshold": 0.7}


def embedded_pipeline(folder: Path, step: float = 0.1) -> Any:
    """pyannote's SpeakerDiarization over the embedded weights, with pyannote's own agglomerative clustering."""
    quiet.prepare()
    from pyannote.audio.core.plda import PLDA
    from pyannote.audio.pipelines import SpeakerDiarization

    for name in (SEGMENTATION, EMBEDDING):
        if not (folder / name).exists():
            raise ModelError(f"{folder / name} is missing", "huiting models check")
    pipeline = SpeakerDiarization(
        segmentation=str(folder / SEGMENTATION),
        segmentation_step=step,
        embedding=_embedding_model(folder / EMBEDDING),
        # Only its VBx clustering needs a PLDA; without an instance the constructor asks the hub for one.
        plda=PLDA.__new__(PLDA),
        clustering="AgglomerativeClustering",
        embedding_exclude_overlap=True,
        segmentation_batch_size=8,
        embedding_batch_size=24,
    )
    pipeline.instantiate({"segmentation": {"min_duration_off": 0.0}, "clustering": STOCK_CLUSTERING})
    return pipeline


def hub_pipeline(weights: Weights) -> Any:
    """Any pyannote speaker diarization pipeline from a folder (a hub's snapshot), e.g. community-1."""
    quiet.prepare()
    from pyannote.audio import Pipeline
    from pyannote.audio.pipelines import SpeakerDiarization

    config = weights.path / "config.yaml" if weights.path.is_dir() else weights.path
    if not config.exists():
        raise ModelError(
            f"{weights.path} holds no config.yaml: not a pyannote pipeline",
            "Name a pyannote pipeline's folder or hub id in speech.models.diarizer, "
            "e.g. pyannote/speaker-diarization-community-1, or package:segmentation-3.0+campplus.",
        )
    remedy = (
        f"The pipeline names parts that are not in {weights.path}. Pull it whole: huiting models pull {weights.name} "
        "(a gated model: accept its terms on its page and set HF_TOKEN first)."
    )
    try:
        pipeline = Pipeline.from_pretrained(str(weights.path if weights.path.is_dir() else config))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise ModelError(f"{weights.name} does not load: {error}", remedy) from error
    if pipeline is None:
        raise ModelError(f"{weights.name} does not load", remedy)
    if not isinstance(pipeline, SpeakerDiarization):
        raise ModelError(f"{weights.name} is a {type(pipeline).__name__}, not a SpeakerDiarization", remedy)
    return pipeline


def one_pass(pipeline: Any) -> None:
    """Let a pipeline compute its embeddings with one pass a window, inactive local speakers skipped.

    pyannote 4.0 sends a window through the whole network once for each local speaker, with that speaker's frames as
    weights of the pooling. The pooling takes (batch, speakers, frames) weights just as well. Embeddings of speakers
    that are active are the same; those of inactive ones, which no clustering uses, are filled with ones.
    Pipelines whose embedding model takes no such weights stay as they are.
    """
    from pyannote.audio.models.embedding.wespeaker import BaseWeSpeakerResNet

    model = getattr(pipeline._embedding, "model_", None)
    if isinstance(model, BaseWeSpeakerResNet) or getattr(model, "takes_speaker_weights", False):
        pipeline.get_embeddings = _OnePass(pipeline)


class _OnePass:
    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def __call__(self, file: Mapping[str, Any], binary_segmentations: Any, exclude_overlap: bool = False, hook: Any = None) -> np.ndarray:
        """# (windows, local speakers, dimensions)"""
        import torch

        pipeline, embedding = self._pipeline, self._pipeline._embedding
        active = np.nan_to_num(binary_segmentations.data).astype(np.float32)  # (windows, frames, speakers)
        windows, frames, speakers = active.shape
        used = _masks(active, embedding, frames, binary_segmentations.sliding_window.duration) if exclude_overlap else active
        result = np.ones((windows, speakers, embedding.dimension), dtype=np.float32)
        busy = np.flatnonzero(used.any(axis=(1, 2)))
        size = max(1, pipeline.embedding_batch_size // speakers)
        batches = [busy[start : start + size] for start in range(0, len(busy), size)]
        for number, batch in enumerate(batches, 1):
            chunks = [binary_segmentations.sliding_window[int(index)] for index in batch]
            waveforms = torch.stack([pipeline._audio.crop(file, chunk, mode="pad")[0] for chunk in chunks])
            weights = torch.from_numpy(used[batch].transpose(0, 2, 1).copy())  # (batch, speakers, frames)
            vectors = embedding(waveforms, masks=weights)  # (batch, speakers, dimensions)
            speaking: np.ndarray = used[batch].max(axis=1) > 0  # (batch, speakers)
            for row, index in enumerate(batch):
                result[index, speaking[row]] = vectors[row, speaking[row]]
            if hook is not None:
                hook("embeddings", vectors, total=len(batches), completed=number)
        return result


def _masks(active: np.ndarray, embedding: Any, frames: int, duration: float) -> np.ndarray:
    """Each local speaker's frames without overlaps, or with them where too few are left. As pyannote 4.0 does it."""
    fewest = math.ceil(frames * embedding.min_num_samples / (duration * embedding.sample_rate))
    alone = active * (active.sum(axis=2, keepdims=True) < 2)
    return np.where(alone.sum(axis=1, keepdims=True) > fewest, alone, active)


def _embedding_model(path: Path) -> Any:
    """CAM++ as a pyannote embedding model: the speaker's frames are cut out and embedded, others are not heard.

    The network's context gates look at the whole input, so a mask at the pooling alone would let the other speaker
    through. A window's filter bank is computed once, whatever the number of speakers.
    """
    import torch
    from pyannote.audio import Model

    from speech.campplus import DIMENSION, FRAME, embed_features, filter_bank, load

    class CamPlusPlusEmbedding(Model):
        takes_speaker_weights = True

        def __init__(self, sample_rate: int = SAMPLE_RATE, num_channels: int = 1, task: Any = None) -> None:
            super().__init__(sample_rate=sample_rate, num_channels=num_channels, task=task)
            self.network = load(path)

        @property
        def dimension(self) -> int:
            return DIMENSION

        def build(self) -> None:
            """Nothing to build: there is no training head."""

        def forward(self, waveforms: torch.Tensor, weights: torch.Tensor | None = None, **_: Any) -> torch.Tensor:
            """waveforms # (batch, 1, samples), weights # (batch, frames) or (batch, speakers, frames)"""
            if weights is None:
                weights = torch.ones(len(waveforms), 1, device=waveforms.device)
            each = weights if weights.dim() == 3 else weights[:, None]
            rows = [self._window(waveform, mine) for waveform, mine in zip(waveforms, each, strict=True)]
            vectors = torch.stack(rows)  # (batch, speakers, dimensions)
            return vectors if weights.dim() == 3 else vectors[:, 0]

        def _window(self, waveform: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            mel = filter_bank(waveform)
            masks = torch.nn.functional.interpolate(weights[None].float(), size=len(mel), mode="nearest")[0] > 0.5
            missing = torch.full((DIMENSION,), float("nan"), device=waveform.device)
            return torch.stack([embed_features(self.network, mel[m]) if m.sum() * FRAME >= SHORTEST else missing for m in masks])

    return CamPlusPlusEmbedding().eval()
