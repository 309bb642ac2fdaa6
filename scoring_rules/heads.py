"""Trained heads: for each family of faults, whether an agent's stretch of talk commits it, and whether it is mitigated.

Voters answer every family with none, confirmed or mitigated: one reads character sequences (`Words`,
data/heads.words.npz), the others read the situation with the sentence model, adapted for each (`Meaning`, data/heads.meaning.npz,
bound to the fingerprint of the model they were trained on). A `Mix` weighs their log-odds; without the sentence model the
words vote alone, more carefully. All of it is data, written by bench/train_heads.py; data/HEADS.md says what it scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scoring_rules import features
from scoring_rules.block import Block
from scoring_rules.call import Hit
from scoring_rules.features import Lens, Sequences, Situation
from scoring_rules.grammar import Interval

DATA = Path(__file__).parent / "data"
WORDS = {"zh": "heads.words.npz", "en": "heads.words.en.npz"}
MEANING = "heads.meaning.npz"
ALONE = frozenset({"zh"})  # languages of which the words may vote without a reader; in English they only help the readers
BOTH = {"zh": "both", "en": "both_en"}  # names of the readers' weights beside a language's words
VERSION = 3  # raised when features.py changes what is seen
CONFIRMED, MITIGATED_ANSWER = 0, 1  # columns; "none" is what they are weighed against
MITIGATED, CLEAN, UNEXCUSED = ".mitigated", ".clean", ".unexcused"  # further questions about a family
LONG_TURN, PART = 90, 60  # characters: longer turns are judged in parts of about this length


@dataclass(frozen=True, slots=True)
class Mix:
    """How voters are weighed, and from which log-odds on a verdict is given.

    slopes (voters, 2), intercepts (families, 2); sure, doubt, clean (families,): log-odds of the total.
    """

    slopes: np.ndarray
    intercepts: np.ndarray
    sure: np.ndarray
    doubt: np.ndarray
    clean: np.ndarray


@dataclass(frozen=True)
class Words:
    """The voter of character sequences, and the screen in front of it."""

    families: tuple[str, ...]
    table: np.ndarray  # (fields · 2^BITS, families · 2) float32
    bias: np.ndarray  # (families · 2,)
    screen: np.ndarray  # (2^BITS,) float32
    screen_bias: float
    screen_from: float  # log-odds from which a turn is worth a look
    read_from: float  # log-odds of the likeliest answer from which it is worth the sentence model
    mix: Mix

    def odds(self, sequences: Sequences, stretches: np.ndarray) -> np.ndarray:
        """(stretches, families, 2) log-odds of confirmed and of mitigated, each against the rest; of (stretches, 8)."""
        logits = sequences.weighed(stretches, self.table) + self.bias
        return against_rest(logits.reshape(len(stretches), len(self.families), 2))

    def worth_reading(self, odds: np.ndarray) -> np.ndarray:
        """Numbers of the stretches that the words do not clear of everything by themselves."""
        return np.flatnonzero(odds.max(axis=(1, 2)) >= self.read_from)


@dataclass(frozen=True)
class Reader:
    """A voter that reads meaning: a linear layer over the vectors of an adapted sentence model."""

    low_rank: Mapping[str, tuple[np.ndarray, np.ndarray]]  # weight → (out, rank), (rank, in) float16
    layer: np.ndarray  # (families · 2, dimension) float32
    bias: np.ndarray  # (families · 2,)

    @property
    def adapter(self) -> dict[str, np.ndarray]:
        """Corrections by the name of the weight they are added to."""
        return {name: up.astype(np.float32) @ down.astype(np.float32) for name, (up, down) in self.low_rank.items()}

    def odds(self, vectors: np.ndarray) -> np.ndarray:
        """(stretches, families, 2) as `Words.odds`, from (stretches, dimension)."""
        return against_rest((vectors @ self.layer.T + self.bias).reshape(len(vectors), -1, 2))


@dataclass(frozen=True)
class Meaning:
    """The readers, trained apart from each other: where one errs, another often does not."""

    readers: tuple[Reader, ...]
    mix: Mix  # of the words and each reader

    def odds(self, vectors: np.ndarray) -> list[np.ndarray]:
        """Each reader's (stretches, families, 2), from (stretches, readers · dimension): its vectors side by side."""
        parts = np.split(vectors, len(self.readers), axis=1)
        return [reader.odds(part) for reader, part in zip(self.readers, parts, strict=True)]


