"""`huiting doctor`: whether tonight's run can work, and what to do where it cannot."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from rich.console import Console

from qa.commands.models import named
from qa.commands.setup import load_settings
from qa.exit_codes import Exit
from qa.messages import text
from qa.settings import Settings

GIGABYTE = 1_000_000_000


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


SIGN = {Level.OK: "[green]✓[/]", Level.WARNING: "[yellow]![/]", Level.ERROR: "[red]✗[/]"}


@dataclass(frozen=True, slots=True)
class Check:
    level: Level
    what: str
    told: str
    remedy: str = ""


def doctor_command(path: Path | None) -> Exit:
    settings = load_settings(path)
    console = Console()
    worst = Exit.OK
    for check in checks(settings):
        console.print(f"{SIGN[check.level]} {check.what}: {check.told}")
        if check.remedy:
            console.print(f"    → {check.remedy}", style="yellow")
        if check.level is Level.ERROR:
            worst = Exit.NOT_READY
    console.print(text("doctor.fine") if worst is Exit.OK else text("doctor.not_ready"))
    return worst


def checks(settings: Settings) -> Iterator[Check]:
    """Each thing a night needs, with what was found."""
    yield _settings(settings)
    yield from _devices(settings)
    yield from _models(settings)
    yield _rules(settings)
    yield _database(settings)
    yield _disk(settings)
    yield _clock(settings)


def _settings(settings: Settings) -> Check:
    return Check(Level.OK, text("doctor.settings"), str(settings.file or text("doctor.defaults")))


def _devices(settings: Settings) -> Iterator[Check]:
    what = text("doctor.device")
    if importlib.util.find_spec("ctranslate2") is None or importlib.util.find_spec("torch") is None:
        yield Check(Level.ERROR, what, text("doctor.no_speech"), text("doctor.install_speech"))
        return
    from speech.devices import describe, find
    from speech.types import ModelError

    options = settings.speech_options()
    try:
        devices = find(options.device, options.compute_type)
    except ModelError as error:
        yield Check(Level.ERROR, what, str(error).split("\n")[0], error.remedy)
        return
    libraries = describe(devices)
    for device in devices:
        memory = f", {device.memory / GIGABYTE:.0f} GB" if device.memory else ""
        told = f"{device.name} · {device.compute_type} · {device.label}{memory}"
        yield Check(Level.OK, what, f"{told} · torch {libraries['torch']} · ctranslate2 {libraries['ctranslate2']}")


def _models(settings: Settings) -> Iterator[Check]:
    from speech.models import State, listing

    options = settings.speech_options()
    wanted = named(options)
    for status in listing(options.models_folder, wanted):
        if status.name not in wanted:
            continue
        if status.state is State.PRESENT:
            yield Check(Level.OK, text("doctor.model"), f"{status.name} {status.fingerprint[:12]}")
        else:
            yield Check(Level.ERROR, text("doctor.model"), status.problem, status.remedy)


def _rules(settings: Settings) -> Check:
    from qa.rulebook import packs_in_force
    from scoring_rules.problems import PackError

    try:
        pack = packs_in_force(settings)
    except PackError as error:
        return Check(Level.ERROR, text("doctor.rules"), str(error), text("doctor.lint"))
    return Check(Level.OK, text("doctor.rules"), text("doctor.rule_count", count=len(pack.rules), pack=pack.fingerprint[:12]))


def _database(settings: Settings) -> Check:
    from qa.store.engine import StoreError, open_store

    try:
        store = open_store(settings.store_url)
    except StoreError as error:
        return Check(Level.ERROR, text("doctor.database"), str(error))
    try:
        return Check(Level.OK, text("doctor.database"), store.engine.url.render_as_string())
    finally:
        store.close()


def _disk(settings: Settings) -> Check:
    folder = settings.data.folder
    folder.mkdir(parents=True, exist_ok=True)
    free, need = shutil.disk_usage(folder).free / GIGABYTE, settings.gates.min_free_gigabytes
    told = text("doctor.free", free=f"{free:.0f}", folder=folder)
    if not os.access(folder, os.W_OK):
        return Check(Level.ERROR, text("doctor.disk"), text("doctor.not_writable", folder=folder))
    if free < need:
        return Check(Level.ERROR, text("doctor.disk"), told, text("doctor.need_disk", need=need))
    return Check(Level.OK if free > 2 * need else Level.WARNING, text("doctor.disk"), told)


def _clock(settings: Settings) -> Check:
    site = datetime.now(settings.time_zone)
    machine = datetime.now().astimezone()
    told = text("doctor.time", zone=settings.site.time_zone, site=f"{site:%Y-%m-%d %H:%M}")
    if site.utcoffset() == machine.utcoffset():
        return Check(Level.OK, text("doctor.clock"), told)
    other = f"{time.tzname[0]} {machine:%H:%M}"
    return Check(Level.WARNING, text("doctor.clock"), told, text("doctor.other_zone", machine=other))
