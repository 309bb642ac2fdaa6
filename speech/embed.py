"""Sentence embeddings from any transformers encoder in a folder.

Pooling and prompt are read from the files that sentence-transformers models carry (`1_Pooling/config.json`,
`config_sentence_transformers.json`); without them: the mean over tokens, and `query: ` for models of the e5 family, which
were trained with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speech import quiet
from speech.models import Weights
from speech.types import ModelError

if TYPE_CHECKING:
    from speech.devices import Device

TOKENS_PER_BATCH = {
    "cpu": 2048,
    "cuda": 32768,
}  # padded; more gains nothing (measured on two cores, see docs/models.md)
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
E5_PROMPT = "query: "
UNSET = 10**6  # tokenizers without a limit say 10^30
OFFSET = 2  # positions that RoBERTa's kin leave unused


Adapter = Mapping[str, np.ndarray]
"""Low-rank corrections by the name of the weight they are added to (e.g. encoder.layer.0.output.dense): delta, float."""


class SentenceEncoder:
    """Texts to unit vectors. The model is loaded by the first `encode`; safe for use from one thread at a time.

    `fingerprint` stands for the weights, the pooling and the prompt: what was trained on one does not fit another. An
    adapter (speech/emotion_head.py) changes the vectors, not the fingerprint, which names what it was trained on.
    Raises ModelError when the folder holds no encoder.
    """

    def __init__(self, weights: Weights, device: Device, adapter: Adapter | None = None, base: SentenceEncoder | None = None) -> None:
        """base: an encoder of the same weights whose tokenizer serves this one, too."""
        self.weights = weights
        self._device, self._base = device, base
        self._adapter = adapter or {}
        self._config = _json(weights.path / "config.json")
        if not self._config:
            raise ModelError(
                f"{weights.name}: no config.json in {weights.path}",
                "Name a transformers encoder: a hub id or its folder.",
            )
        self._pooling = pooling_of(weights.path)
        self.prompt = prompt_of(weights)
        recipe = f"{weights.fingerprint} {self._pooling} {self.prompt}"
        self.fingerprint = hashlib.sha256(recipe.encode()).hexdigest()

    @property
    def dimension(self) -> int:
        return int(self._config["hidden_size"])

    def adapted(self, adapter: Adapter) -> SentenceEncoder:
        """The same model with corrections added to its weights: layers of its own in memory, all else shared."""
        return SentenceEncoder(self.weights, self._device, adapter, base=self._base or self)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """One row a text.  # (texts, dimension) float32, L2-normalised

        A text longer than the model's window is the mean of its windows, weighted by their tokens.
        """
        out = np.zeros((len(texts), self.dimension), np.float32)
        if not texts:
            return out
        windows, owner = self._windows(texts)
        for batch in self._batches([len(w) for w in windows]):
            vectors = self._pool([windows[i] for i in batch])
            for i, vector in zip(batch, vectors, strict=True):
                out[owner[i]] += vector * len(windows[i])
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def _windows(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids in windows the model can take, and the text each window belongs to."""
        tokenizer = self.tokenizer
        longest = window(tokenizer, self._config)
        encoded = tokenizer(
            [self.prompt + text for text in texts],
            truncation=True,
            max_length=longest,
            return_overflowing_tokens=True,
        )
        return encoded["input_ids"], encoded["overflow_to_sample_mapping"]

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Indices in batches: longest first, filled until longest × count reaches the budget."""
        budget = TOKENS_PER_BATCH["cuda" if self._device.is_cuda else "cpu"]
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        at = 0
        while at < len(order):
            count = max(1, budget // lengths[order[at]])
            yield order[at : at + count]
            at += count

    def _pool(self, windows: list[list[int]]) -> np.ndarray:
        """One vector a window.  # (windows, dimension) float32"""
        import torch

        model = self.model
        padded = self.tokenizer.pad({"input_ids": windows}, return_tensors="pt")
        ids, mask = padded["input_ids"].to(model.device), padded["attention_mask"].to(model.device)
        with torch.inference_mode():
            hidden = model(
                input_ids=ids, attention_mask=mask
            ).last_hidden_state.float()  # (windows, tokens, dimension)
        if self._pooling == "cls":
            pooled = hidden[:, 0]
        else:
            kept = mask[..., None]
            pooled = (hidden * kept).sum(1) / kept.sum(1)
        return pooled.cpu().numpy()

    @cached_property
    def tokenizer(self) -> Any:
        """The transformers tokenizer behind it: with a vocabulary of many languages, half of what such a model takes."""
        if self._base is not None:
            return self._base.tokenizer
        with self._loading() as transformers:
            return transformers.AutoTokenizer.from_pretrained(self.weights.path, local_files_only=True)

    @cached_property
    def model(self) -> Any:
        """The transformers model behind it."""
        from speech.devices import torch_device

        place = torch_device(self._device)
        with self._loading() as transformers:
            model, told = transformers.AutoModel.from_pretrained(
                self.weights.path, local_files_only=True, dtype="auto", output_loading_info=True
            )
        missing = sorted(k for k in told["missing_keys"] if "pooler" not in k)
        if missing:
            raise ModelError(
                f"{self.weights.name}: its weights lack {missing[0]}",
                "Name a transformers encoder, complete with weights.",
            )
        model = _for_cpu(model) if place == "cpu" else model.half()
        _adapt(model, self._adapter)
        self._adapter = {}  # as large as the layers, and of no more use
        return model.to(place).eval()

    @contextmanager
    def _loading(self) -> Iterator[Any]:
        """transformers, quiet; what it raises as ModelError."""
        quiet.prepare()
        import transformers

        transformers.logging.set_verbosity_error()
        try:
            yield transformers
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            raise ModelError(
                f"{self.weights.name}: transformers cannot load {self.weights.path}: {error}",
                "Check it (huiting models check); name another encoder if this transformers release does not know its kind.",
            ) from error


