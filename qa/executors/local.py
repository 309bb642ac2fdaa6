"""Worker processes of this machine, one a device, that survive crashes and hangs.

A process pool's unit is one task; ours is a stream: a worker mixes windows of several calls in one batch, so calls go
in and results come out of each worker continuously. When a worker dies, every call it held is suspect; suspects run
again alone, so that the one that kills is told from those that were merely there. A worker gets its first call only
when its models are loaded: one that dies or hangs before that is the machine's fault and no call's.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from speech.batch import Job, Result

if TYPE_CHECKING:
    from speech.batch import Progress
    from speech.devices import Device
    from speech.options import SpeechOptions

IN_FLIGHT = 6  # calls a worker holds at once: enough windows for full batches, few enough to lose
SILENT_SECONDS = 1800.0  # without any sign of life; the longest call's diarization on two old cores takes 20 minutes
LOADING_SECONDS = 1800.0  # for the models of a worker, from a slow disk into a busy machine
FAILED_STARTS = 3  # in a row, on one device, before it is given up
POLL_SECONDS = 1.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Crashed:
    """A call that was in a worker's hands when it died or hung. `alone` tells that nothing else was."""

    id: str
    message: str
    alone: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has loaded its models; `fingerprints` says which."""

    device: str
    fingerprints: dict[str, str]


@dataclass(slots=True)
class _Worker:
    device: Device
    process: SpawnProcess
    pipe: Connection
    held: dict[str, Job] = field(default_factory=dict)
    delivered: int = 0
    alone: bool = False
    heard_from: float = field(default_factory=time.monotonic)
    ready: bool = False
    asked_to_stop: bool = False


class LocalExecutor:
    """Runs speech jobs on worker processes.

    After `recycle_after` calls a worker is replaced by a fresh one: memory creeps in long-lived recognisers.
    `worker` is what a process runs, `work` unless told otherwise.
    `on_crash` is told of each call that a dying worker held and answers whether to run it again, alone.
    """

    def __init__(
        self,
        options: SpeechOptions,
        devices: Sequence[Device],
        *,
        recycle_after: int = 200,
        in_flight: int = IN_FLIGHT,
        silent_seconds: float = SILENT_SECONDS,
        loading_seconds: float = LOADING_SECONDS,
        progress: Progress | None = None,
        on_ready: Callable[[Ready], None] | None = None,
        on_crash: Callable[[Crashed], bool] | None = None,
        worker: Callable[..., None] | None = None,
    ) -> None:
        self._options = options
        self._devices = list(devices)
        self._recycle_after = recycle_after
        self._in_flight = in_flight
        self._silent_seconds = silent_seconds
        self._loading_seconds = loading_seconds
        self._tell = progress or (lambda step, call, completed, total: None)
        self._on_ready = on_ready or (lambda ready: None)
        self._on_crash = on_crash or (lambda crash: not crash.alone)
        self._worker = worker or work
        self._workers: list[_Worker] = []
        self._failed_starts: dict[Device, int] = {}
        self._context = multiprocessing.get_context("spawn")

    def run(
        self, jobs: Iterable[Job], suspects: Iterable[Job] = (), look_round: Callable[[], None] = lambda: None
    ) -> Generator[Result]:
        """Results as they come, in no order. `suspects` (calls in whose company a worker died) run one at a time.

        `look_round` is called about every second, also while nothing comes; what it raises ends the run.
        Raises ModelError when a worker cannot load its models, or no device is left on which workers start.
        Closing the iterator stops all workers.
        """
        source = iter(jobs)
        alone = deque(suspects)
        exhausted = False
        try:
            self._workers = [self._start(device) for device in self._devices]
            while True:
                for worker in self._workers:
                    exhausted = self._feed(worker, source, alone, exhausted)
                if exhausted and not alone and not any(worker.held for worker in self._workers):
                    return
                look_round()
                for outcome in self._listen():
                    if isinstance(outcome, tuple):
                        crash, job = outcome
                        if self._on_crash(crash):
                            alone.append(job)
                    else:
                        yield outcome
        finally:
            self._stop()

    def _feed(self, worker: _Worker, source: Iterator[Job], alone: deque[Job], exhausted: bool) -> bool:
        """Hand calls to a worker that has room; returns whether there are no more."""
        if worker.asked_to_stop or not worker.ready:
            return exhausted
        if worker.delivered >= self._recycle_after:
            if not worker.held:
                worker.pipe.send(None)
                worker.asked_to_stop = True
            return exhausted
        if alone and not worker.held:
            worker.alone = True
            self._send(worker, alone.popleft())
            return exhausted
        if worker.alone:
            if worker.held:
                return exhausted
            worker.alone = False
        while not exhausted and len(worker.held) < self._in_flight:
            job = next(source, None)
            if job is None:
                return True
            self._send(worker, job)
        return exhausted

    def _send(self, worker: _Worker, job: Job) -> None:
        worker.held[job.id] = job
        with suppress(BrokenPipeError, ConnectionResetError):  # died just now: `_listen` accounts for all it held
            worker.pipe.send(job)

    def _listen(self) -> Iterator[Result | tuple[Crashed, Job]]:
        ready = wait([worker.pipe for worker in self._workers], timeout=POLL_SECONDS)
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.pipe in ready:
                worker.heard_from = now
                try:
                    message = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    yield from self._buried(worker, f"worker process ended with code {self._code(worker)}")
                    continue
                yield from self._received(worker, message)
            elif (limit := self._patience(worker)) is not None and now - worker.heard_from > limit:
                worker.process.kill()
                yield from self._buried(worker, f"no sign of life for {limit:.0f} s")

    def _patience(self, worker: _Worker) -> float | None:
        """Seconds for which a worker may be silent; None while nothing is asked of it."""
        if not worker.ready:
            return self._loading_seconds
        return self._silent_seconds if worker.held else None

    def _received(self, worker: _Worker, message: object) -> Iterator[Result]:
        from speech.types import ModelError

        match message:
            case ("progress", step, call, completed, total):
                self._tell(step, call, completed, total)
            case ("ready", fingerprints):
                worker.ready = True
                self._failed_starts.pop(worker.device, None)
                self._on_ready(Ready(worker.device.name, fingerprints))
            case ("models", text):
                raise ModelError(text)
            case ("result", result):
                worker.held.pop(result.id, None)
                worker.delivered += 1
                yield result

    def _buried(self, worker: _Worker, message: str) -> Iterator[tuple[Crashed, Job]]:
        """A dead worker's calls, and a new worker in its place."""
        held = list(worker.held.values())
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join(STOP_SECONDS)
        if worker.ready or self._may_start_again(worker.device, message):
            self._workers.append(self._start(worker.device))
        for job in held:
            yield Crashed(job.id, message, alone=len(held) == 1), job

    def _may_start_again(self, device: Device, message: str) -> bool:
        """Whether a device whose worker died while loading gets another; the others go on without it."""
        from speech.types import ModelError

        failed = self._failed_starts[device] = self._failed_starts.get(device, 0) + 1
        if failed < FAILED_STARTS:
            return True
        if self._workers:
            return False
        raise ModelError(
            f"{device.name}: {message}, {failed} times while loading the models. Often the memory is too small for "
            "them: see `huiting doctor`, or name a smaller model or another device in the settings."
        )

    def _start(self, device: Device) -> _Worker:
        # glibc gives every thread an arena of its own and never joins them again; two keep a worker's memory flat.
        os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # read by the new process when it starts
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=self._worker, args=(theirs, self._options, device), name=f"huiting-{device.name}", daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(device, process, ours)

    def _code(self, worker: _Worker) -> int | None:
        worker.process.join(STOP_SECONDS)
        return worker.process.exitcode

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(STOP_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
        self._workers = []


def work(pipe: Connection, options: SpeechOptions, device: Device) -> None:
    """A worker process: load the models once, then calls in and results out until the pipe says None or closes."""
    import signal

    from speech.engine import Engine
    from speech.types import ModelError

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        engine = Engine(options, device)
    except ModelError as error:
        pipe.send(("models", str(error)))
        return
    pipe.send(("ready", engine.fingerprints))
    held = 0

    def jobs() -> Iterator[Job | None]:
        nonlocal held
        while True:
            if held and not pipe.poll():
                yield None  # nothing more at the moment: work off what is there
                continue
            try:
                job = pipe.recv()
            except EOFError:
                return  # the parent is gone
            if job is None:
                return
            held += 1
            yield job

    def progress(step: str, call: str, completed: float, total: float) -> None:
        pipe.send(("progress", step, call, completed, total))

    try:
        for result in engine.run(jobs(), progress):
            held -= 1
            pipe.send(("result", result))
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent is gone; what was done here will be done again

