"""The morning summary: what somebody must look at is listed, the rest is counted, and nothing personal is shown."""

from __future__ import annotations

import io
from pathlib import Path

import recorded
import test_night
from rich.console import Console

from qa.messages import in_language
from qa.store import Store, open_store
from qa.summary import print_summary


def told(store: Store, night_id: int, folder: Path) -> str:
    console = Console(file=io.StringIO(), record=True, width=160)
    with in_language("en"):
        print_summary(console, store, night_id, test_night.settings_for(folder))
    return console.export_text()


def test_files_to_look_at_are_listed_and_those_done_before_counted(tmp_path, sqlite_template):
    calls = tmp_path / "calls"
    calls.mkdir()
    for number in range(3):
        recorded.write_call(calls, f"good{number}")
    recorded.write_call(calls, "13800138000_dead", refused="dead_channel")
    recorded.write_call(calls, "odd", fails="ValueError: [odd]")
    database = tmp_path / "huiting.db"
    database.write_bytes(sqlite_template.read_bytes())
    store = open_store(f"sqlite:///{database}")
    first = told(store, test_night.run(store, tmp_path).night_id, tmp_path)
    assert "received 5 = scored 3 + quarantined 1 + failed 1 + skipped 0" in first
    assert "ValueError: [odd]" in first
    assert "_dead.wav" in first
    assert "13800138000" not in first
    second = told(store, test_night.run(store, tmp_path).night_id, tmp_path)
    assert "scored before 3" in second
    assert "good0" not in second
    store.close()
