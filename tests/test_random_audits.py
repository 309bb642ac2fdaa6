"""A random audit drawn in the app: the draw and what is kept of it, the queue, the verdicts, and what they weigh."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from appsite import DIALOGUES, build, judge_anew
from sqlalchemy import func, select, update

from qa.access import AccessDenied, Identity, Role
from qa.accuracy import RuleAccuracy, accuracy, recall_of
from qa.assignments import assign
from qa.call_filter import CallFilter, View
from qa.call_lists import CallRow, Site, list_calls
from qa.call_view import open_call
from qa.judging import Judgement, judge, take_back
from qa.player_data import Reader, state
from qa.random_audits import AuditRefused, Frame, Unit, audits, draw_into_queue, present_rules
from qa.review import finish
from qa.store import Store
from qa.store.accounts import Verdict as Row
from qa.store.random_audits import DrawnItem, RandomAudit
from qa.store.schema import AuditEvent, Call, ItemRow, ScorecardRow
from qa.verdict_files import draw_audit, export_verdicts, import_verdicts
from qa.verdicts import Place, Verdict
from scoring_rules.load import load_pack
from scoring_rules.model import Outcome, Pack

LEAD = Identity("l", "l", Role.LEAD, teams=("north",))
ADMIN = Identity("r", "r", Role.ADMIN)
INSPECTOR = Identity("i", "i", Role.INSPECTOR)
OTHER = Identity("j", "j", Role.INSPECTOR)
SITE = Site(80.0, ZoneInfo("Asia/Shanghai"))
AUDIT = CallFilter(audit=True)
DAY = datetime(2026, 3, 2, 1, tzinfo=UTC)
COPIES = 4  # of each dialogue
RULE = "neg.cannot"


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack(("zh",))


@pytest.fixture
def desk(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Sixteen calls on four days, of a team in the north and one in the south."""
    with store.write() as session:
        for name, (agent, team, kind, said) in list(DIALOGUES.items()):
            for number in range(COPIES):
                call_id = f"{name}-{number}"
                monkeypatch.setitem(DIALOGUES, call_id, (agent, team, kind, said))
                call = Call(
                    id=call_id, agent=agent, team=team or "south", queue="q1" if number else "q0", kind=kind,
                    started_at=DAY + timedelta(days=number),
                )  # fmt: skip
                session.add(call)
                session.flush()
                judge_anew(session, call)
    return store


def drawn(store: Store, name: str | None = None) -> list[DrawnItem]:
    query = select(DrawnItem).join(RandomAudit).order_by(DrawnItem.call_id, DrawnItem.rule)
    with store.read() as session:
        return list(session.scalars(query.where(RandomAudit.name == name) if name else query))


def rows(store: Store, who: Identity = INSPECTOR, wanted: CallFilter = AUDIT) -> dict[str, CallRow]:
    return {row.id: row for row in list_calls(store, who, wanted, SITE, 100).rows}


def draw(store: Store, pack: Pack, name: str, unit: Unit, count: int, *, who=ADMIN, seed: int = 7, **frame):
    return draw_into_queue(store, who, pack, name, unit, count, seed, Frame(**frame))


def say(store: Store, call_id: str, rule: str, verdict: Verdict, who: Identity = INSPECTOR, **more) -> int:
    with store.read() as session:
        card = session.scalars(select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)).one()
    return judge(store, who, Judgement(call_id, card, rule, verdict, **more))


def figures(store: Store, pack: Pack, **limits) -> Mapping[str, RuleAccuracy]:
    with store.read() as session:
        return {one.rule: one for one in accuracy(session, pack, **limits)}


# --- the draw ----------------------------------------------------------------------------------------------------


def test_calls_are_drawn_whole_each_with_its_probability_and_frame(desk: Store, pack: Pack):
    found = draw(desk, pack, "W10", Unit.CALLS, 3, since=DAY, until=DAY + timedelta(days=3), team="north", queue="q1")
    items = drawn(desk)
    assert (found.drawn, found.frame_calls, found.probability) == (3, 4, 3 / 4)  # two dialogues of the north, two days
    assert {item.probability for item in items} == {3 / 4}
    assert len({item.call_id for item in items}) == 3
    everything = {
        (line["call"], line["rule"])
        for line in map(json.loads, draw_audit(desk, "all", 1, 1, present_rules(pack)))
        if line["call"] in {item.call_id for item in items}
    }
    assert {(item.call_id, item.rule) for item in items} == everything  # the same items as a file would hold
    with desk.read() as session:
        row = session.scalars(select(RandomAudit)).one()
        trail = session.scalars(select(AuditEvent).where(AuditEvent.action == "random audit drawn")).one()
    assert (row.who, row.seed, row.wanted, row.frame["team"], row.frame["queue"], row.frame["pack"]) == (
        "r", 7, 3, "north", "q1", pack.fingerprint,
    )  # fmt: skip
    assert row.frame["since"] == DAY.isoformat()
    assert (trail.who, trail.detail["name"], trail.detail["probability"]) == ("r", "W10", 3 / 4)


