"""A made-up site with a year of calls, to measure the app on: 100,000 calls, 3,000,000 turns.

    python bench/big_site.py FOLDER [--database URL] [--calls N] [--turns N] [--days N] [--seed N]

A few hundred dialogues go through the code that saves and scores real calls, into a small database. The big one is
filled with copies of the rows that came out, with ids, names, times, and the slots of the dialogues changed: whatever
the product writes for a call is there, whichever tables that may be. `--database` names an empty one, say
postgresql://postgres@127.0.0.1/huiting_bench; without it, FOLDER/data/huiting.db is filled. FOLDER/huiting.toml is written, to start the app with. Accounts: one a role, named
like it, and inspector01 to inspector20, all with the password of `PASSWORD`.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import time
import wave
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from site_dialogues import Dialogue, compose, fill, long_dialogue

from qa import accounts, ledger
from qa.access import Role
from qa.accounts import NewAccount
from qa.ledger import Stage
from qa.scoring import Scoring
from qa.store import Store, open_store
from qa.store.accounts import Review, Verdict
from qa.store.schema import AuditEvent, Base, Call, Night, NightFile, Recording, Tag
from qa.store.scorecards import load_scorecard
from qa.store.search import _index_form
from qa.store.transcripts import save_transcript
from scoring_rules.evaluate import Evaluator
from scoring_rules.load import load_pack
from scoring_rules.model import Outcome
from speech.audio import content_hash

PASSWORD = "a year of calls"
DIALOGUES = 400
LONG_TURNS, LONG_CALL = 3_000, "long-3000"
LAST_DAY = datetime(2026, 11, 25, tzinfo=UTC)
TEAMS, AGENTS_A_TEAM, QUEUES = 12, 20, ("售前咨询", "售后客服", "物流客服", "投诉专线", "会员服务", "技术支持")
TAGS = ("回访", "大客户", "质检抽查", "升级投诉")
REVIEWED = 0.12  # of the calls
WITH_SOUND = 50  # one call in so many has a recording that is still there
SOUND_SECONDS, SOUND_RATE = 150, 8_000
BATCH = 500  # calls written at once
INSPECTORS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database", default="", help="URL of an empty database; default: SQLite in FOLDER")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def progress(told: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {told}", file=sys.stderr, flush=True)

    build(
        options.folder, options.database, calls=options.calls, turns=options.turns, days=options.days,
        seed=options.seed, progress=progress,
    )  # fmt: skip
    return 0


def build(
    folder: Path, database: str = "", *, calls: int, turns: int, days: int, seed: int = 7, dialogues: int = DIALOGUES,
    long_turns: int = LONG_TURNS, progress: Callable[[str], None] = lambda told: None,
) -> Store:  # fmt: skip
    """Make the site. Raises FileExistsError where there is one already. Close the store that comes back."""
    data = folder / "data"
    settings = folder / "huiting.toml"
    if settings.exists():
        raise FileExistsError(f"{settings}: there is a site already; remove the folder, or name another")
    rng = random.Random(seed)
    patterns, scratch = _patterns(folder, [*compose(dialogues, turns / calls, rng), long_dialogue(long_turns, rng)])
    progress(f"{len(patterns)} dialogues saved and scored")
    store = open_store(database or f"sqlite:///{data / 'huiting.db'}")
    sound = write_sound(data / "recordings")
    _accounts(store)
    chosen = _of_total(patterns, calls, turns, rng)
    plan = _Plan(calls, days, rng, sound)
    with _writer(store) as writer, scratch.read() as session:
        nights = _nights(store, plan, writer)
        copies = _Copies(session, writer)
        for number, pattern in enumerate(chosen):
            copies.add(pattern, plan.overrides(number, nights), rng)
            if (number + 1) % BATCH == 0 or number + 1 == calls:
                writer.flush()
            if (number + 1) % (calls // 20 or 1) == 0:
                progress(f"{number + 1:,} calls, {copies.turns:,} turns")
    progress("verdicts and reviews")
    _reviews(store, copies.cards, rng)
    _refresh(store)
    scratch.close()
    settings.write_text(
        '[data]\nfolder = "data"\n' + (f'[store]\nurl = "{database}"\n' if database else ""), "utf-8"
    )
    progress("done")
    return store


# --- patterns: a few calls by the real code ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    dialogue: Dialogue
    call_id: str  # in the small database
    faults: tuple[tuple[str, str], ...]  # (rule, outcome) that a person would judge


def _patterns(folder: Path, made: Sequence[Dialogue]) -> tuple[list[Pattern], Store]:
    path = folder / "patterns.db"
    path.unlink(missing_ok=True)
    scratch = open_store(f"sqlite:///{path}")
    pack = load_pack(("zh",))
    scoring = Scoring(pack, Evaluator(pack))
    patterns = []
    with scratch.write() as session:
        night = Night(state="finished", host="bench", pid=1)
        session.add(night)
        session.flush()
        for dialogue in made:
            call_id = dialogue.transcript.id
            recording = Recording(path=call_id, sha256=call_id, size=1, state="heard", duration=dialogue.transcript.duration)
            call = Call(id=call_id, time_zone="Asia/Shanghai", direction="inbound", recording=recording)
            session.add(call)
            session.flush()
            save_transcript(session, call_id, dialogue.transcript)
            for stage in (Stage.HEAR, Stage.EMOTION):
                ledger.finish(session, call_id, stage, f"{stage}-bench", night.id)
            session.refresh(call)
            scoring.score(session, call_id, night.id)
            session.flush()
            card = load_scorecard(session, call_id)
            faults = [(i.rule, i.outcome.value) for i in card.items if i.outcome is Outcome.FAIL and not i.draft]
            patterns.append(Pattern(dialogue, call_id, tuple(faults)))
    return patterns, scratch


def _of_total(patterns: Sequence[Pattern], calls: int, turns: int, rng: random.Random) -> list[Pattern]:
    """As many dialogues as calls, with as many turns together as wanted; the last one is the long one."""
    *short, long = patterns
    by_length = sorted(short, key=lambda pattern: len(pattern.dialogue.transcript.turns))
    lengths = np.array([len(pattern.dialogue.transcript.turns) for pattern in by_length])
    places = [rng.randrange(len(by_length)) for _ in range(calls - 1)]
    missing = turns - len(long.dialogue.transcript.turns) - int(lengths[places].sum())
    for place in rng.choices(range(len(places)), k=calls * 20):
        if missing == 0:
            break
        wanted = lengths[places[place]] + missing
        nearest = int(np.abs(lengths - wanted).argmin())
        missing += int(lengths[places[place]] - lengths[nearest])
        places[place] = nearest
    if missing:
        raise ValueError(f"{calls} calls cannot have {turns} turns with these dialogues")
    return [*(by_length[place] for place in places), long]


# --- copies ------------------------------------------------------------------------------------------------------

Row = list[Any]


class _Copies:
    """Writes a call anew: every row that hangs on it, with fresh keys."""

    def __init__(self, session: sa.orm.Session, writer: _Writer) -> None:
        self._session, self._writer = session, writer
        self._tables = _tables_of_a_call()
        self._next = {table.name: count(1) for table in self._tables}
        self._known: dict[str, dict[str, list[Row]]] = {}
        self._index_forms: dict[str, str] = {}
        self._add_shared()
        self.turns = 0
        self.cards: list[tuple[str, int, Pattern, datetime]] = []  # call, scorecard, pattern, when it was made

    def add(self, pattern: Pattern, overrides: Mapping[str, Mapping[str, Any]], rng: random.Random) -> None:
        rows = self._known.get(pattern.call_id) or self._read(pattern.call_id)
        call_id = overrides["calls"]["id"]
        keys: dict[tuple[str, Any], Any] = {("calls", pattern.call_id): call_id}
        for table in self._tables:
            columns = [column.name for column in table.columns]
            given = [
                (columns.index(name), self._writer.bound(table, name, value))
                for name, value in overrides.get(table.name, {}).items()
            ]
            own = columns.index("id") if _counts_itself(table) else None
            targets = [(columns.index(c.name), next(iter(c.foreign_keys)).column.table.name) for c in table.columns if c.foreign_keys]
            text = columns.index("text") if table.name == "turns" else None
            made = []
            for old in rows[table.name]:
                new = list(old)
                for place, target in targets:
                    new[place] = keys.get((target, new[place]), new[place])
                for place, value in given:
                    new[place] = value
                if own is not None:
                    new[own] = keys[table.name, old[own]] = next(self._next[table.name])
                made.append(new)
            if text is not None:
                self._fill(pattern, made, own, text, rng)
            self._writer.add(table, made)
        card = next(new for (name, _), new in keys.items() if name == "scorecards")
        self.cards.append((call_id, card, pattern, overrides["scorecards"]["created_at"]))

    def _add_shared(self) -> None:
        """What several calls refer to: fingerprints, layouts and the like."""
        apart = {table.name for table in self._tables} | {Night.__tablename__}
        for table in Base.metadata.sorted_tables:
            if table.name not in apart:
                rows = self._session.execute(sa.select(*table.columns)).all()
                self._writer.add(table, (self._bound(table, row) for row in rows))

    def _bound(self, table: sa.Table, row: Sequence[Any]) -> Row:
        return [self._writer.bound(table, c.name, value) for c, value in zip(table.columns, row, strict=True)]

    def _read(self, call_id: str) -> dict[str, list[Row]]:
        """All rows of a call by table, their values as the target database takes them."""
        found: dict[str, list[Row]] = {}
        held: dict[str, sa.Select] = {}
        for table in self._tables:
            if table.name == "calls":
                condition = table.c.id == call_id
            elif table.name == "recordings":
                condition = table.c.path == call_id
            else:
                key = next(c for c in table.columns if any(k.column.table.name in held for k in c.foreign_keys))
                target = next(iter(key.foreign_keys)).column
                condition = key.in_(held[target.table.name])
            if "id" in table.c:
                held[table.name] = sa.select(table.c.id).where(condition)
            order = list(table.primary_key.columns)
            found[table.name] = [
                self._bound(table, row)
                for row in self._session.execute(sa.select(*table.columns).where(condition).order_by(*order))
            ]
        self._known[call_id] = found
        return found

    def _fill(self, pattern: Pattern, turns: list[Row], own: int, text: int, rng: random.Random) -> None:
        slots = defaultdict(list)
        for turn, first, length, name in pattern.dialogue.slots:
            slots[turn].append((first, length, name))
        for turn, places in slots.items():
            turns[turn][text] = fill(turns[turn][text], places, rng)
        for number, row in enumerate(turns):
            source = row[text]
            form = self._index_forms.get(source) or _index_form(self._writer.session, source)
            if number not in slots:
                self._index_forms[source] = form
            self._writer.index(row[own], form)
        self.turns += len(turns)


def _tables_of_a_call() -> list[sa.Table]:
    """The tables whose rows the machine writes for a call, in the order in which they refer to each other."""
    people = {Verdict.__tablename__, Review.__tablename__, Tag.__tablename__, NightFile.__tablename__}
    names = {"recordings", "calls"}
    for table in Base.metadata.sorted_tables:
        refers = {key.column.table.name for key in table.foreign_keys}
        if refers & (names - {"recordings"}) and table.name not in people:
            names.add(table.name)
    return [table for table in Base.metadata.sorted_tables if table.name in names]


def _counts_itself(table: sa.Table) -> bool:
    return "id" in table.c and isinstance(table.c.id.type, sa.Integer)


# --- who called whom, when ---------------------------------------------------------------------------------------


class _Plan:
    """Agents, teams, queues and times of all calls."""

    def __init__(self, calls: int, days: int, rng: random.Random, sound: Path) -> None:
        self.days, self._rng, self._sound = days, rng, sound
        self._sha256 = content_hash(sound)
        first = LAST_DAY - timedelta(days=days - 1)
        seconds = sorted(
            rng.choices(range(days), weights=[1 if (first + timedelta(days=d)).weekday() < 5 else 0.5 for d in range(days)])[0] * 86_400
            + int(min(86_000, max(0, rng.gauss(8, 3.2) * 3_600)))
            for _ in range(calls)
        )
        self.times = [first + timedelta(seconds=second) for second in seconds]
        self._made = [time.date() for time in self.times]

    def ids(self, number: int) -> str:
        return LONG_CALL if number == len(self.times) - 1 else f"{self.times[number]:%Y%m%d}-{number:06d}"

    def overrides(self, number: int, nights: Mapping[Any, int]) -> dict[str, dict[str, Any]]:
        rng, started, call_id = self._rng, self.times[number], self.ids(number)
        team = rng.randrange(TEAMS)
        heard = datetime(started.year, started.month, started.day, 18, tzinfo=UTC) + timedelta(hours=rng.random() * 3)
        night = nights[started.date()]
        if number % WITH_SOUND == 0 or call_id == LONG_CALL:
            path = self._sound.with_name(f"{call_id}.wav")
            path.hardlink_to(self._sound)
            recording = {"path": str(path), "sha256": self._sha256, "size": self._sound.stat().st_size}
        else:
            recording = {"path": str(self._sound.with_name(f"{call_id}.wav")), "sha256": f"{number:064x}", "size": 1}
        return {
            "recordings": {**recording, "first_seen": heard},
            "calls": {
                "id": call_id,
                "agent": f"A{team:02d}{rng.randrange(AGENTS_A_TEAM):02d}",
                "team": f"T{team:02d}",
                "queue": rng.choice(QUEUES),
                "kind": rng.choices(("咨询", "查询", "投诉", "建议", "办理"), (35, 25, 15, 3, 22))[0],
                "kind_source": "metadata",
                "customer_key": f"C{rng.randrange(60_000):06d}",
                "started_at": started,
                "created_at": heard,
            },
            "transcripts": {"created_at": heard},
            "scorecards": {"created_at": heard},
            "ledger": {"night_id": night, "started_at": heard, "finished_at": heard},
        }


def _nights(store: Store, plan: _Plan, writer: _Writer) -> dict[Any, int]:
    """A night a day with its files; day → night. Files that came to nothing are among them."""
    by_day: dict[Any, list[int]] = defaultdict(list)
    for number, started in enumerate(plan.times):
        by_day[started.date()].append(number)
    nights: dict[Any, int] = {}
    with store.write() as session:
        for day, numbers in sorted(by_day.items()):
            began = datetime(day.year, day.month, day.day, 17, 30, tzinfo=UTC)
            lost = 1 + len(numbers) // 100
            counts = {"received": len(numbers) + lost, "scored": len(numbers), "skipped": lost}
            night = Night(
                started_at=began, finished_at=began + timedelta(hours=4), state="finished", host="bench", pid=1,
                options={}, counts=counts, exit_code=0,
            )  # fmt: skip
            session.add(night)
            session.flush()
            nights[day] = night.id
    table = NightFile.__table__
    key = count(1)

    def line(night: int, path: str, call_id: str | None, outcome: str, reason: str | None) -> Row:
        values = {"id": next(key), "night_id": night, "path": path, "call_id": call_id, "outcome": outcome, "reason": reason}
        return [writer.bound(table, column.name, values.get(column.name)) for column in table.columns]

    for day, numbers in by_day.items():
        night = nights[day]
        writer.add(table, [line(night, f"/in/{plan.ids(n)}.wav", plan.ids(n), "scored", None) for n in numbers])
        twins = [line(night, f"/in/twin-{night}-{n}.wav", None, "skipped", "duplicate") for n in range(1 + len(numbers) // 100)]
        writer.add(table, twins)
    tags = Tag.__table__
    rng = random.Random(1)
    writer.add(
        tags,
        [[plan.ids(n) if c.name == "call_id" else rng.choice(TAGS) for c in tags.columns]
         for n in range(len(plan.times)) if rng.random() < 0.05],
    )  # fmt: skip
    return nights


def _accounts(store: Store) -> None:
    people = [(role.value, role) for role in Role] + [(f"inspector{n:02d}", Role.INSPECTOR) for n in range(1, INSPECTORS + 1)]
    with store.write() as session:
        for login, role in people:
            agent = "A0101" if role is Role.AGENT else None
            teams = ["T01", "T02"] if role in (Role.LEAD, Role.AGENT) else []
            accounts.add_account(session, "bench", NewAccount(login, role, name=login, agent=agent, teams=teams, password=PASSWORD))


def _reviews(
    store: Store, cards: Sequence[tuple[str, int, Pattern, datetime]], rng: random.Random
) -> None:
    """What people made of a part of the calls: verdicts on faults, reviews, and the trail of both."""
    chosen = [card for card in cards if rng.random() < REVIEWED]
    for first in range(0, len(chosen), BATCH):
        with store.write() as session:
            for call_id, scorecard_id, pattern, made in chosen[first : first + BATCH]:
                who = f"inspector{rng.randrange(INSPECTORS) + 1:02d}"
                at = made + timedelta(days=1 + rng.random())
                session.add(AuditEvent(at=at, who=who, action="see", call_id=call_id, detail={}))
                for rule, outcome in pattern.faults[:4]:
                    verdict = rng.choices(("right", "wrong", "not_applicable"), (80, 17, 3))[0]
                    session.add(
                        Verdict(
                            at=at, who=who, role="inspector", call_id=call_id, scorecard_id=scorecard_id, rule=rule,
                            verdict=verdict, outcome=outcome, seen={"score": "bench"},
                        )
                    )  # fmt: skip
                    session.add(AuditEvent(at=at, who=who, action="verdict", call_id=call_id, detail={"rule": rule}))
                session.add(Review(at=at, who=who, call_id=call_id, scorecard_id=scorecard_id, seconds=rng.uniform(40, 300)))
            done = [card[0] for card in chosen[first : first + BATCH]]
            session.execute(sa.update(Call).where(Call.id.in_(done)).values(review="done"))


def write_sound(folder: Path) -> Path:
    """A small two-channel recording: two tones that take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sound.wav"
    seconds = np.arange(SOUND_SECONDS * SOUND_RATE) / SOUND_RATE
    talks = (seconds % 8) < 4
    agent = 0.3 * np.sin(2 * np.pi * 220 * seconds) * talks
    customer = 0.3 * np.sin(2 * np.pi * 330 * seconds) * ~talks
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes((np.stack([agent, customer], axis=1) * 32_767).astype("<i2").tobytes())
    return path


