"""Packs in: every error with its place and remedy, the good rules loaded, a site's pack over ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pace import allowed
from rulepack import RULE, Bench, make_pack, write_pack

from scoring_rules.checks import cases_of
from scoring_rules.evaluate import Evaluator
from scoring_rules.examples import dialogue
from scoring_rules.load import load_pack
from scoring_rules.parse import TESTS
from scoring_rules.problems import PackError, Problems
from scoring_rules.schema import schema
from scoring_rules.source import read_file

GOOD = RULE + "match: [{phrase: [甲]}]}\n"


def errors_of(folder: Path, rules: str, **more: str) -> list[str]:
    with pytest.raises(PackError) as caught:
        make_pack(folder, rules, **more)
    return [problem.text("zh") for problem in caught.value.problems]


def test_shipped_packs_load_without_errors() -> None:
    assert load_pack(("zh", "en")).rules


def test_all_errors_at_once_each_with_its_place(tmp_path: Path) -> None:
    rules = """\
- id: test.one
  name: 一
  dimension: langauge
  expect: absent
  match:
    - phrases: [甲]
    - phrase: [乙]
      tolerance: pinyn
- id: test.two
  name: 二
  dimension: language
  expect: maybe
  points: many
  match: [{regex: '(a'}]
- id: test.three
  name: 三
  dimension: language
  expect: absent
  match: [{phrase: [丙], in: next tuesday}]
