"""Changed rules over stored calls, and their publication: what is gained and lost, who is contradicted, what is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from appsite import AppSite, build
from sqlalchemy import func, select

from qa.access import AccessDenied, Identity, Role
from qa.judging import Judgement, Verdict, judge
from qa.publish import DraftConflict, PublishRefused, candidate, change_rule, draft_changes, outdated, publish
from qa.replay import Change, FindingChange, OutcomeChange, Replay, VerdictChange, changed_rules
from qa.rule_versions import difference, newest_version, read_layer, version_of, versions, working_copy
from qa.rulebook import packs_in_force, scoring_in_force
from qa.settings import Settings
from qa.store.schema import AuditEvent, ScorecardRow
from qa.store.scorecards import load_scorecard
from scoring_rules.load import load_pack

PROJECT = Path(__file__).resolve().parent.parent
LEAD = Identity("lead", "lead", Role.LEAD, teams=("north", "south"))
INSPECTOR = Identity("inspector", "inspector", Role.INSPECTOR)
HEAD = 'id: ours\nextends: zh\nversion: "1"\n'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AppSite]:
    made = build(tmp_path)
    yield made
    made.store.close()


def pack(folder: Path, rules: str = "", own: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pack.yaml").write_text(HEAD + (f"rules:\n{rules}" if rules else ""), "utf-8")
    if own:
        (folder / "own.yaml").write_text(own, "utf-8")
    return folder


def settled(site: AppSite, *folders: Path) -> Settings:
    """Settings of the site with these overlays."""
    named = ", ".join(json.dumps(str(folder)) for folder in folders)
    site.settings_file.write_text(f'[data]\nfolder = "data"\n[rules]\noverlays = [{named}]\n', "utf-8")
    return Settings.load(site.settings_file, env={})


def run(site: AppSite, settings: Settings, *drafts: Path):
    found = candidate(settings, site.store, drafts, check=False)
    replay = Replay(site.store, found.base, found.draft, None)
    return list(replay.events()), replay.summary


OWN = """
- id: own.bank
  name: {zh: 推给银行, en: Sends to the bank}
  dimension: language
  expect: absent
  points: 4
  match: [{phrase: [去问银行]}]
