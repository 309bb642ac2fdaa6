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
    Select,
    TableClause,
    TextClause,
    and_,
    column,
    func,
    select,
    table,
    text,
)
from sqlalchemy.orm import Session, aliased

from qa.store.schema import Call, TranscriptRow, TurnRow

JOINER = "_"  # between two words: "a"+"bc" must not read as "ab"+"c"
MAX_POSITION = (
    16_383  # of a PostgreSQL tsvector; further neighbours share it, and `_spans` checks every hit anyway
)
SPARE = 10  # rows asked for beyond the limit, for candidates that `_spans` turns down
COMMON_TURNS = 3_000  # words that are in so many turns are common, for SQLite
FEW_CALLS = 10_000  # calls among which common words are looked for call by call
FEW_AT_FIRST, FEW_AT_ONCE = 40, 250  # calls that PostgreSQL is asked for at a time
ABREAST = 20  # transcripts that are stored at the same time, at most: their turns may lie in another order
CHUNK = 500  # ids in one query
RECENT_TURNS = 30_000  # newest turns that are walked through before it is asked where the calls lie
SAMPLE_BYTES = 64 * 8_192  # of PostgreSQL's index table, some 2,000 turns: how common are the words?
MATCH_COST = 10  # to collect a turn and put it in order, in turns walked past


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
    for rows in _candidates(session, wanted, limit, before, where, calls):
        matches += filter(None, (_match(row, wanted) for row in rows))
        if len(matches) >= limit:
            break
    return matches[:limit]


def calls_holding(
    session: Session, query: str, limit: int, calls: ColumnElement[bool] | None = None
) -> tuple[set[str], bool]:
    """The calls in which the last stored `limit` turns that hold every term of the query lie, and whether there may be
    more such turns. `calls` is a condition on `Call`.
    """
    wanted = terms(query)
    found: set[str] = set()
    turns = 0
    for rows in _candidates(session, wanted, limit, None, (), calls) if wanted else ():
        for row in rows:
            if _holds(row.text, wanted):
                found.add(row.call_id)
                turns += 1
                if turns == limit:
                    return found, True
    return found, False


def _match(row: Any, wanted: list[list[Unit]]) -> Match | None:
    spans = _spans(row.text, wanted)
    return (
        Match(row.id, row.call_id, row.number, row.speaker, row.role, row.start, row.text, spans)
        if spans
        else None
    )


_COLUMNS = (
    TurnRow.id, TranscriptRow.call_id, TurnRow.number, TurnRow.speaker, TurnRow.role, TurnRow.start, TurnRow.text,
)  # fmt: skip


def _candidates(
    session: Session,
    wanted: list[list[Unit]],
    limit: int,
    before: int | None,
    where: Sequence[ColumnElement[bool]],
    calls: ColumnElement[bool] | None,
) -> Iterator[Sequence[Any]]:
    """Turns that the index names, portion by portion, the last stored first.

    Common words are met soon by whoever walks back from the newest turn; to collect all their matches first would be
    endless. For rare words it is the other way round. SQLite's index is read in order and serves both. PostgreSQL's
    knows no order, and its planner not how common a beginning of a word is: so a sample tells it, and it walks past
    the index, or collects by it.
    """
    index, key, by_index, by_turn = _index(session)
    expression = {"query": _match_expression(session, wanted)}
    sqlite = _is_sqlite(session)
    common = sqlite or _worth_a_walk(session, expression, limit)
    if calls is not None and common:
        few = _few(session, expression, calls)
        if few is not None:
            among = _among_sqlite if sqlite else _among_postgresql
            yield from among(session, expression, few, before, where, limit)
            return
    for stretch in _stretches(session, expression, before, calls) if common else [_Stretch(None, before)]:
        last = stretch.before
        while True:
            bounds = [] if stretch.first is None else [key >= stretch.first]
            bounds += [] if last is None else [key < last]
            found = select(key.label("id")).select_from(index).where(by_turn if common else by_index, *bounds)
            if common and not sqlite:
                found = found.order_by(key.desc()).offset(0)  # a fence: else turns are joined that do not match
            hits = found.subquery()
            # Where matches are collected, the planner must not take the order for a reason to walk the whole table.
            order = hits.c.id if common else hits.c.id + 0
            rows = session.execute(
                select(*_COLUMNS)
                .select_from(hits)
                .join(TurnRow, TurnRow.id == hits.c.id)
                .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
                .join(Call, Call.id == TranscriptRow.call_id)
                .where(*where, *([] if calls is None else [calls]))
                .order_by(order.desc())
                .limit(limit + SPARE),
                expression,
            ).all()
            if not rows:
                break
            yield rows
            last = rows[-1].id


