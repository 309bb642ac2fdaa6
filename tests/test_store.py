"""The store: opening and migrating, sessions, transcripts in and out."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm.exc import StaleDataError

from qa.scorecard import CardFinding, DimensionScore, Item, Scorecard
from qa.store import Store, StoreError, open_store
from qa.store.engine import SCHEMA_REVISION, create_store_engine, schema_revision
from qa.store.queries import audit
from qa.store.schema import (
    AuditEvent,
    Base,
    Call,
    FindingRow,
    Fingerprint,
    LedgerRow,
    Measures,
    Night,
    Tag,
    TranscriptRow,
    TurnRow,
)
from qa.store.scorecards import load_scorecard, save_scorecard
from qa.store.transcripts import current_transcript_id, load_transcript, save_transcript
from qa.store.words import at_stored_precision, pack_words, unpack_words
from scoring_rules.evaluate import Evidence, Finding
from scoring_rules.model import FindingStatus, Outcome
from speech.types import (
    Acoustics,
    Emotion,
    Latency,
    Mark,
    Overlap,
    Role,
    RoleGuess,
    Sign,
    Silence,
    Span,
    Transcript,
    Turn,
    Voice,
    Word,
)

SHANGHAI = timezone(timedelta(hours=8))


def add_call(store: Store, call_id: str = "c1", **values: object) -> None:
    with store.write() as session:
        session.add(Call(id=call_id, **values))


# Opening and migrating


def test_the_newest_migration_is_the_one_the_engine_names(store: Store):
    with store.read() as session:
        assert schema_revision(session.connection()) == SCHEMA_REVISION


def test_migrations_lead_to_the_declared_schema(store: Store):
    def ours(item, name, kind, reflected, compared):
        return not (kind == "table" and name.startswith("turn_search"))

    with store.engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_database_of_a_newer_version_is_refused_with_the_remedy(database: str):
    engine = create_store_engine(database)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        with pytest.raises(StoreError, match=r"(?s)9999.*升级"):
            open_store(database)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{SCHEMA_REVISION}'"))
        engine.dispose()


def _open_and_close(url: str) -> None:
    open_store(url).close()


def test_several_processes_may_open_a_fresh_database_at_once(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'deep' / 'fresh.db'}"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(_open_and_close, [url] * 6)
    store = open_store(url)
    with store.read() as session:
        assert schema_revision(session.connection()) == SCHEMA_REVISION
    store.close()


@pytest.mark.parametrize("url", ["mysql://h/d", "not a url", "sqlite+aiosqlite:///x"])
def test_other_databases_are_refused(url: str):
    with pytest.raises(StoreError, match="sqlite"):
        open_store(url)


def test_a_silent_server_is_reported_without_the_password():
    with pytest.raises(StoreError) as caught:
        open_store("postgresql://u:hunter2@127.0.0.1:1/none?connect_timeout=2")
    assert "127.0.0.1:1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_reported(tmp_path: Path):
    path = tmp_path / "huiting.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match=r"huiting\.db"):
        open_store(f"sqlite:///{path}")


# Sessions


def test_writers_of_one_process_wait_for_each_other_however_long_it_takes(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
):
    """Eight threads, each in its transaction for longer than SQLite waits."""
    monkeypatch.setattr("qa.store.engine.BUSY_TIMEOUT_MS", 50)
    (tmp_path / "huiting.db").write_bytes(sqlite_template.read_bytes())
    store = open_store(f"sqlite:///{tmp_path / 'huiting.db'}")

    def save(number: int) -> None:
        with store.write() as session:
            session.add(Call(id=f"c{number}"))
            session.flush()
            time.sleep(0.15)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(8)))
    with store.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Call)) == 8
    store.close()


def test_a_read_session_refuses_to_write(store: Store):
    with store.read() as session, pytest.raises(sa.exc.DBAPIError):
        session.execute(sa.insert(Call).values(id="c1", attributes={}, version=1))
    add_call(store)  # and the connection writes again afterwards
    with store.read() as session:
        assert session.get(Call, "c1") is not None


def test_a_block_that_raises_leaves_nothing(store: Store):
    def fail_half_way() -> None:
        with store.write() as session:
            session.add(Call(id="c1"))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    with store.read() as session:
        assert session.get(Call, "c1") is None


def test_writers_that_read_first_wait_for_each_other(store: Store):
    """Each adds to what it read; a plain BEGIN on SQLite fails most of these, or loses counts."""
    with store.write() as session:
        session.add(Night(state="running", host="h", pid=0))

    def count() -> None:
        for _ in range(25):
            with store.write() as session:
                night = session.scalars(sa.select(Night).with_for_update()).one()
                night.pid += 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        assert session.scalars(sa.select(Night.pid)).one() == 100


def test_the_second_of_two_editors_is_told(store: Store):
    add_call(store)
    with store.write() as session:
        session.add(LedgerRow(call_id="c1", stage="score", state="waiting"))
    with store.read() as session:
        seen = session.get_one(LedgerRow, ("c1", "score"))
    with store.write() as session:
        session.get_one(LedgerRow, ("c1", "score")).state = "done"
    seen.state = "failed"
    with pytest.raises(StaleDataError), store.write() as session:
        session.add(seen)


def test_a_killed_writer_loses_nothing_that_was_committed(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'huiting.db'}"
    _open_and_close(url)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_write_until_killed, args=(url, ready))
    writer.start()
    assert ready.wait(30)
    writer.kill()
    writer.join()
    store = open_store(url)
    with store.read() as session:
        assert session.get(Call, "committed") is not None
        assert session.get(Call, "open") is None
    add_call(store, "after")  # the dead writer's lock is gone
    store.close()


def _write_until_killed(url: str, ready) -> None:
    store = open_store(url)
    add_call(store, "committed")
    with store.write() as session:
        session.add(Call(id="open"))
        session.flush()
        ready.set()
        threading.Event().wait()


def test_instants_come_back_aware_and_in_utc(store: Store):
    add_call(store, started_at=datetime(2026, 3, 1, 9, 30, tzinfo=SHANGHAI))
    with store.read() as session:
        started_at = session.get_one(Call, "c1").started_at
    assert started_at == datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
    assert started_at.tzinfo == UTC
    with pytest.raises(sa.exc.StatementError, match="time zone"):
        add_call(store, "c2", started_at=datetime(2026, 3, 1))


def test_tags_belong_to_their_call(store: Store):
    add_call(store, tags=[Tag(tag="回访"), Tag(tag="VIP")])
    with store.write() as session:
        call = session.get_one(Call, "c1")
        assert [tag.tag for tag in call.tags] == ["VIP", "回访"]
        session.delete(call)
    with store.read() as session:
        assert session.scalars(sa.select(Tag)).all() == []


def test_chinese_in_json_is_stored_as_written(tmp_path: Path):
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    add_call(store, attributes={"渠道": "电话"})
    store.close()
    with sqlite3.connect(tmp_path / "x.db") as connection:
        assert connection.execute("SELECT attributes FROM calls").fetchone() == ('{"渠道":"电话"}',)


# Transcripts

characters = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
texts = st.text(characters, max_size=30)
names = st.text(characters, min_size=1, max_size=5)
instants = st.floats(0, 7200, allow_nan=False)
levels = st.floats(-1000, 1000, allow_nan=False)
shares = st.floats(0, 1)
spans = st.tuples(instants, instants).map(lambda pair: Span(min(pair), max(pair)))
words = st.builds(Word, texts, instants, instants, shares)
roles = st.sampled_from(Role)
turns = st.builds(
    Turn,
    speaker=names,
    text=texts,
    start=st.none() | instants,
    end=st.none() | instants,
    words=st.lists(words, max_size=4).map(tuple),
    role=st.none() | roles,
    emotion=st.none()
    | st.builds(Emotion, st.sampled_from(["angry", "anxious", "sad", "neutral", "happy"]), shares),
    voice=st.none() | st.builds(Voice, levels, st.none() | levels),
    marks=st.lists(st.sampled_from(Mark), unique=True).map(tuple),
)
numbers = st.integers(0, 3000)
acoustics = st.builds(
    Acoustics,
    silences=st.lists(
        st.builds(Silence, spans, st.none() | numbers, st.none() | numbers, st.none() | roles, st.booleans()),
        max_size=3,
    ).map(tuple),
    overlaps=st.lists(st.builds(Overlap, spans, numbers, numbers, st.booleans()), max_size=3).map(tuple),
    latencies=st.lists(st.builds(Latency, numbers, instants), max_size=3).map(tuple),
    music=st.lists(spans, max_size=2).map(tuple),
    talk_seconds=st.dictionaries(names, instants, max_size=3),
    rate=st.dictionaries(names, levels, max_size=3),
    silence_share=shares,
    overlap_share=shares,
)
values = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | levels | texts
transcripts = st.builds(
    Transcript,
    id=st.just("c1"),
    language=st.sampled_from(["zh", "en"]),
    turns=st.lists(turns, max_size=5).map(tuple),
    duration=st.none() | instants,
    attributes=st.dictionaries(names, values | st.lists(values, max_size=2), max_size=4),
    roles=st.dictionaries(names, st.builds(RoleGuess, roles, shares, texts), max_size=3),
    acoustics=st.none() | acoustics,
    signs=st.lists(st.sampled_from(Sign), unique=True).map(tuple),
    fingerprints=st.dictionaries(names, names, max_size=3),
)


@given(transcript=transcripts)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_transcript_comes_back_as_it_was(store: Store, transcript: Transcript):
    with store.write() as session:
        session.merge(Call(id="c1"))
        session.flush()
        save_transcript(session, "c1", transcript)
    with store.read() as session:
        loaded = load_transcript(session, "c1")
    assert loaded == at_stored_precision(transcript)
    assert at_stored_precision(loaded) == loaded


@given(words=st.lists(words, max_size=20).map(tuple), text=texts)
def test_words_survive_packing_within_half_a_step(words: tuple[Word, ...], text: str):
    unpacked = unpack_words(pack_words(words, text), text)
    assert [word.text for word in unpacked] == [word.text for word in words]
    for word, original in zip(unpacked, words, strict=True):
        assert word.start == pytest.approx(original.start, abs=0.000501)
        assert word.end == pytest.approx(original.end, abs=0.000501)
        assert word.probability == pytest.approx(original.probability, abs=0.0000501)


def test_words_are_compact():
    line = "您好感谢您致电晨星客服中心我是客服小李请问有什么可以帮您的吗"
    packed = pack_words([Word(c, 1.24 + n * 0.21, 1.4 + n * 0.21, 0.9876) for n, c in enumerate(line)], line)
    assert packed is not None
    assert len(packed) < 5 * len(line)


def test_an_older_transcript_is_kept_and_the_newest_is_current(store: Store):
    add_call(store)
    first = Transcript("c1", "zh", (Turn("A", "您好，请讲。"),), duration=3.5)
    second = Transcript("c1", "zh", (Turn("A", "您好，请问您需要什么帮助？"),), duration=3.6)
    with store.write() as session:
        old = save_transcript(session, "c1", first)
    with store.write() as session:
        new = save_transcript(session, "c1", second)
    with store.read() as session:
        assert current_transcript_id(session, "c1") == new
        assert load_transcript(session, "c1") == second
        assert load_transcript(session, "c1", old) == first
        assert session.get_one(Call, "c1").duration == 3.6
        assert session.scalar(sa.select(sa.func.count()).select_from(TranscriptRow)) == 2


def test_measures_are_summed_up_for_queries(store: Store):
    add_call(store)
    transcript = Transcript(
        "c1",
        "zh",
        (
            Turn("A", "您好", role=Role.AGENT),
            Turn("B", "我要退货", role=Role.CUSTOMER),
            Turn("A", "好的", role=Role.AGENT),
            Turn("C", "我来处理", role=Role.AGENT),
        ),
        acoustics=Acoustics(
            silences=(Silence(Span(1, 9)), Silence(Span(10, 40), music=True)),
            overlaps=(
                Overlap(Span(1, 2.5), 2, 1, True),
                Overlap(Span(5, 6.5), 1, 0, True),
                Overlap(Span(7, 8), 2, 1, False),
            ),
            latencies=(Latency(1, 9.0), Latency(2, 1.0), Latency(3, 2.0)),
            talk_seconds={"A": 30.0, "B": 20.0, "C": 10.0},
            rate={"A": 200.0, "B": 180.0, "C": 240.0},
        ),
    )
    with store.write() as session:
        save_transcript(session, "c1", transcript)
    with store.read() as session:
        measures = session.scalars(sa.select(Measures)).one()
    assert measures.longest_silence == 8.0
    assert measures.interruptions == 1
    assert measures.agent_rate == pytest.approx(210.0)
    assert measures.customer_rate == 180.0
    assert measures.agent_latency == 1.5


def test_a_text_that_no_database_can_hold_is_named(store: Store):
    add_call(store)
    with pytest.raises(ValueError, match="turn 0"), store.write() as session:
        save_transcript(session, "c1", Transcript("c1", "zh", (Turn("A", "a\0b"),)))
    with store.read() as session:
        assert session.scalars(sa.select(TurnRow)).all() == []


@pytest.mark.parametrize(
    ("emotions", "end"),
    [
        ((), None),
        (("angry", "happy"), "positive"),
        (("happy", "anxious"), "negative"),
        (("angry", "neutral"), "neutral"),
    ],
)
def test_the_customers_last_emotion_is_kept_with_the_call(
    store: Store, emotions: tuple[str, ...], end: str | None
):
    add_call(store)
    felt = [Turn("B", "嗯", role=Role.CUSTOMER, emotion=Emotion(label, 0.9)) for label in emotions]
    agent = Turn("A", "好", role=Role.AGENT, emotion=Emotion("angry", 0.9))
    with store.write() as session:
        save_transcript(session, "c1", Transcript("c1", "zh", (*felt, agent)))
    with store.read() as session:
        assert session.get_one(Call, "c1").end_emotion == end


def test_a_call_without_transcript_is_a_key_error(store: Store):
    add_call(store)
    with store.read() as session, pytest.raises(KeyError, match="c1"):
        load_transcript(session, "c1")


# Scorecards

identifiers = st.text("abc.", min_size=1, max_size=6)
named = st.dictionaries(st.sampled_from(["zh", "en"]), texts, max_size=2)
points = st.floats(0, 100)
places = st.builds(
    Evidence,
    turn=st.none() | numbers,
    start_char=st.none() | numbers,
    end_char=st.none() | numbers,
    start=st.none() | instants,
    end=st.none() | instants,
    turns=st.lists(numbers, max_size=3).map(tuple),
)
card_findings = st.builds(
    CardFinding,
    st.builds(
        Finding,
        st.sampled_from(FindingStatus),
        st.sampled_from(["phrase", "missing"]),
        st.lists(places, max_size=3).map(tuple),
        texts,
        texts,
    ),
    texts,
)
items = st.builds(
    Item,
    rule=identifiers,
    name=named,
    dimension=st.sampled_from(["opening", "language"]),
    rule_class=st.sampled_from(["non-fatal", "compliance-critical"]),
    outcome=st.sampled_from(Outcome),
    findings=st.lists(card_findings, max_size=2).map(tuple),
    cost=points,
    gain=points,
    reason=st.text("abc_", max_size=5),
    unevaluated=st.lists(identifiers, max_size=2).map(tuple),
    draft=st.booleans(),
    fatal=st.booleans(),
)
dimensions = st.builds(DimensionScore, identifiers, named, points, points, points, numbers, numbers)
cards = st.builds(
    Scorecard,
    call=st.just("c1"),
    score=st.none() | points,
    fatal=st.booleans(),
    passed=st.none() | st.booleans(),
    band=named,
    items=st.lists(items, max_size=4, unique_by=lambda item: item.rule).map(tuple),
    dimensions=st.lists(dimensions, max_size=3, unique_by=lambda dimension: dimension.id).map(tuple),
    start=points,
    lost=points,
    gained=points,
    fingerprint=st.text("0123456789abcdef", min_size=16, max_size=16),
    versions=st.dictionaries(identifiers, texts, max_size=2),
)


def save_card(store: Store, card: Scorecard) -> int:
    with store.write() as session:
        if session.get(Call, "c1") is None:
            session.add(Call(id="c1"))
            session.flush()
            save_transcript(session, "c1", Transcript("c1", "zh", ()))
        transcript_id = current_transcript_id(session, "c1")
        assert transcript_id is not None
        return save_scorecard(session, "c1", card, transcript_id)


@given(card=cards)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_scorecard_comes_back_as_it_was(store: Store, card: Scorecard):
    save_card(store, card)
    with store.read() as session:
        assert load_scorecard(session, "c1") == card


def card_of(score: float, *found: Item) -> Scorecard:
    return Scorecard("c1", score, False, True, {}, found, (), 100.0, 0.0, 0.0, "f" * 16, {})


def test_an_older_scorecard_is_kept_and_the_call_shows_the_newest(store: Store):
    doubtful = CardFinding(
        Finding(FindingStatus.SUSPECTED, "pinyin", (Evidence(turn=3, start_char=0, end_char=3),))
    )
    item = Item("neg.cannot", {}, "language", "non-fatal", Outcome.PASS, (doubtful,))
    old = save_card(store, card_of(70.0))
    save_card(store, card_of(90.0, item, replace(item, rule="neg.unable", draft=True)))
    with store.read() as session:
        assert load_scorecard(session, "c1").score == 90.0
        assert load_scorecard(session, "c1", old).score == 70.0
        call = session.get_one(Call, "c1")
        assert (call.score, call.fatal, call.suspected) == (90.0, False, 1)
        finding = session.scalars(sa.select(FindingRow).where(FindingRow.rule == "neg.cannot")).one()
        assert (finding.turn, finding.start_char, finding.end_char) == (3, 0, 3)
        with pytest.raises(KeyError, match="c2"):
            load_scorecard(session, "c2")


def test_names_are_kept_once_for_all_cards(store: Store):
    item = Item(
        "neg.cannot", {"zh": "说“我不能”", "en": "Says I can't"}, "language", "non-fatal", Outcome.PASS
    )
    for score in (70.0, 80.0, 90.0):
        save_card(store, card_of(score, item))
    with store.read() as session:
        assert len(session.scalars(sa.select(Fingerprint)).all()) == 1


# Audit


def test_an_audit_event_is_part_of_the_transaction(store: Store):
    with store.write() as session:
        audit(session, "li", "unmask", "c1", pages=["call"])
    with store.read() as session:
        event = session.scalars(sa.select(AuditEvent)).one()
    assert (event.who, event.action, event.call_id, event.detail) == (
        "li",
        "unmask",
        "c1",
        {"pages": ["call"]},
    )
    assert datetime.now(UTC) - event.at < timedelta(minutes=1)