"""


def test_a_new_rule_shows_what_it_finds_and_nothing_is_written(site: AppSite, tmp_path: Path):
    draft = pack(tmp_path / "draft", "  neg.not_my_job: {status: retired}\n", OWN)
    with site.store.read() as session:
        before = session.scalar(select(func.count()).select_from(ScorecardRow))
    events, summary = run(site, settled(site), draft)
    gained = [e for e in events if isinstance(e, FindingChange) and e.rule == "own.bank"]
    assert [(e.change, e.call, e.words, e.status) for e in gained] == [(Change.GAINED, "refund", "去问银行", "confirmed")]
    assert gained[0].before.endswith("你自己")
    assert OutcomeChange("refund", "own.bank", "", "fail", "A1") in events
    assert summary.gained["own.bank"] == 1
    assert set(summary.changed_rules) == {"own.bank", "neg.not_my_job"}
    assert summary.calls == 4
    assert summary.agents["A1"].after != summary.agents["A1"].before
    assert json.loads(json.dumps(summary.figures()))["calls"] == 4
    with site.store.read() as session:
        assert session.scalar(select(func.count()).select_from(ScorecardRow)) == before


def judged_right(site: AppSite, settings: Settings) -> None:
    """The call scored by the rules in force, and an inspector who finds the machine right about the bank."""
    scoring = scoring_in_force(settings, site.store)
    with site.store.write() as session:
        scoring.score(session, "refund")
    with site.store.read() as session:
        card_id = session.scalar(select(ScorecardRow.id).where(ScorecardRow.call_id == "refund", ScorecardRow.current))
    assert card_id is not None
    judge(site.store, INSPECTOR, Judgement("refund", card_id, "own.bank", Verdict.RIGHT, 0))


EXCEPTED = OWN + "  unless: [{phrase: [我没办法], in: sentence}]\n"


def test_an_exception_shows_what_is_lost_and_whose_verdict_it_contradicts(site: AppSite, tmp_path: Path):
    settings = settled(site, pack(tmp_path / "ours", "", OWN))
    judged_right(site, settings)
    events, summary = run(site, settings, pack(tmp_path / "draft", "", EXCEPTED))
    lost = [e for e in events if isinstance(e, FindingChange)]
    assert [(e.change, e.call, e.rule, e.words) for e in lost] == [(Change.LOST, "refund", "own.bank", "去问银行")]
    [verdict] = [e for e in events if isinstance(e, VerdictChange)]
    assert (verdict.who, verdict.fault, verdict.agrees, verdict.flips) == (("inspector",), True, False, True)
    assert (summary.flips, summary.outcomes["own.bank", "fail", "pass"]) == (1, 1)


def test_a_verdict_that_is_met_at_last_is_told(site: AppSite, tmp_path: Path):
    with site.store.write() as session:
        from qa.store.accounts import Verdict as Row

        session.add(
            Row(who="w", role="inspector", call_id="refund", rule="own.bank", verdict="missed", outcome="pass", turn=2,
                start_char=9, end_char=13, seen={})
        )  # fmt: skip
    events, summary = run(site, settled(site), pack(tmp_path / "draft", "", OWN))
    assert [(e.rule, e.agrees) for e in events if isinstance(e, VerdictChange)] == [("own.bank", True)]
    assert (summary.flips, summary.agreements) == (0, 1)


def test_two_readings_of_one_pack_differ_in_no_rule(tmp_path: Path):
    one = pack(tmp_path / "one", "  lang.vague: {points: 1}\n", OWN)
    two = pack(tmp_path / "two", "  lang.vague: {points: 1}\n", "\n\n" + OWN)
    first, second = load_pack(overlays=[one]), load_pack(overlays=[two])
    assert changed_rules(first, second) == set()
    pack(tmp_path / "two", "  lang.vague: {points: 2}\n", OWN)
    assert changed_rules(first, load_pack(overlays=[two])) == {("zh", "lang.vague")}
    assert changed_rules(load_pack(), first) == {("zh", "lang.vague"), ("zh", "own.bank")}


def test_a_widened_definition_changes_every_rule_that_uses_it(tmp_path: Path):
    folder = pack(tmp_path / "one")
    (folder / "pack.yaml").write_text(HEAD + "define:\n  hold_request: [{phrase: [容我看看]}]\n", "utf-8")
    changed = {rule for _, rule in changed_rules(load_pack(), load_pack(overlays=[folder]))}
    assert "hold.request" in changed
    assert "opening.greeting" not in changed


def test_only_points_change_no_rule_runs_twice_but_scores_do(site: AppSite, tmp_path: Path):
    draft = tmp_path / "draft"
    draft.mkdir()
    (draft / "pack.yaml").write_text(HEAD + "scoring: {start: 90}\n", "utf-8")
    events, summary = run(site, settled(site), draft)
    assert (events, summary.changed_rules) == ([], ())
    assert summary.changed_calls == summary.calls == 4


# --- publishing -----------------------------------------------------------------------------------------------


def test_a_published_version_is_in_force_and_the_folder_a_draft(site: AppSite, tmp_path: Path):
    folder = pack(tmp_path / "ours", "", OWN)
    settings = settled(site, folder)
    assert packs_in_force(settings, site.store).rule("own.bank").points == 4  # unpublished: the folder itself
    found = candidate(settings, site.store)
    assert publish(settings, site.store, found, "first", who=LEAD) == 1
    pack(folder, "", OWN.replace("points: 4", "points: 9"))
    assert packs_in_force(settings, site.store).rule("own.bank").points == 4
    assert publish(settings, site.store, candidate(settings, site.store), "dearer", who=LEAD) == 2
    assert packs_in_force(settings, site.store).rule("own.bank").points == 9
    with site.store.read() as session:
        assert [v.note for v in versions(session)] == ["dearer", "first"]
        diff = difference(versions(session)[1].layers, versions(session)[0].layers)
        trail = session.scalars(select(AuditEvent).where(AuditEvent.action == "rules published")).all()
    assert [line for line in diff if line[0] in "+-"][2:] == ["-  points: 4", "+  points: 9"]
    assert [(event.who, event.detail["version"]) for event in trail] == [("lead", 1), ("lead", 2)]


def test_a_scorecard_names_its_version(site: AppSite, tmp_path: Path):
    settings = settled(site, pack(tmp_path / "ours", "", OWN))
    publish(settings, site.store, candidate(settings, site.store), "first", who=LEAD)
    with site.store.read() as session:
        assert outdated(session, packs_in_force(settings, site.store)) == 4
        assert version_of(session, load_scorecard(session, "refund").pack) is None
    scoring = scoring_in_force(settings, site.store)
    with site.store.write() as session:
        scoring.score(session, "refund")
    with site.store.read() as session:
        assert version_of(session, load_scorecard(session, "refund").pack) == 1
        assert outdated(session, packs_in_force(settings, site.store)) == 3


def test_a_version_that_met_other_slots_is_still_named(site: AppSite, tmp_path: Path):
    folder = pack(tmp_path / "ours", "", OWN)
    settings = settled(site, folder)
    publish(settings, site.store, candidate(settings, site.store), "first", who=LEAD)
    later = settings.model_copy(update={"rules": settings.rules.model_copy(update={"slots": {"company": "云帆"}})})
    with site.store.write() as session:
        scoring_in_force(later, site.store).score(session, "refund")
    with site.store.read() as session:
        found = load_scorecard(session, "refund").pack
        newest = newest_version(session)
        assert newest is not None
        assert found != newest.fingerprint
        assert version_of(session, found) == 1


def test_a_settled_verdict_holds_publication_unless_told_why(site: AppSite, tmp_path: Path):
    settings = settled(site, pack(tmp_path / "ours", "", OWN))
    publish(settings, site.store, candidate(settings, site.store), "first", who=LEAD)
    judged_right(site, settings)
    pack(tmp_path / "ours", "", OWN + "  status: retired\n")
    found = candidate(settings, site.store)
    with pytest.raises(PublishRefused) as caught:
        publish(settings, site.store, found, "off", who=LEAD)
    assert [flip.rule for flip in caught.value.flips] == ["own.bank"]
    with site.store.read() as session:
        newest = newest_version(session)
        assert newest is not None
        assert newest.number == 1
    publish(settings, site.store, found, "off", who=LEAD, because="we no longer ask for it")
    with site.store.read() as session:
        newest = newest_version(session)
    assert newest is not None
    assert newest.because == "we no longer ask for it"
    assert newest.replayed["settled_verdicts_contradicted"] == 1


def test_a_contested_verdict_holds_nothing(site: AppSite, tmp_path: Path):
    settings = settled(site, pack(tmp_path / "ours", "", OWN))
    publish(settings, site.store, candidate(settings, site.store), "first", who=LEAD)
    judged_right(site, settings)
    with site.store.read() as session:
        card_id = session.scalar(select(ScorecardRow.id).where(ScorecardRow.call_id == "refund", ScorecardRow.current))
    other = Identity("other", "other", Role.INSPECTOR)
    assert card_id is not None
    judge(site.store, other, Judgement("refund", card_id, "own.bank", Verdict.WRONG, 0))
    pack(tmp_path / "ours", "", EXCEPTED)
    assert publish(settings, site.store, candidate(settings, site.store), "x", who=LEAD) == 2


def test_errors_and_failing_examples_hold_publication_and_are_told_where_they_stand(site: AppSite, tmp_path: Path):
    failing = OWN + "  examples:\n    - {expect: confirmed, turns: [{agent: 你好, here: true}]}\n"
    folder = pack(tmp_path / "ours", "", failing)
    settings = settled(site, folder)
    with pytest.raises(PublishRefused) as caught:
        publish(settings, site.store, candidate(settings, site.store), "x", who=LEAD)
    assert [(p.code, p.origin.file, p.origin.line) for p in caught.value.problems] == [
        ("example_fails", str(folder / "own.yaml"), 9)
    ]
    (folder / "own.yaml").write_text("- {id: own.bank", "utf-8")
    with pytest.raises(PublishRefused) as caught:
        publish(settings, site.store, candidate(settings, site.store), "x", who=LEAD)
    assert caught.value.problems[0].code == "not_yaml"


def test_who_may_publish_is_asked_and_notes_are_needed(site: AppSite, tmp_path: Path):
    settings = settled(site, pack(tmp_path / "ours", "", OWN))
    found = candidate(settings, site.store)
    with pytest.raises(AccessDenied):
        publish(settings, site.store, found, "x", who=INSPECTOR)
    with pytest.raises(PublishRefused):
        publish(settings, site.store, found, "  ", who=LEAD)
    publish(settings, site.store, found, "x", who=LEAD)
    with pytest.raises(PublishRefused):  # the candidate is from before that version
        publish(settings, site.store, found, "y", who=LEAD)
    with pytest.raises(PublishRefused):
        publish(settings, site.store, candidate(settings, site.store), "y", who=LEAD)  # nothing differs


# --- changes made in the app ----------------------------------------------------------------------------------


def test_a_change_in_the_app_is_a_draft_until_it_is_published(site: AppSite):
    settings = settled(site)
    change_rule(settings, site.store, LEAD, "zh", "neg.cannot", {"points": 9, "phrases": ["弄不来呢"], "status": ""}, 0)
    changes, seen = draft_changes(site.store, "zh")
    assert (changes, seen) == ({"neg.cannot": {"points": 9, "phrases": ["弄不来呢"]}}, 1)
    assert packs_in_force(settings, site.store).rule("neg.cannot").points != 9
    with site.store.read() as session:
        [layer] = working_copy(session, settings.rules.overlays)
    assert layer.name == "app-zh"
    found = candidate(settings, site.store)
    assert changed_rules(found.base, found.draft) == {("zh", "neg.cannot")}
    publish(settings, site.store, found, "dearer", who=LEAD)
    assert packs_in_force(settings, site.store).rule("neg.cannot").points == 9
    with pytest.raises(DraftConflict):
        change_rule(settings, site.store, LEAD, "zh", "neg.cannot", {"points": 1}, 0)
    change_rule(settings, site.store, LEAD, "zh", "neg.cannot", {}, 1)
    assert draft_changes(site.store, "zh")[0] == {}


def test_a_change_that_no_pack_can_hold_is_refused(site: AppSite):
    settings = settled(site)
    for rule, change in (
        ("neg.nothing", {"points": 1}),
        ("neg.cannot", {"points": 900}),
        ("opening.greeting", {"status": "off"}),
        ("neg.cannot", {"phrases": ["……"]}),
    ):
        with pytest.raises(PublishRefused):
            change_rule(settings, site.store, LEAD, "zh", rule, change, 0)
    assert draft_changes(site.store, "zh") == ({}, 0)
    with pytest.raises(AccessDenied):
        change_rule(settings, site.store, INSPECTOR, "zh", "neg.cannot", {"points": 1}, 0)


# --- the command ----------------------------------------------------------------------------------------------


def huiting(site: AppSite, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qa.cli", *arguments, "--settings", str(site.settings_file)],
        capture_output=True, text=True, check=False, cwd=PROJECT, env={**os.environ, "HUITING_LANG": "en"},
    )  # fmt: skip


def test_from_idea_to_publication_on_the_command_line(site: AppSite, tmp_path: Path):
    folder = pack(tmp_path / "ours", "", OWN)
    settled(site, folder)
    shown = huiting(site, "rules", "replay", "--since", "2026-03-01", "--words-only")
    assert "+ refund own.bank #2 confirmed" in shown.stdout
    assert "【去问银行】" in shown.stdout
    lines = [json.loads(line) for line in huiting(site, "rules", "replay", "--words-only", "--json").stdout.splitlines()]
    assert {line["type"] for line in lines} == {"finding", "outcome", "summary"}
    assert lines[-1]["gained"]["own.bank"] == 1
    none = huiting(site, "rules", "replay", "--since", "2027-01-01", "--words-only")
    assert "0 calls replayed" in none.stdout
    assert huiting(site, "rules", "replay", "--since", "soon").returncode == 2
    done = huiting(site, "rules", "publish", "--note", "bank", "--words-only")
    assert done.returncode == 0, done.stderr
    assert "4 scorecards were made by older rules" in done.stdout
    assert "bank" in huiting(site, "rules", "versions").stdout
    assert "points: 4" in huiting(site, "rules", "versions", "1").stdout
    assert "No difference" in huiting(site, "rules", "versions", "--working").stdout
    pack(folder, "", OWN.replace("去问银行", "问银行"))
    assert "+  match: [{phrase: [问银行]}]" in huiting(site, "rules", "versions", "--working").stdout


def test_layers_are_read_as_they_are_kept(tmp_path: Path):
    folder = pack(tmp_path / "ours", "", OWN)
    layer = read_layer(folder)
    assert set(layer.files) == {"pack.yaml", "own.yaml"}
    assert layer.files["own.yaml"] == OWN
