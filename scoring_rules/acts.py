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

from scoring_rules.block import Block
from scoring_rules.call import Hit
from scoring_rules.heads import DATA, VERSION, sequences_of

WORDS = "acts.words.npz"


def role_of(act: str) -> str:
    """Whose act it is: customer.* the customer's, act.* the agent's."""
    return "customer" if act.startswith("customer.") else "agent"


@dataclass(frozen=True)
class Acts:
    """The layer, each role's acts apart: columns by act, tables (fields · 2^BITS, acts), bias and the log-odds from which it is said."""

    columns: Mapping[str, int]
    tables: Mapping[str, np.ndarray]  # by role, float32
    bias: Mapping[str, np.ndarray]
    sure: Mapping[str, np.ndarray]

    def answers(self, block: Block, act: str) -> Mapping[int, list[Hit]]:
        """The turns that do an act, by call. The odds of a role's turns are worked out once a block."""
        turns, said = self._said(block, role_of(act))
        found: dict[int, list[Hit]] = {}
        view, firsts = block.view, block.firsts
        for n in np.flatnonzero(said[:, self.columns[act]]).tolist():
            turn = turns[n]
            call = block.calls[turn]
            found.setdefault(call, []).append(Hit(view.starts[turn], view.ends[turn], turn - firsts[call], "head"))
        return found

    def _said(self, block: Block, role: str) -> tuple[list[int], np.ndarray]:
        """A role's turns, and (turns, acts) whether they do each."""
        known = block.memory.get((Acts, role))
        if known is None:
            view = block.view
            turns = [n for n, who in enumerate(block.roles) if who == role and view.starts[n] < view.ends[n]]
            said = np.zeros((0, len(self.columns)), bool)
            if turns:
                sequences = sequences_of(block)
                odds = sequences.weighed(sequences.turns(turns), self.tables[role]) + self.bias[role]
                said = odds >= self.sure[role]
            known = block.memory[Acts, role] = (turns, said)
        return known  # type: ignore[return-value]


@cache
def load_acts(folder: Path = DATA) -> Acts | None:
    """None where none were trained on these features."""
    path = folder / WORDS
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as data:
        if int(data["version"]) != VERSION:
            return None
        acts: list[str] = data["acts"].tolist()
        own = {role: [n for n, act in enumerate(acts) if role_of(act) == role] for role in ("customer", "agent")}
        return Acts(
            {acts[n]: column for chosen in own.values() for column, n in enumerate(chosen)},
            {role: np.ascontiguousarray(data["table"][:, chosen] * data["scale"][chosen], np.float32) for role, chosen in own.items()},
            {role: data["bias"][chosen] for role, chosen in own.items()},
            {role: data["sure"][chosen] for role, chosen in own.items()},
        )


def known_acts() -> tuple[str, ...]:
    """The acts that the shipped heads know."""
    found = load_acts()
    return () if found is None else tuple(found.columns)
