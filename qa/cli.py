"""The `huiting` command. Commands are named here and done elsewhere, so that `--help` answers at once."""

from __future__ import annotations

import errno
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qa import rules_cli, verdicts_cli
from qa.exit_codes import Exit
from qa.messages import current_language, text
from qa.score_cli import score

app = typer.Typer(
    name="huiting",
    help=text("cli.help"),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help=text("cli.models"), no_args_is_help=True)
app.add_typer(models_app, name="models")
account_app = typer.Typer(help=text("cli.account"), no_args_is_help=True)
app.add_typer(account_app, name="account")
app.add_typer(rules_cli.app, name="rules")
app.add_typer(verdicts_cli.app, name="verdicts")
app.command(help=text("cli.score"))(score)

SettingsOption = Annotated[Path | None, typer.Option("--settings", help=text("cli.option_settings"))]
Unmasked = Annotated[bool, typer.Option("--unmasked", help=text("cli.option_unmasked"))]


# What is wrong with a path is for its owner to mend.
PATH_TROUBLE = {
    errno.ENOENT: Exit.USAGE, errno.ENOTDIR: Exit.USAGE, errno.EISDIR: Exit.USAGE, errno.EEXIST: Exit.USAGE,
    errno.EACCES: Exit.USAGE, errno.EPERM: Exit.USAGE, errno.EROFS: Exit.USAGE,
    errno.ENOSPC: Exit.DISK_FULL, errno.EDQUOT: Exit.DISK_FULL,
}  # fmt: skip


class Order(StrEnum):
    NEWEST = "newest"
    RISKIEST = "riskiest"
    OLDEST = "oldest"


class AccountRole(StrEnum):
    AGENT = "agent"
    INSPECTOR = "inspector"
    LEAD = "lead"
    TRAINER = "trainer"
    OPERATOR = "operator"
    ADMIN = "admin"


@app.command(help=text("cli.run"))
def run(
    source: Annotated[Path | None, typer.Argument(help=text("cli.arg_source"))] = None,
    manifest: Annotated[Path | None, typer.Option(help=text("cli.option_manifest"))] = None,
    until: Annotated[str, typer.Option(help=text("cli.option_until"))] = "",
    order: Annotated[Order | None, typer.Option(help=text("cli.option_order"))] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help=text("cli.option_refresh"))] = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.night import run_command

    changes = {"night.until": until, "night.order": order.value if order else ""}
    overrides = {key: value for key, value in changes.items() if value}
    raise typer.Exit(run_command(settings, source, manifest, overrides, refresh))


@app.command(help=text("cli.rescore"))
def rescore(
    everything: Annotated[bool, typer.Option("--all", help=text("cli.option_all"))] = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.night import rescore_command

    raise typer.Exit(rescore_command(settings, everything))


@app.command(help=text("cli.status"))
def status(settings: SettingsOption = None) -> None:
    from qa.commands.night import status_command

    raise typer.Exit(status_command(settings))


@app.command(help=text("cli.retry"))
def retry(
    calls: Annotated[list[str] | None, typer.Argument(help=text("cli.arg_retry"))] = None,
    reason: Annotated[str, typer.Option(help=text("cli.option_reason"))] = "",
    every: Annotated[bool, typer.Option("--all", help=text("cli.option_retry_all"))] = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.night import retry_command

    raise typer.Exit(retry_command(settings, calls or [], reason, every))


@app.command(help=text("cli.show"))
def show(
    call: Annotated[str, typer.Argument(help=text("cli.arg_call"))],
    transcript: Annotated[bool, typer.Option("--transcript", help=text("cli.option_transcript"))] = False,
    unmasked: Unmasked = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.show import show_command

    raise typer.Exit(show_command(settings, call, transcript, unmasked))


@app.command(help=text("cli.export"))
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help=text("cli.option_out"))],
    since: Annotated[str, typer.Option(help=text("cli.option_since"))] = "",
    until: Annotated[str, typer.Option(help=text("cli.option_export_until"))] = "",
    unmasked: Unmasked = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.show import export_command

    raise typer.Exit(export_command(settings, out, since, until, unmasked))


@app.command(help=text("cli.doctor"))
def doctor(settings: SettingsOption = None) -> None:
    from qa.commands.doctor import doctor_command

    raise typer.Exit(doctor_command(settings))


@app.command("settings", help=text("cli.settings"))
def show_settings(settings: SettingsOption = None) -> None:
    from qa.commands.show import settings_command

    raise typer.Exit(settings_command(settings))


@app.command(help=text("cli.transcribe"))
def transcribe(
    audio: Annotated[list[Path], typer.Argument(help=text("cli.arg_audio"))],
    out: Annotated[Path, typer.Option("--out", "-o", help=text("cli.option_out_folder"))],
    rttm: Annotated[bool, typer.Option("--rttm", help=text("cli.option_rttm"))] = False,
    agent_channel: Annotated[int | None, typer.Option(help=text("cli.option_agent_channel"))] = None,
    language: Annotated[str, typer.Option(help=text("cli.option_language"))] = "",
    settings: SettingsOption = None,
) -> None:
    from qa.commands.files import transcribe_command

    raise typer.Exit(transcribe_command(settings, audio, out, rttm, agent_channel, language))


@models_app.command("list", help=text("cli.models_list"))
def models_list(settings: SettingsOption = None) -> None:
    from qa.commands.models import list_command

    raise typer.Exit(list_command(settings, check=False))


@models_app.command("check", help=text("cli.models_check"))
def models_check(settings: SettingsOption = None) -> None:
    from qa.commands.models import list_command

    raise typer.Exit(list_command(settings, check=True))


@models_app.command("pull", help=text("cli.models_pull"))
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help=text("cli.arg_models"))] = None,
    wheels: Annotated[Path | None, typer.Option(help=text("cli.option_wheels"))] = None,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.models import pull_command

    raise typer.Exit(pull_command(settings, names or [], wheels))


