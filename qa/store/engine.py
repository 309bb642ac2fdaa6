"""Opening a database, and its two kinds of session.

Reads and writes are apart. On SQLite a write begins with `BEGIN IMMEDIATE`: a transaction that reads first and writes
later fails under load with SQLITE_BUSY_SNAPSHOT, which no timeout waits for. Keep write blocks short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session

from qa.messages import text as message

SCHEMA_REVISION = "0013"  # the newest migration; a test holds them equal
BUSY_TIMEOUT_MS = 15_000  # how long a SQLite writer waits for another process
TURN_SECONDS = 120.0  # how long one waits for the others of its own process
HIDDEN = "***"
MIGRATION_LOCK = 0x4875_6974  # key of the PostgreSQL advisory lock while the schema changes ("Huit")


class StoreError(RuntimeError):
    """The database cannot be used; the message says what to do."""


class Store:
    """A migrated database. Hand it to whoever needs it; close it when done."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._readers = engine.execution_options(huiting_write=False, postgresql_readonly=True)
        self._writers = engine.execution_options(huiting_write=True)
        self._turn = Lock() if engine.dialect.name == "sqlite" else None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for queries; the database refuses writes in it."""
        with Session(self._readers, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction: committed at the end of the block, rolled back when it raises."""
        with self._one_by_one(), Session(self._writers, expire_on_commit=False) as session, session.begin():
            session.connection()  # take the write lock now, before anything is read
            yield session

    @contextmanager
    def _one_by_one(self) -> Iterator[None]:
        """Writers of one process take turns: SQLite's own waiting is a lottery, which twenty inspectors in one server
        lose. Whoever does not get a turn in time tries without, and SQLite says what is wrong.
        """
        mine = self._turn is not None and self._turn.acquire(timeout=TURN_SECONDS)
        try:
            yield
        finally:
            if mine and self._turn is not None:
                self._turn.release()

    def close(self) -> None:
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Open a database by its URL and bring its schema to this version.

    `sqlite:///path` (folders are made) or `postgresql://user@host/name`. Raises StoreError with the remedy when the
    database does not answer, is of another kind, or was written by a newer version.
    """
    engine = create_store_engine(url)
    try:
        _migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        raise StoreError(
            message("store.unreachable", url=hide_password(engine.url), detail=error.orig)
        ) from error
    except BaseException:
        engine.dispose()
        raise
    return Store(engine)


def create_store_engine(url: str) -> Engine:
    """An engine with the connection settings of the store, whatever the schema behind it."""
    parsed = _parse(url)
    if parsed.drivername == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, json_serializer=_to_json)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(parsed, pool_pre_ping=True, json_serializer=_to_json)
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(message("store.bad_url")) from error
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return parsed.set(drivername="sqlite")
    raise StoreError(message("store.unknown_database", name=parsed.drivername))


def _set_up_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions: `_begin_sqlite` does
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",  # safe against a killed process; a power cut may lose the last commits, nothing else
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-65536",  # KiB
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _set_up_postgresql(connection: Any, record: object) -> None:
    # Queries take milliseconds: compiling them, or starting processes to share one, takes longer than it saves.
    for setting in ("jit", "max_parallel_workers_per_gather"):
        connection.execute(f"SET {setting} = 0")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("huiting_write", True)
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if write else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def schema_revision(connection: Connection) -> str | None:
    """The revision that a database is at; None for one that has no schema of ours."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(engine: Engine) -> None:
    with engine.connect().execution_options(huiting_write=False) as connection:
        if schema_revision(connection) == SCHEMA_REVISION:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        if schema_revision(connection) != SCHEMA_REVISION:  # another process may have been first
            _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    config = migration_config(connection)
    found = schema_revision(connection)
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(message("store.newer", found=found, known=SCHEMA_REVISION))
    command.upgrade(config, "head")


def migration_config(connection: Connection) -> Any:
    """Alembic's configuration, bound to an open connection: the upgrade is part of its transaction."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def hide_password(url: str | URL) -> str:
    """A database URL fit for showing: the password as ***, wherever it stands."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return HIDDEN
    hidden = {name: HIDDEN if "password" in name else value for name, value in parsed.query.items()}
    return parsed.set(query=hidden).render_as_string(hide_password=True).replace(quote(HIDDEN), HIDDEN)
