"""Claims, assignments and acknowledgements, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from appsite import DIALOGUES, MONDAY, judge_anew
from sqlalchemy import func, select

from qa import accounts, assignments, my_calls
from qa.access import MATRIX, AccessDenied, Identity, Reach, Right, Role
from qa.accounts import NewAccount
from qa.assignments import Held, NoSuchAssignee, assign, claim, claim_next, release, reviewers, unassign
from qa.call_filter import NOBODY, CallFilter, View
from qa.call_lists import Given, Site, count_calls, list_calls, list_owners, neighbours
from qa.my_calls import acknowledge, acknowledged_at, my_cards, my_weeks, unread_by_agents
from qa.review import Conflict, finish
from qa.settings import Settings
from qa.store import Store
from qa.store.schema import AuditEvent, Call, ScorecardRow
from qa.store.work import Acknowledgement, AssignmentEvent, ClaimEvent
from scoring_rules.load import load_pack

PEOPLE = {
    Role.AGENT: Identity("a", "a", Role.AGENT, agent="A1"),
    Role.INSPECTOR: Identity("i", "i", Role.INSPECTOR),
    Role.LEAD: Identity("l", "l", Role.LEAD, teams=("north",)),
    Role.TRAINER: Identity("t", "t", Role.TRAINER),
    Role.OPERATOR: Identity("o", "o", Role.OPERATOR),
    Role.ADMIN: Identity("r", "r", Role.ADMIN),
}
AGENT, INSPECTOR, LEAD, ADMIN = (PEOPLE[r] for r in (Role.AGENT, Role.INSPECTOR, Role.LEAD, Role.ADMIN))
SECOND = Identity("i2", "i2", Role.INSPECTOR)
SITE = Site(90.0, Settings.load(None, env={}).time_zone)
ALL = CallFilter(view=View.ALL)
PACK = load_pack(("zh",))
REACHED = {
    Reach.NONE: set(),
    Reach.OWN: {"refund"},
    Reach.TEAMS: {"refund", "number"},
    Reach.ALL: set(DIALOGUES),
}


@pytest.fixture
def desk(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Four scored calls, and an account for each of the people."""
    monkeypatch.setattr(accounts, "SCRYPT_N", 2**8)
    with store.write() as session:
        for place, (call_id, (agent, team, kind, _)) in enumerate(DIALOGUES.items()):
            call = Call(id=call_id, agent=agent, team=team, kind=kind, started_at=MONDAY + timedelta(minutes=place))
            session.add(call)
            session.flush()
            judge_anew(session, call)
        for person in (*PEOPLE.values(), SECOND):
            accounts.add_account(
                session, "test", NewAccount(person.login, person.role, agent=person.agent, teams=person.teams)
            )
    return store


def card_of(store: Store, call_id: str) -> int:
    with store.read() as session:
        return session.scalars(
            select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
        ).one()


def ids(store: Store, person: Identity, wanted: CallFilter) -> set[str]:
    return {row.id for row in list_calls(store, person, wanted, SITE).rows}


def whose(store: Store) -> dict[str, str | None]:
    with store.read() as session:
        return dict(session.execute(select(Call.id, Call.assigned_to)).all())


# The matrix, cell by cell

COMMANDS = {
    "claim": (Right.VERDICT, lambda store, who, call: claim(store, who, call)),
    "assign": (Right.ASSIGN, lambda store, who, call: assign(store, who, {call: None}, ["i"])),
    "unassign": (Right.ASSIGN, lambda store, who, call: unassign(store, who, [call])),
    "acknowledge": (Right.ACKNOWLEDGE, lambda store, who, call: acknowledge(store, who, call, card_of(store, call))),
    "acknowledged_at": (Right.SEE, acknowledged_at),
}


@pytest.mark.parametrize("role", Role)
def test_every_command_keeps_to_the_matrix(desk: Store, role: Role):
    for name, (right, command) in COMMANDS.items():
        done = set()
        for call in DIALOGUES:
            try:
                command(desk, PEOPLE[role], call)
                done.add(call)
            except AccessDenied:
                continue
        assert done == REACHED[MATRIX[role][right]], name


@pytest.mark.parametrize("role", Role)
def test_who_may_not_lists_neither_reviewers_nor_cards(desk: Store, role: Role):
    for right, command in (
        (Right.ASSIGN, reviewers),
        (Right.ACKNOWLEDGE, lambda store, who: my_cards(store, who, PACK)),
        (Right.ACKNOWLEDGE, lambda store, who: my_weeks(store, who, SITE)),
        (Right.SEE, lambda store, who: unread_by_agents(store, who, MONDAY)),
        (Right.SEE, lambda store, who: list_owners(store, who, ALL, SITE)),
        (Right.SEE, lambda store, who: count_calls(store, who, [ALL], SITE)),
        (Right.VERDICT, lambda store, who: claim_next(store, who, ALL, SITE)),
    ):
        if MATRIX[role][right] is Reach.NONE:
            with pytest.raises(AccessDenied):
                command(desk, PEOPLE[role])
        else:
            command(desk, PEOPLE[role])