@app.command("app", help=text("cli.app"))
def start_app(
    port: Annotated[int, typer.Option(help=text("cli.option_port"), min=1, max=65535)] = 8501,
    demo: Annotated[bool, typer.Option("--demo", help=text("cli.option_demo"))] = False,
    https: Annotated[bool, typer.Option("--https", help=text("cli.option_https"))] = False,
    settings: SettingsOption = None,
) -> None:
    from qa.commands.app import app_command

    raise typer.Exit(app_command(settings, port, demo, https))


@account_app.command("add", help=text("cli.account_add"))
def account_add(
    login: Annotated[str, typer.Argument(help=text("cli.arg_login"))],
    role: Annotated[AccountRole, typer.Option(help=text("cli.option_role"))],
    name: Annotated[str, typer.Option(help=text("cli.option_account_name"))] = "",
    agent: Annotated[str, typer.Option(help=text("cli.option_agent_number"))] = "",
    team: Annotated[list[str] | None, typer.Option(help=text("cli.option_team"))] = None,
    settings: SettingsOption = None,
) -> None:
    from qa.access import Role
    from qa.commands.app import add_command

    raise typer.Exit(add_command(settings, login, Role(role.value), name, agent, team or []))


@account_app.command("list", help=text("cli.account_list"))
def account_list(settings: SettingsOption = None) -> None:
    from qa.commands.app import list_command

    raise typer.Exit(list_command(settings))


@account_app.command("reset", help=text("cli.account_reset"))
def account_reset(
    login: Annotated[str, typer.Argument(help=text("cli.arg_login"))], settings: SettingsOption = None
) -> None:
    from qa.commands.app import reset_command

    raise typer.Exit(reset_command(settings, login))


def main() -> None:
    """Run the command; errors that a user can mend are told in a line or two, without a traceback."""
    try:
        app()
    except OSError as error:
        if error.errno not in PATH_TROUBLE or not error.filename:
            raise
        typer.secho(text("cli.path", path=error.filename, detail=error.strerror), fg=typer.colors.RED, err=True)
        sys.exit(PATH_TROUBLE[error.errno])
    except Exception as error:
        code = _expected(error)
        if code is None:
            raise
        told = text("cli.locked", holder=error) if code is Exit.LOCKED else _told(error)
        typer.secho(told, fg=typer.colors.RED, err=True)
        sys.exit(code)


def _told(error: Exception) -> str:
    """An error in the reader's language; faults of rules are told one a line."""
    rules = sys.modules.get("scoring_rules.problems")
    if rules is None or not isinstance(error, rules.PackError):
        return str(error)
    return "\n".join(problem.text(current_language()) for problem in error.problems)  # pyright: ignore


def _expected(error: Exception) -> Exit | None:
    """The exit code of an error that is the surroundings' and not ours; only what was loaded can have raised it."""
    kinds = {
        ("qa.settings", "SettingsError"): Exit.USAGE,
        ("qa.manifest", "IntakeError"): Exit.USAGE,
        ("scoring_rules.problems", "PackError"): Exit.USAGE,
        ("qa.transcripts", "TranscriptError"): Exit.USAGE,
        ("qa.lock", "LockedError"): Exit.LOCKED,
        ("qa.store.engine", "StoreError"): Exit.NOT_READY,
        ("speech.types", "ModelError"): Exit.NOT_READY,
    }
    for (module, name), code in kinds.items():
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(error, getattr(loaded, name, ())):
            return code
    return None


if __name__ == "__main__":
    main()
