"""`huiting verdicts import | export | sample`: what people judged, as files of other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from qa.exit_codes import Exit
from qa.messages import text

app = typer.Typer(help=text("verdicts.help"), no_args_is_help=True)

SettingsOption = Annotated[Path | None, typer.Option("--settings", help=text("cli.option_settings"))]
Out = Annotated[Path | None, typer.Option("--out", "-o", help=text("score.option_out"))]
Since = Annotated[str, typer.Option("--since", help=text("replay.option_since"))]
Until = Annotated[str, typer.Option("--until", help=text("replay.option_until"))]
COMMAND_LINE = "command line"  # who did it, in the audit trail


@app.command("import", help=text("verdicts.import"))
def import_file(
    file: Annotated[Path, typer.Argument(help=text("verdicts.arg_file"))],
    dry_run: Annotated[bool, typer.Option("--dry-run", help=text("verdicts.option_dry_run"))] = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.setup import load_settings, opened
    from qa.rulebook import packs_in_force
    from qa.verdict_files import VerdictFileError, import_verdicts

    chosen = load_settings(settings)
    if not file.is_file():
        typer.echo(text("score.no_file", path=file), err=True)
        raise typer.Exit(Exit.USAGE)
    with opened(chosen) as store:
        rules = [rule.id for rule in packs_in_force(chosen, store).rules]
        try:
            done = import_verdicts(store, file, rules, who=COMMAND_LINE, dry_run=dry_run)
        except VerdictFileError as error:
            typer.echo(str(error), err=True)
            typer.echo(text("verdicts.nothing_stored"), err=True)
            raise typer.Exit(Exit.USAGE) from error
    typer.echo(text("verdicts.would_import" if dry_run else "verdicts.imported", added=done.added, known=done.known), err=True)
    if done.reviewed:
        typer.echo(text("verdicts.reviewed", count=done.reviewed), err=True)


@app.command("export", help=text("verdicts.export"))
def export_file(
    out: Out = None,
    since: Since = "",
    unmasked: Annotated[bool, typer.Option("--unmasked", help=text("cli.option_unmasked"))] = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.setup import load_settings, opened
    from qa.verdict_files import export_verdicts

    chosen = load_settings(settings)
    start = day(since, chosen.time_zone)
    with opened(chosen) as store:
        lines = export_verdicts(store, who=COMMAND_LINE, zone=chosen.time_zone, since=start, unmasked=unmasked)
        count = _write(out, lines)
    typer.echo(text("verdicts.exported", count=count), err=True)


@app.command("sample", help=text("verdicts.sample"))
def draw_sample(
    probability: Annotated[float, typer.Option("--probability", help=text("verdicts.option_probability"), min=0.0001, max=1)],
    name: Annotated[str, typer.Option("--name", help=text("verdicts.option_name"))],
    seed: Annotated[int, typer.Option("--seed", help=text("verdicts.option_seed"))],
    rule: Annotated[str | None, typer.Option("--rule", help=text("verdicts.option_rule"))] = None,
    since: Since = "",
    until: Until = "",
    out: Out = None,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.setup import load_settings, opened
    from qa.rulebook import packs_in_force
    from qa.store.schema import Call
    from qa.verdict_files import draw_audit
    from scoring_rules.model import Expect

    chosen = load_settings(settings)
    where = []
    if (start := day(since, chosen.time_zone)) is not None:
        where.append(Call.started_at >= start)
    if (end := day(until, chosen.time_zone)) is not None:
        where.append(Call.started_at < end)
    with opened(chosen) as store:
        present = [rule.id for rule in packs_in_force(chosen, store).rules if rule.expect is Expect.PRESENT]
        count = _write(out, draw_audit(store, name, probability, seed, present, where, rule))
    typer.echo(text("verdicts.drawn", count=count), err=True)


def day(value: str, zone) -> datetime | None:
    """A date (its first moment at the site) or an instant; None for an empty one. Raises typer.BadParameter."""
    if not value:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError as error:
        raise typer.BadParameter(text("replay.bad_date", found=value)) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=zone)


def _write(out: Path | None, lines: Iterable[str]) -> int:
    with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8") as file:
        return sum(bool(file.write(line + "\n")) for line in lines)
