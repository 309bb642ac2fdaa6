"""Full-text search over turns, on both databases."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qa.store import Store
from qa.store.schema import Call, TurnRow
from qa.store.search import search, terms, tokens, units
from qa.store.transcripts import save_transcript
from speech.types import Role, Transcript, Turn

LINES = [
    "您好，感谢您致电晨星客服中心。",
    "我要投诉你们的配送员！",
    "非常抱歉，我马上为您处理。",
    "我的订单号是88231907，上面写的是iPhone 15 Pro。",
    "好的，投诉已经登记。投诉编号稍后发给您。",
    "I would like a refund for my order, please.",
    "The customer service line is closed.",
    "ＶＩＰ客户优先处理",
]


@pytest.fixture
def filled(store: Store) -> Store:
    with store.write() as session:
        session.add_all([Call(id="c1", agent="A1"), Call(id="c2", agent="A2")])
        session.flush()
        save_transcript(
            session, "c1", Transcript("c1", "zh", tuple(Turn("A", line, role=Role.AGENT) for line in LINES))
        )
        save_transcript(session, "c2", Transcript("c2", "zh", (Turn("B", "我不是要投诉，只是问问。"),)))
    return store


def found(store: Store, query: str, **options) -> list[tuple[str, int]]:
    with store.read() as session:
        return [(match.call_id, match.turn) for match in search(session, query, **options)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("投诉", [("c2", 0), ("c1", 4), ("c1", 1)]),
        ("我要投诉", [("c1", 1)]),
        ("诉你", [("c1", 1)]),
        ("诉", [("c2", 0), ("c1", 4), ("c1", 1)]),
        ("心", [("c1", 0)]),  # the last character of a turn
        ("登记投诉", [("c1", 4)]),  # punctuation does not part a phrase
        ("投诉 登记", [("c1", 4)]),  # two terms, any order
        ("登记 投诉", [("c1", 4)]),
        ("处理", [("c1", 7), ("c1", 2)]),
        ("2319", [("c1", 3)]),  # digits inside a number
        ("7", [("c1", 3)]),
        ("iphone15", [("c1", 3)]),
        ("15 pro", [("c1", 3)]),
        ("REFUND", [("c1", 5)]),
        ("refu", [("c1", 5)]),  # beginning of a word
        ("fund", []),
        ("customer service", [("c1", 6)]),
        ('"customer service"', [("c1", 6)]),
        ('"service customer"', []),
        ("“service line”", [("c1", 6)]),
        ("customers", []),  # not customer + service
        ("vip客户", [("c1", 7)]),
        ("没有这句话", []),
        ("？！", []),
        ("", []),
        ("' OR 1=1 --", []),
        ('"', []),
        ("\\", []),
        ("投诉*", [("c2", 0), ("c1", 4), ("c1", 1)]),
    ],
)
def test_queries_find_their_turns_newest_first(filled: Store, query: str, expected: list[tuple[str, int]]):
    assert found(filled, query) == expected


def test_a_match_says_where_the_words_stand(filled: Store):
    with filled.read() as session:
        first, second = search(session, "投诉", limit=2)
    assert (first.text[slice(*first.spans[0])], second.spans) == ("投诉", ((3, 5), (10, 12)))
    assert second.role == "agent"


def test_conditions_keep_rights_and_filters(filled: Store):
    assert found(filled, "投诉", where=[Call.agent == "A2"]) == [("c2", 0)]
    assert found(filled, "投诉", where=[TurnRow.role == "agent"]) == [("c1", 4), ("c1", 1)]


def test_pages_follow_each_other_without_gap_or_repeat(filled: Store):
    pages, before = [], None
    with filled.read() as session:
        while matches := search(session, "诉", limit=1, before=before):
            pages += [(match.call_id, match.turn) for match in matches]
            before = matches[-1].turn_id
    assert pages == [("c2", 0), ("c1", 4), ("c1", 1)]


def test_only_the_current_transcript_is_searched(filled: Store):
    with filled.write() as session:
        save_transcript(session, "c2", Transcript("c2", "zh", (Turn("B", "我想咨询一下退款。"),)))
    assert found(filled, "投诉") == [("c1", 4), ("c1", 1)]
    assert found(filled, "退款") == [("c2", 0)]


def test_units_and_terms():
    assert [unit.text for unit in units("退iPhone１５，好")] == ["退", "iphone", "1", "5", "好"]
    assert [(unit.start, unit.end) for unit in units("a，bc")] == [(0, 1), (2, 4)]
    assert tokens("投诉处理") == ["投诉", "诉处", "处理", "理"]
    assert [["".join(unit.text for unit in term)] for term in terms('退款 "ab cd"')] == [["退款"], ["abcd"]]


alphabet = st.sampled_from(
    [*"投诉处理您好我要123abAB，。 -é\u0301𠮷ー가", "refund", "ＶＩＰ", "'", '"', "\\", "_", "ß", "ﬁ"]
)
snippets = st.lists(alphabet, max_size=12).map("".join)


@given(lines=st.lists(snippets, min_size=1, max_size=6), data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_piece_of_a_text_is_found_and_nothing_else(store: Store, lines: list[str], data: st.DataObject):
    """Against the plain definition: the units of the query stand next to each other in the text."""
    line = data.draw(st.sampled_from(lines))
    start = data.draw(st.integers(0, len(line)))
    query = line[start : data.draw(st.integers(start, len(line)))].replace('"', "")
    with store.write() as session:
        session.merge(Call(id="c1"))
        session.flush()
        save_transcript(session, "c1", Transcript("c1", "zh", tuple(Turn("A", text) for text in lines)))

    def holds(text: str, term: list[str], last_is_word: bool) -> bool:
        have = [unit.text for unit in units(text)]
        for first in range(len(have) - len(term) + 1):
            window = have[first : first + len(term)]
            if window[:-1] == term[:-1] and (
                window[-1].startswith(term[-1]) if last_is_word else window[-1] == term[-1]
            ):
                return True
        return False

    wanted = [([unit.text for unit in term], term[-1].is_word) for term in terms(query)]
    expected = [
        ("c1", n) for n, text in enumerate(lines) if wanted and all(holds(text, *term) for term in wanted)
    ]
    assert sorted(found(store, query)) == expected
