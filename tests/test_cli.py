"""The command line as its users meet it: quick help, documented commands and exit codes, errors with a remedy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from pace import allowed

from qa.exit_codes import Exit

PROJECT = Path(__file__).parents[1]
HUITING = [sys.executable, "-m", "qa.cli"]
HELP_SECONDS = 0.5  # processor time; wall time on an idle machine is the same


def huiting(
    *arguments: str, cwd: Path, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HUITING, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        check=False,
    )


def commands() -> list[str]:
    from qa.cli import app

    group = typer.main.get_command(app)
    names = []
    for name, command in group.commands.items():  # pyright: ignore
        names += [f"{name} {sub}" for sub in command.commands] if hasattr(command, "commands") else [name]
    return names


def test_help_answers_at_once(tmp_path):
    took = []
    for _ in range(3):
        before = os.times()
        assert huiting("--help", cwd=tmp_path).returncode == 0
        after = os.times()
        took.append(after.children_user - before.children_user + after.children_system - before.children_system)
    assert min(took) < allowed(HELP_SECONDS)


def test_no_heavy_library_is_loaded_by_help():
    code = "import sys, qa.cli; print([m for m in ('torch','ctranslate2','transformers','numpy','pandas','sqlalchemy','av') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_command_has_help(language):
    from qa.cli import app

    assert all(command for command in commands())
    group = typer.main.get_command(app)
    assert all(command.help for command in group.commands.values())  # pyright: ignore


def test_every_command_is_in_the_documents():
    text = "".join(path.read_text("utf-8") for path in [*PROJECT.glob("docs/*.md"), PROJECT / "README.md"])
    missing = [name for name in commands() if f"huiting {name}" not in text]
    assert not missing


def test_exit_codes_are_the_documented_ones():
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", (PROJECT / "docs/operations.md").read_text("utf-8"), re.M)
    assert {name: int(code) for code, name in rows} == {code.name: code.value for code in Exit}


def test_errors_say_what_to_do(tmp_path):
    nothing = huiting("run", cwd=tmp_path, HUITING_LANG="en")
    assert nothing.returncode == Exit.USAGE
    assert "huiting run FOLDER" in nothing.stderr
    (tmp_path / "huiting.toml").write_text("[night]\nutill = '07:00'\n")
    typo = huiting("settings", cwd=tmp_path, HUITING_LANG="en")
    assert typo.returncode == Exit.USAGE
    assert "huiting.toml:2" in typo.stderr
    assert "night.until" in typo.stderr
    assert "Traceback" not in typo.stderr + nothing.stderr


def test_missing_models_are_told_with_their_remedy(tmp_path):
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls" / "a.wav").write_bytes(b"RIFF")
    told = huiting("run", "calls", cwd=tmp_path, HUITING_LANG="en", HUITING_SPEECH__MODELS_FOLDER=str(tmp_path / "none"))
    assert told.returncode == Exit.NOT_READY
    assert "huiting models pull" in told.stderr
    doctor = huiting("doctor", cwd=tmp_path, HUITING_SPEECH__MODELS_FOLDER=str(tmp_path / "none"))
    assert doctor.returncode == Exit.NOT_READY


def test_status_before_anything_ran(tmp_path):
    told = huiting("status", cwd=tmp_path, HUITING_LANG="en")
    assert told.returncode == Exit.OK
    assert "Nothing has run yet" in told.stdout


def test_settings_say_where_they_come_from(tmp_path):
    (tmp_path / "huiting.toml").write_text("[night]\nuntil = '07:00'\n")
    told = huiting("settings", cwd=tmp_path, HUITING_NIGHT__ORDER="oldest", COLUMNS="200")
    assert "huiting.toml:2" in told.stdout
    assert "HUITING_NIGHT__ORDER" in told.stdout


def test_what_is_missing_is_told_apart_from_the_result(tmp_path: Path) -> None:
    call = {"format": 1, "id": "c1", "language": "zh", "turns": [{"speaker": "A", "role": "agent", "text": "您好，请讲。"}]}
    done = huiting("score", "-", cwd=tmp_path, stdin=json.dumps(call))
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["c1"]
    assert "huiting models pull" in done.stderr  # no weights in an empty folder


def test_a_path_that_cannot_be_is_told_without_a_traceback(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "calls").mkdir()
    told = huiting("run", "calls", cwd=tmp_path, HUITING_LANG="en", HUITING_DATA__FOLDER=str(tmp_path / "file"))
    assert told.returncode == Exit.USAGE
    assert str(tmp_path / "file") in told.stderr
    assert "Traceback" not in told.stderr


def test_transcribe_names_what_is_not_there_before_it_loads_anything(tmp_path):
    told = huiting("transcribe", "no.wav", "--out", "out", cwd=tmp_path, HUITING_SPEECH__MODELS_FOLDER=str(tmp_path / "none"))
    assert told.returncode == Exit.FAILED_CALLS
    assert "no.wav" in told.stderr


def test_an_empty_folder_is_said_to_be_empty(tmp_path):
    (tmp_path / "calls").mkdir()
    models = PROJECT / "var/models"
    told = huiting("run", "calls", cwd=tmp_path, HUITING_LANG="en", HUITING_SPEECH__MODELS_FOLDER=str(models), COLUMNS="200")
    assert told.returncode == Exit.OK, told.stderr
    assert "No recordings in" in told.stdout


def test_a_second_night_is_told_who_holds_the_first(tmp_path):
    from qa.lock import night_lock
    from qa.store import open_store

    (tmp_path / "calls").mkdir()
    models = str(PROJECT / "var/models")
    data = tmp_path / "var"
    store = open_store(f"sqlite:///{tmp_path}/var.db")
    with night_lock(store, data):
        told = huiting("run", "calls", cwd=tmp_path, HUITING_LANG="en", HUITING_SPEECH__MODELS_FOLDER=models)
    store.close()
    assert told.returncode == Exit.LOCKED
    assert f"pid {os.getpid()}" in told.stderr
    assert "Another night" in told.stderr
