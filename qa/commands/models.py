"""`huiting models list | pull | check`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from qa.exit_codes import Exit
from qa.messages import text
from qa.settings import Settings
from speech import models
from speech.models import State
from speech.options import SpeechOptions

MEGABYTE = 1_000_000
STYLE = {State.PRESENT: "green", State.ABSENT: "yellow", State.DAMAGED: "red"}


def named(options: SpeechOptions) -> list[str]:
    """The weights that the settings in force need."""
    names = options.models
    wanted = [names.recogniser, names.diarizer]
    if options.emotion:
        wanted += [names.sentence, names.text_emotion, names.voice_emotion]
    return list(dict.fromkeys(name for name in wanted if name))


def list_command(path: Path | None, check: bool) -> Exit:
    settings = Settings.load(path)
    options = settings.speech_options()
    wanted = named(options)
    survey = (models.check if check else models.listing)(options.models_folder, wanted)
    table = Table(title=text("models.title", folder=options.models_folder))
    for column in ("name", "state", "use", "size", "licence", "fingerprint"):
        table.add_column(text(f"models.column_{column}"), overflow="fold")
    for one in survey:
        used = "●" if one.name in wanted else ""
        size = f"{one.size / MEGABYTE:.0f} MB" if one.size else ""
        state = f"[{STYLE[one.state]}]{text(f'models.state_{one.state.value}')}[/]"
        table.add_row(f"{one.name} {used}", state, one.use, size, one.licence, one.fingerprint[:12])
    console = Console()
    console.print(table)
    console.print(text("models.legend"))
    lacking = [one for one in survey if one.state is not State.PRESENT and one.name in wanted]
    for one in lacking:
        console.print(f"[red]{one.problem}[/]\n  → {one.remedy}")
    return Exit.NOT_READY if lacking else Exit.OK


def pull_command(path: Path | None, names: list[str], wheels: Path | None) -> Exit:
    settings = Settings.load(path)
    options = settings.speech_options()
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True) as bar:  # what remains are the lines told below
        for name in names or named(options):
            task = bar.add_task(name, total=None)

            def show(step: str, completed: float, total: float, task=task, name=name) -> None:
                bar.update(task, description=f"{name} {step}", completed=completed, total=total or None)

            weights = models.pull(name, options.models_folder, show, wheels)
            bar.remove_task(task)
            bar.console.print(text("models.pulled", name=name, path=weights.path, fingerprint=weights.fingerprint[:12]))
    return Exit.OK
