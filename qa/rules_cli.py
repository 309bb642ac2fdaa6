"""`huiting rules`: check, try out, explain and print the rules. No database is needed but for `explain` of a stored call."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qa import publish_cli
from qa.exit_codes import Exit
from qa.messages import current_language, text

app = typer.Typer(help=text("rules.help"), no_args_is_help=True)
app.command("accuracy", help=text("accuracy.help"))(publish_cli.accuracy)
app.command("replay", help=text("replay.help"))(publish_cli.replay)
app.command("publish", help=text("publish.help"))(publish_cli.publish)
app.command("versions", help=text("versions.help"))(publish_cli.versions)

Packs = Annotated[list[Path] | None, typer.Option("--pack", help=text("score.option_pack"))]
SettingsOption = Annotated[Path | None, typer.Option("--settings", help=text("cli.option_settings"))]
Meaning = Annotated[bool, typer.Option("--meaning", help=text("rules.option_meaning"))]


class Style(StrEnum):
    MARKDOWN = "markdown"
    HTML = "html"


class Language(StrEnum):
    ZH = "zh"
    EN = "en"


class Role(StrEnum):
    AGENT = "agent"
    CUSTOMER = "customer"


def _settings(path: Path | None):
    from qa.commands.setup import load_settings

    return load_settings(path)


def _encoder(settings, wanted: bool):
    """The sentence model where it is asked for: rules are checked in a second without it."""
    if not wanted:
        return None
    from qa.rulebook import encoder_in_force

    return encoder_in_force(settings)


def _overlays(settings, packs: list[Path] | None) -> list[Path]:
    return [*settings.rules.overlays, *(packs or [])]


def _in_force(settings) -> list[Path]:
    """The site's rules by which stored calls are judged."""
    from qa.commands.setup import opened
    from qa.rulebook import overlays_in_force

    with opened(settings) as store:
        return list(overlays_in_force(settings, store)[0])


@app.command(help=text("rules.lint"))
def lint(
    packs: Packs = None,
    strict: Annotated[bool, typer.Option("--strict", help=text("rules.option_strict"))] = False,
    meaning: Meaning = False,
    settings: SettingsOption = None,
) -> None:
    from scoring_rules.lint import lint as find_problems
    from scoring_rules.load import load_pack
    from scoring_rules.problems import Severity

    chosen = _settings(settings)
    overlays, encoder = _overlays(chosen, packs), _encoder(chosen, meaning)
    pack = load_pack(chosen.rules.languages, overlays, slots=chosen.rules.slots, collect=True)
    problems = find_problems(pack, encoder)
    if overlays and problems:
        # A site can mend its own rules, and what they break in the shipped ones; no more is told.
        shipped = find_problems(load_pack(chosen.rules.languages, collect=True), encoder)
        known = {problem.text() for problem in shipped}
        problems = [problem for problem in problems if problem.text() not in known]
    for problem in problems:
        typer.echo(problem.text(current_language()))
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    warnings = len(problems) - errors
    typer.echo(text("rules.linted", rules=len(pack.rules), errors=errors, warnings=warnings), err=True)
    raise typer.Exit(Exit.USAGE if errors or (strict and warnings) else Exit.OK)


@app.command("test", help=text("rules.test"))
def run_examples(packs: Packs = None, meaning: Meaning = False, settings: SettingsOption = None) -> None:
    from scoring_rules.checks import cases_of
    from scoring_rules.load import load_pack

    chosen = _settings(settings)
    pack = load_pack(chosen.rules.languages, _overlays(chosen, packs), slots=chosen.rules.slots)
    checked = [case.run() for case in cases_of(pack, _encoder(chosen, meaning))]
    for one in checked:
        if not one.good:
            told = text("rules.example_failed", rule=one.rule.id, expected=one.example.expect, got=one.got)
            typer.echo(f"{one.example.origin}: {told}")
    failed, skipped = sum(not one.good for one in checked), sum(one.skipped for one in checked)
    typer.echo(text("rules.tested", passed=len(checked) - failed - skipped, failed=failed, skipped=skipped), err=True)
    raise typer.Exit(Exit.USAGE if failed else Exit.OK)


