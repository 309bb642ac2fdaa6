"""Small packs for the tests of the rule language: written to a folder and loaded as any other."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from scoring_rules.evaluate import Evaluator, RuleResult
from scoring_rules.examples import Dialogue, dialogue
from scoring_rules.load import HOME, load_pack
from scoring_rules.model import Pack

RULE = "- {id: test.rule, name: rule, dimension: language, expect: absent, points: 5, "


def write_pack(
    folder: Path, rules: str, define: str = "", language: str = "zh", head: str = "", words: bool = True
) -> Path:
    """A pack folder that stands alone, with the shipped word lists."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pack.yaml").write_text(f"id: test\nlanguage: {language}\nversion: '1'\n{dedent(head)}", "utf-8")
    (folder / "rules.yaml").write_text(dedent(rules), "utf-8")
    if define:
        (folder / "define.yaml").write_text(dedent(define), "utf-8")
    if words:
        (folder / "lexicon.yaml").write_text((HOME / language / "lexicon.yaml").read_text("utf-8"), "utf-8")
    return folder


def make_pack(folder: Path, rules: str, define: str = "", language: str = "zh", head: str = "") -> Pack:
    return load_pack([write_pack(folder, rules, define, language, head)])


class Bench:
    """One rule on a work bench: `match` and whatever else, tried on turns."""

    def __init__(self, folder: Path, body: str, define: str = "", language: str = "zh", head: str = "") -> None:
        self.pack = make_pack(folder, RULE + body + "}", define, language, head)
        self.evaluator = Evaluator(self.pack)
        self.language = language

    def run(self, conversation: Dialogue) -> RuleResult:
        (result,) = self.evaluator.run(conversation)
        return result

    def say(self, *turns: str, **attributes: object) -> RuleResult:
        """Turns as `a: text` (agent), `c: text` (customer), `?: text` (nobody's), `i: text` (IVR)."""
        roles = {"a": "agent", "c": "customer", "?": "unknown", "i": "ivr"}
        pairs = [(roles[turn[0]], turn[3:]) for turn in turns]
        return self.run(dialogue(pairs, self.language, **attributes))

    def found(self, *turns: str, **attributes: object) -> list[str]:
        """The words of each finding's first place."""
        texts = [turn[3:] for turn in turns]
        return [
            texts[place.turn][place.start_char : place.end_char]
            for finding in self.say(*turns, **attributes).findings
            if (place := finding.evidence[0]).turn is not None
        ]

    def statuses(self, *turns: str, **attributes: object) -> list[str]:
        return [finding.status.value for finding in self.say(*turns, **attributes).findings]
