"""Verdicts as people give them, and the score of each level that follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from appsite import DIALOGUES, AppSite, build, ids, judge_anew
from sqlalchemy import select

from qa.access import AccessDenied, Identity, Role
from qa.call_filter import CallFilter, View
from qa.call_view import CallView, open_call
from qa.judging import BadPlace, JudgedMeanwhile, Judgement, judge, machine_changed, take_back
from qa.levels import Level, as_judged
from qa.review import Conflict, finish
from qa.scorecard import rules_for
from qa.store.accounts import Verdict as Row
from qa.store.schema import AuditEvent, Call
from qa.verdicts import Place, Verdict
from scoring_rules.model import Outcome

AGENT = Identity("a", "a", Role.AGENT, agent="A1")
LEAD = Identity("l", "l", Role.LEAD, teams=("north",))
INSPECTOR = Identity("i", "i", Role.INSPECTOR)
OTHER = Identity("j", "j", Role.INSPECTOR)
TRAINER = Identity("t", "t", Role.TRAINER)
OPERATOR = Identity("o", "o", Role.OPERATOR)
ADMIN = Identity("r", "r", Role.ADMIN)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppSite]:
    """For tests that only look."""
    made = build(tmp_path_factory.mktemp("site"))
    yield made
    made.store.close()


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[AppSite]:
    """For tests that write."""
    made = build(tmp_path)
    yield made
    made.store.close()


def seen(site: AppSite, call_id: str = "refund") -> CallView:
    return open_call(site.store, INSPECTOR, call_id, site.desk.pack)


def scores(site: AppSite, call_id: str = "refund") -> dict[str, float | None]:
    return {one.level.value: one.card.score for one in seen(site, call_id).levels}


def given_on(site: AppSite, verdict: Verdict, **values) -> Judgement:
    view = open_call(site.store, INSPECTOR, "refund")
    assert view.scorecard_id is not None
    assert view.card is not None
    item = next(item for item in view.card.items if item.rule == "neg.cannot")
    assert item.findings
    return Judgement("refund", view.scorecard_id, item.rule, verdict, **values)


def test_verdicts_are_kept_beside_the_machine_and_withdrawn(own_site: AppSite):
    judge(own_site.store, INSPECTOR, given_on(own_site, Verdict.WRONG, finding=0, note="他在转接"))
    judge(own_site.store, LEAD, given_on(own_site, Verdict.RIGHT))
    shown = open_call(own_site.store, INSPECTOR, "refund").verdicts
    assert [(v.who, v.role, v.verdict, v.outcome) for v in shown] == [
        ("i", "inspector", "wrong", "fail"),
        ("l", "lead", "right", "fail"),
    ]
    judge(own_site.store, INSPECTOR, given_on(own_site, Verdict.WITHDRAWN))
    assert [v.who for v in open_call(own_site.store, INSPECTOR, "refund").verdicts] == ["l"]


def test_a_verdict_is_anchored_to_what_the_person_saw(own_site: AppSite):
    judge(own_site.store, INSPECTOR, given_on(own_site, Verdict.WRONG, finding=0))
    with own_site.store.read() as session:
        row = session.scalars(select(Row)).one()
    said = DIALOGUES["refund"][3][row.turn][1]
    assert row.turn == 2
    assert said[row.start_char : row.end_char] in said
    assert row.end_char > row.start_char
    assert set(row.seen) >= {"score"}


def test_a_call_judged_otherwise_meanwhile_is_a_conflict_and_comes_back(own_site: AppSite):
    old = given_on(own_site, Verdict.WRONG)
    judge(own_site.store, INSPECTOR, old)
    finish(own_site.store, INSPECTOR, "refund", old.scorecard_id)
    assert "refund" not in ids(own_site, INSPECTOR, CallFilter())
    assert ids(own_site, INSPECTOR, CallFilter(view=View.REVIEWED)) == ["refund"]
    with own_site.store.write() as session:
        judge_anew(session, session.get_one(Call, "refund"), without="neg.cannot")
    assert "refund" in ids(own_site, INSPECTOR, CallFilter())
    assert ids(own_site, INSPECTOR, CallFilter(view=View.CHANGED)) == ["refund"]
    assert ids(own_site, INSPECTOR, CallFilter(view=View.REVIEWED)) == []
    with pytest.raises(Conflict):
        judge(own_site.store, INSPECTOR, old)
    with pytest.raises(Conflict):
        finish(own_site.store, INSPECTOR, "refund", old.scorecard_id)
    [kept] = open_call(own_site.store, INSPECTOR, "refund").verdicts
    assert not kept.same_card


def test_a_review_stands_when_the_machine_says_the_same_again(own_site: AppSite):
    old = given_on(own_site, Verdict.WRONG)
    finish(own_site.store, INSPECTOR, "refund", old.scorecard_id)
    for without, view in (("", View.REVIEWED), ("neg.cannot", View.CHANGED), ("", View.REVIEWED)):
        with own_site.store.write() as session:
            judge_anew(session, session.get_one(Call, "refund"), without=without)
        assert ids(own_site, INSPECTOR, CallFilter(view=view)) == ["refund"]


@pytest.mark.parametrize("person", [AGENT, TRAINER, ADMIN, OPERATOR])
def test_who_may_not_judge_cannot(site: AppSite, person: Identity):
    given = given_on(site, Verdict.WRONG)
    with pytest.raises(AccessDenied):
        judge(site.store, person, given)
    with pytest.raises(AccessDenied):
        finish(site.store, person, "refund", given.scorecard_id)


def test_a_lead_does_not_judge_other_teams(site: AppSite):
    view = open_call(site.store, INSPECTOR, "thanks")
    assert view.scorecard_id is not None
    assert view.card is not None
    given = Judgement("thanks", view.scorecard_id, view.card.items[0].rule, Verdict.RIGHT)
    with pytest.raises(AccessDenied):
        judge(site.store, LEAD, given)


# A machine's place, a person's place


def costly(view: CallView) -> dict[str, float]:
    """Items judged as a whole, one a dimension, and what the score gains when the item falls: caps are reckoned in."""
    assert view.card is not None
    found = {}
    for dimension in view.card.dimensions:
        for item in view.card.items:
            gain = dimension.lost - min(dimension.weight, dimension.raw - item.cost)
            if item.dimension == dimension.id and item.outcome is Outcome.FAIL and gain > 0 and not item.findings[0].covered_by:
                found[item.rule] = gain
                break
    return found


def give(site: AppSite, person: Identity, rule: str, verdict: Verdict, call_id: str = "refund", **values) -> int:
    view = seen(site, call_id)
    assert view.scorecard_id is not None
    return judge(site.store, person, Judgement(call_id, view.scorecard_id, rule, verdict, **values))


def test_a_wrong_fault_gives_its_points_back_and_the_machines_score_stays(own_site: AppSite):
    view = seen(own_site)
    assert view.card is not None
    before = view.card.score
    rule, gain = next(iter(costly(view).items()))
    give(own_site, INSPECTOR, rule, Verdict.WRONG)
    after = seen(own_site)
    assert after.card is not None
    assert after.card.score == before
    [machine, inspector] = after.levels
    assert (machine.level, inspector.level, inspector.who) == (Level.MACHINE, Level.INSPECTOR, ("i",))
    assert inspector.card.score == pytest.approx(before + gain)
    assert inspector.changed == (rule,)
    give(own_site, INSPECTOR, rule, Verdict.RIGHT)
    assert scores(own_site) == {"machine": before, "inspector": before}


def test_a_missed_fault_costs_its_points_at_its_place(own_site: AppSite):
    before = scores(own_site, "thanks")["machine"]
    rule = next(r for r in own_site.desk.pack.rules if r.id == "lang.vague" and r.language == "zh")
    give(own_site, INSPECTOR, "lang.vague", Verdict.MISSED, "thanks", place=Place(2, 0, 4))
    assert scores(own_site, "thanks")["inspector"] == pytest.approx(before - rule.points)
    with own_site.store.read() as session:
        row = session.scalars(select(Row)).one()
    turn = seen(own_site, "thanks").transcript.turns[2]
    assert (row.turn, row.start_char, row.end_char, row.start, row.end) == (2, 0, 4, turn.start, turn.end)


def test_a_fatal_fault_is_lifted_and_added_like_any_other(own_site: AppSite):
    view = seen(own_site)
    assert view.card is not None
    fatal = [item.rule for item in view.card.items if item.fatal and item.outcome is Outcome.PASS]
    if not fatal:
        fatal = [item.rule for item in view.card.items if item.fatal]
    give(own_site, LEAD, fatal[0], Verdict.MISSED, place=Place(2, 0, 5))
    lead = next(one for one in seen(own_site).levels if one.level is Level.LEAD)
    assert lead.card.fatal
    assert lead.card.passed is False


def test_the_lead_goes_before_the_inspector_and_each_keeps_their_own_score(own_site: AppSite):
    first, second = list(costly(seen(own_site)))[:2]
    give(own_site, INSPECTOR, first, Verdict.WRONG)
    give(own_site, INSPECTOR, second, Verdict.WRONG)
    give(own_site, LEAD, first, Verdict.RIGHT)
    by = scores(own_site)
    assert by["machine"] < by["lead"] < by["inspector"]


def test_reviewers_of_one_rank_who_disagree_leave_the_machines_word(own_site: AppSite):
    give(own_site, INSPECTOR, "complaint.apology", Verdict.WRONG)
    give(own_site, OTHER, "complaint.apology", Verdict.RIGHT)
    level = seen(own_site).levels[1]
    assert level.card.score == scores(own_site)["machine"]
    assert level.contested == ("complaint.apology",)


def test_what_the_heavier_rule_hid_costs_when_that_one_is_wrong(own_site: AppSite):
    """One event costs once; whose finding falls leaves the event to the other rule."""
    view = seen(own_site)
    assert view.card is not None
    covered = [
        (item, found.covered_by) for item in view.card.items for found in item.findings if found.covered_by
    ]
    for item, by in covered:
        row = Row(
            id=1, call_id="refund", rule=by, who="i", role="inspector", verdict="wrong", outcome="fail", at=None,
            finding_status=None,
        )  # fmt: skip
        card, changed, _ = as_judged(view.card, [row], own_site.desk.pack, "zh")
        assert changed == (by,)
        again = next(one for one in card.items if one.rule == item.rule)
        assert not any(found.covered_by == by for found in again.findings)
    assert covered, "the dialogue has such an event"


def test_not_applicable_is_neither(own_site: AppSite):
    rule = next(iter(costly(seen(own_site))))
    give(own_site, INSPECTOR, rule, Verdict.NOT_APPLICABLE)
    machine, inspector = seen(own_site).levels
    item = next(i for i in inspector.card.items if i.rule == rule)
    assert (item.outcome, item.cost, item.gain) == (Outcome.NOT_APPLICABLE, 0, 0)
    assert machine.card.score < inspector.card.score
    counts = [sum(d.applicable for d in one.card.dimensions) for one in (machine, inspector)]
    assert counts[1] == counts[0] - 1


def test_what_the_machine_left_open_is_decided_by_a_person(own_site: AppSite):
    view = seen(own_site, "stray")
    assert view.card is not None
    left = [item for item in view.card.items if item.outcome in (Outcome.NOT_EVALUATED, Outcome.NOT_APPLICABLE)]
    give(own_site, INSPECTOR, left[0].rule, Verdict.MISSED, "stray")
    item = next(i for i in seen(own_site, "stray").levels[1].card.items if i.rule == left[0].rule)
    assert item.outcome is Outcome.FAIL


def test_a_card_without_verdicts_is_reckoned_to_the_same_score(own_site: AppSite):
    """Reckoning anew and the machine's own reckoning agree, so that people's changes are all that differs."""
    from qa.scorecard import total

    for call_id in DIALOGUES:
        view = seen(own_site, call_id)
        assert view.card is not None
        rules = rules_for(own_site.desk.pack, "zh")
        again = total(own_site.desk.pack, rules, call_id, view.card.items, view.card.fingerprint)
        assert replace(again, versions=view.card.versions, pack=view.card.pack) == view.card


# Undo, and others


def test_taking_back_restores_what_one_had_said_before(own_site: AppSite):
    first = give(own_site, INSPECTOR, "neg.cannot", Verdict.WRONG, finding=0, note="听错了")
    second = give(own_site, INSPECTOR, "neg.cannot", Verdict.RIGHT, finding=0)
    with pytest.raises(Conflict):
        take_back(own_site.store, INSPECTOR, first)
    take_back(own_site.store, INSPECTOR, second)
    [stands] = seen(own_site).verdicts
    assert (stands.verdict, stands.note, stands.place.turn) == ("wrong", "听错了", 2)
    with pytest.raises(AccessDenied):
        take_back(own_site.store, LEAD, stands.id)
    own = give(own_site, INSPECTOR, "complaint.apology", Verdict.WRONG)
    take_back(own_site.store, INSPECTOR, own)
    assert [v.rule for v in seen(own_site).verdicts] == ["neg.cannot"]
    take_back(own_site.store, INSPECTOR, first)  # the one that was restored, under its first id
    assert seen(own_site).verdicts == ()
    with own_site.store.read() as session:
        assert [row.verdict for row in session.scalars(select(Row).order_by(Row.id))] == [
            "wrong", "right", "wrong", "wrong", "withdrawn", "withdrawn",
        ]  # fmt: skip


def test_withdrawing_leaves_nothing_where_undoing_restores(own_site: AppSite):
    give(own_site, INSPECTOR, "neg.cannot", Verdict.WRONG, finding=0)
    second = give(own_site, INSPECTOR, "neg.cannot", Verdict.RIGHT, finding=0)
    assert set(scores(own_site)) == {"machine", "inspector"}
    take_back(own_site.store, INSPECTOR, second, restore=False)
    assert seen(own_site).verdicts == ()
    assert set(scores(own_site)) == {"machine"}  # who took everything back has no score of their own


def test_the_second_on_a_finding_is_told_and_saves_knowingly(own_site: AppSite):
    known = give(own_site, INSPECTOR, "neg.cannot", Verdict.RIGHT, finding=0, known=0)
    with pytest.raises(JudgedMeanwhile) as told:
        give(own_site, OTHER, "neg.cannot", Verdict.WRONG, finding=0, known=0)
    assert (told.value.by.who, told.value.by.verdict) == ("i", "right")
    give(own_site, OTHER, "neg.cannot", Verdict.WRONG, finding=0, known=known)
    give(own_site, OTHER, "complaint.apology", Verdict.WRONG, known=0)  # another item: nobody was there
    assert {(v.who, v.rule) for v in seen(own_site).verdicts} == {
        ("i", "neg.cannot"), ("j", "neg.cannot"), ("j", "complaint.apology"),
    }  # fmt: skip


def test_the_same_event_sent_twice_is_kept_once(own_site: AppSite):
    one = give(own_site, INSPECTOR, "neg.cannot", Verdict.RIGHT, finding=0, known=0, event_id="e1")
    assert give(own_site, INSPECTOR, "neg.cannot", Verdict.RIGHT, finding=0, known=0, event_id="e1") == one
    with own_site.store.read() as session:
        assert len(session.scalars(select(Row)).all()) == 1
        told = session.scalars(select(AuditEvent).where(AuditEvent.action == "verdict")).all()
    assert [(event.who, event.detail["rule"]) for event in told] == [("i", "neg.cannot")]


@pytest.mark.parametrize("place", [Place(9, 0, 1), Place(2, 5, 5), Place(2, 0, 999), Place(2, -1, 3), Place(2)])
def test_a_place_that_is_not_there_is_refused(site: AppSite, place: Place):
    with pytest.raises(BadPlace):
        give(site, INSPECTOR, "lang.vague", Verdict.MISSED, place=place)


def test_the_machines_change_is_told_for_each_verdict(own_site: AppSite):
    give(own_site, INSPECTOR, "neg.cannot", Verdict.RIGHT, finding=0)
    give(own_site, INSPECTOR, "complaint.apology", Verdict.RIGHT)
    view = seen(own_site)
    assert view.card is not None
    finding, item = view.verdicts if view.verdicts[0].rule == "neg.cannot" else view.verdicts[::-1]
    later = [replace(one, same_card=False) for one in (finding, item)]
    assert [machine_changed(one, view.card) for one in later] == [False, False]
    items = tuple(
        replace(one, outcome=Outcome.PASS, findings=()) if one.rule == "complaint.apology"
        else replace(one, findings=one.findings[1:]) if one.rule == "neg.cannot" else one
        for one in view.card.items
    )  # fmt: skip
    changed = replace(view.card, items=items)
    assert [machine_changed(one, changed) for one in later] == [True, True]
    assert machine_changed(later[0], replace(view.card, items=()))
