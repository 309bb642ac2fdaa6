"""Fits low-rank corrections of a sentence model's weights, and a linear layer over its vectors, to labelled texts.

The result fits `speech.embed.SentenceEncoder(weights, device, adapter)`: the model's own pooling is kept, the vector is of
length 1, and the layer reads it times SCALE. One text has several questions (families), each with the same answers.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ADAPTED = (
    "attention.self.query",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
SCALE = 20.0  # of the unit vector before the layer: log-odds of a few units need weights of order 1
LONGEST = 200  # tokens; the situations of features.py stay below it
WARM_UP = 0.08  # share of the steps
SMOOTHING, WEIGHT_DECAY, DROPOUT = 0.01, 0.01, 0.1


@dataclass(frozen=True)
class Plan:
    """How to train. Defaults were chosen on tests/language/tune.jsonl among rank 4, 8, 16 and rates 0.5 to 2e-3."""

    rank: int = 8
    epochs: int = 6
    batch: int = 32
    rate: float = 1e-3
    layer_rate: float = 3e-3
    seed: int = 7
    threads: int = 2
    bfloat16: bool = False  # only where the processor has it: without, ten times slower
    answer_weights: tuple[float, ...] = (1.0, 2.0, 2.0)  # none, confirmed, mitigated: violations are rare


class Learner:
    """The encoder with corrections beside its frozen weights, and the layer."""

    def __init__(self, encoder: Any, questions: int, answers: int, plan: Plan) -> None:
        import torch

        self.torch, self.plan = torch, plan
        torch.manual_seed(plan.seed)
        torch.set_num_threads(plan.threads)
        self.tokenizer, base = encoder.tokenizer, encoder.model
        self.prompt, self.pooling = encoder.prompt, encoder._pooling
        self.model = base.float().eval()
        self.model.get_input_embeddings()._forward_hooks.clear()
        for parameter in self.model.parameters():
            parameter.requires_grad = False
        self.corrections: dict[str, tuple[Any, Any]] = {}
        for name, module in list(self.model.named_modules()):
            if name.startswith("encoder.layer.") and name.endswith(ADAPTED):
                self.corrections[name] = self._correct(module)
        self.layer = torch.nn.Linear(encoder.dimension, questions * answers)
        self.shape = (questions, answers)

    def _correct(self, module: Any) -> tuple[Any, Any]:
        torch = self.torch
        down = torch.nn.Parameter(torch.randn(self.plan.rank, module.in_features) / module.in_features**0.5)
        up = torch.nn.Parameter(torch.zeros(module.out_features, self.plan.rank))
        module.register_forward_hook(lambda _, inputs, output: output + (inputs[0] @ down.T) @ up.T)
        return up, down

    def logits(self, texts: Sequence[str], dropout: float = 0.0) -> Any:
        """(texts, questions, answers)"""
        torch = self.torch
        batch = self.tokenizer(
            [self.prompt + text for text in texts], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self.plan.bfloat16):
            hidden = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        hidden = hidden.float()
        kept = batch["attention_mask"][..., None]
        pooled = hidden[:, 0] if self.pooling == "cls" else (hidden * kept).sum(1) / kept.sum(1)
        vector = torch.nn.functional.normalize(pooled, dim=-1)
        vector = torch.nn.functional.dropout(vector, dropout, training=dropout > 0)
        return self.layer(vector * SCALE).view(-1, *self.shape)

    def fit(
        self,
        rows: Callable[[random.Random], tuple[list[str], np.ndarray]],
        size: int,
        told: Callable[[int], None] = lambda epoch: None,
        checkpoint: Path | None = None,
    ) -> None:
        """rows(rng): the `size` texts of an epoch, disturbed anew each time, and their (texts, questions) answers, -1 where none counts.

        With a checkpoint, each epoch is kept there, and a run that was stopped goes on after the last one.
        """
        torch, plan = self.torch, self.plan
        rng = random.Random(plan.seed)
        low = []
        for pair in self.corrections.values():
            low += pair
        optimiser = torch.optim.AdamW(
            [{"params": low, "lr": plan.rate}, {"params": self.layer.parameters(), "lr": plan.layer_rate}],
            weight_decay=WEIGHT_DECAY,
        )
        steps = plan.epochs * -(-size // plan.batch)
        pace = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: min(1.0, step / (WARM_UP * steps)) * max(0.0, (steps - step) / steps)
        )
        weights = torch.tensor(plan.answer_weights)
        begin = time.monotonic()
        state = {"optimiser": optimiser, "pace": pace, "layer": self.layer}
        done = 0
        if checkpoint is not None and checkpoint.is_file():
            known = torch.load(checkpoint, weights_only=True)
            done = known["done"]
            for name, part in state.items():
                part.load_state_dict(known[name])
            for parameter, value in zip(low, known["low"], strict=True):
                parameter.data.copy_(value)
        for epoch in range(done, plan.epochs):
            rng.seed(plan.seed * 1000 + epoch)
            texts, labels = rows(rng)
            order = sorted(range(len(texts)), key=lambda n: len(texts[n]) + 8 * rng.random())  # like lengths together
            batches = [order[at : at + plan.batch] for at in range(0, len(order), plan.batch)]
            rng.shuffle(batches)
            losses = []
            for batch in batches:
                answers = torch.tensor(labels[batch])
                loss = self.shape[0] * torch.nn.functional.cross_entropy(
                    self.logits([texts[n] for n in batch], DROPOUT).reshape(-1, self.shape[1]),
                    answers.reshape(-1),
                    weights,
                    ignore_index=-1,
                    label_smoothing=SMOOTHING,
                )
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(low, 1.0)
                optimiser.step()
                pace.step()
                losses.append(loss.item())
                print(f"\r{len(losses)}/{len(batches)} loss {np.mean(losses[-20:]):.3f} {time.monotonic() - begin:.0f} s", end="", flush=True)
            print(f"\repoch {epoch + 1}/{plan.epochs}: loss {np.mean(losses):.3f}, {time.monotonic() - begin:.0f} s", flush=True)
            if checkpoint is not None:
                parts = {name: part.state_dict() for name, part in state.items()}
                torch.save({"done": epoch + 1, "low": [p.detach() for p in low], **parts}, checkpoint)
            told(epoch)

    def answer(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, questions, answers) log-probabilities."""
        torch = self.torch
        found = np.zeros((len(texts), *self.shape), np.float32)
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        with torch.inference_mode():
            for at in range(0, len(order), 32):
                batch = order[at : at + 32]
                found[batch] = self.logits([texts[n] for n in batch]).log_softmax(-1).numpy()
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """What to ship: NAME/up, NAME/down (float16) of each corrected weight, and the layer."""
        out = {
            "layer": self.layer.weight.detach().numpy().astype(np.float32) * SCALE,
            "layer_bias": self.layer.bias.detach().numpy().astype(np.float32),
        }
        for name, (up, down) in self.corrections.items():
            out[f"{name}/up"] = up.detach().numpy().astype(np.float16)
            out[f"{name}/down"] = down.detach().numpy().astype(np.float16)
        return out

    def start_from(self, low_rank: dict[str, tuple[np.ndarray, np.ndarray]], layer: np.ndarray, bias: np.ndarray) -> None:
        """Goes on from corrections (up, down) and a layer that are known; layer and bias as `arrays` has them."""
        if set(low_rank) != set(self.corrections) or any(up.shape[1] != self.plan.rank for up, _ in low_rank.values()):
            raise ValueError("these corrections are of other weights or of another rank")
        tensor = self.torch.from_numpy
        for name, pair in self.corrections.items():
            for parameter, value in zip(pair, low_rank[name], strict=True):
                parameter.data.copy_(tensor(np.asarray(value, np.float32)))
        self.layer.weight.data.copy_(tensor(np.asarray(layer / SCALE, np.float32)))
        self.layer.bias.data.copy_(tensor(np.asarray(bias, np.float32)))

    def keep(self, path: Path) -> None:
        np.savez(path, **self.arrays())  # pyright: ignore[reportArgumentType]
