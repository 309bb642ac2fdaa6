"""`huiting rules accuracy | replay | publish | versions`: changing rules safely. `rules_cli` names the commands."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qa.exit_codes import Exit
from qa.messages import current_language, text
from qa.verdicts_cli import day

if TYPE_CHECKING:
    from rich.table import Table

    from qa.accuracy import RuleAccuracy, Share
    from qa.replay import Event, Replay
    from qa.rule_versions import Version
    from qa.settings import Settings

SettingsOption = Annotated[Path | None, typer.Option("--settings", help=text("cli.option_settings"))]
Drafts = Annotated[list[Path] | None, typer.Option("--pack", help=text("replay.option_pack"))]
Since = Annotated[str, typer.Option("--since", help=text("replay.option_since"))]
Until = Annotated[str, typer.Option("--until", help=text("replay.option_until"))]
WordsOnly = Annotated[bool, typer.Option("--words-only", help=text("score.option_words_only"))]
Json = Annotated[bool, typer.Option("--json", help=text("replay.option_json"))]

SIGNS = {"gained": "+", "lost": "-", "status": "~"}
SHOWN_AGENTS = 30  # those whose mean changes most; JSON has all


def _chosen(path: Path | None) -> Settings:
    from qa.commands.setup import load_settings

    return load_settings(path)


def _encoder(settings: Settings, words_only: bool):
    """The sentence model by which nights judge; where there is none, standard error says so (the output may be JSON)."""
    from qa.commands.setup import log_to_file
    from qa.rulebook import encoder_in_force

    if words_only:
        return None
    log_to_file(settings, "rules")
    encoder = encoder_in_force(settings)
    if encoder is None:
        typer.echo(text("replay.no_model"), err=True)
    return encoder


@contextmanager
def _bar() -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """A progress bar on standard error: how many calls, and one done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(text("replay.running"), total=None)
        yield (lambda total: bar.update(task, total=total)), (lambda call_id: bar.advance(task))


def accuracy(since: Since = "", until: Until = "", as_json: Json = False, settings: SettingsOption = None) -> None:
    from qa.accuracy import accuracy as measure
    from qa.accuracy import to_json
    from qa.commands.setup import opened
    from qa.rulebook import packs_in_force

    chosen = _chosen(settings)
    zone = chosen.time_zone
    with opened(chosen) as store:
        pack = packs_in_force(chosen, store)
        with store.read() as session:
            found = measure(session, pack, day(since, zone), day(until, zone))
    if as_json:
        for one in found:
            typer.echo(json.dumps(to_json(one), ensure_ascii=False))
    elif not found:
        typer.echo(text("accuracy.none"))
    else:
        _print(accuracy_table(found))
        typer.echo(text("accuracy.legend"))


def accuracy_table(found: list[RuleAccuracy]) -> Table:
    from rich.table import Table

    table = Table()
    names = ("rule", "precision", "suspected", "recall", "audited", "missed", "added", "contested")
    for name in names:
        table.add_column(text(f"accuracy.{name}"), justify="left" if name == "rule" else "right", no_wrap=name == "rule")
    for one in found:
        table.add_row(
            one.rule, share_text(one.confirmed), share_text(one.suspected), share_text(one.recall, counted=False),
            str(one.audited), str(one.missed), str(one.added), str(one.contested),
        )  # fmt: skip
    return table


def share_text(share: Share | None, *, counted: bool = True) -> str:
    """`92% (81–97) 46/50`; — where nothing can be said."""
    if share is None or share.value is None:
        return "—"
    told = f"{share.value:.0%} ({share.low * 100:.0f}–{share.high * 100:.0f})"
    return f"{told} {share.count:g}/{share.of:g}" if counted else told


