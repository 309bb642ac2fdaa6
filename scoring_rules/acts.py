"""Trained heads for what a turn does: a customer complains, an agent tells a cause.

One linear layer over the character sequences of every turn (features.py), without the sentence model, so that it may be
asked everywhere. It stands beside the words of a pack, never instead of them. Data: data/acts.words.npz, written by
bench/train_acts.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from scoring_rules.call import Call, Hit
from scoring_rules.features import Sequences
from scoring_rules.heads import DATA, VERSION, sequences_of

WORDS = "acts.words.npz"


def role_of(act: str) -> str:
    """Whose act it is: customer.* the customer's, act.* the agent's."""
    return "customer" if act.startswith("customer.") else "agent"


@dataclass(frozen=True)
class Acts:
    """The layer, by act: table column (slots,) int8, its scale and bias, and the log-odds from which it is said."""

    columns: Mapping[str, int]
    table: np.ndarray  # (fields · 2^BITS, acts) int8
    scale: np.ndarray  # (acts,)
    bias: np.ndarray
    sure: np.ndarray

    def odds(self, sequences: Sequences, turns: list[int]) -> np.ndarray:
        """(turns, acts) log-odds."""
        places, values, begins = sequences.of([sequences.stretch(turn) for turn in turns])
        rows = self.table[places] * values[:, None].astype(np.float32)
        return np.add.reduceat(rows, begins, axis=0) * self.scale + self.bias

    def hits(self, call: Call, act: str) -> list[Hit]:
        """The turns that do an act. The odds of a role's turns are worked out once a call."""
        role = role_of(act)
        key = (Acts, role)
        known = call.memory.get(key)
        if known is None:
            turns = [turn for turn, who in enumerate(call.role) if who == role and call.starts[turn] < call.ends[turn]]
            odds = self.odds(sequences_of(call), turns) if turns else np.zeros((0, len(self.columns)))
            known = call.memory[key] = (turns, odds)
        turns, odds = known  # type: ignore[misc]
        column = self.columns[act]
        return [
            Hit(call.starts[turns[n]], call.ends[turns[n]], turns[n], "head")
            for n in np.flatnonzero(odds[:, column] >= self.sure[column])
        ]


@cache
def load_acts(folder: Path = DATA) -> Acts | None:
    """None where none were trained on these features."""
    path = folder / WORDS
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as data:
        if int(data["version"]) != VERSION:
            return None
        columns = {act: column for column, act in enumerate(data["acts"].tolist())}
        return Acts(columns, data["table"], data["scale"], data["bias"], data["sure"])


def known_acts() -> tuple[str, ...]:
    """The acts that the shipped heads know."""
    found = load_acts()
    return () if found is None else tuple(found.columns)
