"""Meaning: nearness to exemplar sentences and trained heads, over a sentence model that is handed in."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from scoring_rules.call import Call, Hit
from scoring_rules.finder import Finder, Minds
from scoring_rules.heads import Head as Trained
from scoring_rules.heads import features, load_head
from scoring_rules.model import Condition, Head, Meaning, Reason
from scoring_rules.plan import children

DATA = Path(__file__).parent / "data"
CACHED_TEXTS = 20_000  # embeddings kept: about 30 MB at 384 dimensions
BACKGROUND_SHARE = 0.995  # of background sentences lie below a calibrated threshold: one false alarm in 200


class Encoder(Protocol):
    """A sentence model."""

    @property
    def fingerprint(self) -> str: ...

    def encode(self, texts: list[str]) -> np.ndarray:
        """(texts, dimensions) float32, each row of length 1."""
        ...


class Judges(Minds):
    """Judges of meaning with a cache. Texts that are not yet encoded are asked for, and judged in the next round."""

    def __init__(self, encoder: Encoder | None) -> None:
        self.encoder = encoder
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()
        self._exemplars: dict[tuple[str, ...], np.ndarray] = {}

    def encode(self, texts: list[str]) -> None:
        """Encodes in one batch what is asked for and not known."""
        assert self.encoder is not None
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self.encoder.encode(new), strict=True))
        while len(self._vectors) > max(CACHED_TEXTS, len(texts)):
            self._vectors.popitem(last=False)

    def vectors(self, texts: Sequence[str], call: Call) -> np.ndarray | None:
        """(texts, dimensions), or None after asking for those that are missing."""
        missing = [text for text in texts if text not in self._vectors]
        if missing:
            call.wanted.update(dict.fromkeys(missing))
            call.waiting = True
            return None
        return np.stack([self._vectors[text] for text in texts])

    def missing(self, test: Meaning | Head) -> Reason | None:
        if isinstance(test, Head):
            return None if self._head(test) else Reason.NO_HEAD
        if self.encoder is None:
            return Reason.NO_ENCODER
        return None if self._threshold(test) is not None else Reason.UNCALIBRATED

    def _threshold(self, test: Meaning) -> float | None:
        if test.threshold is not None or self.encoder is None:
            return test.threshold
        return calibrated(self.encoder.fingerprint, test.exemplars)

    def near(self, test: Meaning, texts: Sequence[str], call: Call) -> list[bool]:
        threshold = self._threshold(test)
        assert self.encoder is not None
        assert threshold is not None
        found = self.vectors(texts, call)
        if found is None:
            return [False] * len(texts)
        exemplars = self._exemplars.get(test.exemplars)
        if exemplars is None:
            exemplars = self._exemplars[test.exemplars] = self.encoder.encode(list(test.exemplars))
        return ((found @ exemplars.T).max(axis=1) >= threshold).tolist()

    def classify(self, test: Head, pieces: Sequence[Hit], finder: Finder) -> list[str]:
        head = self._head(test)
        assert head is not None
        found = None
        if head.dimensions:
            texts = [text for piece in pieces for text in head.texts(finder.call, piece)]
            found = self.vectors(texts, finder.call)
            if found is None:
                return ["no"] * len(pieces)
            found = found.reshape(len(pieces), -1)
        return [
            head.verdict(features(finder, piece), None if found is None else found[index])
            for index, piece in enumerate(pieces)
        ]


    def _head(self, test: Head) -> Trained | None:
        """The head bound to the sentence model in use, or the one of words alone."""
        bound = load_head(test.family, self.encoder.fingerprint) if self.encoder is not None else None
        return bound or load_head(test.family, "")

    def shares(self, condition: Condition, piece: Hit, finder: Finder) -> tuple[str, ...]:
        for inner in (condition, *children(condition)):
            if isinstance(inner.test, Head) and (head := self._head(inner.test)) is not None:
                vector = None
                if head.dimensions:
                    found = self.vectors(head.texts(finder.call, piece), finder.call)
                    vector = None if found is None else found.reshape(-1)
                return tuple(f"{name} {share:+.2f}" for name, share in head.shares(features(finder, piece), vector))
        return ()


def exemplar_key(exemplars: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(exemplars).encode()).hexdigest()[:16]


@cache
def _thresholds() -> dict[str, dict[str, float]]:
    path = DATA / "calibration.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def calibrated(fingerprint: str, exemplars: Sequence[str]) -> float | None:
    """The threshold stored for these exemplars under this sentence model, or None."""
    return _thresholds().get(fingerprint, {}).get(exemplar_key(exemplars))


def calibrate(encoder: Encoder, exemplars: Sequence[str], background: np.ndarray) -> float:
    """The cosine that all but one in two hundred background sentences stay below.

    background: (sentences, dimensions) float32, unit rows: ordinary service talk that means none of the exemplars.
    """
    nearest = (background @ encoder.encode(list(exemplars)).T).max(axis=1)
    return float(np.quantile(nearest, BACKGROUND_SHARE))
