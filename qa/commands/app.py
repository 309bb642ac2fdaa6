"""`huiting app` and `huiting account …`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

import qa
from qa import accounts
from qa.access import Role
from qa.accounts import AccountError, NewAccount
from qa.commands.setup import load_settings, log_to_file, opened
from qa.exit_codes import Exit
from qa.messages import text
from qa.settings import FILE_VARIABLE, Settings
from qa.store.accounts import Account
from qa.store.engine import Store
from qa.store.schema import Call

SCRIPT = Path(qa.__file__).parent.parent / "app.py"
ADDRESS = "127.0.0.1"
COMMAND_LINE = "command line"  # who, in the audit trail
FIRST_ADMIN = "admin"
DEMO_PREFIX = "demo-"
# Held here as well as in .streamlit/config.toml: the command may be started anywhere.
STREAMLIT = {
    "server.address": ADDRESS,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.enableAgentApi": False,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "theme.primaryColor": "#0b5cad",
}


def app_command(path: Path | None, port: int, demo: bool, https: bool) -> Exit:
    if importlib.util.find_spec("streamlit") is None:
        typer.secho(text("app_command.missing"), fg=typer.colors.RED, err=True)
        return Exit.NOT_READY
    settings = load_settings(path)
    console = Console()
    with opened(settings) as store:
        made = ensure_admin(store)
        if made:
            console.print(text("app_command.admin", login=FIRST_ADMIN, password=made), style="bold")
        if demo:
            console.print(_demo_table(demo_accounts(store)))
        else:
            close_demo_accounts(store)
    if settings.file is not None:
        os.environ[FILE_VARIABLE] = str(settings.file)
    from qa.desk import desk
    from qa.web import application

    try:
        house = desk()
    except ValueError as error:
        typer.secho(text("app_command.bad_secret", detail=error), fg=typer.colors.RED, err=True)
        return Exit.USAGE
    log_to_file(settings, "app")
    console.print(text("app_command.address", address=f"http://{ADDRESS}:{port}"), style="bold", highlight=False)
    application(house, SCRIPT, https=https).run(config={**STREAMLIT, "server.port": port})
    return Exit.OK


def ensure_admin(store: Store) -> str | None:
    """Make the first admin where there is none; returns the one-time password."""
    with store.write() as session:
        if accounts.has_admin(session):
            return None
        if session.get(Account, FIRST_ADMIN) is not None:
            return accounts.reset_password(session, COMMAND_LINE, FIRST_ADMIN)
        return accounts.add_account(session, COMMAND_LINE, NewAccount(FIRST_ADMIN, Role.ADMIN))


def demo_accounts(store: Store) -> list[tuple[str, Role, str]]:
    """An account for each role with a new password: (login, role, password).

    The agent is the one with the most calls, the lead's team the agent's.
    """
    made = []
    with store.write() as session:
        agent, team = _busiest(session)
        for role in Role:
            login = f"{DEMO_PREFIX}{role.value}"
            account = session.get(Account, login)
            if account is None:
                wanted = NewAccount(login, role, agent=agent, teams=[team], demo=True)
                made.append((login, role, accounts.add_account(session, COMMAND_LINE, wanted)))
                continue
            if role is Role.AGENT:
                account.agent = agent
            account.teams = [team]
            made.append((login, role, accounts.reset_password(session, COMMAND_LINE, login, one_time=False)))
        session.execute(update(Account).where(Account.demo, Account.role != Role.AGENT).values(agent=None))
    return made


def _busiest(session: Session) -> tuple[str, str]:
    row = session.execute(
        select(Call.agent, Call.team)
        .where(Call.agent.is_not(None))
        .group_by(Call.agent, Call.team)
        .order_by(func.count().desc(), Call.agent)
        .limit(1)
    ).first()
    return (row.agent, row.team or "demo") if row is not None else ("demo", "demo")


def close_demo_accounts(store: Store) -> None:
    with store.write() as session:
        for account in session.scalars(select(Account).where(Account.demo, Account.active)):
            accounts.close(session, COMMAND_LINE, account)


def _demo_table(made: Sequence[tuple[str, Role, str]]) -> Table:
    table = Table(title=text("app_command.demo_title"), title_justify="left")
    for column in ("app.column_role", "app.field_login", "app.field_password"):
        table.add_column(text(column))
    for login, role, password in made:
        table.add_row(text(f"app.role_{role}"), login, password)
    return table


# --- accounts --------------------------------------------------------------------------------------------------


def add_command(
    path: Path | None, login: str, role: Role, name: str, agent: str, teams: Sequence[str]
) -> Exit:
    wanted = NewAccount(login, role, name=name, agent=agent or None, teams=teams)
    return _told(load_settings(path), login, lambda session: accounts.add_account(session, COMMAND_LINE, wanted))


def reset_command(path: Path | None, login: str) -> Exit:
    return _told(load_settings(path), login, lambda session: accounts.reset_password(session, COMMAND_LINE, login))


def _told(settings: Settings, login: str, command) -> Exit:
    try:
        with opened(settings) as store, store.write() as session:
            password = command(session)
    except AccountError as error:
        typer.secho(text(f"account.{error.fault}"), fg=typer.colors.RED, err=True)
        return Exit.USAGE
    typer.echo(text("app_command.account_made", login=login.strip().lower(), password=password))
    return Exit.OK


def list_command(path: Path | None) -> Exit:
    table = Table()
    for name in ("login", "name", "role", "agent", "team", "state"):
        table.add_column(text(f"app.column_{name}"))
    with opened(load_settings(path)) as store, store.read() as session:
        for account in accounts.all_accounts(session):
            state = text("app.account_open") if account.active else text("app.account_closed")
            role = text(f"app.role_{account.role}")
            teams = ", ".join(account.teams)
            table.add_row(account.login, account.name, role, account.agent or "", teams, state)
    Console().print(table)
    return Exit.OK
