"""How many voices there are, and which stretch of speech is whose: grouping of speaker embeddings.

A stretch ("piece") is speech without a pause and without a change of speaker that was heard. Calls have two speakers
far more often than not, so two is what is expected: one and three or more need evidence.

The evidence is the *likeness* of two groups of pieces: the mean cosine between them over the mean cosine within them.
Dividing takes out what noise, band-width and short pieces cost every comparison, so one figure serves clear voices
and telephone lines. Seen with CAM++: 0.86–0.97 for one voice cut in two the worst way, 0.15–0.71 for two voices
(the highest ones two women of one synthesiser).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALIKE = 0.79  # likeness from which two groups are one voice
THIRD_ALIKE = 0.72  # a third voice must differ more: two are expected
MOST_VOICES = 6
ANCHOR = 1.2  # s of speech from which a piece's embedding is trusted to found a group
SHORT_ANCHOR = 0.6  # s, where a call has hardly any long pieces
FEW_ANCHORS = 4
VOICE_SECONDS = 2.0  # s of anchors that a second voice must have spoken …
THIRD_SECONDS = 5.0  # … and any further one
WEIGHT_LIMIT = 6.0  # s: longer pieces tell no more about a voice

# Viterbi over pieces, in nats.
SHARPNESS = 30.0  # nats for a cosine difference of 1 on a long piece
SHARP_FROM = 2.5  # s of speech from which a piece is as sharp as it gets
SWITCH_IN_SPEECH = 2.5  # cost of a change of speaker at a pause below BREATH
SWITCH_AT_PAUSE = 0.7
SWITCH_HEARD = -1.0  # where the segmentation heard a change
BREATH = 0.3  # s

MIXED_MARGIN = 0.12  # a piece this much less like its own voice than usual may hold two


@dataclass(frozen=True, slots=True)
class Piece:
    """`change`: the share of the segmentation's windows that heard a change of speaker where the piece begins."""

    start: float
    end: float
    change: float = 0.0


