"""Rules over many turns on one core: the whole pack, beside plain string search over the same phrases.

    python bench/rules_speed.py [--turns 100000] [--language zh] [--profile]

Calls of thirty turns, scored many at once as rescoring and replay do, are drawn with a fixed seed from the training dialogues of this folder: nine in ten turns
ordinary, one in ten with a fault in it. Only scoring is timed, without a sentence model; loading and drawing are
told apart. The three searches run one after the other on the same turns in the same process.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scoring_rules.block import Block, blocks
from scoring_rules.evaluate import Evaluator
from scoring_rules.examples import Dialogue, dialogue
from scoring_rules.load import load_pack
from scoring_rules.model import Pack, Phrase
from scoring_rules.plan import compile_plan, conditions_of, fill
from scoring_rules.text import views

TRAINING = Path(__file__).parent / "training" / "language"
ORDINARY = ("service", "polite", "long")
CALL_TURNS = 30
FAULTY = 0.1
SIZES = (60, 600, 6000)


def pool(ordinary: bool) -> list[tuple[str, str]]:
    """(role, text) of the training dialogues' turns."""
    found = []
    for path in sorted(TRAINING.glob("*.jsonl")):
        if (path.stem in ORDINARY) == ordinary:
            for line in path.read_text("utf-8").splitlines():
                found += [(turn["role"], turn["text"]) for turn in json.loads(line)["turns"]]
    return found