def mean_of_readings(vectors: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """(situations, dimension) of (readings, dimension), where each situation has so many readings (features.readings)."""
    first = np.cumsum([0, *counts[:-1]])
    return np.add.reduceat(vectors, first, axis=0) / np.array(counts)[:, None]


def against_rest(logits: np.ndarray) -> np.ndarray:
    """(…, 2) log-odds of each of two answers against all else, from logits of which "none" has 0."""
    others = logits[..., ::-1]
    return logits - np.logaddexp(0.0, others)


def questions(families: Sequence[str]) -> list[str]:
    """All that may be asked about families."""
    return [family + suffix for family in families for suffix in ("", MITIGATED, CLEAN, UNEXCUSED)]


@cache
def question_of(question: str) -> tuple[str, str]:
    """(family, suffix) of a question such as neg.cannot.mitigated."""
    for suffix in (MITIGATED, CLEAN, UNEXCUSED):
        if question.endswith(suffix):
            return question.removesuffix(suffix), suffix
    return question, ""


@dataclass(frozen=True, slots=True)
class Votes:
    """What the voters say of the stretches of a call. Arrays are (stretches, families[, 2])."""

    words: np.ndarray  # log-odds, weighed
    meaning: np.ndarray | None  # of all readers together; NaN where the sentence model was not asked
    total: np.ndarray
    yes: np.ndarray  # bool: surely, the mitigated ones too
    doubt: np.ndarray
    mitigated: np.ndarray
    clean: np.ndarray

    def corrected(self, rows: np.ndarray, read: Votes) -> Votes:
        """These votes with those of some stretches in place of theirs."""
        parts = {"meaning": np.full(self.total.shape, np.nan)}
        parts |= {name: getattr(self, name).copy() for name in ("words", "total", "yes", "doubt", "mitigated", "clean")}
        for name, array in parts.items():
            array[rows] = getattr(read, name)
        return Votes(**parts)

    def answers(self, suffix: str, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Stretches that answer a family's question with yes, and with doubt."""
        if suffix == MITIGATED:
            return np.flatnonzero(self.mitigated[:, number]), np.empty(0, int)
        if suffix == UNEXCUSED:
            return np.flatnonzero(self.yes[:, number] & ~self.mitigated[:, number]), np.empty(0, int)
        if suffix == CLEAN:
            return np.flatnonzero(self.clean[:, number]), np.empty(0, int)
        return np.flatnonzero(self.yes[:, number]), np.flatnonzero(self.doubt[:, number])


def count_votes(odds: Sequence[np.ndarray], mix: Mix) -> Votes:
    """Weigh the odds of the words and, where they were asked, the readers.

    A fault is mitigated where that is likelier than the fault alone, and than neither.

    Clean of a family, so that even its words are held back, is only what is charged with no other family either: whoever
    labels an insult may leave out the refusal in it.
    """
    shares = [slope * own for slope, own in zip(mix.slopes, odds, strict=True)]
    total = sum(shares) + mix.intercepts
    confirmed, excused = total[..., CONFIRMED], total[..., MITIGATED_ANSWER]
    mitigated = excused > np.maximum(confirmed, 0.0)
    yes = mitigated | (confirmed >= mix.sure)
    return Votes(
        words=shares[0],
        meaning=np.sum(shares[1:], axis=0) if len(shares) > 1 else None,
        total=total,
        yes=yes,
        doubt=~yes & (confirmed >= mix.doubt),
        mitigated=mitigated,
        clean=(np.maximum(confirmed, excused) < mix.clean) & ~yes.any(axis=-1, keepdims=True),
    )


# --- where to look -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidates:
    """The stretches of a block that are worth a look: turns, and parts of long ones, in order."""

    hits: tuple[Hit, ...]  # each with its turn in its call
    calls: tuple[int, ...]  # of each
    stretches: np.ndarray  # (hits, 8), see features.Sequences


def lens_of(block: Block) -> Lens:
    return features.lens_of(block.language)


def sequences_of(block: Block) -> Sequences:
    """The block's character sequences, hashed once for all heads."""
    known = block.memory.get(Sequences)
    if known is None:
        known = block.memory[Sequences] = Sequences(block.view.compact, block.roles, block.calls, lens_of(block))
    return known  # type: ignore[return-value]


def candidates(block: Block, words: Words) -> Candidates:
    """Worked out once a block."""
    known = block.memory.get(Candidates)
    if known is None:
        known = block.memory[Candidates] = _candidates(block, words)
    return known  # type: ignore[return-value]


def _candidates(block: Block, words: Words) -> Candidates:
    starts, ends = block.view.starts, block.view.ends
    lens = lens_of(block)
    scores = features.screen_scores(block.view.compact, words.screen, words.screen_bias, lens)
    long = np.array(ends) - np.array(starts) > LONG_TURN * lens.wide
    worth = np.array([role == "agent" for role in block.roles], dtype=bool) & ((scores >= words.screen_from) | long)
    hits: list[Hit] = []
    turns: list[int] = []  # of the block, one for each hit
    for turn in np.flatnonzero(worth).tolist():
        own = turn - block.firsts[block.calls[turn]]
        parts = _parts(block.clauses(turn), PART * lens.wide) if long[turn] else [(starts[turn], ends[turn])]
        hits += [Hit(start, end, own, "head") for start, end in parts]
        turns += [turn] * len(parts)
    stretches = stretches_of(block, turns, [(hit.start, hit.end) for hit in hits])
    calls = [block.calls[turn] for turn in turns]
    return Candidates(tuple(hits), tuple(calls), stretches)


def _parts(clauses: Sequence[Interval], longest: float) -> list[Interval]:
    """A long turn cut between clauses."""
    parts: list[Interval] = []
    for low, high in clauses:
        if parts and high - parts[-1][0] <= longest:
            parts[-1] = (parts[-1][0], high)
        else:
            parts.append((low, high))
    return [part for part in parts if part[0] < part[1]]


def stretches_of(block: Block, turns: Sequence[int], parts: Sequence[Interval]) -> np.ndarray:
    """(parts, 8) parts of turns of the block (positions on its axis) as the voter of words sees them."""
    offsets = np.asarray(block.view.offsets)
    places = np.asarray(parts, dtype=np.int64).reshape(-1, 2)
    return sequences_of(block).parts(turns, *np.searchsorted(offsets, places).T)


def situation(block: Block, call: int, hit: Hit) -> Situation:
    """A stretch of a call of the block as the sentence model reads it."""
    known = block.memory.get((Situation, call))
    if known is None:
        view = block.view
        known = block.memory[Situation, call] = [
            (block.roles[turn], view.plain[view.starts[turn] : view.ends[turn]])
            for turn in range(block.firsts[call], block.firsts[call + 1])
        ]
    base = block.view.starts[block.firsts[call] + hit.turn]
    return features.situation(known, hit.turn, (hit.start - base, hit.end - base), lens_of(block))  # type: ignore[arg-type]


# --- data ------------------------------------------------------------------------------------------------------


def _mix(data: Any, voters: str) -> Mix:
    return Mix(*(data[f"{voters}_{name}"] for name in ("slopes", "intercepts", "sure", "doubt", "clean")))


@cache
def load_words(language: str = "zh", folder: Path = DATA) -> Words | None:
    """A language's voter of words; None where none was trained on these features."""
    path = folder / WORDS.get(language, "")
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as data:
        if int(data["version"]) != VERSION:
            return None
        return Words(
            families=tuple(data["families"].tolist()),
            table=np.ascontiguousarray(data["table"] * data["scale"].astype(np.float32)),  # or each product copies it
            bias=data["bias"],
            screen=data["screen"].astype(np.float32),
            screen_bias=float(data["screen_bias"]),
            screen_from=float(data["screen_from"]),
            read_from=float(data["read_from"]),
            mix=_mix(data, "words"),
        )


@cache
def load_meaning(fingerprint: str, language: str = "zh", folder: Path = DATA) -> Meaning | None:
    """The readers for a sentence model, as they vote in a language; None where none was trained for both and these features."""
    path = folder / MEANING
    if not path.is_file() or language not in BOTH:
        return None
    with np.load(path, allow_pickle=False) as data:
        if int(data["version"]) != VERSION or str(data["fingerprint"]) != fingerprint or f"{BOTH[language]}_slopes" not in data:
            return None
        return Meaning(load_readers(fingerprint, folder), _mix(data, BOTH[language]))


@cache
def load_readers(fingerprint: str, folder: Path = DATA) -> tuple[Reader, ...]:
    """The readers for a sentence model, which all languages share."""
    with np.load(folder / MEANING, allow_pickle=False) as data:
        if str(data["fingerprint"]) != fingerprint:
            return ()
        return tuple(reader({name: data[name] for name in data.files}, number) for number in range(int(data["readers"])))


def reader(data: Mapping[str, np.ndarray], number: int) -> Reader:
    """One of the readers kept in a file, each under its number."""
    own = {name.removeprefix(f"{number}/"): value for name, value in data.items() if name.startswith(f"{number}/")}
    names = sorted(name.removesuffix("/up") for name in own if name.endswith("/up"))
    return Reader({name: (own[f"{name}/up"], own[f"{name}/down"]) for name in names}, own["layer"], own["bias"])


def known_families() -> tuple[str, ...]:
    """The families that the shipped heads know."""
    words = load_words()
    return () if words is None else words.families
