"""Train the head that tells the kind of service, and say what it scores on dialogues that it was not trained on.

    python bench/train_kind.py MODELS_FOLDER

Trains on bench/training/kinds and on the "tune" half of tests/data/kinds.jsonl, checks on its "check" half. Writes
speech/data/kind_head.npz and bench/results/kind.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from speech import kind
from speech.devices import cpu
from speech.embed import SentenceEncoder
from speech.models import locate
from speech.types import Role, Turn

ROOT = Path(__file__).parents[1]
ENCODER = "package:multilingual-e5-small"
REGULARISATION = 3.0  # C; 1 to 30 differ by less than one dialogue in cross-validation
SHORT = {"a": Role.AGENT, "c": Role.CUSTOMER}


def main(models: Path) -> None:
    dialogues = _read(ROOT / "bench/training/kinds/dialogues.jsonl") + _read(ROOT / "tests/data/kinds.jsonl")
    training = [d for d in dialogues if d.get("split") != "check"]
    check = [d for d in dialogues if d.get("split") == "check"]
    encoder = SentenceEncoder(locate(ENCODER, models), cpu())
    vectors = np.stack([kind.features(_turns(d), encoder) for d in training])
    kinds = np.array([kind.KINDS.index(d["kind"]) for d in training])
    model = LogisticRegression(C=REGULARISATION, max_iter=5000)
    crossed = cross_val_predict(model, vectors, kinds, cv=10, method="predict_log_proba")
    cues = np.array([list(kind.cue_scores(_turns(d)).values()) for d in training]) / kind.TEMPERATURE
    for share in (0.0, 0.2, 0.35, 0.5, 1.0):
        right = ((crossed + share * cues).argmax(axis=1) == kinds).mean()
        print(f"cross-validation, cues × {share}: {right:.3f}")
    model.fit(vectors, kinds)
    np.savez_compressed(
        ROOT / "speech/data/kind_head.npz",
        weight=model.coef_.astype(np.float16),
        bias=model.intercept_.astype(np.float32),
        embedding=encoder.fingerprint,
    )
    kind._head.cache_clear()
    told: dict[str, Any] = {"encoder": ENCODER, "trained_on": len(training), "checked_on": len(check)}
    for name, given in (("phrases alone", None), ("phrases and head", encoder)):
        found = [kind.infer_kind(_turns(d), given)[0] for d in check]
        told[name] = sum(f == d["kind"] for f, d in zip(found, check, strict=True)) / len(check)
        missed = [f"{d['id']} {d['kind']}→{f}" for f, d in zip(found, check, strict=True) if f != d["kind"]]
        print(f"{name}: {told[name]:.1%} of {len(check)}; missed: {', '.join(missed)}")
    results = ROOT / "bench/results/kind.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _turns(dialogue: dict[str, Any]) -> list[Turn]:
    return [Turn(who, text, role=SHORT[who]) for who, text in dialogue["turns"]]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
