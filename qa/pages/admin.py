"""Accounts 账号: who may sign in and as what."""

from __future__ import annotations

import streamlit as st

from qa import accounts
from qa.access import Identity, Role
from qa.accounts import AccountError, NewAccount
from qa.messages import text
from qa.pages import visit
from qa.pages.settings import table
from qa.store.accounts import Account

ADDRESS = "accounts"
COLUMNS = ("login", "name", "role", "agent", "team", "state")


def opens_for(identity: Identity) -> bool:
    return True


def draw() -> None:
    here = visit.current()
    st.title(text("app.page_accounts"))
    known = accounts.list_accounts(here.desk.store, here.identity)
    st.html(table([text(f"app.column_{name}") for name in COLUMNS], map(_row, known)))
    told = st.session_state.pop("told", None)
    if told:
        st.success(told)
    _new_account(here)
    _change(here, [account.login for account in known])


def _row(account: Account) -> list[str]:
    state = text("app.account_open") if account.active else text("app.account_closed")
    if account.must_change:
        state += " · " + text("app.account_one_time")
    if account.demo:
        state += " · " + text("app.demo_account")
    role = text(f"app.role_{account.role}")
    return [account.login, account.name, role, account.agent or "", ", ".join(account.teams), state]


def _new_account(here: visit.Visit) -> None:
    with st.expander(text("app.new_account")), st.form("new account", border=False):
        one, two = st.columns(2)
        login = one.text_input(text("app.field_login"), placeholder="wang.fang")
        name = two.text_input(text("app.column_name"), placeholder="王芳")
        role = one.selectbox(text("app.column_role"), list(Role), format_func=lambda r: text(f"app.role_{r}"))
        agent = two.text_input(text("app.field_agent_number"), placeholder="1001")
        teams = one.text_input(text("app.field_teams"), placeholder=text("app.teams_example"))
        if not st.form_submit_button(text("app.create"), type="primary"):
            return
    wanted = NewAccount(
        login, role, name=name.strip(), agent=agent.strip() or None,
        teams=[team.strip() for team in teams.replace("，", ",").split(",") if team.strip()],
    )  # fmt: skip
    try:
        password = accounts.create_account(here.desk.store, here.identity, wanted)
    except AccountError as error:
        st.error(text(f"account.{error.fault}"))
        return
    st.session_state["told"] = text("app.account_made", login=login.strip().lower(), password=password)
    st.rerun()


def _change(here: visit.Visit, logins: list[str]) -> None:
    store, identity = here.desk.store, here.identity
    with st.expander(text("app.change_account")):
        login = st.selectbox(text("app.field_login"), logins, placeholder=text("app.any"))
        reset, close, reopen = st.columns(3)
        try:
            if reset.button(text("app.reset_password")):
                password = accounts.give_new_password(store, identity, login)
                st.session_state["told"] = text("app.account_made", login=login, password=password)
                st.rerun()
            if close.button(text("app.close_account")):
                accounts.set_active(store, identity, login, False)
                st.rerun()
            if reopen.button(text("app.open_account")):
                accounts.set_active(store, identity, login, True)
                st.rerun()
        except AccountError as error:
            st.error(text(f"account.{error.fault}"))