def _adapt(model: Any, adapter: Adapter) -> None:
    """Add the adapter's corrections to the weights they are for."""
    import torch

    for name, delta in adapter.items():
        weight = model.get_submodule(name).weight
        weight.data += torch.from_numpy(delta).to(weight.dtype)


def _for_cpu(model: Any) -> Any:
    """Compute in float32, but leave the table of token embeddings as it is stored.

    A multilingual vocabulary is four fifths of such a model: its float16 table stays mapped from the file, shared by all
    worker processes, and only the rows of a batch are widened.
    """
    table = model.get_input_embeddings()
    for parameter in model.parameters():
        if parameter is not table.weight:
            parameter.data = parameter.data.float()
    table.register_forward_hook(lambda module, arguments, rows: rows.float())
    return model


def window(tokenizer: Any, config: Mapping[str, Any]) -> int:
    """Tokens that a model takes at once, special ones included."""
    if tokenizer.model_max_length < UNSET:
        return int(tokenizer.model_max_length)
    return int(config.get("max_position_embeddings", UNSET)) - OFFSET


def pooling_of(folder: Path) -> str:
    """mean | cls; ModelError for another pooling."""
    told = _json(folder / "1_Pooling" / "config.json")
    modes = [mode for mode in told if mode.startswith("pooling_mode_") and told[mode] is True]
    if not modes:
        return "mean"
    if len(modes) > 1 or modes[0] not in POOLINGS:
        raise ModelError(
            f"{folder} pools by {', '.join(modes)}",
            f"Use a model that pools by one of {', '.join(POOLINGS)}.",
        )
    return POOLINGS[modes[0]]


def prompt_of(weights: Weights) -> str:
    """What stands before every text."""
    told = _json(weights.path / "config_sentence_transformers.json")
    default = told.get("default_prompt_name")
    if default:
        return str(told["prompts"][default])
    return E5_PROMPT if "e5" in Path(weights.name).name.lower().split("-") else ""


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
