"""Full-text search over turns, Chinese first, on both databases and without extensions.

A text is cut into units: every Chinese character and every digit is one, a run of letters is one word. Indexed are
joined neighbours (投诉处理 → 投诉 诉处 处理) and the last unit alone, in order. So a phrase is a phrase of neighbours, and
one character or the beginning of a word is a prefix. SQLite keeps them in an FTS5 table (`unicode61`; its trigram
tokenizer finds nothing for two characters), PostgreSQL in a `tsvector` built here, with no text-search configuration
and no locale of the server in play.

Only current transcripts are indexed.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnClause,
    ColumnElement,
    TableClause,
    TextClause,
    column,
    func,
    select,
    table,
    text,
)
from sqlalchemy.orm import Session

from qa.store.schema import Call, TranscriptRow, TurnRow

JOINER = "_"  # between two words: "a"+"bc" must not read as "ab"+"c"
MAX_POSITION = (
    16_383  # of a PostgreSQL tsvector; further neighbours share it, and `_spans` checks every hit anyway
)
SPARE = 10  # rows asked for beyond the limit, for candidates that `_spans` turns down
COMMON_TURNS = 3_000  # words that are in so many turns are common
FEW_CALLS = 10_000  # calls among which common words are looked for call by call
FEW_AT_ONCE = 250  # calls that PostgreSQL is asked for at a time
CHUNK = 500  # ids in one query
RECENT_TURNS = 30_000  # PostgreSQL looks through so many tsvectors in some 30 ms


class Unit(NamedTuple):
    text: str
    start: int  # characters of the original text
    end: int
    is_word: bool


class Match(NamedTuple):
    """A turn that holds the query, with the places (character offsets into its text) of every term."""

    turn_id: int
    call_id: str
    turn: int
    speaker: str
    role: str | None
    start: float | None
    text: str
    spans: tuple[tuple[int, int], ...]


def units(source: str) -> list[Unit]:
    """Cut a text into units; width and case do not matter, punctuation and spaces fall out."""
    found: list[Unit] = []
    word, word_start = "", 0
    for place, original in enumerate(source):
        for character, kind in _read(original):
            if kind == "letter":
                if not word:
                    word_start = place
                word += character
                continue
            if word:
                found.append(Unit(word, word_start, place, True))
                word = ""
            if kind == "unit":
                found.append(Unit(character, place, place + 1, False))
    if word:
        found.append(Unit(word, word_start, len(source), True))
    return found


@cache
def _read(original: str) -> tuple[tuple[str, str], ...]:
    """A character as the index sees it: (character, letter | unit | gap), several for a ligature."""
    return tuple(
        (character, _kind(character)) for character in unicodedata.normalize("NFKC", original).lower()
    )


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Ll", "Lm", "Lu", "Lt"):
        return "letter"
    return "unit" if category[0] in "LN" else "gap"


def terms(query: str) -> list[list[Unit]]:
    """The terms of a query: parted by spaces, all of them wanted; "quotes" hold a phrase of words together."""
    found = []
    for number, part in enumerate(query.replace("“", '"').replace("”", '"').split('"')):
        found += [units(part)] if number % 2 else [units(piece) for piece in part.split()]
    return [term for term in found if term]


def search(
    session: Session,
    query: str,
    limit: int = 50,
    before: int | None = None,
    where: Sequence[ColumnElement[bool]] = (),
    calls: ColumnElement[bool] | None = None,
) -> list[Match]:
    """Turns that hold every term of the query, the last stored first.

    `before` is the `turn_id` of the last match of the page before. `calls` is a condition on `Call`: rights and
    filters; `where` are further ones, on `Call`, `TranscriptRow` or `TurnRow`.
    """
    wanted = terms(query)
    if not wanted:
        return []
    matches: list[Match] = []
    if calls is not None:
        few = _few(session, wanted, calls)
        if few is not None:
            for rows in _among(session, wanted, few, before, where, limit):
                matches += filter(None, (_match(row, wanted) for row in rows))
                if len(matches) >= limit:
                    break
            return matches[:limit]
        where = [*where, calls]
    for stretch in _stretches(session, before):
        while len(matches) < limit:
            rows = _candidates(session, wanted, stretch, where, limit - len(matches) + SPARE)
            matches += filter(None, (_match(row, wanted) for row in rows))
            if not rows:
                break
            stretch = stretch._replace(before=rows[-1].id)
    return matches[:limit]


def _match(row: Any, wanted: list[list[Unit]]) -> Match | None:
    spans = _spans(row.text, wanted)
    return Match(row.id, row.call_id, row.number, row.speaker, row.role, row.start, row.text, spans) if spans else None


class _Stretch(NamedTuple):
    """Turn ids in [first, before); None: no bound."""

    first: int | None
    before: int | None


def _stretches(session: Session, before: int | None) -> list[_Stretch]:
    """The parts in which to look, one after the other.

    SQLite walks its index from the newest turn back and stops when it has enough. PostgreSQL must choose between doing
    so, which is endless for a rare word, and collecting every match first, which is endless for a common one; it does
    not know how rare a beginning of a word is. So the newest turns are looked through, and if they do not hold
    enough, the word is rare and all its matches are collected.
    """
    if _is_sqlite(session):
        return [_Stretch(None, before)]
    newest = session.scalar(text("SELECT max(turn_id) FROM turn_search")) if before is None else before - 1
    if newest is None:
        return []
    return [_Stretch(newest - RECENT_TURNS + 1, newest + 1), _Stretch(None, newest - RECENT_TURNS + 1)]


_COLUMNS = (
    TurnRow.id, TranscriptRow.call_id, TurnRow.number, TurnRow.speaker, TurnRow.role, TurnRow.start, TurnRow.text,
)  # fmt: skip


def _candidates(
    session: Session,
    wanted: list[list[Unit]],
    stretch: _Stretch,
    where: Sequence[ColumnElement[bool]],
    count: int,
) -> Sequence[Any]:
    index, key, condition = _index(session)
    order = key if _is_sqlite(session) else key + 0  # keeps the planner from walking the whole table in order
    query = (
        select(*_COLUMNS)
        .select_from(index)
        .join(TurnRow, TurnRow.id == key)
        .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
        .join(Call, Call.id == TranscriptRow.call_id)
        .where(condition, *where)
        .order_by(order.desc())
        .limit(count)
    )
    if stretch.first is not None:
        query = query.where(key >= stretch.first)
    if stretch.before is not None:
        query = query.where(key < stretch.before)
    return session.execute(query, {"query": _match_expression(session, wanted)}).all()


def _index(session: Session) -> tuple[TableClause, ColumnClause[int], TextClause]:
    """The index, the column of its turn ids, and the condition that a turn holds `:query`."""
    if _is_sqlite(session):
        index = table("turn_search", column("rowid", BigInteger))
        return index, index.c.rowid, text("turn_search MATCH :query")
    index = table("turn_search", column("turn_id", BigInteger))
    return index, index.c.turn_id, text("turn_search.tokens @@ CAST(:query AS tsquery)")


# --- few calls, common words -----------------------------------------------------------------------------------


class _Range(NamedTuple):
    """The turns of one transcript: they were stored in one go."""

    first: int
    last: int
    transcript_id: int


def _few(session: Session, wanted: list[list[Unit]], calls: ColumnElement[bool]) -> list[_Range] | None:
    """The turns of the calls, the last stored first, where it is better to start from these than from the words:
    few calls, and words that occur in many others. Otherwise None.
    """
    if len(session.scalars(select(Call.id).where(calls).limit(FEW_CALLS + 1)).all()) > FEW_CALLS:
        return None
    index, key, condition = _index(session)
    expression = {"query": _match_expression(session, wanted)}
    often = session.scalars(select(key).select_from(index).where(condition).limit(COMMON_TURNS), expression).all()
    if len(often) < COMMON_TURNS:
        return None
    ids = session.scalars(
        select(TranscriptRow.id).join(Call, Call.id == TranscriptRow.call_id).where(TranscriptRow.current, calls)
    ).all()
    found: list[_Range] = []
    for first in range(0, len(ids), CHUNK):
        ends = (
            select(func.min(TurnRow.id), func.max(TurnRow.id), TurnRow.transcript_id)
            .where(TurnRow.transcript_id.in_(ids[first : first + CHUNK]))
            .group_by(TurnRow.transcript_id)
        )
        found += [_Range(*row) for row in session.execute(ends)]
    return sorted(found, reverse=True)


def _among(
    session: Session,
    wanted: list[list[Unit]],
    few: list[_Range],
    before: int | None,
    where: Sequence[ColumnElement[bool]],
    limit: int,
) -> Iterator[Sequence[Any]]:
    """Candidates in the turns of few calls, portion by portion, the last stored first.

    SQLite reads turn ids off its index, without touching a turn, and takes those that lie in one of the ranges;
    PostgreSQL, whose index knows no order, asks the turns of some calls at a time.
    """
    if before is not None:
        few = [one for one in few if one.first < before]
    if not few:
        return
    index, key, condition = _index(session)
    expression = {"query": _match_expression(session, wanted)}
    turns = (
        select(*_COLUMNS)
        .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
        .join(Call, Call.id == TranscriptRow.call_id)
        .where(*where)
        .order_by(TurnRow.id.desc())
    )
    if _is_sqlite(session):
        rising = few[::-1]
        starts = [one.first for one in rising]
        walk = select(key).select_from(index).where(condition, key >= starts[0]).order_by(key.desc())
        walk = walk.where(key <= few[0].last if before is None else key < before)
        portion: list[int] = []
        for turn_id in session.scalars(walk, expression).yield_per(1_000):
            place = bisect_right(starts, turn_id) - 1
            if place >= 0 and turn_id <= rising[place].last:
                portion.append(turn_id)
                if len(portion) == min(limit + SPARE, CHUNK):
                    yield session.execute(turns.where(TurnRow.id.in_(portion))).all()
                    portion = []
        if portion:
            yield session.execute(turns.where(TurnRow.id.in_(portion))).all()
        return
    for first in range(0, len(few), FEW_AT_ONCE):
        ids = [one.transcript_id for one in few[first : first + FEW_AT_ONCE]]
        query = turns.join(index, key == TurnRow.id).where(condition, TurnRow.transcript_id.in_(ids))
        if before is not None:
            query = query.where(TurnRow.id < before)
        yield session.execute(query, expression).all()


def _match_expression(session: Session, wanted: list[list[Unit]]) -> str:
    if _is_sqlite(session):
        return " AND ".join(
            f'"{" ".join(tokens)}"{" *" if prefix else ""}' for tokens, prefix in map(_query_tokens, wanted)
        )
    return " & ".join(
        "(" + " <-> ".join(f"'{token}'" for token in tokens) + (":*" if prefix else "") + ")"
        for tokens, prefix in map(_query_tokens, wanted)
    )


def _query_tokens(term: list[Unit]) -> tuple[list[str], bool]:
    if len(term) == 1:
        return [term[0].text], True
    return _neighbours(term), term[-1].is_word


def _neighbours(found: Sequence[Unit]) -> list[str]:
    return [
        left.text + (JOINER if left.is_word and right.is_word else "") + right.text
        for left, right in pairwise(found)
    ]


def tokens(source: str) -> list[str]:
    """What is indexed for a text, in order."""
    found = units(source)
    return [*_neighbours(found), found[-1].text] if found else []


def places(source: str, query: str) -> tuple[tuple[int, int], ...]:
    """Where the terms of a query stand in a text; empty unless every term does."""
    return _spans(source, terms(query))


def _spans(source: str, wanted: list[list[Unit]]) -> tuple[tuple[int, int], ...]:
    """Where the terms stand in a text; empty unless every term does."""
    found = units(source)
    spans: list[tuple[int, int]] = []
    for term in wanted:
        hits = [
            (found[first].start, found[first + len(term) - 1].end)
            for first in range(len(found) - len(term) + 1)
            if _matches(found[first : first + len(term)], term)
        ]
        if not hits:
            return ()
        spans += hits
    return tuple(sorted(set(spans)))


def _matches(found: Sequence[Unit], term: Sequence[Unit]) -> bool:
    *head, last = zip(found, term, strict=True)
    return all(a.text == b.text for a, b in head) and (
        last[0].text.startswith(last[1].text) if last[1].is_word else last[0].text == last[1].text
    )


def index_turns(session: Session, turns: Iterable[tuple[int, str]]) -> None:
    """Add turns (id, text) to the index."""
    if _is_sqlite(session):
        statement = text("INSERT INTO turn_search(rowid, tokens) VALUES (:id, :tokens)")
    else:
        statement = text("INSERT INTO turn_search(turn_id, tokens) VALUES (:id, CAST(:tokens AS tsvector))")
    rows = [{"id": turn_id, "tokens": _index_form(session, source)} for turn_id, source in turns]
    if rows:
        session.execute(statement, rows)


def unindex_turns(session: Session, turns: Iterable[tuple[int, str]]) -> None:
    """Take turns (id, text as it was indexed) out of the index."""
    if _is_sqlite(session):
        # The index keeps no copy of the text, so it must be told what to take out.
        statement = text(
            "INSERT INTO turn_search(turn_search, rowid, tokens) VALUES ('delete', :id, :tokens)"
        )
        rows = [{"id": turn_id, "tokens": _index_form(session, source)} for turn_id, source in turns]
    else:
        statement = text("DELETE FROM turn_search WHERE turn_id = :id")
        rows = [{"id": turn_id} for turn_id, _ in turns]
    if rows:
        session.execute(statement, rows)


def _index_form(session: Session, source: str) -> str:
    if _is_sqlite(session):
        return " ".join(tokens(source))
    return " ".join(
        f"'{token}':{min(place, MAX_POSITION)}" for place, token in enumerate(tokens(source), start=1)
    )


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
