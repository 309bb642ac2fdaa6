"""The models behind emotion: the head over sentence embeddings that ships, and any transformers classifier by name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speech import quiet
from speech.audio import SAMPLE_RATE
from speech.embed import window
from speech.emotion import LABELS, JudgesText, JudgesVoice
from speech.emotion_head import HeadOverEmbedding
from speech.models import Weights, locate
from speech.types import ModelError
from speech.weights_table import data_file

if TYPE_CHECKING:
    from speech.devices import Device
    from speech.options import SpeechOptions

BATCH = 16
SPECIAL_TOKENS = 2  # [CLS] and [SEP] or their like


def load_text(options: SpeechOptions, device: Device) -> JudgesText:
    """The text model of the settings: a head file (.npz) over the sentence embedding, or a transformers classifier."""
    weights = locate(options.models.text_emotion, options.models_folder, offline=options.offline)
    if weights.path.suffix == ".npz":
        sentence = locate(options.models.sentence, options.models_folder, offline=options.offline)
        return HeadOverEmbedding(weights, sentence, device)
    return TextClassifier(weights, device, parse_labels(options.emotion_labels))


def load_voice(options: SpeechOptions, device: Device) -> JudgesVoice | None:
    """The voice model of the settings, if there is one."""
    if not options.models.voice_emotion:
        return None
    weights = locate(options.models.voice_emotion, options.models_folder, offline=options.offline)
    return VoiceClassifier(weights, device, parse_labels(options.emotion_labels))


class _Classifier:
    """A transformers pipeline whose labels are ours. Loaded at once: a label nobody knows shows at start, not at night."""

    task = ""

    def __init__(self, weights: Weights, device: Device, extra: Mapping[str, str] | None = None) -> None:
        self._pipeline = load_pipeline(self.task, weights, device)
        theirs = self._pipeline.model.config.id2label
        self._column = columns(theirs.values(), extra or {}, weights.name)
        self.fingerprint = " ".join(
            [weights.fingerprint, *(f"{a}={b}" for a, b in sorted(self._column.items()))]
        )

    def _rows(self, answers: Iterable[list[dict[str, Any]]]) -> np.ndarray:
        """Scores of their labels, summed into ours.  # (inputs, 5)"""
        rows = []
        for answer in answers:
            row = np.zeros(len(LABELS))
            for guess in answer:
                row[LABELS.index(self._column[guess["label"]])] += guess["score"]
            rows.append(row / row.sum())
        return np.array(rows).reshape(-1, len(LABELS))


class TextClassifier(_Classifier):
    """Any transformers text-classification model."""

    task = "text-classification"

    def __init__(self, weights: Weights, device: Device, extra: Mapping[str, str] | None = None) -> None:
        super().__init__(weights, device, extra)
        self._window = window(self._pipeline.tokenizer, self._pipeline.model.config.to_dict())
        self._pipeline.tokenizer.model_max_length = self._window

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        pieces = [(i, piece) for i, text in enumerate(texts) for piece in self._pieces(text)]
        answers = self._pipeline(
            [p for _, p in pieces], batch_size=BATCH, top_k=None, function_to_apply="softmax", truncation=True
        )
        judged = np.zeros((len(texts), len(LABELS)))
        for (i, piece), row in zip(pieces, self._rows(answers), strict=True):
            judged[i] += row * max(1, len(piece))
        return judged / judged.sum(axis=1, keepdims=True)

    def _pieces(self, text: str) -> list[str]:
        """A long text in pieces that the model takes whole: a Chinese character is at most one token as a rule."""
        size = self._window - SPECIAL_TOKENS
        return [text[i : i + size] for i in range(0, len(text), size)] or [""]


class VoiceClassifier(_Classifier):
    """Any transformers audio-classification model."""

    task = "audio-classification"

    def probabilities(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        inputs = [
            {"raw": np.ascontiguousarray(clip, np.float32), "sampling_rate": SAMPLE_RATE} for clip in clips
        ]
        answers = self._pipeline(inputs, batch_size=1, top_k=len(self._column), function_to_apply="softmax")
        return self._rows(answers)


def load_pipeline(task: str, weights: Weights, device: Device) -> Any:
    """A transformers pipeline over a folder; ModelError says what the folder lacks."""
    quiet.prepare()
    import transformers

    from speech.devices import torch_device

    transformers.logging.set_verbosity_error()
    build: Any = transformers.pipeline  # its overloads want the task as a literal
    try:
        pipeline = build(task, model=str(weights.path), device=torch_device(device))
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError) as error:
        raise ModelError(
            f"{weights.name}: no {task} model in {weights.path}: {error}",
            f"Name a transformers model made for {task}, complete with its tokenizer or feature extractor.",
        ) from error
    architectures = getattr(pipeline.model.config, "architectures", None) or []
    if not any("Classif" in name for name in architectures):
        raise ModelError(
            f"{weights.name}: {', '.join(architectures) or 'this model'} has no trained classifier",
            f"Name a model that was fine-tuned for {task}; an encoder alone would answer at random.",
        )
    return pipeline


def parse_labels(pairs: Sequence[str]) -> dict[str, str]:
    """`["LABEL_0=angry", …]` of the settings as a map; ModelError for a pair that is none or names no emotion of ours."""
    found: dict[str, str] = {}
    for pair in pairs:
        theirs, sign, ours = (part.strip() for part in pair.partition("="))
        if not (theirs and sign) or ours not in LABELS:
            raise ModelError(
                f"speech.emotion_labels: {pair!r}",
                f"Write THEIRS=OURS, where OURS is one of {', '.join(LABELS)}.",
            )
        found[theirs.lower()] = ours
    return found


def columns(theirs: Iterable[str], extra: Mapping[str, str], model: str) -> dict[str, str]:
    """Each label of a model with ours: by `extra` first, then by data/emotion_labels.toml; ModelError for unknown ones."""
    known = {name: ours for ours, names in _known_labels().items() for name in names} | dict(extra)
    labels = list(theirs)
    unknown = [label for label in labels if label.lower() not in known]
    if unknown:
        raise ModelError(
            f"{model}: labels {', '.join(map(repr, unknown))} are unknown",
            f'Map them in the settings: speech.emotion_labels = ["{unknown[0]}=angry", …] (ours: {", ".join(LABELS)}).',
        )
    return {label: known[label.lower()] for label in labels}


def _known_labels() -> dict[str, list[str]]:
    return tomllib.loads(Path(data_file("emotion_labels.toml")).read_text(encoding="utf-8"))