@app.command("try", help=text("rules.try"))
def try_text(
    said: Annotated[str, typer.Argument(metavar="TEXT", help=text("rules.arg_text"))],
    role: Annotated[Role, typer.Option(help=text("rules.option_role"))] = Role.AGENT,
    before: Annotated[list[str] | None, typer.Option(help=text("rules.option_before"))] = None,
    after: Annotated[list[str] | None, typer.Option(help=text("rules.option_after"))] = None,
    language: Annotated[Language, typer.Option(help=text("rules.option_language"))] = Language.ZH,
    packs: Packs = None,
    meaning: Meaning = False,
    settings: SettingsOption = None,
) -> None:
    from scoring_rules.evaluate import Evaluator
    from scoring_rules.explain import UnknownSpeaker, spoken, tried
    from scoring_rules.load import load_pack

    chosen = _settings(settings)
    pack = load_pack((language.value,), _overlays(chosen, packs), slots=chosen.rules.slots)
    try:
        conversation, turn = spoken(said, role.value, before or [], after or [], language.value)
    except UnknownSpeaker as error:
        typer.echo(error.told(current_language()), err=True)
        raise typer.Exit(Exit.USAGE) from None
    for line in tried(Evaluator(pack, _encoder(chosen, meaning)), conversation, turn, current_language()):
        typer.echo(line)


@app.command(help=text("rules.explain"))
def explain(
    call: Annotated[str, typer.Argument(help=text("rules.arg_call"))],
    item: Annotated[str, typer.Argument(help=text("rules.arg_item"))],
    file: Annotated[Path | None, typer.Option(help=text("rules.option_file"))] = None,
    packs: Packs = None,
    meaning: Meaning = False,
    unmasked: Annotated[bool, typer.Option("--unmasked", help=text("cli.option_unmasked"))] = False,
    settings: SettingsOption = None,
) -> None:
    from qa.explain import explain_lines

    chosen = _settings(settings)
    overlays = _overlays(chosen, packs) if file is not None or packs else _in_force(chosen)
    lines = explain_lines(chosen, call, item, file, overlays, _encoder(chosen, meaning), unmasked)
    if lines is None:
        typer.echo(text("rules.no_such_call", call=call, item=item), err=True)
        raise typer.Exit(Exit.USAGE)
    for line in lines:
        typer.echo(line)


@app.command(help=text("rules.doc"))
def doc(
    out: Annotated[Path | None, typer.Option("--out", "-o", help=text("score.option_out"))] = None,
    style: Annotated[Style, typer.Option("--format", help=text("rules.option_format"))] = Style.MARKDOWN,
    language: Annotated[Language, typer.Option(help=text("rules.option_language"))] = Language.ZH,
    packs: Packs = None,
    settings: SettingsOption = None,
) -> None:
    from scoring_rules.handbook import handbook
    from scoring_rules.load import load_pack

    chosen = _settings(settings)
    pack = load_pack((language.value,), _overlays(chosen, packs), slots=chosen.rules.slots)
    _write(out, handbook(pack, language.value, current_language(), style.value))


@app.command(help=text("rules.schema"))
def schema(
    out: Annotated[Path | None, typer.Option("--out", "-o", help=text("score.option_out"))] = None,
    settings: SettingsOption = None,
) -> None:
    from scoring_rules.load import load_pack
    from scoring_rules.schema import schema as make_schema

    chosen = _settings(settings)
    pack = load_pack(chosen.rules.languages, chosen.rules.overlays, collect=True)
    _write(out, json.dumps(make_schema(tuple(pack.scoring.dimensions)), ensure_ascii=False, indent=2) + "\n")


def _write(out: Path | None, content: str) -> None:
    if out is None:
        sys.stdout.write(content)
    else:
        out.write_text(content, encoding="utf-8")
