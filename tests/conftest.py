"""What the tests share. Fixtures of one feature stay in that feature's file."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from qa.settings import Settings
from qa.store import Store, open_store
from qa.store.engine import create_store_engine
from qa.store.schema import Base, TranscriptRow

POSTGRES_VARIABLE = "HUITING_TEST_POSTGRES"
POSTGRES_DEFAULT = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
POSTGRES_WAIT_SECONDS = "3"

postgres_absence: str | None = None  # why PostgreSQL could not be tested, told in the closing lines


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the person who runs the tests leak in."""
    for name in list(os.environ):
        if name.startswith("HUITING_") and name != POSTGRES_VARIABLE:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database at the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("store") / "template.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A database of this session's own on the PostgreSQL server; tests that ask for it skip where none answers."""
    global postgres_absence
    server = make_url(os.environ.get(POSTGRES_VARIABLE) or POSTGRES_DEFAULT)
    server = server.set(query={"connect_timeout": POSTGRES_WAIT_SECONDS, **server.query})
    admin = create_store_engine(server.render_as_string(hide_password=False)).execution_options(
        isolation_level="AUTOCOMMIT"
    )
    name = f"huiting_test_{os.getpid()}"
    try:
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"))
    except sa.exc.OperationalError as error:
        postgres_absence = f"{server.render_as_string()}: {str(error.orig).splitlines()[0]}"
        pytest.skip(f"no PostgreSQL: {postgres_absence}")
    url = server.set(database=name).render_as_string(hide_password=False)
    open_store(url).close()
    yield url
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty, migrated database: every test that asks runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "huiting.db"
        path.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
        return f"sqlite:///{path}"
    url = request.getfixturevalue("postgres_url")
    engine = create_store_engine(url)
    tables = ", ".join([*Base.metadata.tables, "turn_search"])
    with engine.begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    engine.dispose()
    return url


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = open_store(database)
    yield store
    store.close()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last lines of a run, below the summary: what could not be tested must not be overlooked."""
    if postgres_absence and (reporter := config.pluginmanager.get_plugin("terminalreporter")):
        reporter.section("PostgreSQL was NOT tested", sep="!", red=True, bold=True)
        reporter.line(f"No server answered ({postgres_absence}).", red=True)
        reporter.line(f"Start one, or name one in {POSTGRES_VARIABLE}. SQLite alone was tested.", red=True)


# -- the one real night -------------------------------------------------------------------------------------------

PROJECT = Path(__file__).parents[1]
GOOD_CALLS = ("d01", "d02", "d08", "d11", "d04")  # model call, anger, card number, IVR, mono
MODELS = Path(os.environ.get("HUITING_SPEECH__MODELS_FOLDER") or PROJECT / "var/models")


@dataclass(frozen=True, slots=True)
class RealNight:
    """A night over five demo calls and all the bad files, run by the command as its users run it."""

    folder: Path
    settings_file: Path
    settings: Settings
    good: tuple[str, ...]
    bad: tuple[str, ...]
    files: int
    returncode: int
    output: str
    transcribed_once: int

    def huiting(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return type_command(self.settings_file, *arguments, **environment)

    def transcribed(self) -> int:
        return count_transcripts(self.settings)


def type_command(settings_file: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qa.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=False,
        env={**os.environ, "HUITING_SETTINGS": str(settings_file), **environment},
    )


def count_transcripts(settings: Settings) -> int:
    store = open_store(settings.store_url)
    try:
        with store.read() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(TranscriptRow)) or 0
    finally:
        store.close()


@pytest.fixture(scope="session")
def real_night(tmp_path_factory: pytest.TempPathFactory) -> RealNight:
    """Real recordings through real models. The weights come from `make models`; without them these tests fail."""
    folder = tmp_path_factory.mktemp("night")
    with (PROJECT / "demo/manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row["call_id"] in GOOD_CALLS or row["call_id"].startswith("b")]
    (folder / "calls").mkdir()
    for row in chosen:
        shutil.copy(PROJECT / "demo" / row["file"], folder / "calls")
        row["file"] = Path(row["file"]).name
    with (folder / "calls/manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(chosen)
    settings_file = folder / "huiting.toml"
    settings_file.write_text(
        f'[data]\nfolder = "data"\n[intake]\nfolder = "calls"\nsettle_seconds = 0\n'
        f'[gates]\nmin_free_gigabytes = 0.5\n[speech]\nmodels_folder = "{MODELS}"\n',
        "utf-8",
    )
    ran = type_command(settings_file, "run")
    settings = Settings.load(settings_file, env={})
    return RealNight(
        folder,
        settings_file,
        settings,
        GOOD_CALLS,
        tuple(row["call_id"] for row in chosen if row["call_id"].startswith("b")),
        len(chosen),
        ran.returncode,
        ran.stdout + ran.stderr,
        count_transcripts(settings),
    )
