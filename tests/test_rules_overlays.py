"""A site's overlay as the loader meets it, whatever stands in it; and whatever loads can be told, compared and tried."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rulepack import RULE, Bench, make_pack, write_pack
from test_rules_loading import scalars, trees

from qa.replay import changed_rules
from scoring_rules.evaluate import Evaluator
from scoring_rules.examples import dialogue
from scoring_rules.explain import tried
from scoring_rules.load import load_pack
from scoring_rules.plain import in_words

PROJECT = Path(__file__).resolve().parent.parent
BASE = "- {id: test.rule, name: a, dimension: language, expect: absent, points: 5, match: [{use: word}]}\n"
FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
changes = st.dictionaries(
    st.sampled_from(["status", "points", "phrases", "tolerance", "unless", "match", "suspect", "mitigate", "cap", "class", "award", "x"]),
    st.one_of(scalars, trees, st.lists(st.text(max_size=6), max_size=3), st.sampled_from(["retired", "draft", "pinyin", "exact"])),
    max_size=4,
)


@given(changes, st.one_of(st.none(), trees), st.one_of(st.none(), trees))
@FUZZ
def test_any_overlay_changes_a_rule_or_is_refused_and_the_rule_stays(tmp_path: Path, change, define, slots):
    base = write_pack(tmp_path / "base", BASE, "word: {phrase: [不能]}\n")
    head = {"id": "o", "extends": "zh", "version": "1", "rules": {"test.rule": change}, "define": define, "slots": slots}
    folder = tmp_path / "over"
    folder.mkdir(exist_ok=True)
    try:
        text = yaml.safe_dump({key: value for key, value in head.items() if value is not None}, allow_unicode=True)
    except (yaml.YAMLError, UnicodeError):
        return
    (folder / "pack.yaml").write_text(text, "utf-8", errors="replace")
    pack = load_pack([base], [folder], collect=True)
    assert [rule.id for rule in pack.rules] == ["test.rule"]
    assert all(problem.text("zh") and problem.text("en") for problem in pack.problems)
    assert pack.rules[0].match
    for locale in ("zh", "en"):
        assert in_words(pack.rules[0], pack, locale)
    assert changed_rules(pack, pack) == set()
    turns = dialogue([("agent", "我不能"), ("customer", "为什么不能？")])
    assert tried(Evaluator(pack), turns, 0, "zh")


@given(st.text(alphabet="我不能(|)[]{}.*+?^$\\d0-9,:!=<>PaA", max_size=24))
@FUZZ
def test_any_pattern_is_refused_or_runs(tmp_path: Path, pattern: str):
    rule = {"id": "test.rule", "name": "a", "dimension": "language", "expect": "absent", "match": [{"regex": pattern}]}
    folder = write_pack(tmp_path / "pack", yaml.safe_dump([rule], allow_unicode=True))
    pack = load_pack([folder], collect=True)
    if not pack.rules:
        assert pack.problems
        return
    spoken = dialogue([("agent", "我不能" * 100)])
    began = time.process_time()
    [result] = Evaluator(pack).run(spoken)
    assert time.process_time() - began < 2  # a backtracking engine would take for ever on some
    assert result.outcome in ("pass", "fail")


def test_an_overlays_phrases_are_checked(tmp_path: Path):
    base = write_pack(tmp_path / "base", BASE, "word: {phrase: [不能]}\n")
    folder = tmp_path / "over"
    folder.mkdir()
    (folder / "pack.yaml").write_text("id: o\nextends: zh\nversion: '1'\nrules: {test.rule: {phrases: ['……', 办不了]}}\n", "utf-8")
    pack = load_pack([base], [folder], collect=True)
    assert [(problem.code, problem.origin.line) for problem in pack.problems] == [("phrase_of_marks", 4)]


def test_switched_off_dearer_and_with_more_phrases(tmp_path: Path):
    base = write_pack(tmp_path / "base", BASE, "word: {phrase: [不能]}\n")
    folder = tmp_path / "over"
    folder.mkdir()
    head = "id: o\nextends: zh\nversion: '1'\nrules: {test.rule: {points: 9, phrases: [办不了], unless: [{phrase: [不能不]}]}}\n"
    (folder / "pack.yaml").write_text(head, "utf-8")
    pack = load_pack([base], [folder])
    assert pack.rules[0].points == 9
    said = [("agent", "办不了"), ("agent", "我不能不帮"), ("agent", "不能退")]
    [result] = Evaluator(pack).run(dialogue(said))
    assert [finding.evidence[0].turn for finding in result.findings] == [0, 2]
    (folder / "pack.yaml").write_text(head.replace("points: 9", "status: retired"), "utf-8")
    assert Evaluator(load_pack([base], [folder])).run(dialogue(said)) == ()


def test_plain_words_name_every_part(tmp_path: Path):
    rule = Bench(
        tmp_path,
        "first: 3 turns, when: [{attribute: {kind: [投诉]}}], match: [{phrase: [我不能], tolerance: pinyin}], "
        "unless: [{quoted: true}], mitigate: {within: next agent turn, any: [{phrase: [因为]}], points: 1}",
    )
    told = {part.kind: part.lines for part in in_words(rule.pack.rules[0], rule.pack, "en")}
    assert told == {
        "where": ("words of the agent, in the first 3 turns",),
        "when": ("the call's metadata has kind = 投诉",),
        "match": ("says “我不能”, or what sounds like it (suspected)",),
        "unless": ("quotes someone",),
        "mitigate": ("says “因为”",),
    }


# --- a site's pack under pytest ---------------------------------------------------------------------------------


def pytest_on(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "scoring_rules.pytest_plugin", "-p", "no:cacheprovider", "-q", "mysite"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(PROJECT), "PATH": ""}
    )


def test_a_sites_examples_run_under_pytest(tmp_path: Path):
    site = tmp_path / "mysite"
    site.mkdir()
    (site / "pack.yaml").write_text("id: mysite\nextends: zh\nversion: '1'\nrules: {neg.cannot: {points: 3}}\n", "utf-8")
    rule = (
        "- id: own.bank\n  name: bank\n  dimension: language\n  expect: absent\n  points: 4\n  match: [{phrase: [去问银行]}]\n"
        "  examples:\n    - {expect: confirmed, turns: [{agent: 您去问银行, here: true}]}\n"
    )
    (site / "own.yaml").write_text(rule, "utf-8")
    good = pytest_on(tmp_path)
    assert (good.returncode, "2 passed" in good.stdout) == (0, True), good.stdout
    (site / "own.yaml").write_text(rule + "    - {expect: none, turns: [{agent: 您去问银行, here: true}]}\n", "utf-8")
    (site / "pack.yaml").write_text("id: mysite\nextends: zh\nversion: '1'\nrules: {neg.canot: {points: 3}}\n", "utf-8")
    bad = pytest_on(tmp_path)
    assert bad.returncode == 1
    assert "mysite/own.yaml:9:7: own.bank expects none, got confirmed" in bad.stdout
    assert "did you mean “neg.cannot”?" in bad.stdout
    assert "2 failed, 1 passed" in bad.stdout


def test_plain_words_count_in_english_and_say_once_what_holds_together(tmp_path: Path) -> None:
    body = "first: 1 agent turns, match: [{all: [{all: [{phrase: [甲]}, {phrase: [乙]}]}, {phrase: [丙], first: 2 agent turns}]}]}"
    pack = make_pack(tmp_path, RULE + body)
    told = " ".join(line for part in in_words(pack.rules[0], pack, "en") for line in part.lines)
    assert "the first 1 turn of" in told
    assert "the first 2 turns of" in told
    assert told.count("(all in one turn)") == 1
