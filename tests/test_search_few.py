"""Common words among few calls are looked for call by call: the turns found are those that any search finds."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import select

from qa.store import Store, search
from qa.store.schema import Call, TranscriptRow, TurnRow
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


def make_common(monkeypatch: pytest.MonkeyPatch) -> None:
    """All words are common: on SQLite by their number, on PostgreSQL by what collecting them would cost."""
    monkeypatch.setattr(search, "COMMON_TURNS", 0)
    monkeypatch.setattr(search, "MATCH_COST", 10**9)


@pytest.mark.parametrize("at_once", [1, 3, 250])
@pytest.mark.parametrize("query", QUERIES)
def test_the_same_turns_page_by_page(calls: Store, query: str, at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "FEW_AT_FIRST", 1)
    monkeypatch.setattr(search, "FEW_AT_ONCE", at_once)
    monkeypatch.setattr(search, "ABREAST", 2)
    condition, further = Call.agent == "A3", [TurnRow.speaker == "agent"]
    with calls.read() as session:
        wanted = search.search(session, query, limit=200, where=[condition, *further])
        make_common(monkeypatch)
        assert search.search(session, query, limit=200, where=further, calls=condition) == wanted
        pages, before = [], None
        while page := search.search(session, query, limit=4, before=before, where=further, calls=condition):
            pages += page
            before = page[-1].turn_id
        assert pages == wanted


@pytest.mark.parametrize("cost", [0, 10**9])  # rare words, which PostgreSQL collects; common ones, where it walks
@pytest.mark.parametrize("recent", [5, 30_000])
@pytest.mark.parametrize("agent", ["A3", "long gone"])
def test_many_calls_and_old_ones(calls: Store, cost: int, recent: int, agent: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "FEW_CALLS", 5)
    monkeypatch.setattr(search, "MATCH_COST", cost)
    monkeypatch.setattr(search, "COMMON_TURNS", 0 if cost else 10**6)
    monkeypatch.setattr(search, "RECENT_TURNS", recent)
    with calls.write() as session:
        for number in range(9):
            session.get_one(Call, f"c{number:02d}").agent = "long gone"
    with calls.read() as session:
        turns = session.execute(
            select(TurnRow.id, TurnRow.text)
            .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
            .join(Call, Call.id == TranscriptRow.call_id)
            .where(Call.agent == agent, TranscriptRow.current)
            .order_by(TurnRow.id.desc())
        ).all()
        for query in QUERIES:
            wanted = [turn.id for turn in turns if search.places(turn.text, query)]
            found, before = [], None
            while page := search.search(session, query, limit=3, before=before, calls=Call.agent == agent):
                found += [match.turn_id for match in page]
                before = found[-1]
            assert found == wanted, query
            assert found or query == "没有的话"


@pytest.mark.parametrize("query", [*QUERIES, "冰箱 您", "", "X"])
def test_calls_that_hold_words_are_those_of_the_turns_found(calls: Store, query: str):
    with calls.read() as session:
        for limit in (3, 1_000):
            turns = search.search(session, query, limit=limit, calls=Call.agent == "A3")
            found, cut = search.calls_holding(session, query, limit, Call.agent == "A3")
            assert found == {match.call_id for match in turns}
            assert cut == (len(turns) == limit)


def test_turns_of_transcripts_that_were_stored_side_by_side(calls: Store, monkeypatch: pytest.MonkeyPatch):
    """Two nights at once: the later transcript has the earlier turns."""
    make_common(monkeypatch)
    monkeypatch.setattr(search, "FEW_AT_FIRST", 1)
    monkeypatch.setattr(search, "FEW_AT_ONCE", 1)
    with calls.write() as session:
        rows = [TranscriptRow(call_id=f"d{n}", current=True, language="zh", signs=[], roles={}, attributes={}, fingerprints={}, turn_count=2) for n in range(2)]
        for row in rows:
            session.add(Call(id=row.call_id, agent="B1"))
        session.flush()
        for row in rows:
            session.add(row)
            session.flush()
        for row in rows[::-1]:
            for number in range(2):
                turn = TurnRow(transcript_id=row.id, number=number, speaker="agent", text="请问您贵姓")
                session.add(turn)
                session.flush()
                search.index_turns(session, [(turn.id, turn.text)])
    with calls.read() as session:
        found, before = [], None
        while page := search.search(session, "贵姓", limit=1, before=before, calls=Call.agent == "B1"):
            found += [(match.call_id, match.turn) for match in page]
            before = page[-1].turn_id
        assert found == [("d0", 1), ("d0", 0), ("d1", 1), ("d1", 0)]