"""
    told = errors_of(tmp_path, rules)
    places = {tuple(map(int, found.groups())) for line in told if (found := re.search(r"rules\.yaml:(\d+):(\d+)", line))}
    assert places == {(3, 14), (6, 7), (8, 18), (12, 11), (13, 11), (14, 19), (19, 29)}
    assert all("→" in line for line in told)
    assert "是否为“phrase”" in "\n".join(told)
    assert "是否为“language”" in "\n".join(told)


def test_with_collect_the_good_rules_load(tmp_path: Path) -> None:
    folder = write_pack(tmp_path, GOOD + RULE.replace("test.rule", "test.bad") + "match: [{phrase: []}]}\n")
    pack = load_pack([folder], collect=True)
    assert [rule.id for rule in pack.rules] == ["test.rule"]
    assert len(pack.problems) == 1


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("", "空"),
        ("- [", "YAML"),
        ("- id: a\n\tname: b", "YAML"),
        ("id: test.rule", "列表"),
        (GOOD + GOOD, "已在"),
        (GOOD.replace("points: 5", "points: 5, points: 6"), "两次"),
        (GOOD.replace("points: 5", "points: -1"), "超出范围"),
        (GOOD.replace("id: test.rule", "id: Test"), "规则 id"),
        (GOOD.replace("[甲]", "[，。]"), "标点"),
        (GOOD.replace("[甲]", "['" + "甲" * 90 + "']"), "60"),
        (GOOD.replace("{phrase: [甲]}", "{regex: 'a*'}"), "空文本"),
        (GOOD.replace("{phrase: [甲]}", "{regex: '(?=a)b'}"), "RE2"),
        (GOOD.replace("{phrase: [甲]}", "{use: nothing}"), "define.yaml"),
        (GOOD.replace("{phrase: [甲]}", "{meaning: [甲]}"), "among"),
        (GOOD.replace("{phrase: [甲]}", "{question: true, tolerance: exact}"), "phrase"),
        (GOOD.replace("{phrase: [甲]}", "{in: clause}"), "没有条件"),
        (GOOD.replace("{phrase: [甲]}", "&a {phrase: [甲]}").replace("points: 5", "points: 5, unless: [*a]"), "YAML 格式有误"),
        (RULE + "match: [&a {phrase: [甲]}], unless: [*a]}", "引用"),
        (GOOD.replace("match:", "first: 3 apples, match:"), "数量"),
        (GOOD.replace("expect: absent", "expect: present").replace("match:", "unless: [{quoted: true}], match:"), "absent"),
        (RULE + "match: [" + "{not: " * 60 + "{phrase: 甲}" + "}" * 60 + "]}", "嵌套"),
        (RULE + "match: [" + "{not: " * 600 + "{phrase: 甲}" + "}" * 600 + "]}", "YAML"),
        ("- " * 5000 + "a", "YAML"),
    ],
)
def test_each_fault_is_told_in_words(tmp_path: Path, rules: str, said: str) -> None:
    assert any(said in line for line in errors_of(tmp_path, rules))


def test_a_pack_without_its_head_and_files_that_are_not_text(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"pack\.yaml"):
        load_pack([tmp_path / "nowhere"])
    folder = write_pack(tmp_path / "p", GOOD)
    (folder / "more.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PackError, match="UTF-8"):
        load_pack([folder])


def test_definitions_in_a_circle(tmp_path: Path) -> None:
    told = errors_of(tmp_path, GOOD.replace("{phrase: [甲]}", "{use: a}"), define="a: {use: b}\nb: {use: a}\n")
    assert any("a → b → a" in line for line in told)


def test_yaml_words_stay_words(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "match: [{phrase: [on, no, 12:30, 007, 1.50]}]")
    assert bench.found("a: on", "a: no", "a: 12:30", "a: 007", "a: 1.50", "a: true", "a: 750") == ["on", "no", "12:30", "007", "1.50"]


# --- a site's pack over ours -------------------------------------------------------------------------------


def site(folder: Path, head: str, rules: str = "", define: str = "") -> Path:
    folder.mkdir()
    (folder / "pack.yaml").write_text(f"id: site\nextends: zh\nversion: '2'\n{head}", "utf-8")
    if rules:
        (folder / "own.yaml").write_text(rules, "utf-8")
    if define:
        (folder / "define.yaml").write_text(define, "utf-8")
    return folder


def test_a_site_changes_what_it_names_and_copies_nothing(tmp_path: Path) -> None:
    base = write_pack(tmp_path / "base", GOOD + RULE.replace("test.rule", "test.off") + "match: [{use: reason}]}\n", "reason: {phrase: [因为]}\n")
    over = site(
        tmp_path / "site",
        "slots: {company: [回听]}\n"
        "rules:\n  test.rule: {points: 2, phrases: [乙], unless: [{phrase: [甲方]}]}\n  test.off: {points: 1}\n"
        "define: {reason: [{phrase: [由于]}]}\n"
        "scoring: {passing: 90, dimensions: {language: {weight: 30}}}\n",
        RULE.replace("test.rule", "site.own") + "match: [{phrase: ['欢迎致电{company}']}]}\n",
    )
    pack = load_pack([base], [over])
    assert pack.rule("test.rule").points == 2
    assert pack.scoring.passing == 90
    assert pack.scoring.dimensions["language"].weight == 30
    assert pack.versions == {"test": "1", "site": "2"}
    said = dialogue([("agent", "乙"), ("agent", "甲方"), ("agent", "由于"), ("agent", "欢迎致电回听")])
    outcomes = {result.rule: len(result.findings) for result in Evaluator(pack).run(said)}
    assert outcomes == {"test.rule": 1, "test.off": 1, "site.own": 1}
    assert load_pack([base]).rule("test.rule").points == 5
    assert load_pack([base]).fingerprint != pack.fingerprint


def test_a_site_switches_a_rule_off(tmp_path: Path) -> None:
    base = write_pack(tmp_path / "base", GOOD)
    pack = load_pack([base], [site(tmp_path / "site", "rules: {test.rule: {status: retired}}\n")])
    assert Evaluator(pack).run(dialogue([("agent", "甲")])) == ()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("rules: {test.rul: {points: 1}}\n", "test.rule"),
        ("rules: {test.rule: {pionts: 1}}\n", "points"),
        ("define: {reasons: [{phrase: [由于]}]}\n", "define.yaml"),
        ("scoring: {dimensions: {new: {weight: 3}}}\n", "name"),
    ],
)
def test_faults_of_a_site_are_told_too(tmp_path: Path, head: str, said: str) -> None:
    base = write_pack(tmp_path / "base", GOOD, "reason: {phrase: [因为]}\n")
    with pytest.raises(PackError, match=said):
        load_pack([base], [site(tmp_path / "site", head)])


def test_a_site_must_say_what_it_extends(tmp_path: Path) -> None:
    base = write_pack(tmp_path / "base", GOOD)
    with pytest.raises(PackError, match="extends"):
        load_pack([base], [write_pack(tmp_path / "other", GOOD)])


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    one = load_pack([write_pack(tmp_path / "a", GOOD)]).fingerprint
    assert load_pack([write_pack(tmp_path / "b", GOOD)]).fingerprint == one
    assert load_pack([write_pack(tmp_path / "b", GOOD.replace("甲", "乙"))]).fingerprint != one
    assert load_pack([write_pack(tmp_path / "c", GOOD)], slots={"company": "回听"}).fingerprint != one


# --- editors -----------------------------------------------------------------------------------------------


def test_the_schema_accepts_the_shipped_rules_and_refuses_what_the_loader_refuses() -> None:
    validate = pytest.importorskip("jsonschema").Draft202012Validator
    from scoring_rules.load import HOME

    pack = load_pack(("zh", "en"))
    checker = validate(schema(tuple(pack.scoring.dimensions)))
    for path in [*HOME.glob("zh/*.yaml"), *HOME.glob("en/*.yaml")]:
        if path.name not in ("pack.yaml", "define.yaml", "lexicon.yaml"):
            source = read_file(path, path.name, Problems())  # a word such as Yes is text to us, as in YAML 1.2
            assert source is not None
            problems = list(checker.iter_errors(source.value()))
            assert not problems, f"{path.name}: {problems[0].json_path}: {problems[0].message}"
    bad = yaml.safe_load(GOOD.replace("phrase:", "phrases:"))
    assert list(checker.iter_errors(bad))


# --- hypothesis: whatever stands in a file, the answer is a pack or a PackError ------------------------------

keys = st.sampled_from([*TESTS, "id", "name", "match", "unless", "in", "near", "of", "speaker", "first", "at_least", "turns", "expect", "examples", "here", "xyz"])
scalars = st.one_of(st.text(max_size=8), st.integers(-5, 5), st.booleans(), st.none(), st.floats(allow_nan=True), st.sampled_from(["absent", "agent", "3 turns", "clause", "甲", "test.rule", "language", "calibrated"]))
trees = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)), max_leaves=14)


@given(trees)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_loads_or_is_refused(tmp_path: Path, tree: object) -> None:
    try:
        text = yaml.safe_dump(tree, allow_unicode=True)
    except (yaml.YAMLError, UnicodeError):
        return
    folder = write_pack(tmp_path / "tree", "- id: test.good\n  name: a\n  dimension: language\n  expect: absent\n  match: [{phrase: [甲]}]\n", words=False)
    for name in ("define.yaml", "other.yaml", "lexicon.yaml"):
        (folder / name).write_text(text, "utf-8", errors="replace")
        pack = load_pack([folder], collect=True)
        assert [rule.id for rule in pack.rules][:1] == ["test.good"]
        (folder / name).unlink()


@given(st.dictionaries(st.sampled_from(["status", "points", "when", "near", "match", "unless", "mitigate", "examples", "first", "last", "speaker", "suspect"]), trees, max_size=3))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_rule_loads_and_runs_or_is_refused(tmp_path: Path, parts: dict[str, object]) -> None:
    rule = {"id": "test.rule", "name": "a", "dimension": "language", "expect": "absent", "match": [{"phrase": ["甲"]}], **parts}
    try:
        text = yaml.safe_dump([rule], allow_unicode=True)
    except (yaml.YAMLError, UnicodeError):
        return
    folder = write_pack(tmp_path / "rule", "", words=False)
    (folder / "rules.yaml").write_text(text, "utf-8", errors="replace")
    pack = load_pack([folder], collect=True)
    for result in Evaluator(pack).run(dialogue([("agent", "甲乙，不能"), ("customer", "甲?")])):
        assert result.outcome in ("pass", "fail", "not_applicable", "not_evaluated")


@given(st.text(max_size=200) | st.text(alphabet="-:[]{}&*#|>'\"!%@` \n\t甲a1,?", max_size=120))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_pack_or_a_pack_error(tmp_path: Path, text: str) -> None:
    folder = write_pack(tmp_path / "text", "- id: test.good\n  name: a\n  dimension: language\n  expect: absent\n  match: [{phrase: [甲]}]\n", words=False)
    (folder / "other.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    problems = load_pack([folder], collect=True).problems
    assert all(problem.origin.line >= 1 and problem.text("zh") and problem.text("en") for problem in problems)


def test_patterns_run_in_linear_time(tmp_path: Path) -> None:
    """(a+)+b is exponential for a backtracking engine; thirty thousand letters must pass at once."""
    import time

    bench = Bench(tmp_path, "match: [{regex: '(我+)+不'}, {regex: '(我|我我)+能?不行'}]")
    start = time.process_time()
    bench.say("a: " + "我" * 30_000 + "行")
    assert time.process_time() - start < allowed(2)


def test_a_slot_filled_for_one_language_is_not_emptied_by_another(tmp_path: Path) -> None:
    for language, name in (("zh", "回听"), ("en", "Huiting")):
        folder = tmp_path / language
        folder.mkdir()
        (folder / "pack.yaml").write_text(f"id: site-{language}\nextends: {language}\nversion: '1'\nslots: {{company: [{name}]}}\n", "utf-8")
    assert load_pack(overlays=[tmp_path / "zh"]).slots["company"] == ("回听",)
    assert load_pack(overlays=[tmp_path / "zh", tmp_path / "en"]).slots["company"] == ("回听", "Huiting")
    assert load_pack(overlays=[tmp_path / "zh"], slots={"company": "云帆"}).slots["company"] == ("云帆",)


def test_a_filled_slot_fails_no_shipped_example(tmp_path: Path) -> None:
    folder = write_overlay(tmp_path / "site", "slots: {company: [云帆], agent_name: [小林]}\n")
    pack = load_pack(overlays=[folder])
    slotted = [case for case in cases_of(pack) if case.rule.id in ("opening.company_name", "opening.agent_name")]
    assert slotted
    for case in slotted:
        case.check()


def write_overlay(folder: Path, more: str) -> Path:
    folder.mkdir()
    (folder / "pack.yaml").write_text(f"id: site\nextends: zh\nversion: '1'\n{more}", "utf-8")
    return folder
