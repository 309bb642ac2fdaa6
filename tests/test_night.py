"""The night's account, resuming, locking and stopping: with real processes and real databases, and no models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import recorded
from appsite import write_sound
from sqlalchemy import func, select

from qa import ledger
from qa.access import Identity, Role
from qa.corrections import awaits_score, correct_words
from qa.executors.local import LocalExecutor
from qa.intake import discover
from qa.ledger import Stage, State
from qa.lock import LockedError, night_lock
from qa.night import NightRun, risk
from qa.scoring import Scoring, rescore
from qa.settings import Settings
from qa.states import Outcome
from qa.store import Store, open_store
from qa.store.schema import Call, LedgerRow, Night, NightFile, ScorecardRow, TranscriptRow, now
from qa.store.search import search
from qa.store.transcripts import current_transcript_id, load_transcript
from scoring_rules.evaluate import Evaluator
from scoring_rules.load import load_pack
from speech.devices import Device

PROJECT = Path(__file__).parents[1]
INSPECTOR = Identity("i", "i", Role.INSPECTOR)


def settings_for(folder: Path, **changes) -> Settings:
    (folder / "data").mkdir(exist_ok=True)
    values = {"data.folder": str(folder / "data"), "intake.settle_seconds": 0, "gates.min_free_gigabytes": 0}
    return Settings.load(env={}, overrides=values | changes)


def scoring(overlays: tuple[Path, ...] = ()) -> Scoring:
    pack = load_pack(("zh",), overlays)
    return Scoring(pack, Evaluator(pack))


def run(store: Store, folder: Path, *, settings: Settings | None = None, overlays=(), **changes):
    settings = settings or settings_for(folder)

    def executor(on_crash) -> LocalExecutor:
        device = Device("cpu", "int8", "test")
        return LocalExecutor(settings.speech_options(), [device], worker=recorded.worker, on_crash=on_crash)

    night = NightRun(
        store=store,
        settings=settings,
        scoring=scoring(overlays),
        stage_fingerprints=recorded.STAGES,
        meanings={stage: {"stage": stage} for stage in recorded.STAGES},
        make_executor=executor,
        **changes,
    )
    return night.run(discover(folder / "calls", settings))


@pytest.fixture
def calls(tmp_path) -> Path:
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def outcomes(store: Store, night_id: int) -> dict[str, tuple[str, str | None]]:
    with store.read() as session:
        lines = session.scalars(select(NightFile).where(NightFile.night_id == night_id))
        return {Path(line.path).stem: (line.outcome, line.reason) for line in lines}


def count(store: Store, table) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_every_file_is_accounted_for(store, tmp_path, calls):
    for number in range(4):
        recorded.write_call(calls, f"good{number}")
    twin = recorded.write_call(calls, "zz-twin")
    twin.write_bytes((calls / "good0.wav").read_bytes())
    os.utime(twin, (time.time() - 3600,) * 2)
    recorded.write_call(calls, "dead", refused="dead_channel")
    recorded.write_call(calls, "short", refused="too_short")
    recorded.write_call(calls, "foreign", signs=["wrong_language"])
    recorded.write_call(calls, "swapped", signs=["swapped_channels"])
    recorded.write_call(calls, "odd", fails="ValueError: odd")
    result = run(store, tmp_path)
    assert result.state == "finished"
    told = result.counts
    assert told["received"] == 10 == told["scored"] + told["quarantined"] + told["failed"] + told["skipped"]
    assert outcomes(store, result.night_id) == {
        **{f"good{n}": ("scored", None) for n in range(4)},
        "zz-twin": ("skipped", "duplicate"),
        "dead": ("quarantined", "dead_channel"),
        "short": ("skipped", "too_short"),
        "foreign": ("quarantined", "wrong_language"),
        "swapped": ("scored", None),
        "odd": ("failed", "error"),
    }
    assert count(store, ScorecardRow) == 5


def test_a_second_night_finds_nothing_to_do(store, tmp_path, calls):
    for number in range(3):
        recorded.write_call(calls, f"c{number}")
    recorded.write_call(calls, "dead", refused="dead_channel")
    run(store, tmp_path)
    before = recorded.heard(calls)
    second = run(store, tmp_path)
    assert recorded.heard(calls) == before
    assert second.counts["skipped"] == 4
    assert {reason for _, reason in outcomes(store, second.night_id).values()} == {"already_done", "already_quarantined"}


def test_a_change_of_rules_never_transcribes_again(store, tmp_path, calls):
    for number in range(5):
        recorded.write_call(calls, f"c{number}", said=[["agent", "这个我不能给您退。"], ["customer", "为什么"]])
    run(store, tmp_path)
    heard = recorded.heard(calls)
    assert len(heard) == 5
    overlay = tmp_path / "site"
    overlay.mkdir()
    (overlay / "pack.yaml").write_text("id: site\nextends: zh\nversion: '2'\nrules:\n  neg.cannot: {points: 1}\n")
    changed = scoring((overlay,))
    assert rescore(store, changed) == 5
    assert rescore(store, changed) == 0
    assert rescore(store, scoring()) == 5
    run(store, tmp_path, overlays=(overlay,))  # the night itself also only scores
    assert recorded.heard(calls) == heard
    assert count(store, TranscriptRow) == 5
    assert count(store, ScorecardRow) == 20  # old scorecards stay
    with store.read() as session:
        assert session.scalar(select(func.count()).where(ScorecardRow.current)) == 5


def test_other_models_are_used_on_old_calls_only_when_asked(store, tmp_path, calls, monkeypatch):
    recorded.write_call(calls, "c0")
    run(store, tmp_path)
    monkeypatch.setitem(recorded.STAGES, "recognise", "better")
    run(store, tmp_path)
    assert recorded.heard(calls) == ["c0"]
    run(store, tmp_path, refresh=True)
    assert recorded.heard(calls) == ["c0", "c0"]
    assert count(store, TranscriptRow) == 2


def test_the_same_id_with_new_sound_is_heard_again(store, tmp_path, calls):
    recorded.write_call(calls, "c0")
    run(store, tmp_path)
    recorded.write_call(calls, "c0", said=[["agent", "另一通电话"]])
    run(store, tmp_path)
    assert recorded.heard(calls) == ["c0", "c0"]


def test_no_later_run_takes_the_place_of_a_persons_correction(store, tmp_path, calls, monkeypatch):
    recorded.write_call(calls, "c0")
    run(store, tmp_path)
    with store.read() as session:
        machine = current_transcript_id(session, "c0")
    correct_words(store, INSPECTOR, "c0", machine, 1, "我查一下花费。")
    monkeypatch.setitem(recorded.STAGES, "recognise", "better")
    run(store, tmp_path, refresh=True)
    run(store, tmp_path)  # and the corrected call is scored by now
    with store.read() as session:
        assert load_transcript(session, "c0").turns[1].text == "我查一下花费。"
        assert load_transcript(session, "c0", machine).turns[1].text == "我查一下话费。"
        assert not awaits_score(session, "c0")
        assert [match.text for match in search(session, "花费")] == ["我查一下花费。"]
        assert search(session, "话费") == []
    assert recorded.heard(calls) == ["c0", "c0"]
    assert count(store, TranscriptRow) == 3


def test_a_correction_of_other_sound_gives_way(store, tmp_path, calls):
    recorded.write_call(calls, "c0")
    run(store, tmp_path)
    with store.read() as session:
        machine = current_transcript_id(session, "c0")
    correct_words(store, INSPECTOR, "c0", machine, 1, "我查一下花费。")
    recorded.write_call(calls, "c0", said=[["agent", "另一通电话"]])
    run(store, tmp_path)
    with store.read() as session:
        assert [turn.text for turn in load_transcript(session, "c0").turns] == ["另一通电话"]


def test_the_waveform_is_measured_with_the_call(store, tmp_path, calls):
    path = recorded.write_call(calls, "c0")
    write_sound(path)
    os.utime(path, (time.time() - 3600,) * 2)
    recorded.write_call(calls, "c1")  # no sound at all: scored, without a waveform
    result = run(store, tmp_path)
    assert result.counts["scored"] == 2
    [kept] = (tmp_path / "data" / "sound").rglob("*.json")
    assert len(json.loads(kept.read_text())["channels"]) == 2


KILLED = """
import sys
sys.path.insert(0, {tests!r})
import test_night
from pathlib import Path
from qa.store import open_store
test_night.run(open_store({url!r}), Path({folder!r}))
"""


@pytest.mark.parametrize("after", [1, 4])
def test_kill_9_loses_nothing_and_repeats_nothing_finished(database, tmp_path, calls, after):
    for number in range(8):
        recorded.write_call(calls, f"c{number}", seconds=0.3)
    script = KILLED.format(tests=str(PROJECT / "tests"), url=database, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT)
    store = open_store(database)
    try:
        deadline = time.monotonic() + 60
        while count(store, ScorecardRow) < after:
            assert time.monotonic() < deadline, "the night did not get going"
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with store.read() as session:
            done = set(session.scalars(select(TranscriptRow.call_id)))
            assert session.scalars(select(Night.state)).all() == ["running"]
        heard_before = recorded.heard(calls)
        time.sleep(1.0)  # the orphaned worker finds its parent gone
        result = run(store, tmp_path)
        assert result.resumed
        assert result.counts["scored"] == result.counts["received"] == 8
        heard_again = recorded.heard(calls)[len(heard_before) :]
        assert not done.intersection(heard_again[1:])  # the orphan may still have begun one call of its own
        assert count(store, TranscriptRow) == 8
        assert count(store, Night) == 1
    finally:
        process.kill()
        store.close()


def test_one_night_at_a_time_and_a_dead_process_holds_nothing(store, tmp_path, calls):
    recorded.write_call(calls, "c0")
    settings = settings_for(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys,time\nfrom pathlib import Path\nfrom qa.lock import night_lock\nfrom qa.store import open_store\n"
         f"with night_lock(open_store({store.engine.url.render_as_string(hide_password=False)!r}), Path({str(settings.data.folder)!r})):\n"
         "    print('held', flush=True)\n    time.sleep(60)\n"],
        cwd=PROJECT, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LockedError):
        run(store, tmp_path, settings=settings)
    holder.kill()
    holder.wait()
    assert run(store, tmp_path, settings=settings).counts["scored"] == 1


def test_postgres_lock_is_the_databases(postgres_url, tmp_path):
    first, second = open_store(postgres_url), open_store(postgres_url)
    with night_lock(first, tmp_path / "one"), pytest.raises(LockedError), night_lock(second, tmp_path / "two"):
        pass
    with night_lock(second, tmp_path / "two"):
        pass


def test_until_leaves_the_rest_for_next_time(store, tmp_path, calls):
    for number in range(3):
        recorded.write_call(calls, f"c{number}")
    stopped = run(store, tmp_path, deadline=now() - timedelta(seconds=1))
    assert (stopped.state, stopped.stopped) == ("stopped", "time")
    assert stopped.counts["skipped"] == 3
    assert recorded.heard(calls) == []
    assert run(store, tmp_path).counts["scored"] == 3


def test_a_full_disk_stops_cleanly(store, tmp_path, calls):
    recorded.write_call(calls, "c0")
    full = settings_for(tmp_path, **{"gates.min_free_gigabytes": 10**6})
    stopped = run(store, tmp_path, settings=full)
    assert (stopped.state, stopped.stopped) == ("stopped", "disk")
    assert run(store, tmp_path).counts["scored"] == 1


def test_a_call_that_kills_its_worker_is_quarantined_and_the_others_are_scored(store, tmp_path, calls):
    for number in range(4):
        recorded.write_call(calls, f"c{number}")
    recorded.write_call(calls, "killer", kills=True)
    result = run(store, tmp_path)
    assert result.counts["scored"] == 4
    assert outcomes(store, result.night_id)["killer"] == ("quarantined", "kills_worker")
    again = run(store, tmp_path)
    assert outcomes(store, again.night_id)["killer"] == ("skipped", "already_quarantined")


def test_a_failing_call_is_tried_again_and_given_up_at_the_limit(store, tmp_path, calls):
    recorded.write_call(calls, "odd", fails="ValueError: odd")
    told = [outcomes(store, run(store, tmp_path).night_id)["odd"] for _ in range(5)]
    assert told == [("failed", "error")] * 3 + [("quarantined", "error"), ("skipped", "already_quarantined")]
    with store.write() as session:
        ledger.reopen(session.get_one(LedgerRow, ("odd", Stage.HEAR)))
    recorded.write_call(calls, "odd")
    assert outcomes(store, run(store, tmp_path).night_id)["odd"] == ("scored", None)


def test_still_copying_waits(store, tmp_path, calls):
    path = recorded.write_call(calls, "c0")
    os.utime(path)
    patient = settings_for(tmp_path, **{"intake.settle_seconds": 600})
    assert outcomes(store, run(store, tmp_path, settings=patient).night_id)["c0"] == ("skipped", "still_copying")
    assert run(store, tmp_path).counts["scored"] == 1


def test_manifest_rows_are_received_files_too(store, tmp_path, calls):
    recorded.write_call(calls, "a")
    recorded.write_call(calls, "b")
    (calls / "manifest.csv").write_text(
        "call_id,file,agent,agent_channel\na,a.wav,A1,0\nb,b.wav,A1,left?\nc,nowhere.wav,A2,1\n", "utf-8"
    )
    recorded.write_call(calls, "unlisted")
    result = run(store, tmp_path)
    told = outcomes(store, result.night_id)
    assert told["a"] == ("scored", None)
    assert told["b"] == ("failed", "bad_row")
    assert told["nowhere"] == ("failed", "missing_file")
    assert told["unlisted"] == ("skipped", "not_listed")
    assert sum(result.counts[outcome] for outcome in ("scored", "quarantined", "failed", "skipped")) == 4


def test_order_and_risk(store, tmp_path, calls):
    lines = ["call_id,file,agent,started_at,kind"]
    for day in (1, 3, 2):
        recorded.write_call(calls, f"d{day}")
        lines.append(f"d{day},d{day}.wav,A1,2026-11-0{day}T10:00:00+08:00,{'投诉' if day == 2 else '咨询'}")
    (calls / "manifest.csv").write_text("\n".join(lines) + "\n", "utf-8")
    run(store, tmp_path, order="newest")
    assert recorded.heard(calls) == ["d3", "d2", "d1"]
    assert risk(Call(id="x", agent="A", kind="投诉", tags=[]), {}) > risk(Call(id="y", agent="A", kind="咨询", tags=[]), {})
    bad, good = {"A": (10, 5, 600.0)}, {"A": (10, 0, 990.0)}
    assert risk(Call(id="x", agent="A", tags=[]), bad) > risk(Call(id="x", agent="A", tags=[]), good)


def test_what_a_fingerprint_stands_for_is_kept(store, tmp_path, calls):
    from qa.store.schema import Fingerprint

    recorded.write_call(calls, "c0")
    run(store, tmp_path)
    with store.read() as session:
        assert session.get_one(Fingerprint, ("recognise" * 4, "recognise")).meaning == {"stage": "recognise"}
        assert session.get_one(LedgerRow, ("c0", Stage.SCORE)).state == State.DONE
        assert Outcome.PENDING not in set(session.scalars(select(NightFile.outcome)))


def test_emotion_added_later_fills_in_without_a_recogniser(store, tmp_path, calls, monkeypatch):
    from dataclasses import replace

    from speech.types import Emotion

    class Angry:
        fingerprint = "angry"

        def __call__(self, turns, sound):
            return tuple(replace(turn, emotion=Emotion("angry", 0.9)) for turn in turns)

    recorded.write_call(calls, "c0", without=["emotion"])
    run(store, tmp_path)
    with store.read() as session:
        assert session.get(LedgerRow, ("c0", Stage.EMOTION)) is None
    monkeypatch.setitem(recorded.STAGES, "emotion", "e" * 8)
    run(store, tmp_path, make_emotion=Angry)
    assert recorded.heard(calls) == ["c0"]
    with store.read() as session:
        assert session.get_one(LedgerRow, ("c0", Stage.EMOTION)).state == State.DONE
        assert session.get_one(Call, "c0").end_emotion == "negative"
    assert outcomes(store, run(store, tmp_path, make_emotion=Angry).night_id)["c0"] == ("skipped", "already_done")
