"""A pack against its own examples: for `rules test`, `rules lint`, and as a parametrised test of a site's pack
(`scoring_rules.pytest_plugin` does it without any code).

    from scoring_rules.checks import cases

    @pytest.mark.parametrize("case", cases([Path("mysite")]), ids=str)
    def test_example(case):
        case.check()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scoring_rules.evaluate import Evaluator, Finding, RuleResult
from scoring_rules.examples import conversation
from scoring_rules.load import HOME, load_pack
from scoring_rules.meaning import Encoder
from scoring_rules.model import Example, Expect, FindingStatus, Outcome, Pack, Rule, RuleStatus

_STRENGTH = (FindingStatus.CONFIRMED, FindingStatus.SUSPECTED, FindingStatus.MITIGATED)
NONE = "none"


@dataclass(frozen=True, slots=True)
class Checked:
    """An example and what the rule made of it; `skipped` where it needs a sentence model and there is none."""

    rule: Rule
    example: Example
    got: str
    skipped: bool = False

    @property
    def good(self) -> bool:
        return self.skipped or self.got == self.example.expect


@dataclass(frozen=True)
class Case:
    """One example, ready to be checked."""

    rule: Rule
    example: Example
    evaluator: Evaluator
    has_encoder: bool = False

    def __str__(self) -> str:
        return f"{self.rule.language}-{self.rule.id}-{self.example.origin.line}"

    def run(self) -> Checked:
        if self.example.needs_meaning and not self.has_encoder:
            return Checked(self.rule, self.example, "", True)
        made, here = conversation(self.example, self.rule.language)
        result = next(result for result in self.evaluator.run(made) if result.rule == self.rule.id)
        return Checked(self.rule, self.example, judged(result, self.rule, self.example, here))

    def check(self) -> None:
        """Raises AssertionError where the example does not come out as it says."""
        checked = self.run()
        assert checked.good, f"{self.example.origin}: {self.rule.id} expects {self.example.expect}, got {checked.got}"


def cases(
    overlays: Sequence[Path] = (),
    languages: Sequence[str] = ("zh", "en"),
    encoder: Encoder | None = None,
    *,
    own: bool = False,
) -> list[Case]:
    """All examples of the packs; with `own` those of the overlays' own files only. Raises PackError."""
    pack = load_pack(languages, overlays)
    made = cases_of(pack, encoder)
    folders = {Path(folder).resolve() for folder in overlays}
    return [case for case in made if not own or Path(case.example.origin.file).resolve().parent in folders]


def cases_of(pack: Pack, encoder: Encoder | None = None) -> list[Case]:
    """All examples of a pack's rules. Those of shipped rules were written without a site's slots, and run so."""
    evaluator = Evaluator(pack, encoder)
    unfilled = evaluator
    if any(pack.slots.values()):
        unfilled = Evaluator(replace(pack, slots=dict.fromkeys(pack.slots, ())), encoder)
    return [
        Case(rule, example, unfilled if _is_shipped(rule) else evaluator, encoder is not None)
        for rule in pack.rules
        if rule.status is not RuleStatus.RETIRED
        for example in rule.examples
    ]


def _is_shipped(rule: Rule) -> bool:
    return Path(rule.origin.file).resolve().is_relative_to(HOME)


def judged(result: RuleResult, rule: Rule, example: Example, here: int | None) -> str:
    """What an example came out as, in the words of its `expect`."""
    if rule.expect is Expect.PRESENT or result.outcome in (Outcome.NOT_APPLICABLE, Outcome.NOT_EVALUATED):
        return result.outcome.value
    statuses = {finding.status for finding in result.findings if here is None or here in set(_turns(finding))}
    return next((status.value for status in _STRENGTH if status in statuses), NONE)


def _turns(finding: Finding) -> Iterator[int]:
    for place in finding.evidence:
        if place.turn is not None:
            yield place.turn
        else:
            yield from place.turns
