"""Meaning: nearness to exemplar sentences and trained heads, over a sentence model that is handed in."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np

from scoring_rules import features, heads
from scoring_rules.acts import load_acts
from scoring_rules.block import Block
from scoring_rules.call import Call, Hit
from scoring_rules.finder import Finder, Minds
from scoring_rules.grammar import Interval
from scoring_rules.model import Condition, Head, Meaning, Reason
from scoring_rules.plan import children

BACKGROUND = Path(__file__).parent / "data" / "background-zh.txt"  # ordinary turns of agents, one a line
HAN = re.compile(r"[\u4e00-\u9fff]")
CACHED_TEXTS = 20_000  # embeddings kept: about 30 MB at 384 dimensions
BACKGROUND_SHARE = 0.995  # of background sentences lie below a calibrated threshold: one false alarm in 200


class Encoder(Protocol):
    """A sentence model."""

    @property
    def fingerprint(self) -> str: ...

    def encode(self, texts: list[str]) -> np.ndarray:
        """(texts, dimensions) float32, each row of length 1."""
        ...

    def adapted(self, adapter: Mapping[str, np.ndarray]) -> Encoder:
        """The same model with corrections added to its weights, by name."""
        ...


ADAPTED = "\0"  # before texts that are wanted from the adapted sentence models


class Vectors:
    """Vectors of texts, kept: those of a sentence model and, for texts marked ADAPTED, of each reader's adapted one."""

    def __init__(self, encoder: Encoder | None) -> None:
        self.encoder = encoder
        self._adapted: list[Encoder] = []  # one a reader, loaded when first asked
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    def encode(self, texts: list[str]) -> None:
        """Encodes in one batch what is asked for and not known."""
        assert self.encoder is not None
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        plain = [text for text in new if not text.startswith(ADAPTED)]
        if plain:
            self._kept.update(zip(plain, self.encoder.encode(plain), strict=True))
        marked = [text for text in new if text.startswith(ADAPTED)]
        if marked:
            if not self._adapted:
                self._adapted = [self.encoder.adapted(reader.adapter) for reader in heads.load_readers(self.encoder.fingerprint)]
            bare = [text.removeprefix(ADAPTED) for text in marked]
            found = np.concatenate([encoder.encode(bare) for encoder in self._adapted], axis=1)
            self._kept.update(zip(marked, found, strict=True))
        while len(self._kept) > max(CACHED_TEXTS, len(texts)):
            self._kept.popitem(last=False)

    def of(self, texts: Sequence[str], call: Call) -> np.ndarray | None:
        """(texts, dimensions), or None after asking for those that are missing."""
        missing = [text for text in texts if text not in self._kept]
        if missing:
            call.block.wanted.update(dict.fromkeys(missing))
            call.waiting = True
            return None
        return np.stack([self._kept[text] for text in texts])