def _index(session: Session) -> tuple[TableClause, ColumnClause[int], TextClause, TextClause]:
    """The index, the column of its turn ids, and the condition that a turn holds `:query`, to be asked of the index
    and, on PostgreSQL, turn by turn: no index serves the function behind the operator.
    """
    if _is_sqlite(session):
        index = table("turn_search", column("rowid", BigInteger))
        condition = text("turn_search MATCH :query")
        return index, index.c.rowid, condition, condition
    index = table("turn_search", column("turn_id", BigInteger))
    by_index = text("turn_search.tokens @@ CAST(:query AS tsquery)")
    return index, index.c.turn_id, by_index, text("ts_match_vq(turn_search.tokens, CAST(:query AS tsquery))")


def _worth_a_walk(session: Session, expression: dict[str, str], limit: int) -> bool:
    """Whether PostgreSQL comes upon enough turns sooner from the newest back than by collecting all that match."""
    percent = f"least(100, 100.0 * {SAMPLE_BYTES} / greatest(pg_relation_size('turn_search'), 1))"
    count, hits, percentage = session.execute(
        text(
            "SELECT count(*), count(*) FILTER (WHERE ts_match_vq(tokens, CAST(:query AS tsquery))),"
            f" {percent} FROM turn_search TABLESAMPLE SYSTEM ({percent}) REPEATABLE (1)"
        ),
        expression,
    ).one()
    share = hits / max(count, 1)
    turns = count * 100 / float(percentage)
    return share > 0 and limit / share < share * turns * MATCH_COST


class _Stretch(NamedTuple):
    """Turn ids in [first, before); None: no bound."""

    first: int | None
    before: int | None


def _stretches(
    session: Session, expression: dict[str, str], before: int | None, calls: ColumnElement[bool] | None
) -> Iterator[_Stretch]:
    """The parts in which to walk back, one after the other.

    Where the newest turns do not hold enough and the words are common, the calls wanted may be old ones: the walk goes
    on at their last turn.
    """
    if calls is None:
        yield _Stretch(None, before)
        return
    newest = session.scalar(select(func.max(TurnRow.id))) if before is None else before - 1
    if newest is None:
        return
    first = newest - RECENT_TURNS + 1
    yield _Stretch(first, before)
    if _is_sqlite(session) and not _often(session, expression):
        yield _Stretch(None, first)
        return
    last_stored = (
        select(TranscriptRow.id)
        .join(Call, Call.id == TranscriptRow.call_id)
        .where(TranscriptRow.current, calls)
        .order_by(
            (TranscriptRow.id + 0).desc()
        )  # from the calls: to walk back to old ones is what this saves
        .limit(ABREAST)
    )
    last = session.scalar(select(func.max(TurnRow.id)).where(TurnRow.transcript_id.in_(last_stored)))
    if last is not None:
        yield _Stretch(None, min(first, last + 1))


# --- few calls, common words -----------------------------------------------------------------------------------


class _Range(NamedTuple):
    """The turns of one transcript: they were stored in one go."""

    first: int
    last: int
    transcript_id: int


def _ranges(session: Session, transcript_ids: Sequence[int]) -> list[_Range]:
    """Where the turns of transcripts lie, in no order; those without turns are left out."""
    found: list[_Range] = []
    first, last = aliased(TurnRow), aliased(TurnRow)
    for place in range(0, len(transcript_ids), CHUNK):
        ends = (
            select(first.id, last.id, TranscriptRow.id)
            .join(first, and_(first.transcript_id == TranscriptRow.id, first.number == 0))
            .join(last, and_(last.transcript_id == TranscriptRow.id, last.number == TranscriptRow.turn_count - 1))
            .where(TranscriptRow.id.in_(transcript_ids[place : place + CHUNK]))
        )
        found += [_Range(*row) for row in session.execute(ends)]
    return found