def calls(turns: int, seed: int = 7) -> Iterator[Dialogue]:
    draw = random.Random(seed)
    ordinary, faulty = pool(True), pool(False)
    for number in range(turns // CALL_TURNS):
        chosen = [draw.choice(faulty if draw.random() < FAULTY else ordinary) for _ in range(CALL_TURNS)]
        yield dialogue(chosen, "zh", kind=draw.choice(("咨询", "查询", "投诉", "建议", "办理")), number=number)


def phrases_of(pack: Pack, language: str) -> list[str]:
    found: dict[str, None] = {}
    for rule in pack.rules:
        if rule.language == language:
            for condition in conditions_of(rule):
                if isinstance(condition.test, Phrase):
                    found.update(dict.fromkeys(fill(condition.test.phrases, pack)[0]))
    return list(found)


def timed(work: Callable[[], int]) -> tuple[float, int]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def score(evaluator: Evaluator, conversations: Sequence[Dialogue]) -> int:
    return sum(len(results) for results in evaluator.run_all(conversations))


def alternation(phrases: Sequence[str], conversations: Sequence[Dialogue]) -> int:
    pattern = re.compile("|".join(re.escape(p) for p in sorted(phrases, key=len, reverse=True)))
    return sum(1 for c in conversations for turn in c.turns for _ in pattern.finditer(turn.text))


def plain_automaton(phrases: Sequence[str], conversations: Sequence[Dialogue]) -> int:
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for number, phrase in enumerate(phrases):
        automaton.add_word(phrase, number)
    automaton.make_automaton()
    return sum(1 for c in conversations for turn in c.turns for _ in automaton.iter(turn.text))


def report(name: str, seconds: float, turns: int, found: int, what: str = "hits") -> float:
    rate = turns / seconds
    print(f"{name:<46}{rate:>12,.0f} turns/s {seconds:>8.2f} s {found:>12,} {what}")
    return rate


def grown(count: int) -> Pack:
    """A pack of so many phrase rules, five phrases each, taken from what is said."""
    draw = random.Random(count)
    said = [text for _, text in pool(True) + pool(False) if len(text) > 8]
    rules = []
    for number in range(count):
        phrases = []
        while len(phrases) < 5:
            text = re.sub(r"[^\u4e00-\u9fff]", "", draw.choice(said))
            if len(text) > 8:
                at = draw.randrange(len(text) - 6)
                words = list(text[at : at + draw.randint(4, 6)])
                words[draw.randrange(len(words))] = draw.choice("甲乙丙丁戊己庚辛壬癸")  # near what is said, rarely said
                phrases.append("".join(words))
        rules.append(
            f"- {{id: bench.rule{number}, name: rule, dimension: language, expect: absent, points: 1,"
            f" match: [{{phrase: [{', '.join(phrases)}], tolerance: pinyin}}]}}"
        )
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        (site / "pack.yaml").write_text("id: bench\nextends: zh\nversion: '1'\n", "utf-8")
        (site / "grown.yaml").write_text("\n".join(rules), "utf-8")
        pack = load_pack(("zh",), [site])
    own = tuple(rule for rule in pack.rules if rule.id.startswith("bench."))
    from dataclasses import replace

    return replace(pack, rules=own)


def stages(pack: Pack, language: str, conversations: Sequence[Dialogue]) -> None:
    """Where the time goes: normalising, searching, judging."""
    plan = compile_plan(pack, language)
    turns = sum(len(c.turns) for c in conversations)
    groups = list(blocks(conversations))
    texts = [[turn.text for c in group for turn in c.turns] for group in groups]
    normalise, _ = timed(lambda: sum(len(views(t, language).compact) for t in texts))
    scanned, _ = timed(lambda: sum(len(Block(g, plan.matcher, plan.patterns, plan.grammar).calls) for g in groups))
    evaluator = Evaluator(pack)
    whole, _ = timed(lambda: score(evaluator, conversations))
    for name, seconds in (("normalising", normalise), ("searching", scanned - normalise), ("judging", whole - scanned)):
        print(f"  {name:<20}{seconds / turns * 1e6:>8.1f} µs a turn {seconds / whole:>8.0%}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--turns", type=int, default=100_000)
    options.add_argument("--language", default="zh")
    options.add_argument("--profile", action="store_true")
    chosen = options.parse_args()
    loading, pack_ = time.perf_counter(), load_pack((chosen.language,))
    evaluator = Evaluator(pack_)
    score(evaluator, list(calls(CALL_TURNS * 2)))
    print(f"pack: {len(pack_.rules)} rules, {len(phrases_of(pack_, chosen.language))} phrases; ready in {time.perf_counter() - loading:.2f} s")
    conversations = list(calls(chosen.turns))
    turns = sum(len(c.turns) for c in conversations)
    characters = sum(len(turn.text) for c in conversations for turn in c.turns) / turns
    print(f"{turns:,} turns of {characters:.1f} characters; one process, one core, no sentence model")
    phrases = phrases_of(pack_, chosen.language)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = report("whole pack", *_with(turns, timed(lambda: score(evaluator, conversations))), what="results")
    print(f"{'memory added while scoring':<46}{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:>12,.1f} MB")
    few = conversations[: max(1, len(conversations) // 20)]
    report("(a) re alternation, same phrases", *_with(sum(len(c.turns) for c in few), timed(lambda: alternation(phrases, few))))
    plain = report("(b) pyahocorasick, same phrases", *_with(turns, timed(lambda: plain_automaton(phrases, conversations))))
    print(f"{'whole pack : (b)':<46}{plain / whole:>12.1f} × slower")
    stages(pack_, chosen.language, conversations[: max(1, len(conversations) // 4)])
    sample = conversations[: max(1, min(len(conversations), 20_000 // CALL_TURNS))]
    for size in SIZES:
        some = Evaluator(grown(size))
        score(some, sample[:2])
        report(f"{size:,} phrase rules", *_with(sum(len(c.turns) for c in sample), timed(lambda some=some: score(some, sample))), what="results")
    if chosen.profile:
        import cProfile
        import pstats

        profile = cProfile.Profile()
        profile.runcall(score, evaluator, sample)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


def _with(turns: int, result: tuple[float, int]) -> tuple[float, int, int]:
    return result[0], turns, result[1]


if __name__ == "__main__":
    main()
