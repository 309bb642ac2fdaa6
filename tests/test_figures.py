"""The board's figures, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from appsite import DIALOGUES, build
from hypothesis import given
from hypothesis import strategies as st

from qa.access import AccessDenied, Identity, Role
from qa.call_filter import CallFilter, FilterError, View
from qa.call_lists import Site, list_calls
from qa.figures import Scope, Sums, board, clock_changes, span_of_days, wilson
from qa.reviewed import Result
from qa.store import Store
from qa.store.figures import Counted, columns_of, recount
from qa.store.reviewed import ReviewedResult
from qa.store.schema import Call
from qa.store.scorecards import load_scorecard
from scoring_rules.model import Outcome

SHANGHAI = ZoneInfo("Asia/Shanghai")
SITE = Site(90.0, SHANGHAI)
TRAINER = Identity("t", "t", Role.TRAINER)
CLASSES = {"a": "non-fatal", "b": "non-fatal", "c": "customer-critical", "d": "compliance-critical"}
OUTCOMES = {"P": "pass", "F": "fail", "-": "not_applicable", "?": "not_evaluated"}


def add(
    store: Store, call_id: str, outcomes: str, score: float, at: datetime | None, agent: str | None, team: str | None, **more
) -> None:
    """A scored call; `outcomes` are those of the items a, b, c, d, the fifth a draft that counts nowhere."""
    items = [Counted(rule, CLASSES[rule], OUTCOMES[letter], False) for rule, letter in zip("abcd", outcomes, strict=True)]
    items.append(Counted("draft", "non-fatal", "fail", True))
    with store.write() as session:
        figures = columns_of(session.connection(), items)
        session.add(
            Call(
                id=call_id, score=score, started_at=at, agent=agent, team=team,
                fatal=bool(figures["fatal_classes"]), **figures, **more,
            )
        )


def shanghai(day: int, hour: int = 12, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=SHANGHAI)


@pytest.fixture
def site(store: Store) -> Store:
    add(store, "1", "PFPP", 95, shanghai(2), "A1", "north", queue="q1", kind="投诉")
    add(store, "2", "FFPP", 80, shanghai(2, 0), "A1", "north")
    add(store, "3", "P-FP", 100, shanghai(1, 23), "A2", "north")
    add(store, "4", "P?FF", 100, shanghai(9), "A3", "south")
    add(store, "5", "--P-", 60, None, None, None)
    with store.write() as session:
        session.add(Call(id="unscored", agent="A1", team="north", started_at=shanghai(2)))
    return store


def test_accuracies_apart_and_not_applicable_nowhere(site: Store):
    total = board(site, TRAINER, Scope(), SITE).total
    assert (total.calls, total.below) == (5, 2)
    # Non-fatal items a and b: judged 2 + 2 + 1 + 1 + 0, failed 1 + 2.
    assert (total.errors, total.opportunities) == (3, 6)
    assert total.non_fatal.value == pytest.approx(1 - 3 / 6)
    assert total.fatal("customer-critical").value == pytest.approx(3 / 5)
    assert total.fatal("business-critical").value == 1.0
    assert total.fatal("compliance-critical").value == pytest.approx(4 / 5)
    assert total.mean_score.value == pytest.approx(435 / 5)
    assert total.few


def test_wilsons_interval():
    # 8 of 10: (0.8 + z²/20 ± z √(0.8·0.2/10 + z²/400)) / (1 + z²/10) with z = 1.96
    share = wilson(8, 10)
    assert (share.low, share.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(10, 10).low == pytest.approx(1 / (1 + 1.959964**2 / 10))
    assert wilson(0, 0).value is None


def test_errors_that_go_together_widen_the_interval():
    """Ten calls of ten items: half of the calls fail all, the others none. There are ten facts here, not a hundred."""
    together = Sums(calls=10, errors=50, opportunities=100, errors_squared=500, products=500, opportunities_squared=1_000)
    # variance of the ratio: 10/9 · (500 − 2·½·500 + ¼·1000) / 100² = 0.02778; of 100 independent ones: ¼/100
    assert together.design_effect == pytest.approx(0.027778 / 0.0025, rel=1e-4)
    spread = Sums(calls=10, errors=50, opportunities=100, errors_squared=250, products=500, opportunities_squared=1_000)
    assert spread.design_effect == 1.0
    assert together.non_fatal.low < spread.non_fatal.low


def test_the_mean_scores_interval():
    sums = Sums(calls=4, score=340.0, score_squared=80.0**2 + 80**2 + 90**2 + 90**2)
    half = 1.959964 * (100 / 3 / 4) ** 0.5  # the sample variance of 80 80 90 90 is 100/3
    assert (sums.mean_score.low, sums.mean_score.high) == (pytest.approx(85 - half), pytest.approx(85 + half))
    few = Sums(calls=4, score=380, score_squared=100**2 * 3 + 80**2)
    assert few.mean_score.high == 100  # and not 104.8


@given(st.integers(0, 500), st.integers(1, 500), st.floats(1, 20))
def test_an_interval_holds_its_share_and_stays_within_bounds(good: int, whole: int, effect: float):
    share = wilson(min(good, whole), whole, effect)
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert share.low <= wilson(min(good, whole), whole).low + 1e-12


def test_days_and_weeks_are_the_sites(site: Store):
    found = board(site, TRAINER, Scope(), SITE)
    # Call 2 began at midnight in Shanghai, the day before in UTC.
    assert [(group.name, group.sums.calls) for group in found.days] == [
        (date(2026, 3, 1), 1), (date(2026, 3, 2), 2), (date(2026, 3, 9), 1),
    ]  # fmt: skip
    assert [(group.name, group.sums.calls) for group in found.weeks] == [
        (date(2026, 2, 23), 1), (date(2026, 3, 2), 2), (date(2026, 3, 9), 1),
    ]  # fmt: skip
    assert span_of_days(site, TRAINER, SHANGHAI) == (date(2026, 3, 1), date(2026, 3, 9))


def test_days_across_a_change_of_the_clock(store: Store):
    berlin = ZoneInfo("Europe/Berlin")
    for number, at in enumerate(
        (
            datetime(2026, 3, 28, 23, 30, tzinfo=berlin),  # 22:30 UTC, winter
            datetime(2026, 3, 29, 0, 30, tzinfo=berlin),
            datetime(2026, 3, 29, 23, 30, tzinfo=berlin),  # 21:30 UTC, summer
            datetime(2026, 3, 30, 0, 30, tzinfo=berlin),  # 22:30 UTC
        )
    ):
        add(store, str(number), "PPPP", 100, at, "A", "t")
    days = board(store, TRAINER, Scope(), Site(90.0, berlin)).days
    assert [(group.name.day, group.sums.calls) for group in days] == [(28, 1), (29, 2), (30, 1)]
    changes = clock_changes(berlin, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC))
    assert [(since, seconds // 3_600) for since, seconds in changes[1:]] == [
        (datetime(2026, 3, 29, 1, tzinfo=UTC), 2), (datetime(2026, 10, 25, 1, tzinfo=UTC), 1),
    ]  # fmt: skip


def test_items_in_the_order_of_their_failures(site: Store):
    items = board(site, TRAINER, Scope(), SITE).items
    assert [(item.rule, item.failed, item.judged) for item in items] == [
        ("b", 2, 2), ("c", 2, 5), ("a", 1, 4), ("d", 1, 4),
    ]  # fmt: skip
    assert [round(item.cumulative * 6) for item in items] == [2, 4, 5, 6]
    assert items[1].fault_class == "customer-critical"
    assert items[1].rate.value == pytest.approx(2 / 5)


def test_calls_judged_by_other_rules_are_counted_by_rule(site: Store):
    with site.write() as session:
        figures = columns_of(session.connection(), [Counted("b", "non-fatal", "fail", False)])
        session.add(Call(id="new", score=50, **figures))
    by_rule = {item.rule: item.failed for item in board(site, TRAINER, Scope(), SITE).items}
    assert by_rule == {"b": 3, "c": 2, "a": 1, "d": 1}


def test_the_distribution_and_where_the_full_score_goes(site: Store):
    bars = board(site, TRAINER, Scope(), SITE).bars
    assert [(bar.low, bar.calls) for bar in bars] == [
        (60, 1), (65, 0), (70, 0), (75, 0), (80, 1), (85, 0), (90, 0), (95, 3),
    ]  # fmt: skip
    assert bars[-1].high == 100


def test_teams_and_agents_the_nameless_last(site: Store):
    found = board(site, TRAINER, Scope(), SITE)
    assert [(g.name, g.sums.calls, g.sums.errors) for g in found.teams] == [
        ("north", 3, 3), ("south", 1, 0), (None, 1, 0),
    ]  # fmt: skip
    assert [(g.name, g.sums.calls) for g in found.agents] == [("A1", 2), ("A2", 1), ("A3", 1), (None, 1)]


@pytest.mark.parametrize(
    ("scope", "calls"),
    [
        (Scope(team="north"), 3),
        (Scope(agent="A1", queue="q1"), 1),
        (Scope(kind="投诉"), 1),
        (Scope(since=date(2026, 3, 2)), 3),
        (Scope(until=date(2026, 3, 1)), 1),
        (Scope(since=date(2026, 3, 2), until=date(2026, 3, 2)), 2),
        (Scope(team="none"), 0),
    ],
)
def test_only_what_is_asked_for_is_counted(site: Store, scope: Scope, calls: int):
    found = board(site, TRAINER, scope, SITE)
    assert found.total.calls == calls
    assert sum(group.sums.calls for group in found.agents) == calls
    assert sum(bar.calls for bar in found.bars) == calls
    assert Scope.from_address(scope.to_address() | {"measure": "score"}) == scope


def test_an_empty_site_has_a_board(store: Store):
    found = board(store, TRAINER, Scope(), SITE)
    assert (found.total, found.bars, found.items, found.days, found.agents) == (Sums(), (), (), (), ())
    assert found.total.non_fatal.value is found.total.mean_score.value is None
    assert span_of_days(store, TRAINER, SHANGHAI) is None


@pytest.mark.parametrize(
    ("person", "agents"),
    [
        (Identity("l", "l", Role.LEAD, teams=("north",)), ["A1", "A2"]),
        (Identity("l", "l", Role.LEAD), []),
        (Identity("a", "a", Role.AGENT, agent="A1", teams=("north",)), ["A1"]),
        (Identity("i", "i", Role.INSPECTOR), ["A1", "A2", "A3", None]),
    ],
)
def test_figures_reach_as_far_as_the_person(site: Store, person: Identity, agents: Sequence[str | None]):
    found = board(site, person, Scope(), SITE)
    assert [group.name for group in found.agents] == agents
    assert board(site, person, Scope(team="south"), SITE).total.calls == (1 if "A3" in agents else 0)


def test_who_may_not_see_calls_sees_no_figures(site: Store):
    for ask in (lambda p: board(site, p, Scope(), SITE), lambda p: span_of_days(site, p, SHANGHAI)):
        with pytest.raises(AccessDenied):
            ask(Identity("o", "o", Role.OPERATOR))


def test_an_address_leads_to_the_calls_that_were_counted():
    scope = Scope(team="north", since=date(2026, 3, 1))
    assert scope.calls(rule="neg.cannot", below=85.0) == {
        "view": View.ALL.value, "team": "north", "since": "2026-03-01", "rule": "neg.cannot", "below": "85",
    }  # fmt: skip
    with pytest.raises(FilterError):
        Scope.from_address({"since": "yesterday"})


def test_a_stored_scorecard_brings_its_figures_and_counting_anew_gives_the_same(tmp_path):
    made = build(tmp_path)
    columns = (Call.errors, Call.opportunities, Call.fatal_classes, Call.layout_id, Call.outcomes)
    with made.store.write() as session:
        before = {row[0]: tuple(row[1:]) for row in session.execute(sa.select(Call.id, *columns))}
        assert set(before) == set(DIALOGUES)
        card = load_scorecard(session, "refund")
        judged = [i for i in card.items if i.rule_class == "non-fatal" and not i.draft]
        assert before["refund"][0] == sum(i.outcome is Outcome.FAIL for i in judged) > 0
        assert before["refund"][1] == sum(i.outcome in (Outcome.PASS, Outcome.FAIL) for i in judged)
        session.execute(sa.update(Call).values({column.key: None for column in columns}))
        assert recount(session.connection()) == len(DIALOGUES)
        assert {row[0]: tuple(row[1:]) for row in session.execute(sa.select(Call.id, *columns))} == before
        assert recount(session.connection()) == 0
    made.store.close()


def test_undated_calls_are_in_the_total_and_in_no_day(site: Store):
    found = board(site, TRAINER, Scope(), SITE)
    assert found.total.calls - sum(day.sums.calls for day in found.days) == 1
    assert timedelta(days=7) == found.weeks[1].name - found.weeks[0].name


# --- as people reviewed them -------------------------------------------------------------------------------------

REVIEWED = Scope(result=Result.REVIEWED)
# call → what people made of it: outcomes, score
MADE = {"1": ("PPPP", 100), "4": ("PFFP", 70), "5": ("--P-", 60)}


def review(store: Store, call_id: str, outcomes: str, score: float | None, stale: bool = False) -> None:
    items = [Counted(rule, CLASSES[rule], OUTCOMES[letter], False) for rule, letter in zip("abcd", outcomes, strict=True)]
    fatal = any(item.outcome == "fail" and item.fault_class != "non-fatal" for item in items)
    with store.write() as session:
        figures = columns_of(session.connection(), items)
        session.add(
            ReviewedResult(call_id=call_id, stale=stale, level="lead", score=score, fatal=fatal, **figures)
        )


@pytest.fixture
def reviewed(site: Store) -> Store:
    for call_id, (outcomes, score) in MADE.items():
        review(site, call_id, outcomes, score)
    return site


def test_reviewed_figures_are_those_of_the_same_calls_with_what_people_made_of_them(reviewed: Store):
    """A correction of the machine's counts must come to what counting all calls anew comes to."""
    corrected = board(reviewed, TRAINER, REVIEWED, SITE)
    machine = board(reviewed, TRAINER, Scope(), SITE)
    assert (machine.judged, corrected.judged) == (0, 3)
    with reviewed.write() as session:  # as if the machine had judged so
        for call_id, (_, score) in MADE.items():
            row = session.get_one(ReviewedResult, call_id)
            values = {name: getattr(row, name) for name in ("errors", "opportunities", "fatal_classes", "layout_id", "outcomes")}
            session.execute(sa.update(Call).where(Call.id == call_id).values(score=score, fatal=row.fatal, **values))
    anew = board(reviewed, TRAINER, Scope(), SITE)
    assert (corrected.total, corrected.bars, corrected.items) == (anew.total, anew.bars, anew.items)
    assert (corrected.days, corrected.weeks) == (anew.days, anew.weeks)
    assert (corrected.teams, corrected.agents) == (anew.teams, anew.agents)
    assert corrected.total != machine.total