def test_a_call_that_is_not_there_looks_like_one_that_is_not_yours(desk: Store):
    for call in ("thanks", "none"):
        with pytest.raises(AccessDenied):
            claim(desk, LEAD, call)
        with pytest.raises(AccessDenied):
            release(desk, LEAD, call)
        with pytest.raises(AccessDenied):
            assign(desk, LEAD, {"refund": None, call: None}, ["i"])
    assert set(whose(desk).values()) == {None}


# Claims


def test_a_claim_tells_the_others_and_ends_by_itself(desk: Store, monkeypatch: pytest.MonkeyPatch):
    until = claim(desk, INSPECTOR, "refund")
    with pytest.raises(Held) as held:
        claim(desk, SECOND, "refund")
    assert (held.value.holder, held.value.until) == ("i", until)
    assert claim(desk, INSPECTOR, "refund") >= until
    assert ids(desk, INSPECTOR, CallFilter(view=View.MINE)) == {"refund"}
    [row] = [row for row in list_calls(desk, SECOND, ALL, SITE).rows if row.id == "refund"]
    assert row.held_by == "i"
    later = assignments.now() + assignments.CLAIM_TIME + timedelta(seconds=1)
    for module in ("qa.assignments.now", "qa.call_lists.now"):
        monkeypatch.setattr(module, lambda: later)
    assert ids(desk, INSPECTOR, CallFilter(view=View.MINE)) == set()
    assert claim(desk, SECOND, "refund") > later
    with desk.read() as session:
        assert session.scalars(select(ClaimEvent.who).order_by(ClaimEvent.id)).all() == ["i", "i", "i2"]


def test_only_the_holder_or_who_assigns_lets_a_call_go(desk: Store):
    claim(desk, INSPECTOR, "refund")
    with pytest.raises(AccessDenied):
        release(desk, SECOND, "refund")
    assert release(desk, INSPECTOR, "refund")
    assert not release(desk, INSPECTOR, "refund")
    claim(desk, INSPECTOR, "refund")
    assert release(desk, LEAD, "refund")
    claim(desk, SECOND, "refund")
    with desk.read() as session:
        [freed] = session.scalars(select(AuditEvent).where(AuditEvent.action == "claim freed"))
    assert (freed.who, freed.call_id, freed.detail) == ("l", "refund", {"holder": "i"})


def test_next_passes_over_what_others_have_in_hand(desk: Store):
    order = list(list_owners(desk, INSPECTOR, CallFilter(), SITE))
    assert len(order) >= 2
    assert claim_next(desk, INSPECTOR, CallFilter(), SITE) == order[0]
    assert claim_next(desk, SECOND, CallFilter(), SITE) == order[1]
    before, after = neighbours(desk, SECOND, CallFilter(), SITE, order[1])
    assert before is None
    assert after == (order[2] if len(order) > 2 else None)