def likeness(cosines: np.ndarray, weights: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    """Mean cosine between two groups ÷ mean cosine within them. `cosines`, `weights` # (pieces, pieces)"""
    between = _weighted(cosines, weights, left, right)
    within = [w for w in (_weighted(cosines, weights, g, g) for g in (left, right)) if w is not None and w > 0]
    if between is None or not within:
        return 1.0
    return between / float(np.prod(within)) ** (1 / len(within))


def _weighted(cosines: np.ndarray, weights: np.ndarray, left: np.ndarray, right: np.ndarray) -> float | None:
    weight = weights[np.ix_(left, right)]
    total = weight.sum()
    return float((cosines[np.ix_(left, right)] * weight).sum() / total) if total > 0 else None


def found_voices(embeddings: np.ndarray, seconds: np.ndarray, most: int = MOST_VOICES) -> np.ndarray:
    """Voices among the pieces: unit centroids # (voices, dimensions); at least one row if any piece has an embedding.

    `embeddings` # (pieces, dimensions), NaN where a piece was too short; `seconds` # (pieces,)
    """
    usable = ~np.isnan(embeddings[:, 0])
    anchors = usable & (seconds >= ANCHOR)
    if anchors.sum() < FEW_ANCHORS:
        anchors = usable & (seconds >= SHORT_ANCHOR)
    if not anchors.any():
        anchors = usable
    if not anchors.any():
        return np.empty((0, embeddings.shape[1]))
    unit = embeddings[anchors] / np.linalg.norm(embeddings[anchors], axis=1, keepdims=True)
    weight = np.minimum(seconds[anchors], WEIGHT_LIMIT)
    groups = _groups(unit, weight, seconds[anchors], most)
    return np.stack([_unit((unit[g] * weight[g, None]).sum(axis=0)) for g in groups])


def _groups(unit: np.ndarray, weight: np.ndarray, seconds: np.ndarray, most: int) -> list[np.ndarray]:
    """Index arrays of the voices' anchors, the largest first; anchors of no voice are left out."""
    everything = [np.arange(len(unit))]
    if len(unit) < 2 or most < 2:
        return everything
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(unit, method="average", metric="cosine")
    cosines = unit @ unit.T
    weights = np.outer(weight, weight)
    np.fill_diagonal(weights, 0.0)
    best = everything
    # Strays (a cough, a word of somebody passing) split off first: cut deeper than the number of voices looked for.
    for cut in range(2, min(len(unit), 3 * most) + 1):
        labels = fcluster(tree, cut, criterion="maxclust")
        candidates = [np.flatnonzero(labels == label) for label in range(1, labels.max() + 1)]
        candidates.sort(key=lambda group: -seconds[group].sum())
        voices = [candidates[0]]
        for group in candidates[1:]:
            second = len(voices) == 1
            spoken = seconds[group].sum()
            if spoken < (VOICE_SECONDS if second else THIRD_SECONDS) or len(voices) == most:
                continue
            alike = max(likeness(cosines, weights, group, other) for other in voices)
            if alike < (ALIKE if second else THIRD_ALIKE):
                voices.append(group)
        if len(voices) > len(best):
            best = voices
    return best


def whose(pieces: Sequence[Piece], embeddings: np.ndarray, seconds: np.ndarray, centroids: np.ndarray) -> list[int]:
    """The voice of each piece: Viterbi over likeness to the voices, with a cost for changes that nothing announces."""
    voices = len(centroids)
    if voices < 2:
        return [0] * len(pieces)
    emission = evidence(embeddings, seconds, centroids)
    score = emission[0]
    back: list[np.ndarray] = []
    for index in range(1, len(pieces)):
        gap = pieces[index].start - pieces[index - 1].end
        heard = pieces[index].change >= 0.5
        switch = SWITCH_HEARD if heard else SWITCH_IN_SPEECH if gap < BREATH else SWITCH_AT_PAUSE
        moved = score[None, :] - switch * (1 - np.eye(voices))  # (to, from)
        back.append(moved.argmax(axis=1))
        score = moved.max(axis=1) + emission[index]
    state = int(score.argmax())
    path = [state]
    for came in reversed(back):
        state = int(came[state])
        path.append(state)
    return path[::-1]


def evidence(embeddings: np.ndarray, seconds: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Log-likelihoods # (pieces, voices), zero where a piece has no embedding."""
    norm = np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = np.nan_to_num((embeddings / norm) @ centroids.T)
    sharpness = SHARPNESS * np.sqrt(np.minimum(1.0, seconds / SHARP_FROM))
    return cosines * sharpness[:, None]


def centroids_of(embeddings: np.ndarray, seconds: np.ndarray, labels: Sequence[int], voices: int) -> np.ndarray:
    """Unit centroids of assigned pieces # (voices, dimensions); only pieces long enough to be trusted count."""
    owner = np.array(labels)
    usable = ~np.isnan(embeddings[:, 0])
    result = []
    for voice in range(voices):
        mine = usable & (owner == voice)
        long = mine & (seconds >= ANCHOR)
        chosen = long if long.any() else mine
        unit = embeddings[chosen] / np.linalg.norm(embeddings[chosen], axis=1, keepdims=True)
        total = (unit * np.minimum(seconds[chosen], WEIGHT_LIMIT)[:, None]).sum(axis=0)
        result.append(_unit(total) if chosen.any() else np.full(embeddings.shape[1], np.nan))
    return np.stack(result)


def mixed(embeddings: np.ndarray, seconds: np.ndarray, labels: Sequence[int], centroids: np.ndarray) -> np.ndarray:
    """Indices of the pieces that may hold more than one voice: long, and unlike the voice they were given to."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    own = (unit * centroids[np.array(labels)]).sum(axis=1)
    usual = np.nanmedian(own[seconds >= ANCHOR]) if (seconds >= ANCHOR).any() else 1.0
    return np.flatnonzero((seconds >= 2 * ANCHOR) & (own < usual - MIXED_MARGIN))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
