"""docs/rules.md and its Chinese twin: every YAML block loads, its examples hold, and nothing of the language is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rulepack import write_pack

from scoring_rules.checks import Case, cases_of
from scoring_rules.load import RULE_KEYS, load_pack
from scoring_rules.model import Pack, Tolerance
from scoring_rules.parse import ENTITIES, PLACES, SUBJECTS, TESTS, UNITS

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = (DOCS / "rules.md", DOCS / "rules.zh-CN.md")
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.M | re.S)
EXPECT_PRESENT = re.compile(r"^expect: present", re.M)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text("utf-8"))


BLOCKS = blocks(PAGES[0])
DEFINITIONS = "\n".join(block for block in BLOCKS if block.startswith("refusal:"))
RULES = [block for block in BLOCKS if "examples:" in block]


def packed(block: str, folder: Path) -> Pack:
    """A block as a pack of one rule; what is no whole rule gets an id and a name."""
    if not block.startswith("- "):
        head = "- id: doc.block\n  name: block\n  dimension: language\n"
        head += "" if EXPECT_PRESENT.search(block) else "  expect: absent\n"
        block = head + "".join(f"  {line}\n" for line in block.splitlines())
    return load_pack([write_pack(folder, block, DEFINITIONS)])


def test_both_languages_show_the_same_examples():
    assert blocks(PAGES[1]) == BLOCKS
    assert len(RULES) > 50


@pytest.mark.parametrize("block", RULES, ids=range(len(RULES)))
def test_a_block_loads_and_its_examples_hold(block: str, tmp_path: Path):
    cases = cases_of(packed(block, tmp_path / "pack"))
    expected = [case.example.expect for case in cases]
    assert len(cases) == block.count("- {expect:")
    assert len(set(expected)) > 1, "an example that shows no difference shows nothing"
    for case in cases:
        case.check()


def test_what_needs_a_sentence_model_holds_with_one(tmp_path: Path):
    from conftest import MODELS

    from qa.rulebook import encoder_in_force
    from qa.settings import Settings

    if not MODELS.is_dir():
        pytest.skip("no models: `make models`")
    (tmp_path / "huiting.toml").write_text(f'[speech]\nmodels_folder = "{MODELS}"\n', "utf-8")
    encoder = encoder_in_force(Settings.load(tmp_path / "huiting.toml", env={}))
    assert encoder is not None
    needing = [block for block in RULES if "needs: meaning" in block]
    assert len(needing) == 2
    for number, block in enumerate(needing):
        cases: list[Case] = cases_of(packed(block, tmp_path / str(number)), encoder)
        for case in cases:
            assert not case.run().skipped
            case.check()


def test_other_blocks_are_overlays_that_load(tmp_path: Path):
    others = [block for block in BLOCKS if block not in RULES and block != DEFINITIONS.rstrip("\n") and block not in DEFINITIONS]
    assert len(others) == 1
    (tmp_path / "pack.yaml").write_text(others[0], "utf-8")
    pack = load_pack(overlays=[tmp_path])
    assert pack.slots["company"] == ("回听科技",)
    assert pack.scoring.passing == 85
    assert pack.rule("neg.cannot", "zh").points == 3


def test_every_word_of_the_language_has_an_example():
    shown = "\n".join(BLOCKS)
    keys = set(re.findall(r"\b([a-z_]+):", shown))
    assert set(TESTS) <= keys
    assert set(RULE_KEYS) <= keys | {"award", "dimension"}
    places = set(re.findall(r"in: (?:\[)?([a-z ]+)", shown)) | {"clause"}  # where `unless` looks by itself
    assert {place for place in PLACES if place not in places} == set()
    assert {"previous customer turn"} <= places
    assert "next 2 agent turns" in shown
    for which in ("any", "first", "last", "nth", "every"):
        assert f"which: {which}" in shown
    for side in ("before: ", "after: ", "around: "):
        assert side in shown
    for amount in ("turns", "agent turns", "seconds", "chars", "rest"):
        assert amount in shown
    prose = PAGES[0].read_text("utf-8")
    for name in (*UNITS, *SUBJECTS, *ENTITIES, *(tolerance.value for tolerance in Tolerance)):
        assert name in prose
        assert name in PAGES[1].read_text("utf-8")