@pytest.mark.parametrize("candidates", [1, 50])
def test_many_who_ask_for_the_next_call_at_once_get_different_ones(
    desk: Store, candidates: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(assignments, "CANDIDATES", candidates)  # one: whoever comes second has lost it and looks on
    got: list[str | None] = []
    people = [Identity(f"p{n}", "p", Role.INSPECTOR) for n in range(6)]
    start = threading.Barrier(len(people))

    def ask(person: Identity) -> None:
        start.wait()
        got.append(claim_next(desk, person, ALL, SITE))

    threads = [threading.Thread(target=ask, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [call for call in got if call]
    assert len(got) == len(people)
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(DIALOGUES)
    for person in people:  # who came away with nothing asks again
        claim_next(desk, person, ALL, SITE)
    with desk.read() as session:
        assert session.scalar(select(func.count(Call.id)).where(Call.held_by.is_not(None))) == len(DIALOGUES)


# Assignments


def test_calls_are_given_in_turn_and_taken_back(desk: Store):
    assert {r.login for r in reviewers(desk, LEAD)} == {"i", "i2", "l"}
    seen = dict.fromkeys(["refund", "number"])
    assert set(assign(desk, LEAD, seen, ["i", "i2"], "致命优先").given) == set(seen)
    assert sorted(who for who in whose(desk).values() if who) == ["i", "i2"]
    assert ids(desk, INSPECTOR, CallFilter(view=View.MINE)) == {c for c, who in whose(desk).items() if who == "i"}
    assert ids(desk, LEAD, CallFilter(view=View.ALL, assigned="i2")) == {c for c, w in whose(desk).items() if w == "i2"}
    assert ids(desk, ADMIN, CallFilter(view=View.ALL, assigned=NOBODY)) == {"thanks", "stray"}
    assert {r.login: r.open_calls for r in reviewers(desk, LEAD)} == {"i": 1, "i2": 1, "l": 0}
    listed = {row.id: row.given for row in list_calls(desk, INSPECTOR, CallFilter(view=View.ALL), SITE).rows}
    assert listed == {**dict.fromkeys(("refund", "number"), Given("l", "致命优先")), "thanks": None, "stray": None}
    assert unassign(desk, LEAD, ["refund", "number"]) == 2
    assert not any(row.given for row in list_calls(desk, INSPECTOR, CallFilter(view=View.ALL), SITE).rows)
    assert unassign(desk, LEAD, ["refund"]) == 0
    with desk.read() as session:
        events = session.execute(select(AssignmentEvent.who, AssignmentEvent.assignee, AssignmentEvent.note)).all()
        trail = session.scalars(select(AuditEvent.action).where(AuditEvent.who == "l")).all()
    assert [tuple(event)[1] for event in events] == ["i", "i2", None, None]
    assert events[0].note == "致命优先"
    assert trail == ["assigned", "assigned", "unassigned", "unassigned"]


def test_what_changed_since_the_list_was_read_is_told_and_left(desk: Store):
    assign(desk, ADMIN, {"refund": None}, ["i2"])
    claim(desk, SECOND, "number")
    finish(desk, INSPECTOR, "thanks", card_of(desk, "thanks"))
    result = assign(desk, ADMIN, dict.fromkeys(DIALOGUES), ["i"])
    assert (result.given, result.taken, result.held, result.done) == (("stray",), ("refund",), ("number",), ("thanks",))
    assert assign(desk, ADMIN, {"refund": "i2"}, ["i"]).given == ("refund",)
    assert assign(desk, ADMIN, {"number": None}, ["i", "i2"]).given == ("number",)
    assert whose(desk)["number"] == "i2"


def test_a_lead_is_given_calls_of_their_own_teams_only(desk: Store):
    result = assign(desk, ADMIN, dict.fromkeys(["refund", "thanks"]), ["l"])
    assert (result.given, result.beyond) == (("refund",), ("thanks",))


@pytest.mark.parametrize("nobody", [[], ["nobody"], ["t"], ["a"]])
def test_calls_are_given_to_reviewers_only(desk: Store, nobody: list[str]):
    with pytest.raises(NoSuchAssignee):
        assign(desk, LEAD, {"refund": None}, nobody)
    with desk.write() as session:
        accounts.close(session, "test", session.get_one(accounts.Account, "i2"))
    with pytest.raises(NoSuchAssignee):
        assign(desk, LEAD, {"refund": None}, ["i2"])


def test_a_reviewed_call_is_nobodys_work_until_the_machine_judges_otherwise(desk: Store):
    assign(desk, LEAD, {"refund": None}, ["i"])
    finish(desk, INSPECTOR, "refund", card_of(desk, "refund"))
    assert ids(desk, INSPECTOR, CallFilter(view=View.MINE)) == set()
    with desk.write() as session:
        judge_anew(session, session.get_one(Call, "refund"), without="neg.cannot")
    assert ids(desk, INSPECTOR, CallFilter(view=View.MINE)) == {"refund"}
    [row] = list_calls(desk, INSPECTOR, CallFilter(view=View.CHANGED), SITE).rows
    assert (row.changed, row.reviewed, row.assigned_to) == (True, False, "i")


# Acknowledgements


def test_an_agent_reads_their_card_once_and_the_lead_sees_it(desk: Store):
    found = my_cards(desk, AGENT, PACK)
    [card] = found.cards
    assert (card.row.id, found.total, found.unread, card.read_at) == ("refund", 1, 1, None)
    fault = next(fault for fault in card.faults if fault.rule == "neg.cannot")
    place = fault.places[0]
    assert place.hit is not None
    assert "没办法" in place.quote[place.hit[0] : place.hit[1]]
    assert unread_by_agents(desk, LEAD, MONDAY) == [("A1", 1, 1), ("A2", 1, 1)]
    for _ in range(2):
        acknowledge(desk, AGENT, "refund", card.scorecard_id)
    assert my_cards(desk, AGENT, PACK, unread=True).cards == ()
    assert my_cards(desk, AGENT, PACK).cards[0].read_at == acknowledged_at(desk, LEAD, "refund")
    assert unread_by_agents(desk, LEAD, MONDAY) == [("A2", 1, 1), ("A1", 1, 0)]
    with desk.read() as session:
        assert session.scalar(select(func.count(Acknowledgement.id))) == 1


def test_a_card_judged_anew_is_to_be_read_again(desk: Store):
    old = card_of(desk, "refund")
    acknowledge(desk, AGENT, "refund", old)
    with desk.write() as session:
        judge_anew(session, session.get_one(Call, "refund"))
    assert my_cards(desk, AGENT, PACK).unread == 1
    assert acknowledged_at(desk, LEAD, "refund") is None
    with pytest.raises(Conflict):
        acknowledge(desk, AGENT, "refund", old)


def test_weeks_are_the_sites_and_hold_those_without_calls(desk: Store):
    with desk.write() as session:
        early = Call(id="early", agent="A1", team="north", started_at=MONDAY - timedelta(days=8), score=50.0, fatal=True)
        session.add(early)
    weeks = my_weeks(desk, AGENT, SITE, 4)
    assert [week.calls for week in weeks] == [0, 1, 0, 1]
    assert [week.monday.weekday() for week in weeks] == [0] * 4
    assert (weeks[1].score, weeks[1].fatal) == (50.0, 1)
    assert len(my_weeks(desk, AGENT, SITE)) == my_calls.WEEKS
