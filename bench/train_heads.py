"""Train the heads behind the negative-language rules (scoring_rules/heads.py): the voters, and how they are weighed.

    python bench/train_heads.py --models FOLDER --polite FILE.jsonl [--epochs N] [--beside NUMBER…]
        [--reader-only | --adapter FILE.npz…] [--start NUMBER --newest PATTERN… --share N]

Words: a softmax regression a family (none, confirmed, mitigated) over hashed character sequences. Readers: low-rank
corrections of the sentence model and a layer over its vectors (bench/adapter.py). Both learn from
bench/training/language, half of it disturbed by the confusion model of a recogniser (bench/confusion.py), and from polite
service dialogues (the first half of --polite, e.g. CrossWOZ) as clean talk. How they are weighed, and the thresholds, are
set on tests/language/{tune,long_tune}.jsonl and the third quarter of --polite, which no voter has seen; the last quarter is left
for bench/language.py to count false alarms on. English has words of its own, from bench/training/english, weighed on
english_tune.jsonl; the readers learn from both languages. Writes scoring_rules/data/heads.{words,words.en,meaning}.npz.
With --start a reader grows from one in force, over what is newest and a share of the rest, instead of from the sentence
model itself. With --adapter trained readers are taken from files that earlier runs wrote. With --beside the readers in force so
numbered vote beside it: readers trained on different turns, or from other --seeds, err apart.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from adapter import Learner, Plan
from among import among, ordinary
from confusion import Noise, confuse
from language import FAMILIES, PROJECT, encoder, labels, marked
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from scoring_rules import features, heads
from scoring_rules.features import Sequences, Situation
from scoring_rules.text import fold, views

ANSWERS = {"confirmed": 1, "mitigated": 2}
INVERSE_PENALTY = 60.0
SCREEN_PENALTY = 3.0
SCREEN_RECALL = 0.975  # of violations and mitigated ones, cross-validated, pass the screen
READ_RECALL = 0.985  # of those on the tune half are read by the sentence model
POLITE_TURNS = 900
AMONG = 0.5  # share of the disturbed turns that stand among other talk
NOISES = (0.0, 0.02, 0.05, 0.1)  # shares of characters misheard, drawn for each text
# On the tune halves, written to be difficult. By words alone a stricter threshold loses too much; English heads stand beside
# patterns that have false alarms of their own.
SURE_PRECISION = {"zh": 0.94, "en": 0.95}
SURE_PRECISION_OF_WORDS = {"zh": 0.9, "en": 0.95}
FALSE_ALARMS = 4.0  # confirmed per 1,000 polite turns and all families together
DOUBT_SHARE = {"zh": 0.4, "en": 0.7}  # from this probability on a finding is suspected; English learned from less
CLEAN_BELOW = -4.0  # log-odds below which a phrase's finding is held back
SEED = 7

Turns = list[tuple[str | None, str]]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def plain(turns: list[dict], language: str = "zh") -> Turns:
    """Turns as the engine reads them."""
    view = views([turn["text"] for turn in turns], language)
    return [
        (turn["role"], view.plain[start:end]) for turn, start, end in zip(turns, view.starts, view.ends, strict=True)
    ]


def heard(turns: Turns, rng: random.Random) -> Turns:
    """The turns as a recogniser might have written them."""
    noise = Noise(alike=rng.choice(NOISES))
    return [(role, confuse(text, rng, noise)) for role, text in turns]


class Cases:
    """Labelled turns: (turns, the one in question), and (cases, families) answers, -1 where none counts. Dear: (cases,)
    those that every epoch of a reader reads. Talk: ordinary turns, some of which stand around the one in question."""

    def __init__(
        self, cases: list[dict], language: str = "zh", dear: Sequence[bool] | None = None, talk: Sequence[str] = ()
    ) -> None:
        self.language, self.lens = language, features.lens_of(language)
        self.turns = [(plain(case["turns"], language), marked(case)) for case in cases]
        self.answers = np.array([_answers(case) for case in cases])
        self.dear = np.ones(len(cases), bool) if dear is None else np.array(dear, bool)
        self.talk = talk

    def heard(self, rng: random.Random | None) -> list[Turns]:
        """As written or, with dice, some among other talk and all as a recogniser of Mandarin might have written them."""
        if rng is None or self.language != "zh":
            return [turns for turns, _ in self.turns]
        placed = [
            among(turns, number, self.talk, rng) if self.talk and rng.random() < AMONG else turns for turns, number in self.turns
        ]
        return [heard(turns, rng) for turns in placed]

    def situations(self, rng: random.Random | None = None) -> list[Situation]:
        cases = zip(self.heard(rng), self.turns, strict=True)
        return [features.situation(turns, number, lens=self.lens) for turns, (_, number) in cases]

    def readings(self) -> list[tuple[str, ...]]:
        """As the sentence model reads them."""
        return [features.readings(seen, self.lens) for seen in self.situations()]

    def stretches(self, rng: random.Random | None = None) -> list[tuple[Sequences, np.ndarray]]:
        """As the voter of words sees them."""
        found = []
        for turns, (_, number) in zip(self.heard(rng), self.turns, strict=True):
            view = views([text for _, text in turns], self.language)
            sequences = Sequences(view.compact, [role for role, _ in turns], lens=self.lens)
            found.append((sequences, sequences.turns([number])))
        return found


def _answers(case: dict) -> list[int]:
    found, open_ones = labels(case), case.get("arguable", ())
    return [-1 if family in open_ones and family not in found else ANSWERS.get(found.get(family, ""), 0) for family in FAMILIES]


def labelled(folder: Path, newest: Sequence[str]) -> tuple[list[dict], list[bool]]:
    """The labelled turns of a folder, and which of them stand in files whose names one of the patterns fits."""
    cases, dear = [], []
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem != "positives":  # labelled for the standard phrases alone
            cases += lines(path)
            dear += [is_newest(path, newest)] * (len(cases) - len(dear))
    return cases, dear


def is_newest(path: Path, newest: Sequence[str]) -> bool:
    return any(fnmatch(path.stem, pattern) for pattern in newest)


def polite_cases(path: Path, first: float, last: float) -> list[dict]:
    """Agent turns of a part of the dialogues (shares, 0–1), as clean talk."""
    dialogues = lines(path)
    found = [
        {"turns": [*dialogue["turns"][:number], {**turn, "here": True}, *dialogue["turns"][number + 1 :]], "labels": {}}
        for dialogue in dialogues[int(len(dialogues) * first) : int(len(dialogues) * last)]
        for number, turn in enumerate(dialogue["turns"])
        if turn["role"] == "agent"
    ]
    random.Random(SEED).shuffle(found)
    return found[:POLITE_TURNS]


# --- words -----------------------------------------------------------------------------------------------------


def matrix(seen: list[tuple[Sequences, np.ndarray]]) -> sparse.csr_matrix:
    """(stretches, fields · 2^BITS)"""
    found = [sequences.of(stretch)[:2] for sequences, stretch in seen]
    ends = np.cumsum([0, *(len(places) for places, _ in found)])
    places, values = (np.concatenate(part) for part in zip(*found, strict=True))
    made = sparse.csr_matrix((values, places, ends), shape=(len(seen), len(features.FIELDS) << features.BITS))
    made.sum_duplicates()
    return made


def train_words(cases: Cases) -> dict[str, np.ndarray]:
    rng = random.Random(SEED)
    seen = matrix(cases.stretches() + cases.stretches(rng))
    answers = np.concatenate([cases.answers, cases.answers])
    weights = np.zeros((len(FAMILIES), 2, seen.shape[1]), np.float32)
    bias = np.full((len(FAMILIES), 2), -12.0, np.float32)  # an answer that never occurs stays out
    for number in range(len(FAMILIES)):
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=400).fit(seen, answers[:, number])
        known = {int(answer): place for place, answer in enumerate(model.classes_)}
        if len(known) == 2:
            weights[number, 0], bias[number, 0] = model.coef_[0], model.intercept_[0]
            continue
        for answer in (1, 2):
            weights[number, answer - 1] = model.coef_[known[answer]] - model.coef_[known[0]]
            bias[number, answer - 1] = model.intercept_[known[answer]] - model.intercept_[known[0]]
    flat = weights.reshape(-1, seen.shape[1]).T  # (slots, families · 2)
    scale = np.maximum(np.abs(flat).max(axis=0), 1e-6) / 127
    return {
        "families": np.array(FAMILIES),
        "table": np.rint(flat / scale).astype(np.int8),
        "scale": scale.astype(np.float32),
        "bias": bias.reshape(-1),
    }


def train_screen(cases: Cases, own: int) -> dict[str, np.ndarray]:
    """The cheap look at every turn, as written and among other talk. Its threshold is set on the first `own` cases, the
    labelled ones, cross-validated."""
    indices, values, ends = [], [], [0]
    for versions in (cases.heard(None), cases.heard(random.Random(SEED))):
        for turns, (_, number) in zip(versions, cases.turns, strict=True):
            slots, weights = _screened(turns[number][1], cases)
            indices.append(slots)
            values.append(weights)
            ends.append(ends[-1] + len(slots))
    count = len(cases.turns)
    seen = sparse.csr_matrix((np.concatenate(values), np.concatenate(indices), ends), shape=(2 * count, 1 << features.BITS))
    seen.sum_duplicates()
    wanted = np.tile((cases.answers > 0).any(axis=1), 2)
    labelled_ones = np.tile(np.arange(count) < own, 2)
    model = LogisticRegression(C=SCREEN_PENALTY, max_iter=400)
    groups = np.tile(np.random.default_rng(SEED).permutation(count), 2)
    odds = cross_val_predict(model, seen, wanted, groups=groups, cv=GroupKFold(5), method="decision_function")
    model.fit(seen, wanted)
    threshold = float(np.quantile(odds[labelled_ones & wanted], 1 - SCREEN_RECALL))
    passed = odds >= threshold
    polite = f", {np.mean(passed[:count][own:]):.0%} of polite turns" if own < count else ""
    print(f"screen: {np.mean(passed[labelled_ones & ~wanted]):.0%} of hard negatives pass{polite}")
    return {
        "screen": model.coef_[0].astype(np.float16),
        "screen_bias": np.array(model.intercept_[0]),
        "screen_from": np.array(threshold),
    }


def _screened(text: str, cases: Cases) -> tuple[np.ndarray, np.ndarray]:
    """What `features.screen_scores` sums for one turn."""
    framed = features.read(f"\n{fold(text, cases.language)}\n")
    found = np.concatenate([features.slots(framed, length, features.SCREEN_FIELD) for length in cases.lens.screen])
    return found, np.full(len(found), len(found) ** -features.DAMPING)


# --- meaning ---------------------------------------------------------------------------------------------------


def train_meaning(sentences, parts: list[Cases], plan: Plan, kept: Path, start: heads.Reader | None, share: float) -> None:
    """Each epoch reads the cases that are dear and a share (0–1), drawn anew, of the others."""
    learner = Learner(sentences, len(FAMILIES), 3, plan)
    if start is not None:
        learner.start_from(dict(start.low_rank), *three_answers(start))
    dear = np.concatenate([cases.dear for cases in parts])
    others = int((~dear).sum() * share)

    def rows(rng: random.Random) -> tuple[list[str], np.ndarray]:
        texts = []
        for cases in parts:
            pairs = zip(cases.situations(), cases.situations(rng), strict=True)
            texts += [rng.choice(features.readings(rng.choice(pair), cases.lens)) for pair in pairs]
        drawn = rng.sample([int(number) for number in np.where(~dear)[0]], others)
        chosen = np.sort(np.concatenate([np.where(dear)[0], np.array(drawn, int)]))
        return [texts[number] for number in chosen], np.concatenate([cases.answers for cases in parts])[chosen]

    learner.fit(rows, int(dear.sum()) + others, checkpoint=kept.with_suffix(".epoch"))
    learner.keep(kept)


def three_answers(reader: heads.Reader) -> tuple[np.ndarray, np.ndarray]:
    """Layer and bias with the logits of "none", 0, which are not shipped."""
    layer = reader.layer.reshape(len(FAMILIES), 2, -1)
    bias = reader.bias.reshape(len(FAMILIES), 2)
    return (
        np.concatenate([np.zeros_like(layer[:, :1]), layer], axis=1).reshape(3 * len(FAMILIES), -1),
        np.concatenate([np.zeros_like(bias[:, :1]), bias], axis=1).reshape(-1),
    )


def meaning_data(path: Path) -> dict[str, np.ndarray]:
    """The adapter as it is shipped: answers as logits of which "none" has 0."""
    with np.load(path) as data:
        found = {name: data[name] for name in data.files if "/" in name}
        layer = data["layer"].reshape(len(FAMILIES), 3, -1)
        bias = data["layer_bias"].reshape(len(FAMILIES), 3)
    found["layer"] = (layer[:, 1:] - layer[:, :1]).reshape(2 * len(FAMILIES), -1).astype(np.float32)
    found["bias"] = (bias[:, 1:] - bias[:, :1]).reshape(-1).astype(np.float32)
    return found


# --- the vote --------------------------------------------------------------------------------------------------


def weigh(odds: list[np.ndarray], answers: np.ndarray, polite: list[np.ndarray] | None, precision: float, doubted: float) -> dict[str, np.ndarray]:
    """Slopes a voter and answer, intercepts a family, thresholds. odds: of each voter, (cases, families, 2); polite: the
    same of talk that is clean, where there is any; doubted: the probability from which a finding is suspected."""
    families = answers.shape[1]
    counted = answers >= 0
    slopes, intercepts = np.zeros((len(odds), 2)), np.zeros((families, 2))
    for column in (0, 1):
        one_hot = np.broadcast_to(np.eye(families), (*answers.shape, families))
        seen = np.concatenate([np.stack([voter[..., column] for voter in odds], -1), one_hot * (column == 0)], -1)
        model = LogisticRegression(C=1.0, max_iter=1000).fit(seen[counted], answers[counted] == column + 1)
        slopes[:, column] = model.coef_[0][: len(odds)]
        intercepts[:, column] = model.intercept_[0] + model.coef_[0][len(odds) :] * (column == 0)

    def total(voters: list[np.ndarray]) -> np.ndarray:
        return sum(slope * voter for slope, voter in zip(slopes, voters, strict=True)) + intercepts

    found = total(odds)
    excused = found[..., 1] > np.maximum(found[..., 0], 0)
    charged = np.where(excused, -np.inf, found[..., 0])
    usable = counted & (answers != 2)
    order = np.argsort(-charged[usable])
    truth = (answers == 1)[usable][order]
    right = np.cumsum(truth) / np.arange(1, len(order) + 1)
    reached = np.where(right >= precision)[0]
    sure = float(charged[usable][order][reached.max()])
    print(f"  precision {precision} from {sure:.2f}")
    if polite:
        calm = np.sort(np.where(total(polite)[..., 1] > np.maximum(total(polite)[..., 0], 0), -np.inf, total(polite)[..., 0]).ravel())
        allowed = int(FALSE_ALARMS * len(polite[0]) / 1000)
        print(f"  {allowed} false alarms on {len(polite[0])} polite turns from {calm[-allowed - 1]:.2f}")
        sure = max(sure, float(calm[-allowed - 1]) + 1e-3)
    doubt = min(sure, float(np.log(doubted / (1 - doubted))))
    print(f"  slopes {slopes.round(2).tolist()}, sure from {sure:.2f}, suspected from {doubt:.2f}; on tune recall {np.mean(found[..., 0][answers == 1] >= sure):.2f}")
    return {
        "slopes": slopes,
        "intercepts": intercepts,
        "sure": np.full(families, sure),
        "doubt": np.full(families, doubt),
        "clean": np.full(families, CLEAN_BELOW),
    }


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--models", type=Path, required=True)
    arguments.add_argument("--polite", type=Path, required=True)
    arguments.add_argument("--adapter", type=Path, nargs="*", default=[], metavar="FILE.npz", help="readers that earlier runs kept")
    arguments.add_argument("--reader-only", action="store_true", help="train and keep a reader; leave what is in force as it is")
    arguments.add_argument("--kept", type=Path, default=Path("adapter.npz"), help="where the trained adapter is written")
    arguments.add_argument("--epochs", type=int, default=Plan.epochs)
    arguments.add_argument("--rank", type=int, default=Plan.rank)
    arguments.add_argument("--rate", type=float, default=Plan.rate)
    arguments.add_argument("--threads", type=int, default=Plan.threads)
    arguments.add_argument("--bfloat16", action="store_true")
    arguments.add_argument("--seed", type=int, default=SEED, help="of the reader")
    arguments.add_argument("--start", type=int, metavar="NUMBER", help="the reader in force that this one grows from")
    arguments.add_argument("--newest", nargs="*", default=["*"], metavar="PATTERN", help="files of training turns that every epoch reads")
    arguments.add_argument("--share", type=float, default=0.4, help="of the other turns that an epoch reads, drawn anew each time")
    arguments.add_argument("--beside", type=int, nargs="*", default=[], metavar="NUMBER", help="readers in force that stay, by number")
    given = arguments.parse_args()

    folder = PROJECT / "bench/training"
    own, own_dear = labelled(folder / "language", given.newest)
    service = polite_cases(given.polite, 0, 0.5)
    english, english_dear = labelled(folder / "english", given.newest)
    calm_dear = [is_newest(given.polite, given.newest)] * len(service)
    parts = {"zh": Cases(own + service, dear=own_dear + calm_dear, talk=ordinary(own)), "en": Cases(english, "en", english_dear)}
    print(f"{len(own)} labelled turns, {len(service)} polite ones, {len(english)} English ones")

    sentences = encoder(given.models)
    if not given.adapter:
        plan = Plan(
            rank=given.rank, epochs=given.epochs, rate=given.rate, layer_rate=2 * given.rate, seed=given.seed,
            threads=given.threads, bfloat16=given.bfloat16,
        )  # fmt: skip
        start = None if given.start is None else in_force(given.start)
        train_meaning(sentences, list(parts.values()), plan, given.kept, start, given.share)
    if given.reader_only:
        return
    words = {language: train_words(cases) | train_screen(cases, len(own if language == "zh" else english)) for language, cases in parts.items()}
    trained = [meaning_data(path) for path in given.adapter or [given.kept]]
    readers = [in_force(number) for number in given.beside]
    readers += [heads.reader({f"0/{name}": value for name, value in data.items()}, 0) for data in trained]

    tests = PROJECT / "tests/language"
    tunes = {
        "zh": [Cases(lines(tests / "tune.jsonl") + lines(tests / "long_tune.jsonl")), Cases(polite_cases(given.polite, 0.5, 0.75))],
        "en": [Cases(lines(tests / "english_tune.jsonl"), "en")],
    }
    adapted = [encoder(given.models).adapted(reader.adapter) for reader in readers]
    meaning: dict[str, np.ndarray] = {}
    for language, (tune, *calm) in tunes.items():
        voter = heads.Words(**_words(words[language]), mix=None)  # pyright: ignore[reportArgumentType]
        voters = [[np.concatenate([voter.odds(*seen) for seen in part.stretches()]) for part in (tune, *calm)]]
        voters += [[_read(reader, model, part) for part in (tune, *calm)] for reader, model in zip(readers, adapted, strict=True)]
        faulty = (tune.answers > 0).any(axis=1)
        words[language]["read_from"] = np.quantile(voters[0][0].max(axis=(1, 2))[faulty], 1 - READ_RECALL)
        if calm:
            told = np.mean(voters[0][1].max(axis=(1, 2)) >= words[language]["read_from"])
            print(f"of polite turns {told:.1%} are read by the sentence model")
        alone = (voters[:1], "words", SURE_PRECISION_OF_WORDS[language], words[language])
        for chosen, name, precision, kept in (alone, (voters, heads.BOTH[language], SURE_PRECISION[language], meaning)):
            print(f"{language}, {name}")
            polite = [odds[1] for odds in chosen] if calm else None
            kept |= _named(name, weigh([odds[0] for odds in chosen], tune.answers, polite, precision, DOUBT_SHARE[language]))
    meaning |= {f"{number}/{name}": value for number, reader in enumerate(readers) for name, value in _kept(reader).items()}
    for language, found in words.items():
        np.savez_compressed(heads.DATA / heads.WORDS[language], version=np.array(heads.VERSION), **found)  # pyright: ignore[reportArgumentType]
    np.savez_compressed(
        heads.DATA / heads.MEANING, version=np.array(heads.VERSION), fingerprint=np.array(sentences.fingerprint),
        readers=np.array(len(readers)), **meaning,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip


def in_force(number: int) -> heads.Reader:
    with np.load(heads.DATA / heads.MEANING) as data:
        return heads.reader(dict(data), number)


def _read(reader: heads.Reader, model, cases: Cases) -> np.ndarray:
    """(cases, families, 2) a reader's log-odds."""
    texts = cases.readings()
    vectors = model.encode([text for each in texts for text in each])
    return reader.odds(heads.mean_of_readings(vectors, [len(each) for each in texts]))


def _kept(reader: heads.Reader) -> dict[str, np.ndarray]:
    """A reader as heads.reader reads it."""
    pairs = {f"{name}/{side}": part for name, pair in reader.low_rank.items() for side, part in zip(("up", "down"), pair, strict=True)}
    return {**pairs, "layer": reader.layer, "bias": reader.bias}


def _words(data: dict[str, np.ndarray]) -> dict:
    return {
        "read_from": 0.0,
        "table": data["table"] * data["scale"],
        "bias": data["bias"],
        "families": FAMILIES,
        "screen": data["screen"].astype(np.float32),
        "screen_bias": float(data["screen_bias"]),
        "screen_from": float(data["screen_from"]),
    }


def _named(voters: str, mix: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{voters}_{name}": value.astype(np.float32) for name, value in mix.items()}


if __name__ == "__main__":
    main()
