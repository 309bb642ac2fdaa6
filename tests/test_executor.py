"""Worker processes that die, hang and are replaced: every call still gets its answer, and only the culprit the blame."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from qa.executors.local import Crashed, LocalExecutor
from speech.batch import Job, Refused
from speech.devices import Device
from speech.options import SpeechOptions
from speech.types import ModelError, Sign

DEVICE = Device("cpu", "int8", "test")
STARTED = "started-"


def worker(pipe, options, device) -> None:
    """A worker without models: it answers every call, and dies, hangs or waits for a colleague on those whose name says so."""
    (options.models_folder / f"{STARTED}{os.getpid()}").touch()
    pipe.send(("ready", {"recognise": "none"}))
    held = []
    while True:
        while pipe.poll() or not held:
            try:
                job = pipe.recv()
            except EOFError:
                return
            if job is None:
                return
            held.append(job)
        job = held.pop(0)
        pipe.send(("progress", "decoded", job.id, 1.0, 1.0))
        if job.id.startswith("kills"):
            os.kill(os.getpid(), signal.SIGKILL)
        if job.id.startswith("hangs"):
            time.sleep(60)
        while job.id.startswith("meets") and len(list(options.models_folder.glob(f"{STARTED}*"))) < 2:
            time.sleep(0.05)  # until another worker is there
        pipe.send(("result", Refused(job.id, (Sign.EMPTY,), "heard")))


def without_models(pipe, options, device) -> None:
    pipe.send(("models", "no weights here"))


def dies_loading(pipe, options, device) -> None:
    (options.models_folder / f"{STARTED}{os.getpid()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def slow_to_load(pipe, options, device) -> None:
    time.sleep(2.5)
    worker(pipe, options, device)


def jobs(*names: str) -> list[Job]:
    return [Job(name, Path(name)) for name in names]


def executor(tmp_path: Path, **changes) -> LocalExecutor:
    return LocalExecutor(SpeechOptions(models_folder=tmp_path), [DEVICE], **{"worker": worker, **changes})


def started(tmp_path: Path) -> int:
    return len(list(tmp_path.glob(f"{STARTED}*")))


def test_every_job_gets_one_result(tmp_path):
    names = [f"c{i}" for i in range(30)]
    results = list(executor(tmp_path).run(jobs(*names)))
    assert sorted(result.id for result in results) == sorted(names)
    assert started(tmp_path) == 1


def test_the_killer_is_found_and_the_innocent_are_heard(tmp_path):
    blamed: list[Crashed] = []

    def on_crash(crash: Crashed) -> bool:
        blamed.append(crash)
        return not crash.alone

    results = list(executor(tmp_path, on_crash=on_crash).run(jobs("a", "kills", "b", "c", "d")))
    assert sorted(result.id for result in results) == ["a", "b", "c", "d"]
    assert [crash.id for crash in blamed if crash.alone] == ["kills"]


def test_a_killer_is_tried_again_as_often_as_it_is_told(tmp_path):
    tries = []

    def on_crash(crash: Crashed) -> bool:
        tries.append(crash.alone)
        return tries.count(True) < 3

    assert [r.id for r in executor(tmp_path, on_crash=on_crash).run(jobs("kills", "b"))] == ["b"]
    assert tries.count(True) == 3


def test_a_hanging_worker_is_replaced(tmp_path):
    blamed = []

    def on_crash(crash: Crashed) -> bool:
        blamed.append((crash.id, crash.alone))
        return not crash.alone

    results = list(executor(tmp_path, silent_seconds=4.0, on_crash=on_crash).run(jobs("hangs", "b")))
    assert [result.id for result in results] == ["b"]
    assert ("hangs", True) in blamed


def test_loading_is_no_hanging(tmp_path):
    blamed = []
    slow = executor(tmp_path, worker=slow_to_load, silent_seconds=1.0, on_crash=blamed.append)
    assert [result.id for result in slow.run(jobs("a"))] == ["a"]
    assert blamed == []
    assert started(tmp_path) == 1


def test_workers_that_die_while_loading_end_the_run_and_blame_no_call(tmp_path):
    blamed = []
    with pytest.raises(ModelError, match="3 times while loading"):
        list(executor(tmp_path, worker=dies_loading, on_crash=blamed.append).run(jobs("a", "b")))
    assert blamed == []
    assert started(tmp_path) == 3


def test_who_looks_round_can_end_a_run_that_brings_nothing(tmp_path):
    def look_round() -> None:
        if time.monotonic() > began + 1.0:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(executor(tmp_path).run(jobs("hangs"), look_round=look_round))
    assert time.monotonic() - began < 30


def test_workers_are_recycled(tmp_path):
    names = [f"c{i}" for i in range(20)]
    results = list(executor(tmp_path, recycle_after=5, in_flight=2).run(jobs(*names)))
    assert len(results) == 20
    assert started(tmp_path) >= 3


def test_two_devices_share_the_work(tmp_path):
    both = LocalExecutor(SpeechOptions(models_folder=tmp_path), [DEVICE, DEVICE], worker=worker, in_flight=1)
    assert len(list(both.run(jobs(*[f"meets{i}" for i in range(40)])))) == 40
    assert started(tmp_path) == 2


def test_missing_models_end_the_run_with_their_remedy(tmp_path):
    with pytest.raises(ModelError, match="no weights here"):
        list(executor(tmp_path, worker=without_models).run(jobs("a")))


def test_closing_early_leaves_no_process_behind(tmp_path):
    import multiprocessing

    results = executor(tmp_path).run(jobs("a", "b", "c"))
    next(results)
    results.close()
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("huiting")]