def _few(session: Session, expression: dict[str, str], calls: ColumnElement[bool]) -> Sequence[int] | None:
    """The transcripts of the calls, where it is better to start from these than from the words: few calls, and words
    that occur in many others. Otherwise None.
    """
    some = select(Call.id).where(calls).limit(FEW_CALLS + 1).subquery()
    if (session.scalar(select(func.count()).select_from(some)) or 0) > FEW_CALLS:
        return None
    if _is_sqlite(session) and not _often(session, expression):  # PostgreSQL's sample has told
        return None
    return session.scalars(
        select(TranscriptRow.id)
        .join(Call, Call.id == TranscriptRow.call_id)
        .where(TranscriptRow.current, calls)
    ).all()


def _often(session: Session, expression: dict[str, str]) -> bool:
    """Whether the words are common, on SQLite."""
    index, key, by_index, _ = _index(session)
    some = select(key).select_from(index).where(by_index).limit(COMMON_TURNS)
    return len(session.scalars(some, expression).all()) == COMMON_TURNS


def _among_sqlite(
    session: Session,
    expression: dict[str, str],
    few: Sequence[int],
    before: int | None,
    where: Sequence[ColumnElement[bool]],
    limit: int,
) -> Iterator[Sequence[Any]]:
    """Candidates in the turns of few calls: turn ids are read off the index, without touching a turn, and those taken
    that lie in one of the transcripts.
    """
    rising = sorted(_ranges(session, few))
    if not rising:
        return
    index, key, by_index, _ = _index(session)
    turns = _of_turns(where)
    starts = [one.first for one in rising]
    walk = select(key).select_from(index).where(by_index, key >= starts[0]).order_by(key.desc())
    walk = walk.where(key <= rising[-1].last if before is None else key < before)
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


def _among_postgresql(
    session: Session,
    expression: dict[str, str],
    few: Sequence[int],
    before: int | None,
    where: Sequence[ColumnElement[bool]],
    limit: int,
) -> Iterator[Sequence[Any]]:
    """Candidates in the turns of few calls: the turns of some transcripts at a time, first of a few, then of more."""
    hits = text(
        "SELECT turn_id FROM unnest(CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[])) AS part(first, last)"
        " JOIN turn_search ON turn_id BETWEEN part.first AND part.last"
        " WHERE ts_match_vq(tokens, CAST(:query AS tsquery)) ORDER BY turn_id DESC"
    )
    turns = _of_turns(where)
    at_once = FEW_AT_FIRST
    waiting: list[_Range] = []
    unread = sorted(few, reverse=True)
    while waiting or unread:
        drawn, unread = unread[:at_once], unread[at_once:]
        found = [one for one in _ranges(session, drawn) if before is None or one.first < before]
        waiting = sorted([*waiting, *found], reverse=True)
        # Transcripts that were stored at the same time may have their turns the other way round: some are held back.
        kept = ABREAST if unread else 0
        portion, waiting = waiting[: len(waiting) - kept], waiting[max(0, len(waiting) - kept) :]
        ends = {"firsts": [one.first for one in portion], "lasts": [one.last for one in portion]}
        ids = session.scalars(hits, {**expression, **ends}).all() if portion else []
        ids = [turn_id for turn_id in ids if before is None or turn_id < before]
        transcripts = [one.transcript_id for one in portion]
        for place in range(0, len(ids), min(limit + SPARE, CHUNK)):
            some = ids[place : place + min(limit + SPARE, CHUNK)]
            yield session.execute(turns.where(TurnRow.id.in_(some), TurnRow.transcript_id.in_(transcripts))).all()
        at_once = min(2 * at_once, FEW_AT_ONCE)


def _of_turns(where: Sequence[ColumnElement[bool]]) -> Select[*tuple[Any, ...]]:
    return (
        select(*_COLUMNS)
        .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
        .join(Call, Call.id == TranscriptRow.call_id)
        .where(*where)
        .order_by(TurnRow.id.desc())
    )


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


def _holds(source: str, wanted: list[list[Unit]]) -> bool:
    """Whether every term stands in a text: `_spans` without the places, at a glance where a term is characters."""
    return all(
        (not any(unit.is_word for unit in term) and "".join(unit.text for unit in term) in source)
        or _spans(source, [term])
        for term in wanted
    )


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
