"""`huiting run | rescore | status | retry`."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from sqlalchemy import func, select

from qa.commands.setup import load_settings, log_to_file, opened
from qa.exit_codes import Exit
from qa.intake import AUDIO_SUFFIXES, IntakeError, discover
from qa.ledger import Stage, State
from qa.messages import text
from qa.retry import reopen_calls
from qa.settings import Settings
from qa.states import Outcome, Reason
from qa.store.schema import LedgerRow, Night
from qa.summary import print_summary
from speech.types import Sign

PLAIN_EVERY = 15.0  # seconds between lines where there is no terminal to draw a bar on
STOPPED_EXIT = {"time": Exit.OUT_OF_TIME, "disk": Exit.DISK_FULL, "signal": Exit.INTERRUPTED}


def run_command(
    path: Path | None, source: Path | None, manifest: Path | None, overrides: dict[str, str], refresh: bool
) -> Exit:
    settings = load_settings(path, overrides)
    source = source or settings.intake.folder or settings.intake.manifest
    if source is None:
        raise IntakeError(text("run.no_source"))
    console = Console()
    log_path = log_to_file(settings, "night")
    intake = discover(source, settings, manifest)
    with opened(settings) as store:
        with _Bar(console) as bar:
            result = _night(settings, store, bar, refresh).run(intake)
        print_summary(console, store, result.night_id, settings)
    if not result.counts["received"]:
        told = " ".join(suffix.removeprefix(".") for suffix in sorted(AUDIO_SUFFIXES))
        console.print(text("run.nothing_received", source=source, suffixes=told), style="yellow")
    console.print(text("run.log", path=log_path), style="dim")
    if result.stopped:
        console.print(text(f"run.stopped_{result.stopped}"), style="yellow")
        return STOPPED_EXIT[result.stopped]
    return Exit.FAILED_CALLS if result.counts[Outcome.FAILED] else Exit.OK


def _night(settings: Settings, store, bar: _Bar, refresh: bool):
    from qa.executors.local import LocalExecutor
    from qa.night import NightRun
    from qa.rulebook import scoring_in_force
    from speech.devices import find
    from speech.stages import fingerprint, meanings

    options = settings.speech_options()
    devices = find(options.device, options.compute_type)
    workers = settings.night.workers or len(devices)
    devices = [devices[index % len(devices)] for index in range(workers)]
    means = meanings(options, devices[0].compute_type)

    def executor(on_crash) -> LocalExecutor:
        bar.say(text("run.loading", devices=", ".join(f"{d.name} {d.compute_type}" for d in devices)))
        return LocalExecutor(
            options,
            devices,
            recycle_after=settings.night.recycle_after,
            progress=bar.progress,
            on_ready=lambda ready: bar.say(text("run.ready", device=ready.device)),
            on_crash=on_crash,
        )

    def emotion():
        from speech.emotion import load_emotion

        return load_emotion(options, devices[0])

    return NightRun(
        store=store,
        settings=settings,
        scoring=scoring_in_force(settings, store),
        stage_fingerprints={stage: fingerprint(meaning) for stage, meaning in means.items()},
        meanings=means,
        make_executor=executor,
        make_emotion=emotion if options.emotion else None,
        deadline=_deadline(settings.night.until, settings.time_zone),
        order=settings.night.order,
        refresh=refresh,
        on_total=bar.total,
        on_done=bar.done,
    )


def _deadline(clock: str, zone: ZoneInfo) -> datetime | None:
    """The next time a clock in the site's time zone shows `clock`; None for an empty one."""
    if not clock:
        return None
    hours, minutes = map(int, clock.split(":"))
    current = datetime.now(zone)
    deadline = current.replace(hour=hours, minute=minutes, second=0, microsecond=0)
    return deadline if deadline > current else deadline + timedelta(days=1)


class _Bar:
    """Calls done, hours of audio heard, × real time, time left; a line now and then where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(text("run.hearing"), total=None, speed="")
        self._began = time.monotonic()
        self._first_sound: float | None = None
        self._heard = 0.0  # seconds of recordings
        self._calls = 0
        self._of = 0
        self._told = self._began

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def say(self, message: str) -> None:
        self._console.print(message, style="dim")

    def total(self, calls: int) -> None:
        self._of = calls
        self._bar.update(self._task, total=calls)

    def progress(self, step: str, call: str, completed: float, total: float) -> None:
        self._first_sound = self._first_sound or time.monotonic()
        if step == "assembled":
            self._heard += total
        self._show()

    def done(self, call: str, outcome: Outcome) -> None:
        self._calls += 1
        self._bar.advance(self._task)
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        elapsed = now - (self._first_sound or self._began)
        speed = self._heard / elapsed if elapsed > 0 else 0.0
        told = text("run.speed", hours=f"{self._heard / 3600:.2f}", speed=f"{speed:.1f}")
        self._bar.update(self._task, speed=told)
        if not self._console.is_terminal and (now - self._told > PLAIN_EVERY or self._calls == self._of):
            self._told = now
            self._console.print(f"{self._calls}/{self._of} {told}")


def rescore_command(path: Path | None, everything: bool) -> Exit:
    from qa.lock import night_lock
    from qa.rulebook import scoring_in_force
    from qa.scoring import rescore

    settings = load_settings(path)
    log_to_file(settings, "rescore")
    console = Console()
    with opened(settings) as store, night_lock(store, settings.data.folder):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(text("rescore.running"), total=None)
            count = rescore(
                store,
                scoring_in_force(settings, store),
                everything=everything,
                on_total=lambda total: bar.update(task, total=total),
                on_done=lambda call_id: bar.advance(task),
            )
    console.print(text("rescore.done", count=count))
    return Exit.OK


def status_command(path: Path | None) -> Exit:
    settings = load_settings(path)
    console = Console()
    with opened(settings) as store:
        with store.read() as session:
            night = session.scalar(select(Night).order_by(Night.id.desc()))
            rows = session.execute(
                select(LedgerRow.stage, LedgerRow.state, func.count()).group_by(LedgerRow.stage, LedgerRow.state)
            ).all()
        if night is None:
            console.print(text("status.never"))
            return Exit.OK
        for stage in Stage:
            states = {state: count for named, state, count in rows if named == stage}
            if states:
                told = "  ".join(f"{text(f'state.{state}')} {states[state]}" for state in State if state in states)
                console.print(f"{text(f'stage.{stage}')}: {told}")
        print_summary(console, store, night.id, settings)
    return Exit.OK


def retry_command(path: Path | None, calls: list[str], reason: str, every: bool) -> Exit:
    """Put quarantined, failed or skipped calls back into the queue of the next run."""
    settings = load_settings(path)
    console = Console()
    if not calls and not reason and not every:
        console.print(text("retry.what"), style="red")
        return Exit.USAGE
    known = sorted({*Reason, *Sign})
    if reason and reason not in known:
        console.print(text("retry.unknown_reason", reason=reason, reasons=" ".join(known)), style="red")
        return Exit.USAGE
    with opened(settings) as store, store.write() as session:
        done = reopen_calls(session, calls, reason)
    for call_id in calls:
        if call_id not in done:
            console.print(text("retry.unknown", call=call_id), style="yellow")
    console.print(text("retry.done", count=len(done)))
    return Exit.OK if done else Exit.USAGE
