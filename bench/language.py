"""Precision and recall of the negative-language rules on labelled turns, and false alarms on polite service talk.

    python bench/language.py tune|check|second|third|fourth|long_tune|long_check|english_tune|english_check|FILE.jsonl… [--models FOLDER] [--polite FILE.jsonl]

Sets named english_… are judged by the English pack, all in one run must be of one language.
Without --models the rules run on words alone. False alarms are counted on the last quarter of --polite: the rest taught
the heads and set their thresholds (bench/train_heads.py). Confirmed findings on the marked turn count; suspected ones are counted
apart, and count as found where the label says that the recogniser erred. Rules that a case calls arguable are left out.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from math import sqrt
from pathlib import Path

from scoring_rules.evaluate import Evaluator
from scoring_rules.load import load_pack
from speech.types import Role, Transcript, Turn

PROJECT = Path(__file__).parents[1]
FAMILIES = (
    "neg.cannot", "neg.unable", "neg.not_my_job", "neg.unwilling", "neg.but_after_concession",
    "neg.refusal_without_reason", "lang.vague", "conduct.impatient_or_rude", "conduct.ordering_about_blame",
    "conduct.overpromise",
)  # fmt: skip
Z = 1.96  # two-sided 95 %


def conversation(case: dict, language: str = "zh") -> Transcript:
    turns = tuple(
        Turn("A" if turn["role"] == "agent" else "B", turn["text"], role=Role(turn["role"])) for turn in case["turns"]
    )
    return Transcript(id=case["id"], language=language, turns=turns)


def labels(case: dict) -> dict[str, str]:
    """Family → confirmed or mitigated, for the marked turn of a case of tests/language or of the training material."""
    if "labels" in case:
        return dict(case["labels"])
    found = dict.fromkeys(case.get("also_mitigated", ()), "mitigated") | dict.fromkeys(case.get("also", ()), "confirmed")
    if case["expect"] != "none":
        found[case["rule"]] = case["expect"]
    return found


def marked(case: dict) -> int:
    return next(number for number, turn in enumerate(case["turns"]) if turn.get("here"))


def statuses(evaluator: Evaluator, case: dict, language: str = "zh") -> dict[str, set[str]]:
    """Rule → statuses of its findings on the marked turn."""
    here, found = marked(case), defaultdict(set)
    for result in evaluator.run(conversation(case, language)):
        for finding in result.findings:
            if any(place.turn == here for place in finding.evidence):
                found[result.rule].add(finding.status.value)
    return found


def wilson(right: int, of: int) -> tuple[float, float, float]:
    """Share and its 95 % interval (Wilson 1927)."""
    if not of:
        return 0.0, 0.0, 1.0
    share = right / of
    middle = (share + Z * Z / (2 * of)) / (1 + Z * Z / of)
    half = Z * sqrt(share * (1 - share) / of + Z * Z / (4 * of * of)) / (1 + Z * Z / of)
    return share, max(0.0, middle - half), min(1.0, middle + half)


def score(evaluator: Evaluator, cases: Iterable[dict], language: str = "zh") -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {family: Counter() for family in FAMILIES}
    for case in cases:
        found, wanted = statuses(evaluator, case, language), labels(case)
        for family in FAMILIES:
            hit, want = "confirmed" in found[family], wanted.get(family)
            suspected = "suspected" in found[family]
            if want == "confirmed":
                right = hit or (suspected and case.get("asr", False))
                counts[family]["found" if right else "missed"] += 1
                counts[family]["suspected"] += suspected and not right
            elif want == "mitigated":
                counts[family]["mitigated_right" if not hit else "mitigated_wrong"] += 1
            elif family not in case.get("arguable", ()):
                counts[family]["false"] += hit
                counts[family]["falsely_suspected"] += suspected and not hit
    return counts


def show(name: str, counts: Counter[str]) -> None:
    precision = wilson(counts["found"], counts["found"] + counts["false"])
    recall = wilson(counts["found"], counts["found"] + counts["missed"])
    print(
        f"{name:32s} P {precision[0]:.2f} [{precision[1]:.2f}–{precision[2]:.2f}]  R {recall[0]:.2f} [{recall[1]:.2f}–{recall[2]:.2f}]"
        f"  found {counts['found']} missed {counts['missed']} (suspected {counts['suspected']}) false {counts['false']}"
        f" (suspected {counts['falsely_suspected']})  mitigated {counts['mitigated_right']}/{counts['mitigated_right'] + counts['mitigated_wrong']}"
    )


def encoder(folder: Path):
    from speech.devices import find
    from speech.embed import SentenceEncoder
    from speech.models import locate

    return SentenceEncoder(locate("package:multilingual-e5-small", folder), find()[0])


def false_alarms(evaluator: Evaluator, path: Path) -> None:
    counts, turns = Counter(), 0
    dialogues = path.read_text("utf-8").splitlines()
    for line in dialogues[len(dialogues) * 3 // 4 :]:
        case = json.loads(line)
        turns += sum(turn["role"] == "agent" for turn in case["turns"])
        for result in evaluator.run(conversation(case)):
            if result.rule in FAMILIES:
                counts.update((result.rule, finding.status.value) for finding in result.findings)
    confirmed = sum(count for (_, status), count in counts.items() if status == "confirmed")
    print(f"polite service talk: {confirmed} confirmed findings in {turns} agent turns, {1000 * confirmed / turns:.1f} per 1,000")
    for (rule, status), count in counts.most_common():
        print(f"  {rule} {status} {count}")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("sets", nargs="+", help="names in tests/language, or files in their format")
    arguments.add_argument("--models", type=Path)
    arguments.add_argument("--polite", type=Path)
    given = arguments.parse_args()
    own = {path.stem: path for path in (PROJECT / "tests/language").glob("*.jsonl")}
    paths = [own.get(name) or Path(name) for name in given.sets]
    english = {path.stem.startswith("english") for path in paths}
    if len(english) > 1:
        arguments.error("English sets and others in one run")
    language = "en" if True in english else "zh"
    evaluator = Evaluator(load_pack((language,)), encoder(given.models) if given.models else None)
    counts = score(evaluator, (json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()), language)
    for family, counted in counts.items():
        show(family, counted)
    show("pooled", sum(counts.values(), Counter()))
    if given.polite:
        false_alarms(evaluator, given.polite)


if __name__ == "__main__":
    main()
