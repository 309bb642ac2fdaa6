"""The kind of service a conversation is about: 咨询 查询 投诉 建议 办理.

Two sources, added in log-odds: phrases (data/kind.toml), which need nothing, and, where a sentence encoder is handed
in, a small head over its vectors (data/kind_head.npz, written by bench/train_kind.py). Phrases alone know the plain
ways of saying it; the head also knows the others.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Protocol

import numpy as np

from speech.roles import squeeze
from speech.types import Mark, Role, Turn

KINDS = ("咨询", "查询", "投诉", "建议", "办理")
OPENING_TURNS = 2  # a caller tells in the first substantive turns what the call is about …
OPENING_WEIGHT = 1.5  # … so what is said there counts for more
SUBSTANTIVE = 6  # characters: shorter turns are greetings and nods
TEMPERATURE = 1.3  # nats of cue weight to a nat of confidence: cues overlap, so their sum is over-sure
BESIDE_HEAD = 0.2  # weight of the cues beside the head (bench/train_kind.py, by cross-validation)
HEARD_TURNS = 12  # a long call's later turns are about carrying out, not about what it is about
# 咨询 is what an unmarked call is: it wins where nothing speaks for another.
PRIOR = {"咨询": 0.6, "查询": 0.0, "投诉": 0.0, "建议": 0.0, "办理": 0.0}


class Encoder(Protocol):
    """speech/embed.py's SentenceEncoder, or anything like it."""

    fingerprint: str

    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


def infer_kind(turns: Sequence[Turn], encoder: Encoder | None = None) -> tuple[str, float]:
    """The kind and its confidence (0–1), from what the customer asks for and what the agent does about it.

    Turns without a role count as the customer's and as the agent's alike; a machine's turns never count. An encoder
    that the head was not trained on is not asked.
    """
    logits = np.array([score / TEMPERATURE for score in cue_scores(turns).values()])
    head = _head()
    if encoder is not None and encoder.fingerprint == head.embedding:
        logits = BESIDE_HEAD * logits + head.weight @ features(turns, encoder) + head.bias
    best = int(logits.argmax())
    return KINDS[best], 1.0 / sum(math.exp(value - logits[best]) for value in logits)


def features(turns: Sequence[Turn], encoder: Encoder) -> np.ndarray:
    """The customer's and the agent's words as one vector # (2 · dimension,)"""
    heard = [turn for turn in turns if _counts(turn)]
    sides = [
        " ".join(squeeze(t.text) for t in [t for t in heard if t.role in (role, None)][:HEARD_TURNS])
        for role in (Role.CUSTOMER, Role.AGENT)
    ]
    return np.concatenate(list(encoder.encode([side or "。" for side in sides])))


# -- phrases --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cue:
    kind: str
    weight: float
    pattern: re.Pattern[str]
    by_agent: bool
    times: int


@cache
def _cues() -> tuple[_Cue, ...]:
    data = tomllib.loads(resources.files("speech").joinpath("data/kind.toml").read_text("utf-8"))
    return tuple(
        _Cue(r["kind"], r["weight"], re.compile(r["pattern"], re.I), r.get("by") == "agent", r["times"]) for r in data["cue"]
    )


def cue_scores(turns: Sequence[Turn]) -> dict[str, float]:
    """What the phrases say, in nats by kind."""
    scores = dict(PRIOR)
    heard: dict[int, int] = defaultdict(int)
    substantive = 0
    for turn in turns:
        if not _counts(turn):
            continue
        text = squeeze(turn.text)
        opening = 1.0
        if turn.role is not Role.AGENT and len(text) >= SUBSTANTIVE:
            substantive += 1
            opening = OPENING_WEIGHT if substantive <= OPENING_TURNS else 1.0
        for index, cue in enumerate(_cues()):
            if turn.role is not None and cue.by_agent != (turn.role is Role.AGENT):
                continue
            hits = min(cue.times - heard[index], sum(1 for _ in cue.pattern.finditer(text)))
            if hits > 0:
                heard[index] += hits
                # A phrase said again adds less than it did the first time.
                scores[cue.kind] += cue.weight * opening * sum(0.5**n for n in range(hits))
    return scores


def _counts(turn: Turn) -> bool:
    return turn.role not in (Role.IVR, Role.SYSTEM) and Mark.BLEED not in turn.marks and Mark.HALLUCINATION not in turn.marks


# -- the head ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Head:
    """`weight` # (kinds, 2 · dimension), `bias` # (kinds,); `embedding`: the encoder's fingerprint."""

    weight: np.ndarray
    bias: np.ndarray
    embedding: str


@cache
def _head() -> _Head:
    with (
        resources.as_file(resources.files("speech").joinpath("data/kind_head.npz")) as path,
        np.load(path, allow_pickle=False) as data,
    ):
        return _Head(data["weight"].astype(np.float32), data["bias"], str(data["embedding"]))