def test_reviewed_accuracies_by_hand(reviewed: Store):
    total = board(reviewed, TRAINER, REVIEWED, SITE).total
    # a and b: call 1 PP, 2 FF, 3 P-, 4 PF, 5 none: judged 2 + 2 + 1 + 2, failed 2 + 1
    assert (total.errors, total.opportunities, total.below) == (3, 7, 3)
    assert total.fatal("customer-critical").value == pytest.approx(3 / 5)
    assert total.fatal("compliance-critical").value == 1.0
    assert total.mean_score.value == pytest.approx((100 + 80 + 100 + 70 + 60) / 5)


def test_a_call_that_people_left_without_a_score_is_not_counted(site: Store):
    review(site, "1", "----", None)
    found = board(site, TRAINER, REVIEWED, SITE)
    assert (found.total.calls, found.judged) == (4, 0)
    assert [group.name for group in found.agents] == ["A1", "A2", "A3", None]


def test_what_was_never_reckoned_counts_as_the_machine_has_it(site: Store):
    with site.write() as session:
        session.add(ReviewedResult(call_id="1", stale=True))
    assert board(site, TRAINER, REVIEWED, SITE).total == board(site, TRAINER, Scope(), SITE).total


@pytest.mark.parametrize("result", list(Result))
@pytest.mark.parametrize(
    "asked",
    [{"below": 90.0}, {"above": 95.0}, {"fatal": True},
     *({"fatal_class": name} for name in ("customer-critical", "compliance-critical", "business-critical"))],
)  # fmt: skip
def test_a_figure_leads_to_as_many_calls_as_it_counts(reviewed: Store, result: Result, asked: dict):
    scope = Scope(result=result)
    address = scope.calls(**asked)
    found = list_calls(reviewed, TRAINER, CallFilter.from_address(address), SITE)
    figures = board(reviewed, TRAINER, scope, SITE)
    match asked:
        case {"below": _}:
            assert found.total == figures.total.below
        case {"above": _}:
            assert found.total == sum(bar.calls for bar in figures.bars if bar.low >= 95)
        case {"fatal_class": name}:
            assert found.total == getattr(figures.total, name.removesuffix("-critical"))
        case _:
            whole = {"customer": figures.total.customer, "compliance": figures.total.compliance}
            assert max(whole.values()) <= found.total <= sum(whole.values())


def test_the_result_stands_in_the_address():
    assert REVIEWED.to_address() == {"result": "reviewed"}
    assert Scope.from_address({"result": "reviewed"}) == REVIEWED
    assert REVIEWED.calls(fatal_class="customer-critical")["result"] == "reviewed"
    for wrong in ({"result": "both"}, {"fatal_class": "non-fatal"}):
        with pytest.raises(FilterError):
            CallFilter.from_address(wrong)