class Judges(Minds):
    """Judges of meaning in one language. Texts that are not yet encoded are asked for, and judged in the next round.

    Without a sentence model, or with another than the heads were trained on, the heads vote by words alone where that is
    good enough, and are not evaluated elsewhere.
    """

    def __init__(self, vectors: Vectors, language: str) -> None:
        self.encoder = encoder = vectors.encoder
        self.vectors = vectors.of
        self.acts = load_acts() if language == "zh" else None
        self.words = heads.load_words(language)
        self.meaning = None if encoder is None or self.words is None else heads.load_meaning(encoder.fingerprint, language)
        self._lens = features.lens_of(language)
        self._acts = () if self.acts is None else self.acts.columns.keys()
        self._families = () if self.words is None else heads.questions(self.words.families)
        voting = self.meaning is not None or language in heads.ALONE
        self._questions = frozenset((*self._acts, *(self._families if voting else ())))
        self._exemplars: dict[tuple[str, ...], np.ndarray] = {}
        self._thresholds: dict[tuple[str, ...], float] = {}
        self._background: np.ndarray | None = None

    def missing(self, test: Meaning | Head) -> Reason | None:
        if isinstance(test, Head):
            if test.question in self._questions:
                return None
            return Reason.NO_ENCODER if self.encoder is None and test.question in self._families else Reason.NO_HEAD
        if self.encoder is None:
            return Reason.NO_ENCODER
        return None if self._threshold(test) is not None else Reason.UNCALIBRATED

    def _threshold(self, test: Meaning) -> float | None:
        if test.threshold is not None or self.encoder is None or not HAN.search("".join(test.exemplars)):
            return test.threshold
        found = self._thresholds.get(test.exemplars)
        if found is None:
            if self._background is None:
                self._background = self.encoder.encode(BACKGROUND.read_text("utf-8").splitlines())
            found = self._thresholds[test.exemplars] = calibrate(self.encoder, test.exemplars, self._background)
        return found

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

    def answers(self, test: Head, finder: Finder) -> Sequence[Hit]:
        call, question = finder.call, test.question
        known = call.block.memory.get(question)
        if known is None:
            if self.acts is not None and question in self._acts:
                known = self.acts.answers(call.block, question)
            else:
                votes = self._votes(call)
                if votes is None:
                    return ()
                known = self._answers(question, votes, call.block)
            call.block.memory[question] = known
        return known.get(call.number, ())  # type: ignore[attr-defined]

    def _answers(self, question: str, votes: heads.Votes, block: Block) -> dict[int, list[Hit]]:
        """By call, the stretches that answer a question with yes, and, not sure, with doubt."""
        assert self.words is not None
        family, suffix = heads.question_of(question)
        number = self.words.families.index(family)
        worth = heads.candidates(block, self.words)
        sure, doubt = votes.answers(suffix, number)
        found = [(n, True) for n in sure.tolist()] + [(n, False) for n in doubt.tolist()]
        if suffix == "":
            # Of a long turn's parts the likeliest: its neighbours have the fault in their context.
            strength = votes.total[:, number].max(axis=-1)
            found.sort(key=lambda one: (worth.calls[one[0]], worth.hits[one[0]].turn, -strength[one[0]]))
            found = [next(group) for _, group in groupby(found, key=lambda one: (worth.calls[one[0]], worth.hits[one[0]].turn))]
        answers: dict[int, list[Hit]] = {}
        for n, certain in found:
            hit = worth.hits[n] if suffix else self._telling(number, n, votes, block)
            answers.setdefault(worth.calls[n], []).append(hit if certain else hit._replace(sure=False))
        return answers

    def _votes(self, call: Call) -> heads.Votes | None:
        """The votes on all candidates of the call's block, counted once; None after asking for the vectors that are missing."""
        assert self.words is not None
        block = call.block
        known = block.memory.get(heads.Votes)
        if known is None:
            odds = self._odds(block)
            known = heads.count_votes([odds], self.words.mix)
            if self.meaning is not None and len(read := self.words.worth_reading(odds)):
                texts = self._read(read, block)
                vectors = self.vectors([text for each in texts for text in each], call)
                if vectors is None:
                    return None
                vectors = heads.mean_of_readings(vectors, [len(each) for each in texts])
                known = known.corrected(read, heads.count_votes([odds[read], *self.meaning.odds(vectors)], self.meaning.mix))
            block.memory[heads.Votes] = known
        return known  # type: ignore[return-value]

    def _odds(self, block: Block) -> np.ndarray:
        """(stretches, families, 2) the words' log-odds of all candidates. Worked out once a block."""
        assert self.words is not None
        known = block.memory.get(heads.Words)
        if known is None:
            worth = heads.candidates(block, self.words)
            known = block.memory[heads.Words] = self.words.odds(heads.sequences_of(block), worth.stretches)
        return known  # type: ignore[return-value]

    def _read(self, chosen: np.ndarray, block: Block) -> list[tuple[str, ...]]:
        """What the adapted sentence models are asked of some candidates. Written once a block."""
        assert self.words is not None
        known = block.memory.get(ADAPTED)
        if known is None:
            worth = heads.candidates(block, self.words)
            known = block.memory[ADAPTED] = [
                tuple(ADAPTED + text for text in features.readings(heads.situation(block, worth.calls[n], worth.hits[n]), self._lens))
                for n in chosen.tolist()
            ]
        return known  # type: ignore[return-value]

    def _telling(self, number: int, n: int, votes: heads.Votes, block: Block) -> Hit:
        """Of a candidate the clause of which the words alone say it most."""
        assert self.words is not None
        hit = heads.candidates(block, self.words).hits[n]
        clauses, odds = self._clauses(votes, block)[n]
        if len(clauses) < 2:
            return hit
        start, end = clauses[int(odds[:, number].max(axis=-1).argmax())]
        return hit._replace(start=start, end=end)

    def _clauses(self, votes: heads.Votes, block: Block) -> dict[int, tuple[list[Interval], np.ndarray]]:
        """Of each candidate with an answer its clauses and their (clauses, families, 2) odds, all worked out at once."""
        known = block.memory.get(Interval)
        if known is None:
            assert self.words is not None
            worth = heads.candidates(block, self.words)
            parts: dict[int, list[Interval]] = {}
            turns: list[int] = []
            alone: list[Interval] = []
            for n in np.flatnonzero((votes.yes | votes.doubt).any(axis=1)).tolist():
                hit = worth.hits[n]
                turn = block.firsts[worth.calls[n]] + hit.turn
                clauses = parts[n] = [each for each in block.clauses(turn) if hit.start <= each[0] < each[1] <= hit.end]
                if len(clauses) > 1:
                    alone += clauses
                    turns += [turn] * len(clauses)
            stretches = heads.stretches_of(block, turns, alone)
            stretches[:, 4:] = 0  # without what stands around the turn
            odds = self.words.odds(heads.sequences_of(block), stretches)
            known, at = {}, 0
            for n, clauses in parts.items():
                size = len(clauses) if len(clauses) > 1 else 0
                known[n] = (clauses, odds[at : at + size])
                at += size
            block.memory[Interval] = known
        return known  # type: ignore[return-value]

    def shares(self, condition: Condition, piece: Hit, finder: Finder) -> tuple[tuple[str, float], ...]:
        test = next((one.test for one in (condition, *children(condition)) if isinstance(one.test, Head)), None)
        if test is None or self.words is None or test.question in self._acts:
            return ()
        votes = self._votes(finder.call)
        if votes is None:
            return ()
        number = self.words.families.index(heads.question_of(test.question)[0])
        hits = heads.candidates(finder.call.block, self.words).hits
        place = next(n for n, hit in enumerate(hits) if hit.start <= piece.start < hit.end)
        column = heads.MITIGATED_ANSWER if votes.mitigated[place, number] else heads.CONFIRMED
        parts = {"words": votes.words, "meaning": votes.meaning, "total": votes.total}
        return tuple(
            (name, float(values[place, number, column]))
            for name, values in parts.items()
            if values is not None and not np.isnan(values[place, number, column])
        )


def calibrate(encoder: Encoder, exemplars: Sequence[str], background: np.ndarray) -> float:
    """The cosine that all but one in two hundred background sentences stay below.

    background: (sentences, dimensions) float32, unit rows: ordinary service talk that means none of the exemplars.
    """
    nearest = (background @ encoder.encode(list(exemplars)).T).max(axis=1)
    return float(np.quantile(nearest, BACKGROUND_SHARE))
