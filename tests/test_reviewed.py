"""Results as people reviewed them: kept up to date, counted by the board, found by the queue, shown in lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from appsite import AppSite, build, ids, judge_anew

from qa.access import Identity, Role
from qa.call_filter import CallFilter, View
from qa.call_lists import list_calls
from qa.call_view import open_call
from qa.figures import Scope, board
from qa.judging import Judgement, judge, take_back
from qa.levels import Level
from qa.my_calls import Said, my_cards, my_weeks
from qa.review import finish
from qa.reviewed import Result, catch_up
from qa.store.reviewed import ReviewedResult
from qa.store.schema import Call
from qa.verdicts import Place, Verdict

INSPECTOR = Identity("inspector", "i", Role.INSPECTOR)
AGENT = Identity("agent", "a", Role.AGENT, agent="A1")
LEAD = Identity("lead", "l", Role.LEAD, teams=("north",))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AppSite]:
    made = build(tmp_path)
    yield made
    made.store.close()


def say(site: AppSite, who: Identity, verdict: Verdict, rule: str = "neg.cannot", **values) -> int:
    card = open_call(site.store, who, "refund").scorecard_id
    assert card is not None
    return judge(site.store, who, Judgement("refund", card, rule, verdict, **values))


def people(site: AppSite, call_id: str = "refund") -> ReviewedResult | None:
    assert catch_up(site.store, site.desk.pack) == 0
    with site.store.read() as session:
        return session.get(ReviewedResult, call_id)


def test_what_is_kept_is_what_the_call_page_says(site: AppSite):
    assert people(site) is None
    say(site, INSPECTOR, Verdict.WRONG, finding=0)
    levels = {one.level: one.card for one in open_call(site.store, LEAD, "refund", site.desk.pack).levels}
    row = people(site)
    assert row is not None
    assert (row.level, row.score, row.fatal) == ("inspector", levels[Level.INSPECTOR].score, levels[Level.INSPECTOR].fatal)
    assert levels[Level.INSPECTOR].score > levels[Level.MACHINE].score
    say(site, LEAD, Verdict.RIGHT, finding=0)
    row = people(site)
    assert row is not None
    assert (row.level, row.score) == ("lead", levels[Level.MACHINE].score)


def test_a_verdict_taken_back_leaves_the_machine_alone(site: AppSite):
    first = say(site, INSPECTOR, Verdict.WRONG, finding=0)
    assert people(site) is not None
    take_back(site.store, INSPECTOR, first)
    assert people(site) is None


def test_a_finished_review_without_verdicts_confirms_the_machine(site: AppSite):
    card = open_call(site.store, INSPECTOR, "thanks").scorecard_id
    assert card is not None
    finish(site.store, INSPECTOR, "thanks", card)
    row = people(site, "thanks")
    assert row is not None
    with site.store.read() as session:
        assert row.score == session.get_one(Call, "thanks").score


def test_a_call_scored_anew_is_reckoned_anew(site: AppSite):
    say(site, INSPECTOR, Verdict.MISSED, rule="lang.vague", place=Place(turn=0, start_char=0, end_char=2))
    before = people(site)
    assert before is not None
    with site.store.write() as session:
        judge_anew(session, session.get_one(Call, "refund"), without="neg.cannot")
        assert session.get_one(ReviewedResult, "refund").stale
    after = people(site)
    assert after is not None
    assert after.outcomes != before.outcomes


def test_some_at_a_time(site: AppSite):
    for call_id in ("refund", "number", "thanks"):
        card = open_call(site.store, INSPECTOR, call_id).scorecard_id
        assert card is not None
        finish(site.store, INSPECTOR, call_id, card)
    assert catch_up(site.store, site.desk.pack, limit=0) == 3
    assert catch_up(site.store, site.desk.pack) == 0


def test_board_and_queue_follow_the_reviewed_result(site: AppSite):
    say(site, INSPECTOR, Verdict.WRONG, finding=0)
    assert people(site) is not None
    machine, reviewed = (board(site.store, INSPECTOR, Scope(result=one), site.desk.site) for one in Result)
    failed = [{item.rule: item.failed for item in one.items}["neg.cannot"] for one in (machine, reviewed)]
    assert failed == [1, 0]
    assert reviewed.total.score > machine.total.score
    assert ids(site, INSPECTOR, CallFilter(view=View.ALL, rule="neg.cannot")) == ["refund"]
    assert ids(site, INSPECTOR, CallFilter(view=View.ALL, rule="neg.cannot", result=Result.REVIEWED)) == []
    # A fault that people added is found by the reviewed result only.
    say(site, INSPECTOR, Verdict.MISSED, rule="lang.vague", place=Place(turn=2, start_char=0, end_char=2))
    assert people(site) is not None
    assert ids(site, INSPECTOR, CallFilter(view=View.ALL, rule="lang.vague")) == []
    assert ids(site, INSPECTOR, CallFilter(view=View.ALL, rule="lang.vague", result=Result.REVIEWED)) == ["refund"]


def test_calls_are_found_by_their_fatal_class(site: AppSite):
    with site.store.write() as session:
        for call_id, classes in (("number", 4), ("thanks", 1 + 4), ("stray", 2)):
            session.execute(sa.update(Call).where(Call.id == call_id).values(fatal=True, fatal_classes=classes))
    for name, calls in (
        ("customer-critical", {"thanks"}), ("business-critical", {"stray"}), ("compliance-critical", {"number", "thanks"}),
    ):  # fmt: skip
        assert set(ids(site, INSPECTOR, CallFilter(view=View.ALL, fatal_class=name))) == calls
    # A fatal fault that people add counts in its class, and the machine's list does not have it.
    say(site, LEAD, Verdict.MISSED, rule="compliance.privacy_readout", place=Place(turn=2, start_char=0, end_char=2))
    assert people(site) is not None
    wanted = CallFilter(view=View.ALL, fatal_class="compliance-critical")
    assert "refund" not in ids(site, LEAD, wanted)
    assert "refund" in ids(site, LEAD, CallFilter.from_address({**wanted.to_address(), "result": "reviewed"}))


def test_a_row_of_a_list_tells_both_results(site: AppSite):
    say(site, LEAD, Verdict.WRONG, finding=0)
    row = people(site)
    assert row is not None
    shown = {one.id: one for one in list_calls(site.store, LEAD, CallFilter(view=View.ALL), site.desk.site).rows}
    assert shown["number"].as_reviewed is None
    made = shown["refund"].as_reviewed
    assert made is not None
    assert (made.level, made.score) == (Level.LEAD, row.score)
    assert shown["refund"].score != made.score


def test_an_agent_sees_both_results_and_which_counts(site: AppSite):
    def card():
        [found] = my_cards(site.store, AGENT, site.desk.pack).cards
        return found

    machine = card()
    assert [one.level for one in machine.levels] == [Level.MACHINE]
    assert {fault.said for fault in machine.faults} == {Said.MACHINE}
    say(site, INSPECTOR, Verdict.WRONG, finding=0)
    say(site, LEAD, Verdict.MISSED, rule="lang.vague", place=Place(turn=2, start_char=0, end_char=2))
    judged = card()
    assert [one.level for one in judged.levels] == [Level.MACHINE, Level.INSPECTOR, Level.LEAD]
    assert judged.counts.level is Level.LEAD
    said = {fault.rule: fault.said for fault in judged.faults}
    assert (said["neg.cannot"], said["lang.vague"]) == (Said.CANCELLED, Said.ADDED)
    assert Said.MACHINE in said.values()
    cancelled = next(fault for fault in judged.faults if fault.said is Said.CANCELLED)
    assert "没办法" in cancelled.places[0].quote
    # Points add up by what counts: those cancelled are not among them.
    assert judged.counts.card.score != machine.counts.card.score

    people(site)
    week = my_weeks(site.store, AGENT, site.desk.site)[-1]
    assert (week.machine, week.score) == (machine.counts.card.score, judged.counts.card.score)
