"""Accounts 账号: who may sign in, as what, for which teams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from qa import accounts
from qa.access import Identity, Role
from qa.accounts import AccountChange, AccountError, NewAccount
from qa.call_lists import choices
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from qa.store.accounts import Account

ADDRESS = "accounts"
COLUMNS = ("login", "name", "role", "agent", "team", "state")


def opens_for(identity: Identity) -> bool:
    return True


def draw() -> None:
    here = visit.current()
    st.title(text("app.page_accounts"))
    known = accounts.list_accounts(here.desk.store, here.identity)
    editing = next((one for one in known if one.login == st.query_params.get("edit")), None)
    teams = choices(here.desk.store, here.identity)["team"]
    told = visit.told()
    did = look.block(
        (m.told(told[0], problem=told[1]) if told else "")
        + (_edit(editing, teams) if editing else _new(teams))
        + m.table(
            [*(text(f"app.column_{name}") for name in COLUMNS), ""],
            [_row(account) for account in known],
            text("app.page_accounts"),
        ),
        "accounts",
    )
    if did.get("do") or did.get("form"):
        _do(did, here)


def _row(account: Account) -> list[str]:
    state = text("app.account_open") if account.active else text("app.account_closed")
    if account.must_change:
        state += " · " + text("app.account_one_time")
    if account.demo:
        state += " · " + text("app.demo_account")
    role = text(f"app.role_{account.role}")
    cells = [account.login, account.name, role, account.agent or "", ", ".join(account.teams), state]
    edit = m.link(text("desk.edit"), look.address(ADDRESS, {"edit": account.login}))
    return [*map(m.escape, cells), edit]


def _new(teams: Sequence[str]) -> str:
    fields = [
        m.field("login", text("app.field_login"), "", example="wang.fang"),
        *_fields("", Role.INSPECTOR, "", [], teams),
    ]
    return (
        f'<details data-keep="new"><summary>{m.escape(text("app.new_account"))}</summary>'
        f'<form class="fields" data-form="create">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("app.create"))}</div></form></details>'
    )


def _edit(account: Account, teams: Sequence[str]) -> str:
    fields = _fields(account.name, Role(account.role), account.agent or "", account.teams, teams)
    switch = (
        m.button("close", text("app.close_account"), value=account.login, ask=text("desk.close_ask"))
        if account.active
        else m.button("open", text("app.open_account"), value=account.login)
    )
    return (
        f"<h2>{m.escape(text('desk.edit_account', login=account.login))}</h2>"
        f'<form class="fields" data-form="change"><input type="hidden" name="login" value="{m.escape(account.login)}">'
        f'{"".join(fields)}<div class="buttons">{m.submit(text("app.password_button"))}</div>'
        f'<div class="buttons two">{m.button("reset", text("app.reset_password"), value=account.login, ask=text("desk.reset_ask"))}'
        f'{switch}<span class="row">{m.link(text("desk.done"), f"/{ADDRESS}")}</span></div></form>'
    )


def _fields(name: str, role: Role, agent: str, own: Sequence[str], teams: Sequence[str]) -> list[str]:
    roles = [(one.value, text(f"app.role_{one}")) for one in Role]
    hint = text("desk.known_teams", teams="、".join(teams[:8])) if teams else ""
    return [
        m.field("name", text("app.column_name"), name, example=text("desk.name_example")),
        m.select("role", text("app.column_role"), roles, role.value),
        m.field("agent", text("app.field_agent_number"), agent, example="1001"),
        m.field("teams", text("app.field_teams"), ", ".join(own), example=text("app.teams_example"), wide=True),
        f'<p class="quiet two">{m.escape(hint)}</p>' if hint else "",
    ]


def _do(did: Mapping[str, Any], here: visit.Visit) -> None:
    store, identity = here.desk.store, here.identity
    values, login = did.get("values", {}), str(did.get("value", ""))
    try:
        match did.get("do") or did.get("form"):
            case "create":
                login = str(values["login"]).strip().lower()
                change = _asked(values)
                wanted = NewAccount(login, change.role, name=change.name, agent=change.agent, teams=change.teams)
                password = accounts.create_account(store, identity, wanted)
                visit.tell(text("app.account_made", login=login, password=password))
            case "change":
                accounts.change_account(store, identity, str(values["login"]), _asked(values))
                visit.tell(text("desk.account_changed", login=values["login"]))
            case "reset":
                password = accounts.give_new_password(store, identity, login)
                visit.tell(text("app.account_made", login=login, password=password))
            case "close" | "open" as way:
                accounts.set_active(store, identity, login, way == "open")
                visit.tell(text(f"desk.account_{way}", login=login))
    except AccountError as error:
        visit.tell(text(f"account.{error.fault}"), problem=True)
    st.rerun()


def _asked(values: Mapping[str, Any]) -> AccountChange:
    role = str(values.get("role", ""))
    teams = str(values.get("teams", "")).replace("，", ",").replace("、", ",").split(",")
    return AccountChange(
        Role(role) if role in list(Role) else Role.AGENT,
        str(values.get("name", "")).strip(),
        str(values.get("agent", "")).strip() or None,
        [team.strip() for team in teams if team.strip()],
    )
