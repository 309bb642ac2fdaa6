"""The kind of service a conversation is about: 咨询 查询 投诉 建议 办理."""

from __future__ import annotations

import math
import re
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from speech.roles import squeeze
from speech.types import Mark, Role, Turn

KINDS = ("咨询", "查询", "投诉", "建议", "办理")
OPENING_TURNS = 2  # a caller tells in the first substantive turns what the call is about …
OPENING_WEIGHT = 1.5  # … so what is said there counts for more
SUBSTANTIVE = 6  # characters: shorter turns are greetings and nods
TEMPERATURE = 1.3  # nats of cue weight to a nat of confidence: cues overlap, so their sum is over-sure
# 咨询 is what an unmarked call is: it wins where nothing speaks for another.
PRIOR = {"咨询": 0.6, "查询": 0.0, "投诉": 0.0, "建议": 0.0, "办理": 0.0}


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


def infer_kind(turns: Sequence[Turn]) -> tuple[str, float]:
    """The kind and its confidence (0–1), from what the customer asks for and how the agent sums it up.

    Turns without a role count as the customer's and as the agent's alike; a machine's turns never count.
    """
    scores = dict(PRIOR)
    heard: dict[int, int] = defaultdict(int)
    substantive = 0
    for turn in turns:
        if turn.role in (Role.IVR, Role.SYSTEM) or Mark.BLEED in turn.marks or Mark.HALLUCINATION in turn.marks:
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
    best = max(KINDS, key=scores.__getitem__)
    total = sum(math.exp((score - scores[best]) / TEMPERATURE) for score in scores.values())
    return best, 1.0 / total
