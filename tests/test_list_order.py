"""Lists of calls on both databases: their order, the calls before and after one, and what they can be filtered by."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from qa.access import Identity, Role
from qa.call_filter import CallFilter, Sort, View
from qa.call_lists import Site, choices, list_calls, neighbours
from qa.settings import Settings
from qa.store import Store
from qa.store.schema import Call, Tag

INSPECTOR = Identity("ins", "ins", Role.INSPECTOR)
SITE = Site(80.0, Settings().time_zone)
START = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


@pytest.fixture
def calls(store: Store) -> int:
    """Many with the same score and start, some whose start nobody knows."""
    rng = random.Random(3)
    with store.write() as session:
        for number in range(60):
            known = rng.random() < 0.8
            session.add(
                Call(
                    id=f"c{rng.randrange(10**6):06d}-{number}",
                    score=rng.choice((40.0, 75.0, 75.5, 90.0)),
                    fatal=rng.random() < 0.3,
                    suspected=rng.randrange(2),
                    started_at=START + timedelta(hours=rng.randrange(4)) if known else None,
                )
            )
    return 60


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("view", [View.ALL, View.WAITING])
def test_neighbours_are_those_of_the_list(store: Store, calls: int, sort: Sort, view: View):
    wanted = CallFilter(view=view, sort=sort)
    listed = [row.id for row in list_calls(store, INSPECTOR, wanted, SITE, size=calls).rows]
    assert len(listed) == calls if view is View.ALL else 20 < len(listed) < calls
    for place, call_id in enumerate(listed):
        before = listed[place - 1] if place else None
        after = listed[place + 1] if place + 1 < len(listed) else None
        assert neighbours(store, INSPECTOR, wanted, SITE, call_id) == (before, after), call_id
    assert neighbours(store, INSPECTOR, wanted, SITE, "gone") == (None, listed[0])


def test_pages_are_the_list_cut_up(store: Store, calls: int):
    wanted = CallFilter(view=View.ALL)
    whole = [row.id for row in list_calls(store, INSPECTOR, wanted, SITE, size=calls).rows]
    cut = [list_calls(store, INSPECTOR, wanted.at_page(page), SITE, size=7).rows for page in range(1, 11)]
    assert [row.id for page in cut for row in page] == whole


def test_choices_are_what_occurs_within_reach(store: Store):
    teams = {"north": ("A2", "A10"), "south": ("A3",), "": ("",)}
    with store.write() as session:
        for team, agents in teams.items():
            for number in range(6):
                agent = agents[number % len(agents)]
                call = Call(id=f"{team}{number}", team=team, agent=agent, queue="售后" if team == "south" else None)
                call.tags = [Tag(tag=f"tag {team}")] if number else []
                session.add(call)
    assert choices(store, INSPECTOR) == {
        "agent": ["A10", "A2", "A3"], "team": ["north", "south"], "queue": ["售后"], "kind": [],
        "tag": ["tag ", "tag north", "tag south"],
    }  # fmt: skip
    lead = Identity("l", "l", Role.LEAD, teams=("north", "west"))
    assert choices(store, lead) == {
        "agent": ["A10", "A2"], "team": ["north"], "queue": [], "kind": [], "tag": ["tag north"],
    }  # fmt: skip
    assert choices(store, Identity("a", "a", Role.AGENT, agent="A3"))["team"] == ["south"]
