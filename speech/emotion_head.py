"""The emotion model that ships: a low-rank adapter on the sentence encoder, and a softmax head over its vectors.

The file (.npz) holds
    embedding            fingerprint of the SentenceEncoder it was trained on: it fits no other
    labels               the emotions, in the order of the head's rows
    weight, bias         the head: logits = weight · vector + bias, calibrated  # (5, dimension), (5,) float32
    NAME/up, NAME/down   a correction of one weight of the encoder: up · down  # (out, rank), (rank, in) float16
`bench/train_emotion.py` writes it; the model card beside it says what it scored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from speech.embed import Adapter, SentenceEncoder
from speech.emotion import LABELS
from speech.models import Weights
from speech.types import ModelError

if TYPE_CHECKING:
    from speech.devices import Device

UP, DOWN = "/up", "/down"

_SIGNS = re.compile(r"\W+")
_CJK = "\u3400-\u4dbf\u4e00-\u9fff"
_LOOSE_BLANKS = re.compile(rf"\s+(?=[{_CJK}])|(?<=[{_CJK}])\s+")


def plain(text: str) -> str:
    """The words alone: a recogniser's punctuation says little about a feeling, and chats have another one."""
    return _LOOSE_BLANKS.sub("", _SIGNS.sub(" ", text)).strip()


@dataclass(frozen=True, slots=True)
class Head:
    """What the file holds."""

    embedding: str
    labels: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray
    adapter: Adapter


def read_head(weights: Weights) -> Head:
    """Read and check a head file; ModelError names what is wrong with it."""
    try:
        with np.load(weights.path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        labels = tuple(str(label) for label in arrays["labels"])
        adapter = {
            name.removesuffix(UP): arrays[name].astype(np.float32)
            @ arrays[name.removesuffix(UP) + DOWN].astype(np.float32)
            for name in arrays
            if name.endswith(UP)
        }
        head = Head(str(arrays["embedding"]), labels, arrays["weight"], arrays["bias"], adapter)
    except (KeyError, ValueError, OSError, BadZipFile) as error:
        raise ModelError(
            f"{weights.path} is no emotion head: {error}", "Make one with bench/train_emotion.py."
        ) from error
    if set(labels) != set(LABELS) or head.weight.shape[0] != len(labels) or head.bias.shape != (len(labels),):
        raise ModelError(
            f"{weights.path}: a head for {', '.join(labels)}", f"Train one for {', '.join(LABELS)}."
        )
    return head


class HeadOverEmbedding:
    """Emotion of texts by the shipped head.

    Raises ModelError when the sentence encoder of the settings is not the one that the head was trained on.
    """

    def __init__(self, weights: Weights, sentence: Weights, device: Device) -> None:
        head = read_head(weights)
        encoder = SentenceEncoder(sentence, device, head.adapter)
        if encoder.fingerprint != head.embedding:
            raise ModelError(
                f"{weights.name} was trained on the embedding {head.embedding[:12]}, not on {sentence.name} ({encoder.fingerprint[:12]})",
                "Set speech.models.sentence to package:multilingual-e5-small, or name a text-classification model "
                "in speech.models.text_emotion, or train a head for this embedding with bench/train_emotion.py.",
            )
        self._encoder = encoder
        order = [head.labels.index(label) for label in LABELS]
        self._weight, self._bias = head.weight[order], head.bias[order]
        self.fingerprint = f"{weights.fingerprint} {head.embedding}"

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """One row a text over LABELS.  # (texts, 5) float32"""
        logits = self._encoder.encode([plain(text) for text in texts]) @ self._weight.T + self._bias
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)
