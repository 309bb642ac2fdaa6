"""Train the heads behind the negative-language rules: logistic regression over the features of scoring_rules/heads.py
and a frozen sentence embedding of the turn and of the turn before it.

    python bench/train_heads.py --models FOLDER --polite FILE.jsonl

Trained on bench/training/language (confirmed or mitigated against clean); thresholds are set on tests/language/tune.jsonl
(confirmed against clean) and on polite service talk: sure from a precision of `SURE_PRECISION` and at most
`SURE_FALSE_ALARMS` false alarms in the polite turns, suspected from the threshold of the best F1. Writes
scoring_rules/data/<family>.npz. Minutes on a CPU.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from language import FAMILIES, PROJECT, conversation, encoder, labels, marked
from scipy import sparse
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from scoring_rules import heads
from scoring_rules.call import Call, Hit
from scoring_rules.load import load_pack
from scoring_rules.plan import compile_plan

RARE = 4  # a feature in fewer training turns is dropped
EMBEDDING_SCALE = 4.0  # brings the centred embedding to the weight of a few binary features
INVERSE_PENALTY = 0.5
SMALLEST_WEIGHT = 0.02
SURE_PRECISION = 0.85
SURE_FALSE_ALARMS = 2
SUSPECTED_SHARE = 0.985  # of polite turns lie below the threshold of doubt
POLITE_DIALOGUES = 120


class Reader:
    """Features and embeddings of marked turns."""

    def __init__(self, models: Path) -> None:
        self.encoder = encoder(models)
        pack = load_pack(("zh",))
        self.plan = compile_plan(pack, "zh")
        self.doubtful = pack.scoring.confidence.word

    def read(self, cases: list[tuple[dict, int]]) -> tuple[list[dict[str, float]], np.ndarray]:
        """(features, vectors): `cases` are conversations with the turn in question; vectors are (cases, 2 × dimensions)."""
        found, texts = [], []
        for case, turn in cases:
            call = Call(conversation(case), self.plan.matcher, self.plan.grammar, self.doubtful)
            piece = Hit(call.starts[turn], call.ends[turn], turn, "head")
            found.append(heads.features(SimpleNamespace(call=call), piece))  # pyright: ignore[reportArgumentType]
            texts += [call.text((piece.start, piece.end)), heads._text_before(call, turn)]
        return found, self.encoder.encode(texts).reshape(len(cases), -1)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--models", type=Path, required=True)
    arguments.add_argument("--polite", type=Path, required=True)
    given = arguments.parse_args()
    reader = Reader(given.models)
    folder = PROJECT / "bench/training/language"
    training = [case for path in sorted(folder.glob("*.jsonl")) if path.stem != "positives" for case in lines(path)]
    tune = lines(PROJECT / "tests/language/tune.jsonl")
    polite = [
        (case, number)
        for case in lines(given.polite)[:POLITE_DIALOGUES]
        for number, turn in enumerate(case["turns"])
        if turn["role"] == "agent"
    ]
    found, vectors = reader.read([(case, marked(case)) for case in training])
    seen = Counter(name for features in found for name in features)
    keep = {name for name, count in seen.items() if count >= RARE}
    vectorizer = DictVectorizer()
    centre = vectors.mean(axis=0)

    def matrix(features: list[dict[str, float]], embedded: np.ndarray, *, fit: bool = False) -> sparse.csr_matrix:
        kept = [{name: value for name, value in one.items() if name in keep} for one in features]
        words = vectorizer.fit_transform(kept) if fit else vectorizer.transform(kept)
        return sparse.hstack([words, sparse.csr_matrix((embedded - centre) * EMBEDDING_SCALE)]).tocsr()

    train_x = matrix(found, vectors, fit=True)
    tune_x = matrix(*reader.read([(case, marked(case)) for case in tune]))
    polite_x = matrix(*reader.read(polite))
    names = vectorizer.get_feature_names_out()
    for family in FAMILIES:
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=400)
        model.fit(train_x, [int(family in labels(case)) for case in training])
        usable = [n for n, case in enumerate(tune) if labels(case).get(family) != "mitigated" and family not in case.get("arguable", ())]
        truth = np.array([labels(tune[n]).get(family) == "confirmed" for n in usable])
        sure, doubt = thresholds(model.decision_function(tune_x)[usable], truth, model.decision_function(polite_x))
        weights, vector = model.coef_[0][: len(names)], model.coef_[0][len(names) :] * EMBEDDING_SCALE
        heads.save_head(
            heads.Head(
                family=family,
                fingerprint=reader.encoder.fingerprint,
                intercept=float(model.intercept_[0] - centre @ vector),
                weights={n: float(w) for n, w in zip(names, weights, strict=True) if abs(w) > SMALLEST_WEIGHT},
                vector=vector.astype(np.float32),
                context=True,
                threshold=sure,
                doubt=doubt,
            )
        )
        print(f"{family}: sure from {sure:.2f}, suspected from {doubt:.2f}")


def thresholds(odds: np.ndarray, truth: np.ndarray, polite: np.ndarray) -> tuple[float, float]:
    """(sure, suspected), log-odds."""
    order = np.argsort(-odds)
    right = np.cumsum(truth[order])
    precision, recall = right / np.arange(1, len(order) + 1), right / truth.sum()
    good = np.where((precision >= SURE_PRECISION) & (right >= 3))[0]
    sure = odds[order][good.max()] if len(good) else odds.max() + 1
    sure = max(sure, float(np.sort(polite)[-SURE_FALSE_ALARMS - 1]) + 1e-3)
    best = (2 * precision * recall / (precision + recall + 1e-9)).argmax()
    doubt = max(float(odds[order][best]), float(np.quantile(polite, SUSPECTED_SHARE)))
    return float(sure), float(min(sure, doubt))


if __name__ == "__main__":
    main()
