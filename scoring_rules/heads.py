"""Trained classifiers, one a family: a linear head over matched words, context and, if it was trained so, an embedding.

A head is data/<family>.npz (bound to the sentence model whose fingerprint it holds) or data/<family>.words.npz (needs
no model). Both are written by the trainer with `save_head` from the very `features` that are used here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scoring_rules.call import Call, Hit

if TYPE_CHECKING:
    from scoring_rules.finder import Finder

DATA = Path(__file__).parent / "data"
FEATURE_VERSION = 1  # raised when `features` changes what a name means
SHOWN_SHARES = 6  # features told when a verdict is explained
WORD_PAIRS = (1, 2, 3)  # lengths of the character sequences that count as features
_SPACE = re.compile(r"[^0-9a-z\u3400-\u9fff?]+")


@dataclass(frozen=True, slots=True)
class Head:
    """A linear head: log-odds = intercept + Σ weight·feature + embedding·vector; yes above `threshold`, doubt above `doubt`."""

    family: str
    fingerprint: str  # of the sentence model; empty: words only
    intercept: float
    weights: Mapping[str, float]
    vector: np.ndarray  # (texts × dimensions,) float32
    context: bool  # whether the turn before is encoded too
    threshold: float  # log-odds
    doubt: float  # log-odds

    @property
    def dimensions(self) -> int:
        return len(self.vector)

    def texts(self, call: Call, piece: Hit) -> list[str]:
        """What is encoded for a stretch: itself and, if trained so, the turn before it."""
        own = call.text((piece.start, piece.end))
        return [own, _text_before(call, piece.turn)] if self.context else [own]

    def log_odds(self, found: Mapping[str, float], vector: np.ndarray | None) -> float:
        total = self.intercept + sum(self.weights.get(name, 0.0) * value for name, value in found.items())
        return total if vector is None else total + float(self.vector @ vector)

    def shares(self, found: Mapping[str, float], vector: np.ndarray | None) -> list[tuple[str, float]]:
        """The log-odds each feature adds, the heaviest first; the embedding's are one sum, `meaning`."""
        parts = [(name, self.weights[name] * value) for name, value in found.items() if self.weights.get(name)]
        parts.sort(key=lambda part: -abs(part[1]))
        meaning = [] if vector is None else [("meaning", float(self.vector @ vector))]
        return [("total", self.log_odds(found, vector)), *meaning, *parts[:SHOWN_SHARES]]

    def verdict(self, found: Mapping[str, float], vector: np.ndarray | None) -> str:
        odds = self.log_odds(found, vector)
        return "yes" if odds >= self.threshold else "doubt" if odds >= self.doubt else "no"


def features(finder: Finder, piece: Hit) -> dict[str, float]:
    """What a head sees of a stretch: its character sequences, its neighbours', its grammar, its place in the call.

    Names: `w:` sequences of the stretch, `p:` of the turn before, `n:` of the same speaker's next turn, `g:` grammar,
    `x:` context. Values are 1 but for lengths.
    """
    call = finder.call
    grammar = call.grammar
    text = call.text((piece.start, piece.end))
    found: dict[str, float] = {"g:length": min(len(text), 60) / 60}
    _sequences(text, "w:", WORD_PAIRS, found)
    _sequences(_text_before(call, piece.turn), "p:", (2,), found)
    _sequences(_text_after(call, piece.turn), "n:", (2,), found)
    turn_start, turn_end = call.starts[piece.turn], call.ends[piece.turn]
    _sequences(call.plain[turn_start : piece.start], "b:", (2,), found)
    _sequences(call.plain[piece.end : turn_end], "a:", (2,), found)
    for lo, hi in call.clauses(piece.turn):
        if lo < piece.end and piece.start < hi:
            clause = call.plain[lo:hi]
            found[f"g:subject={grammar.subject(clause, 0, hi - lo)}"] = 1.0
            if grammar.is_question(clause):
                found["g:question"] = 1.0
            if grammar.is_denied(clause, 0, hi - lo):
                found["g:denied"] = 1.0
    lo, hi = call.around(piece, "sentence")
    if grammar.is_quoted(call.plain[lo:hi], piece.start - lo, piece.end - lo):
        found["g:quoted"] = 1.0
    before = piece.turn - 1
    if before >= 0:
        found[f"x:before={call.role[before]}"] = 1.0
        start, end = call.starts[before], call.ends[before]
        if any(grammar.is_question(call.text(clause)) for clause in call.clauses(before) if start <= end):
            found["x:asked"] = 1.0
    runs = call.runs(("agent",))
    place = next((n for n, run in enumerate(runs) if run[0] <= piece.turn <= run[1]), 0)
    found[f"x:place={'first' if place == 0 else 'last' if place == len(runs) - 1 else 'middle'}"] = 1.0
    return found


def _sequences(text: str, prefix: str, lengths: tuple[int, ...], found: dict[str, float]) -> None:
    for part in _SPACE.split(text.lower()):
        for length in lengths:
            for start in range(len(part) - length + 1):
                found[prefix + part[start : start + length]] = 1.0


def _text_before(call: Call, turn: int) -> str:
    """The run of turns before the one at hand, as far as its last 60 characters."""
    first = call.run_of(turn)[0]
    if first == 0:
        return ""
    run = call.run_of(first - 1)
    return " ".join(call.text((call.starts[n], call.ends[n])) for n in range(run[0], run[1] + 1))[-60:]


def _text_after(call: Call, turn: int) -> str:
    """The same role's next run, as far as its first 60 characters."""
    role = call.role[turn]
    if role is None:
        return ""
    run = next((run for run in call.runs((role,)) if run[0] > turn), None)
    return "" if run is None else " ".join(call.text((call.starts[n], call.ends[n])) for n in range(run[0], run[1] + 1))[:60]


def save_head(head: Head, folder: Path = DATA) -> Path:
    """Writes a head as data; small weights are left to the trainer to prune."""
    path = folder / f"{head.family}{'' if head.fingerprint else '.words'}.npz"
    names = sorted(head.weights)
    np.savez_compressed(
        path,
        version=np.array(FEATURE_VERSION),
        fingerprint=np.array(head.fingerprint),
        intercept=np.array(head.intercept, dtype=np.float32),
        names=np.array(names),
        weights=np.array([head.weights[name] for name in names], dtype=np.float32),
        vector=head.vector.astype(np.float32),
        context=np.array(head.context),
        threshold=np.array(head.threshold, dtype=np.float32),
        doubt=np.array(head.doubt, dtype=np.float32),
    )
    return path


@cache
def load_head(family: str, fingerprint: str, folder: Path = DATA) -> Head | None:
    """The head of a family for a sentence model ("": the one of words alone); None where there is none that fits."""
    path = folder / f"{family}{'' if fingerprint else '.words'}.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as data:
        if int(data["version"]) != FEATURE_VERSION or str(data["fingerprint"]) != fingerprint:
            return None
        return Head(
            family=family,
            fingerprint=fingerprint,
            intercept=float(data["intercept"]),
            weights=dict(zip(data["names"].tolist(), data["weights"].tolist(), strict=True)),
            vector=data["vector"],
            context=bool(data["context"]),
            threshold=float(data["threshold"]),
            doubt=float(data["doubt"]),
        )
