"""Train the heads for what a turn does (scoring_rules/acts.py): logistic regression over character sequences.

    python bench/train_acts.py

Learns from bench/training/{acts,customer} and bench/training/language/positives.jsonl, each turn once as written and once as
a recogniser might have heard it. An act
counts as done from the log-odds where `SURE_PRECISION` is reached, cross-validated by dialogue. Prints precision and
recall of that. Writes scoring_rules/data/acts.words.npz. A minute on a CPU.
"""

from __future__ import annotations

import random
from zlib import crc32

import numpy as np
from language import PROJECT, marked
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from train_heads import SEED, heard, lines, matrix, plain

from scoring_rules import acts, features, heads
from scoring_rules.features import Sequences
from scoring_rules.text import views

INVERSE_PENALTY = 30.0
SURE_PRECISION = {"agent": 0.93, "customer": 0.95}  # what customers do decides which rules apply at all
LEAST = 0.3  # log-odds: what is hardly likelier than not is not said
FOLDS = 5
SAME_AS = {  # labels of positives.jsonl → acts
    "opening.offer_help": "act.offer_help",
    "handling.empathy": "act.empathy",
    "handling.cause_explained": "act.cause",
    "handling.solution_offered": "act.solution",
    "complaint.apology": "act.apology",
    "complaint.commitment": "act.commitment",
    "closing.confirm_resolved": "act.confirm_resolved",
    "closing.anything_else": "act.anything_else",
    "hold.request": "act.hold_request",
    "hold.thanks": "act.hold_thanks",
    "compliance.identity_check": "act.identity_check",
    "emotion.soothe": "act.soothe",
    "customer.complains": "customer.complains",
    "customer.angry": "customer.angry",
}
IMPLIED = {"customer.complains": "customer.trouble"}


def labelled() -> list[dict]:
    folder = PROJECT / "bench/training"
    own = [case for name in ("acts", "customer") for path in sorted((folder / name).glob("*.jsonl")) for case in lines(path)]
    return own + lines(folder / "language/positives.jsonl")


def acts_of(case: dict) -> set[str]:
    found = {SAME_AS.get(label, label) for label in case["labels"]}
    return found | {IMPLIED[label] for label in found if label in IMPLIED}


def stretch(case: dict, rng: random.Random | None) -> tuple[Sequences, np.ndarray]:
    turns = plain(case["turns"])
    if rng is not None:
        turns = heard(turns, rng)
    sequences = Sequences(views([text for _, text in turns], "zh").compact, [role for role, _ in turns])
    return sequences, sequences.turns([marked(case)])


FORMULAS = frozenset(
    f"act.{name}"
    for name in (
        "offer_help", "hold_request", "hold_thanks", "identity_check", "confirm_resolved", "anything_else", "closing_thanks",
        "closing_wish", "reapology", "asks_satisfied",
    )
)  # fmt: skip
# Long stories with hard words, half of them none of it: precision there says little of ordinary talk, so that they teach
# but set no threshold.
HARD = frozenset({"t-customer_d2", "t-acts_b4"})
WRITTEN_FOR = {"t-positives": frozenset(SAME_AS.values()), "t-acts_b2": FORMULAS}


def usable(case: dict, act: str) -> bool:
    """Some files were labelled for some of the acts: where they say nothing of another, it is no evidence against it."""
    return act in WRITTEN_FOR.get(file_of(case), (act,))


def file_of(case: dict) -> str:
    return case["id"].rpartition("-")[0]


def main() -> None:
    cases = labelled()
    rng = random.Random(SEED)
    clean, noisy = matrix([stretch(case, None) for case in cases]), matrix([stretch(case, rng) for case in cases])
    roles = np.array([case["turns"][marked(case)]["role"] for case in cases])
    groups = np.array([crc32(case["turns"][0]["text"].encode()) for case in cases])
    found = [acts_of(case) for case in cases]
    names = sorted({act for one in found for act in one if act.startswith(("act.", "customer."))})
    names = [act for act in names if sum(act in one for one in found) >= 40]
    table = np.zeros((len(features.FIELDS) << features.BITS, len(names)), np.float32)
    bias, sure = np.zeros(len(names), np.float32), np.zeros(len(names), np.float32)
    for column, act in enumerate(names):
        mine = np.flatnonzero((roles == acts.role_of(act)) & np.array([usable(case, act) for case in cases]))
        truth = np.array([act in found[n] for n in mine])
        odds = np.zeros(len(mine))
        for train, test in GroupKFold(FOLDS).split(mine, groups=groups[mine]):
            rows = sparse.vstack([clean[mine[train]], noisy[mine[train]]])
            model = LogisticRegression(C=INVERSE_PENALTY, max_iter=300, solver="liblinear").fit(rows, np.tile(truth[train], 2))
            odds[test] = model.decision_function(clean[mine[test]])
        counted = np.array([file_of(cases[n]) not in HARD for n in mine])
        odds, truth_there = odds[counted], truth[counted]
        order = np.argsort(-odds)
        right = np.cumsum(truth_there[order]) / np.arange(1, len(order) + 1)
        reached = np.where(right >= SURE_PRECISION[acts.role_of(act)])[0]
        sure[column] = max(LEAST, odds[order][reached.max()] if len(reached) else odds.max() + 1)
        said = odds >= sure[column]
        print(f"{act:24s} {truth.sum():4d} of {len(mine):4d}  precision {truth_there[said].mean():.2f}  recall {said[truth_there].mean():.2f}")
        model.fit(sparse.vstack([clean[mine], noisy[mine]]), np.tile(truth, 2))
        table[:, column], bias[column] = model.coef_[0], model.intercept_[0]
    scale = np.maximum(np.abs(table).max(axis=0), 1e-6) / 127
    np.savez_compressed(
        heads.DATA / acts.WORDS,
        version=np.array(heads.VERSION),
        acts=np.array(names),
        table=np.rint(table / scale).astype(np.int8),
        scale=scale.astype(np.float32),
        bias=bias,
        sure=sure,
    )


if __name__ == "__main__":
    main()
