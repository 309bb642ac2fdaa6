"""Lists, one call and search as the app's pages ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from appsite import DIALOGUES, AppSite, build, ids
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from qa import line_search
from qa.access import AccessDenied, Identity, Role
from qa.call_filter import CallFilter, FilterError, Sort, View
from qa.call_lists import list_calls, neighbours
from qa.call_view import open_call
from qa.line_search import LineFilter, search_lines
from qa.morning import night_account, night_files
from qa.states import Outcome
from qa.store.schema import AuditEvent, Call
from qa.store.transcripts import save_transcript
from speech.types import Transcript, Turn

AGENT = Identity("a", "a", Role.AGENT, agent="A1")
LEAD = Identity("l", "l", Role.LEAD, teams=("north",))
INSPECTOR = Identity("i", "i", Role.INSPECTOR)
TRAINER = Identity("t", "t", Role.TRAINER)
OPERATOR = Identity("o", "o", Role.OPERATOR)
ADMIN = Identity("r", "r", Role.ADMIN)
ALL = CallFilter(view=View.ALL)


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


# The filter and its address

days = st.dates(date(2020, 1, 1), date(2035, 1, 1)) | st.none()
filters = st.builds(
    CallFilter,
    view=st.sampled_from(View),
    sort=st.sampled_from(Sort),
    agent=st.text("甲乙 ab1&=%/#", max_size=6).map(str.strip),
    words=st.text("投诉退款 \"", max_size=6).map(str.strip),
    below=st.none() | st.integers(0, 1000).map(float) | st.just(89.5),
    fatal=st.booleans(),
    suspected=st.booleans(),
    angry=st.booleans(),
    since=days,
    until=days,
    night=st.none() | st.integers(1, 10**6),
    page=st.integers(1, 500),
)


@given(filters)
def test_a_filter_comes_back_from_its_address(wanted: CallFilter):
    assert CallFilter.from_address(wanted.to_address()) == wanted


@pytest.mark.parametrize(
    "query",
    [
        {"view": "everything"}, {"below": "low"}, {"below": "nan"}, {"below": "-1"}, {"fatal": "yes"}, {"page": "0"},
        {"since": "2026-13-01"}, {"night": "1; drop table"}, {"page": "99999999999999999999"},
    ],
)  # fmt: skip
def test_values_that_are_none_are_named(query: dict[str, str]):
    with pytest.raises(FilterError) as error:
        CallFilter.from_address({**query, "agent": "A1", "utm": "x"})
    assert error.value.faults == query


# Lists


def test_lists_keep_to_the_reach(site: AppSite):
    assert sorted(ids(site, INSPECTOR, ALL)) == sorted(DIALOGUES)
    assert sorted(ids(site, LEAD, ALL)) == ["number", "refund"]
    assert ids(site, AGENT, ALL) == ["refund"]
    assert ids(site, AGENT, CallFilter(view=View.ALL, agent="A3")) == []
    with pytest.raises(AccessDenied):
        ids(site, OPERATOR, ALL)


def test_the_default_list_is_what_is_at_risk(site: AppSite):
    waiting = list_calls(site.store, INSPECTOR, CallFilter(), site.desk.site).rows
    assert waiting[0].id == "refund"
    assert waiting[0].angry
    passing = site.desk.site.passing
    for row in waiting:
        assert row.fatal or row.angry or row.suspected or row.score is None or row.score < passing
    left_out = set(DIALOGUES) - {row.id for row in waiting}
    for row in list_calls(site.store, INSPECTOR, ALL, site.desk.site).rows:
        if row.id in left_out:
            assert (row.fatal, row.angry, row.suspected) == (False, False, 0)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (CallFilter(view=View.ALL, team="south"), ["thanks"]),
        (CallFilter(view=View.ALL, kind="投诉"), ["refund"]),
        (CallFilter(view=View.ALL, angry=True), ["refund"]),
        (CallFilter(view=View.ALL, words="退款"), ["refund"]),
        (CallFilter(view=View.ALL, words="银河"), []),
        (CallFilter(view=View.ALL, rule="neg.cannot"), ["refund"]),
        (CallFilter(view=View.ALL, since=date(2026, 3, 3)), []),
        (CallFilter(view=View.ALL, until=date(2026, 3, 1)), []),
        (CallFilter(view=View.ALL, team="north", since=date(2026, 3, 2), until=date(2026, 3, 2), sort=Sort.NEWEST),
         ["number", "refund"]),
        (CallFilter(view=View.ALL, night=1, team="south"), ["thanks"]),
        (CallFilter(view=View.ALL, night=2), []),
    ],
)  # fmt: skip
def test_filters(site: AppSite, wanted: CallFilter, found: list[str]):
    assert ids(site, INSPECTOR, wanted) == found


def test_pages_follow_each_other_and_neighbours_stay_in_the_list(site: AppSite):
    whole = ids(site, INSPECTOR, ALL)
    pages = [
        [row.id for row in list_calls(site.store, INSPECTOR, ALL.at_page(n), site.desk.site, size=3).rows]
        for n in (1, 2, 3)
    ]
    assert [len(page) for page in pages] == [3, 1, 0]
    assert [call for page in pages for call in page] == whole
    between = [neighbours(site.store, INSPECTOR, ALL, site.desk.site, call) for call in whole]
    assert between == list(zip([None, *whole[:-1]], [*whole[1:], None], strict=True))
    elsewhere = CallFilter(view=View.ALL, team="south")
    assert neighbours(site.store, INSPECTOR, elsewhere, site.desk.site, "refund") == (None, "thanks")
    assert neighbours(site.store, LEAD, ALL, site.desk.site, "thanks")[1] in ("number", "refund")


# One call


def test_a_call_comes_masked_and_the_look_is_audited(own_site: AppSite):
    view = open_call(own_site.store, LEAD, "number")
    open_call(own_site.store, LEAD, "number")
    assert "*" * 11 in view.transcript.turns[1].text
    assert "一三八" not in "".join(word.text for word in view.transcript.turns[1].words)
    unmasked = open_call(own_site.store, LEAD, "number", unmasked=True)
    assert "一三八零零一三八零零零" in unmasked.transcript.turns[1].text
    with own_site.store.read() as session:
        trail = session.execute(select(AuditEvent.who, AuditEvent.action, AuditEvent.call_id)).all()
    assert [tuple(e) for e in trail if e.call_id] == [("l", "see", "number"), ("l", "unmask", "number")]


def test_what_is_not_yours_and_what_is_not_there_look_the_same(site: AppSite):
    told = set()
    for call_id in ("thanks", "no such call"):
        with pytest.raises(AccessDenied) as error:
            open_call(site.store, LEAD, call_id)
        told.add(type(error.value))
    with pytest.raises(AccessDenied):
        open_call(site.store, TRAINER, "number", unmasked=True)
    assert len(told) == 1


# Search


def test_search_finds_lines_within_reach_with_their_places(site: AppSite):
    [line] = search_lines(site.store, LEAD, LineFilter("退款"), ALL, site.desk.site)
    assert (line.match.call_id, line.match.turn) == ("refund", 1)
    assert [line.match.text[start:end] for start, end in line.match.spans] == ["退款"]
    assert search_lines(site.store, AGENT, LineFilter("营业"), ALL, site.desk.site) == []
    assert len(search_lines(site.store, TRAINER, LineFilter("营业"), ALL, site.desk.site)) == 2


def test_masked_numbers_are_not_found_by_who_may_not_unmask(site: AppSite):
    [line] = search_lines(site.store, INSPECTOR, LineFilter("一三八零零"), ALL, site.desk.site)
    assert "*" * 11 in line.match.text
    for words in ("零零", "一三"):
        assert search_lines(site.store, TRAINER, LineFilter(words), ALL, site.desk.site) == []
    with pytest.raises(FilterError):
        search_lines(site.store, TRAINER, LineFilter("一三八零零"), ALL, site.desk.site)
    for words in ("一三八零零一三八零零零", "13800138000", "１３８００", "1 3 8 0 0"):
        with pytest.raises(FilterError):
            ids(site, TRAINER, CallFilter(view=View.ALL, words=words))


def test_of_a_long_call_the_surroundings_are_read_to_mask_a_line(own_site: AppSite, monkeypatch: pytest.MonkeyPatch):
    site = own_site
    monkeypatch.setattr(line_search, "SURROUNDINGS", 4)
    number = ("一三八", "嗯。", "零零一三", "好。", "八零零零。")
    said = ["您好。"] * 20 + ["麻烦报一下您的手机号。", *number, "登记好了，下周送到。"] + ["好的。"] * 20
    turns = tuple(Turn("customer", text) for text in said)
    with site.store.write() as session:
        session.add(Call(id="long", agent="A9", score=80.0))
        session.flush()
        save_transcript(session, "long", Transcript("long", "zh", turns))
    wanted = replace(ALL, agent="A9")

    def found(words: str) -> list[tuple[int, str]]:
        lines = search_lines(site.store, TRAINER, LineFilter(words), wanted, site.desk.site, size=100)
        return [(line.match.turn, line.match.text) for line in lines]

    assert found("下周") == [(26, "登记好了，下周送到。")]
    assert [turn for turn, _ in found("好的")] == list(range(46, 26, -1))
    assert found("八零") == found("零零") == []
    assert (25, "****。") in [(line.match.turn, line.match.text) for line in search_lines(
        site.store, INSPECTOR, LineFilter("零零零"), wanted, site.desk.site)]


def test_search_by_rule_speaker_and_feeling(site: AppSite):
    def found(person: Identity, lines: LineFilter, wanted: CallFilter = ALL) -> list[tuple[str, int]]:
        lines_found = search_lines(site.store, person, lines, wanted, site.desk.site)
        return [(line.match.call_id, line.match.turn) for line in lines_found]

    assert found(INSPECTOR, LineFilter(rule="neg.cannot")) == [("refund", 2)]
    [line] = search_lines(site.store, INSPECTOR, LineFilter(rule="neg.cannot"), ALL, site.desk.site)
    assert any("没办法" in line.match.text[start:end] for start, end in line.match.spans)
    assert found(INSPECTOR, LineFilter("银行", rule="neg.cannot")) == [("refund", 2)]
    assert found(INSPECTOR, LineFilter("退款", rule="neg.cannot")) == []
    assert found(INSPECTOR, LineFilter(rule="neg.cannot", speaker="customer")) == []
    assert found(INSPECTOR, LineFilter(rule="neg.cannot"), CallFilter(view=View.ALL, agent="A3")) == []
    assert sorted(found(INSPECTOR, LineFilter(emotion="angry"))) == [("refund", 1), ("refund", 3)]
    assert found(INSPECTOR, LineFilter(emotion="happy", speaker="customer")) == [("thanks", 3)]
    assert found(LEAD, LineFilter(emotion="happy")) == []
    assert found(INSPECTOR, LineFilter()) == []


def test_pages_of_a_rules_lines_follow_each_other(site: AppSite):
    lines = LineFilter(rule="opening.greeting")
    whole = search_lines(site.store, INSPECTOR, lines, ALL, site.desk.site)
    assert len(whole) >= 3
    pages, before = [], None
    while page := search_lines(site.store, INSPECTOR, lines, ALL, site.desk.site, before, size=1):
        pages += page
        before = page[-1].cursor
    assert [line.match.turn_id for line in pages] == [line.match.turn_id for line in whole]


# The morning


def test_a_nights_numbers_add_up_within_reach(site: AppSite):
    whole = night_account(site.store, INSPECTOR, site.desk.site.passing)
    assert whole is not None
    assert whole.received == 7
    assert {o: n for o, n in whole.outcomes.items() if n} == {
        Outcome.SCORED: 4, Outcome.QUARANTINED: 1, Outcome.SKIPPED: 1, Outcome.FAILED: 1,
    }  # fmt: skip
    assert (whole.angry, whole.partial) == (1, False)
    part = night_account(site.store, LEAD, site.desk.site.passing)
    assert part is not None
    assert (part.received, part.partial) == (2, True)
    assert part.waiting == len(ids(site, LEAD, CallFilter(night=1)))


def test_files_are_listed_with_their_names_masked(site: AppSite):
    rows, total = night_files(site.store, OPERATOR, 1, Outcome.FAILED, 1)
    assert total == 1
    assert rows[0].path == "customer-***********.wav"
    assert "13800138000" not in (rows[0].message or "")
    assert night_files(site.store, LEAD, 1, Outcome.FAILED, 1) == ([], 0)
    assert night_files(site.store, INSPECTOR, 1, None, 2) == ([], 7)