def test_the_same_seed_draws_the_same_and_single_items_are_drawn_evenly(desk: Store, pack: Pack):
    one, again, other = (
        draw(desk, pack, name, Unit.ITEMS, 40, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    places = [[(item.call_id, item.rule) for item in drawn(desk, name)] for name in ("a", "b", "c")]
    assert places[0] == places[1] != places[2]
    assert len(places[0]) == len(set(places[0])) == 40
    assert one.probability == again.probability == other.probability == 40 / one.frame_items
    # Every item of the frame is drawn about as often as every other.
    times: dict[tuple[str, str], int] = {}
    for seed in range(30):
        draw(desk, pack, f"even-{seed}", Unit.ITEMS, 80, seed=seed)
        for item in drawn(desk, f"even-{seed}"):
            times[item.call_id, item.rule] = times.get((item.call_id, item.rule), 0) + 1
    p = 80 / one.frame_items
    expected, spread = 30 * p, (30 * p * (1 - p)) ** 0.5
    assert len(times) > one.frame_items * (1 - (1 - p) ** 30) - 3 * spread
    assert max(times.values()) < expected + 5 * spread


def test_more_than_there_are_draws_all(desk: Store, pack: Pack):
    found = draw(desk, pack, "all", Unit.CALLS, 500)
    assert (found.drawn, found.probability) == (16, 1.0)
    assert found.items == found.frame_items == len(drawn(desk))


def test_the_rules_version_can_limit_the_frame(desk: Store, pack: Pack):
    with desk.write() as session:
        for card in session.scalars(select(ScorecardRow).where(ScorecardRow.call_id.like("thanks%"))):
            card.card = {**card.card, "pack": "of before"}
    found = draw(desk, pack, "now", Unit.CALLS, 500, pack_only=True)
    assert found.frame_calls == 12
    assert not any(item.call_id.startswith("thanks") for item in drawn(desk))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"name": " "}, "bad_name"), ({"name": "x" * 101}, "bad_name"), ({"name": "W1"}, "name_taken"),
        ({"count": 0}, "bad_count"), ({"count": 501}, "bad_count"), ({"seed": -1}, "bad_seed"), ({"seed": 2**31}, "bad_seed"),
        ({"frame": Frame(team="nowhere")}, "nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_told_and_nothing_is_kept(desk: Store, pack: Pack, values: dict, reason: str):
    draw(desk, pack, "W1", Unit.CALLS, 1)
    before = len(drawn(desk))
    asked = {"name": "W2", "unit": Unit.CALLS, "count": 1, "seed": 1, "frame": Frame(), **values}
    with pytest.raises(AuditRefused) as caught:
        draw_into_queue(desk, ADMIN, pack, **asked)
    assert caught.value.reason == reason
    assert len(drawn(desk)) == before


def test_leads_draw_within_their_teams_and_others_do_not(desk: Store, pack: Pack):
    for role in (Role.AGENT, Role.INSPECTOR, Role.TRAINER, Role.OPERATOR):
        nobody = Identity("x", "x", role, agent="A1", teams=("north",))
        with pytest.raises(AccessDenied):
            draw(desk, pack, "W1", Unit.CALLS, 1, who=nobody)
        with pytest.raises(AccessDenied):
            audits(desk, nobody)
    draw(desk, pack, "mine", Unit.CALLS, 500, who=LEAD)
    draw(desk, pack, "south", Unit.CALLS, 500, team="south")
    assert {item.call_id.split("-")[0] for item in drawn(desk, "mine")} == {"refund", "number"}
    assert [one.name for one in audits(desk, LEAD)] == ["mine"]
    assert [one.name for one in audits(desk, ADMIN)] == ["south", "mine"]
    assert audits(desk, LEAD)[0].frame["teams"] == ["north"]


# --- the work ----------------------------------------------------------------------------------------------------


def test_a_drawn_call_is_in_the_queue_with_its_reason_until_every_item_is_judged(desk: Store, pack: Pack):
    assert not any(name.startswith("thanks") for name in rows(desk, wanted=CallFilter()))  # nothing else brings it there
    draw(desk, pack, "W10", Unit.CALLS, 1, rule="", queue="q0", team="south", since=DAY, until=DAY + timedelta(hours=1))
    [call_id] = {item.call_id for item in drawn(desk)}
    items = [item.rule for item in drawn(desk)]
    for wanted in (AUDIT, CallFilter()):
        assert rows(desk, wanted=wanted)[call_id].audits == len(items)
    assert rows(desk, wanted=CallFilter(view=View.ALL))[call_id].audits == len(items)
    view = open_call(desk, INSPECTOR, call_id, pack)
    reader = Reader(INSPECTOR, "en", SITE.zone)
    shown = {item["rule"]: item for item in state(view, pack, reader)["card"]["items"]}
    assert {rule for rule, item in shown.items() if item["group"] == "drawn"} == set(items)
    assert [choice[0] for choice in shown[items[0]]["choices"]] == ["right", "missed", "not_applicable"]
    # Finished as a review, it still waits for the audit's verdicts, and can be given to somebody.
    assert view.scorecard_id is not None
    finish(desk, INSPECTOR, call_id, view.scorecard_id)
    assert rows(desk)[call_id].audits == len(items)
    last = 0
    for rule in items:
        last = say(desk, call_id, rule, Verdict.RIGHT)
    assert call_id not in rows(desk)
    assert call_id not in rows(desk, wanted=CallFilter())
    assert audits(desk, ADMIN)[0].open == 0
    take_back(desk, INSPECTOR, last)
    assert rows(desk)[call_id].audits == 1
    shown = {item["rule"]: item for item in state(open_call(desk, INSPECTOR, call_id, pack), pack, reader)["card"]["items"]}
    assert [rule for rule, item in shown.items() if item["waits"]] == [items[-1]]


def test_a_reviewed_call_that_is_drawn_can_be_given_to_somebody(desk: Store, pack: Pack, monkeypatch: pytest.MonkeyPatch):
    from qa import accounts
    from qa.accounts import NewAccount

    monkeypatch.setattr(accounts, "SCRYPT_N", 2**8)
    with desk.write() as session:
        accounts.add_account(session, "test", NewAccount("i", Role.INSPECTOR))
    with desk.read() as session:
        cards = dict(session.execute(select(ScorecardRow.call_id, ScorecardRow.id).where(ScorecardRow.current)).all())
    for call_id in ("thanks-0", "thanks-1"):
        finish(desk, INSPECTOR, call_id, cards[call_id])
    draw(desk, pack, "W10", Unit.CALLS, 500, team="south", until=DAY + timedelta(hours=1))
    done = assign(desk, ADMIN, {"thanks-0": None, "thanks-1": None}, ["i"])
    assert (done.given, done.done) == (("thanks-0",), ("thanks-1",))
    assert "thanks-0" in rows(desk, wanted=CallFilter(view=View.MINE))


def test_a_verdict_carries_what_it_was_drawn_with_and_a_miss_changes_the_score(desk: Store, pack: Pack):
    found = draw(desk, pack, "W10", Unit.CALLS, 8)
    call_id = next(item.call_id for item in drawn(desk) if item.rule == RULE)
    before = open_call(desk, INSPECTOR, call_id, pack).levels[0].card.score
    say(desk, call_id, RULE, Verdict.MISSED, place=Place(0, 0, 2))
    say(desk, call_id, "lang.vague", Verdict.RIGHT)
    with desk.read() as session:
        kept = session.scalars(select(Row).order_by(Row.id)).all()
    assert [(row.sample, row.sampling_probability) for row in kept] == [("W10", found.probability)] * 2
    after = open_call(desk, INSPECTOR, call_id, pack).levels[1].card.score
    assert before is not None
    assert after is not None
    assert after < before
    assert rows(desk)[call_id].audits == sum(item.call_id == call_id for item in drawn(desk)) - 2
    # What was not drawn carries nothing.
    free = next(call for call in rows(desk, wanted=CallFilter(view=View.ALL)) if call not in {i.call_id for i in drawn(desk)})
    say(desk, free, RULE if not free.startswith("refund") else "lang.vague", Verdict.RIGHT)
    with desk.read() as session:
        assert session.scalars(select(Row.sampling_probability).order_by(Row.id.desc()).limit(1)).one() is None


def test_an_item_in_which_the_machine_sees_a_fault_by_now_is_no_longer_open(desk: Store, pack: Pack):
    with desk.write() as session:
        judge_anew(session, session.get_one(Call, "refund-0"), without=RULE)
    draw(desk, pack, "W10", Unit.CALLS, 500, rule=RULE, queue="q0")
    assert "refund-0" in rows(desk)
    with desk.write() as session:
        judge_anew(session, session.get_one(Call, "refund-0"))
    assert "refund-0" not in rows(desk)
    assert set(rows(desk)) == {"number-0", "thanks-0", "stray-0"}


# --- what the verdicts come to -------------------------------------------------------------------------------------


def judge_all(store: Store, misses: set[str]) -> None:
    """Say of every drawn item that nothing was missed; of RULE in `misses`, that it was."""
    for item in drawn(store):
        if item.call_id in misses and item.rule == RULE:
            say(store, item.call_id, item.rule, Verdict.MISSED, place=Place(0, 0, 2))
        else:
            say(store, item.call_id, item.rule, Verdict.RIGHT)


def claims_judged(store: Store) -> None:
    """Every confirmed finding of RULE is judged right."""
    for number in range(COPIES):
        say(store, f"refund-{number}", RULE, Verdict.RIGHT, finding=0)


def test_recall_weighs_the_verdicts_by_one_over_the_probability(desk: Store, pack: Pack):
    claims_judged(desk)
    draw(desk, pack, "W10", Unit.CALLS, 4, queue="q1")  # of twelve calls
    judge_all(desk, {next(item.call_id for item in drawn(desk) if item.rule == RULE)})
    found = figures(desk, pack)[RULE]
    audited = sum(item.rule == RULE for item in drawn(desk))
    silent = 12  # calls in which the machine passes RULE: all but the four refunds
    assert (found.audited, found.missed, found.confirmed.of) == (audited, 1, COPIES)
    assert found.recall is not None
    assert found.recall.value == pytest.approx(COPIES / (COPIES + silent / audited))


def test_app_and_files_come_to_the_same_figures(desk: Store, pack: Pack, tmp_path: Path):
    """The verdicts of an audit drawn here, exported and imported where nothing was drawn."""
    claims_judged(desk)
    draw(desk, pack, "W10", Unit.ITEMS, 60)
    judge_all(desk, {"thanks-1"})
    file = tmp_path / "v.jsonl"
    lines = export_verdicts(desk, who="t", zone=SITE.zone)
    file.write_text("\n".join(lines), "utf-8")
    assert '"sample": "W10"' in file.read_text("utf-8")
    here = figures(desk, pack)
    (tmp_path / "other").mkdir()
    other = build(tmp_path / "other")
    with other.store.write() as session:
        for call in session.scalars(select(Call)).all():
            session.delete(call)
    with other.store.write() as session:
        with desk.read() as source:
            for call in source.scalars(select(Call)).all():
                session.add(Call(id=call.id, agent=call.agent, team=call.team, queue=call.queue, kind=call.kind, started_at=call.started_at))
        session.flush()
        for call in session.scalars(select(Call)).all():
            judge_anew(session, call)
    import_verdicts(other.store, file, [rule.id for rule in pack.rules], who="t")
    assert figures(other.store, pack) == here
    other.store.close()


def test_two_audits_of_the_same_days_are_no_more_misses_and_one_day_stands_for_its_rate(desk: Store, pack: Pack):
    claims_judged(desk)
    draw(desk, pack, "one", Unit.CALLS, 500)
    judge_all(desk, {"thanks-0", "thanks-1"})
    once = figures(desk, pack)[RULE].recall
    draw(desk, pack, "two", Unit.CALLS, 500)
    assert rows(desk) == {}  # judged already
    assert figures(desk, pack)[RULE].recall == once
    # The rate of what was looked at is that of all: four claims, of twelve others two in twelve.
    assert once is not None
    assert once.value == pytest.approx(4 / 6)
    few = recall_of({}, [(0.5, True), (0.5, False)], 100)
    assert few is not None
    assert (few.value, few.of) == (0, 50)  # half of a hundred were missed, however few were drawn


def test_a_verdict_from_before_the_draw_counts(desk: Store, pack: Pack):
    claims_judged(desk)
    say(desk, "thanks-0", RULE, Verdict.RIGHT)
    draw(desk, pack, "W10", Unit.CALLS, 500, rule=RULE)
    assert "thanks-0" not in rows(desk)
    assert figures(desk, pack)[RULE].audited == 1
    later = figures(desk, pack, since=DAY + timedelta(days=1))
    assert later[RULE].audited == 0


def test_what_was_drawn_never_changes(desk: Store, pack: Pack):
    """Verdicts, new scorecards and a second draw add to it only."""
    draw(desk, pack, "W10", Unit.ITEMS, 20)

    def kept() -> list[tuple]:
        return [(i.id, i.call_id, i.rule, i.scorecard_id, i.probability) for i in drawn(desk, "W10")]

    before = kept()
    judge_all(desk, set())
    with desk.write() as session:
        for call in session.scalars(select(Call)).all():
            judge_anew(session, call)
        session.execute(update(Call).values(team="moved"))
    draw(desk, pack, "W11", Unit.CALLS, 500)
    assert kept() == before
    with desk.read() as session:
        passed = session.scalar(select(func.count()).select_from(ItemRow).where(ItemRow.outcome == Outcome.PASS.value))
    assert passed is not None
    assert len(before) < passed
