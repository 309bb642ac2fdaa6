"""Common words among few calls are looked for call by call: the turns found are those that any search finds."""

from __future__ import annotations

import random

import pytest

from qa.store import Store, search
from qa.store.schema import Call, TurnRow
from qa.store.transcripts import save_transcript
from speech.types import Transcript, Turn

LINES = ("您好，请问有什么可以帮您？", "我的冰箱坏了", "好的，请您稍等", "冰箱是去年买的", "谢谢，再见", "请问您贵姓")
QUERIES = ("请问", "冰箱", "您", "请问 您", "冰箱坏了", "没有的话")


@pytest.fixture
def calls(store: Store) -> Store:
    rng = random.Random(4)
    with store.write() as session:
        for number in range(40):
            session.add(Call(id=f"c{number:02d}", agent=f"A{number % 4}", score=80.0))
        session.flush()
        for number in [*range(40), 7, 11]:  # two of them were heard again
            turns = tuple(Turn("agent" if rng.random() < 0.5 else "customer", rng.choice(LINES)) for _ in range(9))
            save_transcript(session, f"c{number:02d}", Transcript(f"c{number:02d}", "zh", turns))
    return store


@pytest.mark.parametrize("at_once", [1, 3, 250])
@pytest.mark.parametrize("query", QUERIES)
def test_the_same_turns_page_by_page(calls: Store, query: str, at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "FEW_AT_ONCE", at_once)
    condition, further = Call.agent == "A3", [TurnRow.speaker == "agent"]
    with calls.read() as session:
        wanted = search.search(session, query, limit=200, where=[condition, *further])
        monkeypatch.setattr(search, "COMMON_TURNS", 0)
        assert search.search(session, query, limit=200, where=further, calls=condition) == wanted
        pages, before = [], None
        while page := search.search(session, query, limit=4, before=before, where=further, calls=condition):
            pages += page
            before = page[-1].turn_id
        assert pages == wanted


def test_too_many_calls_are_searched_as_ever(calls: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "COMMON_TURNS", 0)
    monkeypatch.setattr(search, "FEW_CALLS", 5)
    with calls.read() as session:
        found = search.search(session, "请问", limit=300, calls=Call.agent == "A3")
        assert found == search.search(session, "请问", limit=300, where=[Call.agent == "A3"])
        assert found