# --- writing -----------------------------------------------------------------------------------------------------


class _Writer:
    """Rows in bulk. `bound` gives a value as the driver takes it."""

    def __init__(self, store: Store, session: sa.orm.Session, connection: Any) -> None:
        self.session, self._connection = session, connection
        self._dialect, self._sqlite = store.engine.dialect, store.dialect == "sqlite"
        self._rows: dict[str, tuple[list[str], list[Row]]] = {}
        self._indexed: list[tuple[int, str]] = []

    def bound(self, table: sa.Table, name: str, value: Any) -> Any:
        if value is None:
            return None
        kind = table.c[name].type
        if isinstance(kind, sa.JSON):
            return self._dialect._json_serializer(value)
        process = kind.dialect_impl(self._dialect).bind_processor(self._dialect)
        return value if process is None else process(value)

    def add(self, table: sa.Table, rows: Iterable[Row]) -> None:
        columns = [column.name for column in table.columns]
        self._rows.setdefault(table.name, (columns, []))[1].extend(rows)

    def index(self, turn_id: int, form: str) -> None:
        self._indexed.append((turn_id, form))

    def flush(self) -> None:
        for table in Base.metadata.sorted_tables:
            columns, rows = self._rows.pop(table.name, ([], []))
            if rows:
                self._write(table.name, columns, rows)
        if self._indexed:
            self._write("turn_search", ["rowid" if self._sqlite else "turn_id", "tokens"], self._indexed)
            self._indexed = []
        self._connection.commit()

    def _write(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        names = ", ".join(f'"{name}"' for name in columns)
        if self._sqlite:
            marks = ", ".join("?" * len(columns))
            self._connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
            return
        with self._connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


class _writer:
    """A writer on a connection of its own, without the checks of foreign keys row by row."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> _Writer:
        self._raw = self._store.engine.raw_connection()
        self._session = sa.orm.Session(self._store.engine)
        connection: Any = self._raw.driver_connection
        if self._store.dialect == "sqlite":
            for pragma in ("foreign_keys=OFF", "query_only=OFF", "synchronous=OFF"):
                connection.execute(f"PRAGMA {pragma}")
            connection.isolation_level = "IMMEDIATE"
        else:
            connection.execute("SET session_replication_role = replica")
            connection.commit()
        self.writer = _Writer(self._store, self._session, connection)
        return self.writer

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self.writer.flush()
        self._session.close()
        self._raw.invalidate()


def _refresh(store: Store) -> None:
    """Key counters on, and PostgreSQL's statistics as its autovacuum would have them."""
    if store.dialect == "sqlite":
        return
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in Base.metadata.sorted_tables:
            if _counts_itself(table):
                connection.execute(
                    sa.text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "
                        f"(SELECT coalesce(max(id), 0) + 1 FROM {table.name}), false)"
                    )
                )
        connection.execute(sa.text("VACUUM ANALYZE"))


if __name__ == "__main__":
    sys.exit(main())
