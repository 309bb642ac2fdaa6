"""Inspectors at once: what each was told is saved is there, once, and no call is reviewed by two."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from appsite import DIALOGUES, judge_anew

from qa.store import Store
from qa.store.schema import Call

INSPECTORS, CALLS_EACH, CALLS = 5, 4, 24


@pytest.fixture
def waiting(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Calls with a fault, more than all inspectors together will take."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    monkeypatch.setitem(DIALOGUES, "", DIALOGUES["refund"])
    for number in range(CALLS):
        monkeypatch.setitem(DIALOGUES, f"c{number:02d}", DIALOGUES["refund"])
    with store.write() as session:
        for number in range(CALLS):
            call = Call(id=f"c{number:02d}", agent="A1", team="north", kind="投诉", started_at=datetime(2026, 3, 2, 1, number, tzinfo=UTC))
            session.add(call)
            session.flush()
            judge_anew(session, call)
    return store


def test_nothing_is_lost_and_nothing_done_twice(waiting: Store, database: str):
    import inspectors

    try:
        worked = inspectors.together(database, INSPECTORS, CALLS_EACH)
        assert inspectors.faults(database, worked) == []
        assert sum(len(one.finished) for one in worked) == INSPECTORS * CALLS_EACH
        assert sum(one.asked for one in worked) == INSPECTORS * CALLS_EACH * inspectors.VERDICTS_A_CALL
        # The count can tell a loss: one verdict that was never saved is found out.
        worked[0].events.append("0" * 32)
        worked[0].asked += 1
        assert inspectors.faults(database, worked) != []
    finally:
        sys.modules.pop("inspectors", None)