def replay(
    since: Since = "",
    until: Until = "",
    packs: Drafts = None,
    words_only: WordsOnly = False,
    as_json: Json = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.setup import opened
    from qa.publish import calls_between, candidate
    from qa.replay import Replay

    chosen = _chosen(settings)
    zone = chosen.time_zone
    with opened(chosen) as store:
        encoder = _encoder(chosen, words_only)
        found = candidate(chosen, store, packs or (), encoder, check=False)
        if found.errors:
            _tell_problems(found.errors)
            raise typer.Exit(Exit.USAGE)
        running = Replay(store, found.base, found.draft, encoder, calls_between(day(since, zone), day(until, zone)))
        with _bar() as (on_total, on_call):
            on_total(running.total())
            for event in running.events(on_call):
                typer.echo(json.dumps(event_json(event), ensure_ascii=False) if as_json else event_text(event))
    if as_json:
        typer.echo(json.dumps({"format": 1, "type": "summary", **running.summary.figures()}, ensure_ascii=False))
    else:
        _print_summary(running)


def event_json(event: Event) -> dict[str, Any]:
    from qa.replay import FindingChange, OutcomeChange

    kind = "finding" if isinstance(event, FindingChange) else "outcome" if isinstance(event, OutcomeChange) else "verdict"
    return {"format": 1, "type": kind, **dataclasses.asdict(event)}


def event_text(event: Event) -> str:
    from qa.replay import FindingChange, OutcomeChange
    from scoring_rules.messages import message

    locale = current_language()
    if isinstance(event, FindingChange):
        at = f"#{event.turn}" if event.turn is not None else f"{event.start:.1f} s" if event.start is not None else ""
        status = message(f"status.{event.status}", locale)
        if event.was:
            status = f"{message(f'status.{event.was}', locale)} → {status}"
        words = f"{event.before}【{event.words}】{event.after}" if event.words else event.before
        how = message(f"how.{event.how}", locale)
        return f"{SIGNS[event.change]} {event.call} {event.rule} {at} {status} · {how}  {words}".rstrip()
    if isinstance(event, OutcomeChange):
        was, now = (message(f"outcome.{name}", locale) if name else "—" for name in (event.was, event.now))
        return f"= {event.call} {event.rule} {was} → {now}"
    said = text("replay.says_fault" if event.fault else "replay.says_none")
    told = text("replay.verdict_met" if event.agrees else "replay.verdict_flips")
    settled = "" if event.settled else f" ({text('replay.contested')})"
    at = f"#{event.place.turn}" if event.place.turn is not None else ""
    return f"{'✓' if event.agrees else '!'} {event.call} {event.rule} {at} {', '.join(event.who)}: {said}; {told}{settled}"


def _print_summary(running: Replay) -> None:
    from rich.table import Table

    from scoring_rules.messages import message

    summary, locale = running.summary, current_language()
    typer.echo("")
    typer.echo(text("replay.calls", calls=summary.calls, changed=summary.changed_calls, skipped=summary.skipped))
    typer.echo(text("replay.changed_rules", rules=", ".join(summary.changed_rules) or text("replay.no_rules")))
    rules = sorted({*summary.gained, *summary.lost, *summary.restated, *(rule for rule, _, _ in summary.outcomes)})
    if rules:
        table = Table()
        table.add_column(text("accuracy.rule"), no_wrap=True)
        for name in ("gained", "lost", "restated", "outcomes"):
            table.add_column(text(f"replay.{name}"))
        for rule in rules:
            moves = [
                f"{message(f'outcome.{was}', locale) if was else '—'} → {message(f'outcome.{now}', locale) if now else '—'} {count}"
                for (name, was, now), count in sorted(summary.outcomes.items())
                if name == rule
            ]
            table.add_row(
                rule, f"+{summary.gained[rule]}", f"-{summary.lost[rule]}", str(summary.restated[rule]), "\n".join(moves)
            )
        _print(table)
    moved = [(agent, found) for agent, found in summary.agents.items() if found.changed]
    moved.sort(key=lambda pair: -abs(pair[1].mean_after - pair[1].mean_before))
    if moved:
        table = Table(*(text(f"replay.{name}") for name in ("agent", "mean_score", "changed_calls", "passed", "fatal")))
        for agent, found in moved[:SHOWN_AGENTS]:
            table.add_row(
                agent or "—",
                f"{found.mean_before:.1f} → {found.mean_after:.1f}",
                f"{found.changed}/{found.calls}",
                f"{found.passed_before} → {found.passed_after}",
                f"{found.fatal_before} → {found.fatal_after}",
            )
        _print(table)
        if len(moved) > SHOWN_AGENTS:
            typer.echo(text("replay.more_agents", count=len(moved) - SHOWN_AGENTS))
    typer.echo(
        text("replay.verdicts", flips=summary.flips, contested=summary.contested_flips, met=summary.agreements)
    )


def publish(
    note: Annotated[str, typer.Option("--note", help=text("publish.option_note"))],
    because: Annotated[str, typer.Option("--because", help=text("publish.option_because"))] = "",
    packs: Drafts = None,
    since: Since = "",
    words_only: WordsOnly = False,
    rescore: Annotated[bool, typer.Option("--rescore", help=text("publish.option_rescore"))] = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.setup import opened
    from qa.publish import PublishRefused, candidate, outdated
    from qa.publish import publish as keep
    from qa.rulebook import packs_in_force

    chosen = _chosen(settings)
    start = day(since, chosen.time_zone)
    with opened(chosen) as store:
        encoder = _encoder(chosen, words_only)
        found = candidate(chosen, store, packs or (), encoder)
        try:
            with _bar() as (on_total, on_call):
                number = keep(
                    chosen, store, found, note, who=None, because=because, since=start, encoder=encoder,
                    on_total=on_total, on_call=on_call,
                )  # fmt: skip
        except PublishRefused as refused:
            _tell_problems(refused.problems)
            for flip in refused.flips:
                typer.echo(event_text(flip))
            typer.secho(str(refused), fg=typer.colors.RED, err=True)
            raise typer.Exit(Exit.USAGE) from refused
        with store.read() as session:
            waiting = outdated(session, packs_in_force(chosen, store))
    typer.echo(text("publish.done", version=number))
    if rescore:
        from qa.commands.night import rescore_command

        raise typer.Exit(rescore_command(settings, everything=False))
    if waiting:
        typer.echo(text("publish.rescore", count=waiting))


def versions(
    number: Annotated[int | None, typer.Argument(help=text("versions.arg_number"))] = None,
    other: Annotated[int | None, typer.Argument(help=text("versions.arg_other"))] = None,
    working: Annotated[bool, typer.Option("--working", help=text("versions.option_working"))] = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.setup import opened
    from qa.rule_versions import difference, version, working_copy
    from qa.rule_versions import versions as all_of

    chosen = _chosen(settings)
    with opened(chosen) as store, store.read() as session:
        found = all_of(session)
        if not found:
            typer.echo(text("versions.none"))
            return
        if number is None and not working:
            for one in found:
                typer.echo(version_line(one, chosen.time_zone))
            return
        try:
            old = version(session, number if number is not None else found[0].number)
            new = None if other is None else version(session, other)
        except KeyError as error:
            typer.echo(text("versions.no_such", number=error.args[0], newest=found[0].number), err=True)
            raise typer.Exit(Exit.USAGE) from error
        if working:
            lines = difference(old.layers, working_copy(session, chosen.rules.overlays))
        elif new is not None:
            lines = difference(old.layers, new.layers)
        else:
            typer.echo(version_line(old, chosen.time_zone))
            for layer in old.layers:
                for name, content in layer.files.items():
                    typer.echo(f"--- {layer.name}/{name}\n{content.rstrip()}")
            return
    typer.echo("\n".join(lines) if lines else text("versions.same"))


def version_line(found: Version, zone: Any) -> str:
    when: datetime = found.at.astimezone(zone)
    line = f"{found.number}  {when:%Y-%m-%d %H:%M}  {found.who}  {found.fingerprint}  {found.note}"
    return f"{line}  [{text('publish.because')}: {found.because}]" if found.because else line


def _tell_problems(problems) -> None:
    for problem in problems:
        typer.echo(problem.text(current_language()))


def _print(table: Table) -> None:
    from rich.console import Console

    Console().print(table)
