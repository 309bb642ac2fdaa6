"""Today 今日: what became of last night, number by number, and which calls to open first."""

from __future__ import annotations

import html

import streamlit as st

from qa.access import Identity, Role
from qa.call_filter import CallFilter, View
from qa.call_lists import list_calls
from qa.messages import text
from qa.morning import NightAccount, night_account
from qa.pages import look, visit
from qa.states import Outcome

ADDRESS = "today"
FIRST_CALLS = 8
OUTCOMES = (Outcome.SCORED, Outcome.QUARANTINED, Outcome.FAILED, Outcome.SKIPPED)
SIGNS = {
    Outcome.SCORED: "✓",
    Outcome.QUARANTINED: "⚠",
    Outcome.FAILED: "✗",
    Outcome.SKIPPED: "↷",
    Outcome.PENDING: "…",
}


def opens_for(identity: Identity) -> bool:
    return identity.role is not Role.AGENT


def draw() -> None:
    here = visit.current()
    desk, site = here.desk, here.desk.site
    st.title(text("app.page_today"))
    account = night_account(desk.store, here.identity, site.passing)
    if account is None:
        st.info(text("app.no_night"))
        return
    began = look.when(account.started_at, site.zone)
    ended = "…" if account.finished_at is None else f"{account.finished_at.astimezone(site.zone):%H:%M}"
    st.caption(
        text("app.night_line", night=account.id, began=began, ended=ended, state=text(f"night.{account.state}"))
        + (f" · {text('app.within_reach')}" if account.partial else "")
    )
    st.html(_sum(account))
    st.html(_risks(account, site.passing))
    waiting = CallFilter(night=account.id)
    st.subheader(text("app.look_first"))
    rows = list_calls(desk.store, here.identity, waiting, site, FIRST_CALLS).rows
    if not rows:
        st.success(text("app.nothing_waits"))
        return
    query = waiting.to_address()
    opened = look.call_table(rows, "first", passing=site.passing, zone=site.zone, query=query)
    if account.waiting > len(rows):
        look.plain_link(text("app.all_waiting", count=account.waiting), look.address("queue", query))
    if opened:
        look.open_call(opened, query)


def _sum(account: NightAccount) -> str:
    """received = scored + …, each number a link to what it counts."""
    night = str(account.id)
    cells = [_number(text("summary.received"), account.received, look.address("files", {"night": night}), "", "=")]
    shown = [o for o in (*OUTCOMES, Outcome.PENDING) if o is not Outcome.PENDING or account.outcomes[o]]
    for place, outcome in enumerate(shown):
        if outcome is Outcome.SCORED:
            link = look.address("queue", CallFilter(view=View.ALL, night=account.id).to_address())
        else:
            link = look.address("files", {"night": night, "outcome": outcome.value})
        joiner = "+" if place < len(shown) - 1 else ""
        label = f"{SIGNS[outcome]} {text(f'outcome.{outcome}')}"
        cells.append(_number(label, account.outcomes[outcome], link, outcome.value, joiner))
    return f'<div class="sum" role="group" aria-label="{html.escape(text("app.account"))}">{"".join(cells)}</div>'


def _risks(account: NightAccount, passing: float) -> str:
    night = account.id
    risks = (
        ("‼ " + text("app.why_fatal"), account.fatal, CallFilter(view=View.ALL, night=night, fatal=True)),
        ("▼ " + text("app.why_below", passing=f"{passing:g}"), account.below,
         CallFilter(view=View.ALL, night=night, below=passing)),
        ("☹ " + text("app.why_angry"), account.angry, CallFilter(view=View.ALL, night=night, angry=True)),
        ("? " + text("app.suspected_calls"), account.suspected,
         CallFilter(view=View.ALL, night=night, suspected=True)),
        ("◷ " + text("app.waiting"), account.waiting, CallFilter(night=night)),
    )  # fmt: skip
    cells = [_number(label, count, look.address("queue", f.to_address()), "risk", "") for label, count, f in risks]
    return f'<div class="sum risks" role="group" aria-label="{html.escape(text("app.risks"))}">{"".join(cells)}</div>'


def _number(label: str, count: int, link: str, kind: str, joiner: str) -> str:
    after = f'<span class="joiner" aria-hidden="true">{joiner}</span>' if joiner else ""
    return (
        f'<a class="number {kind}" href="{html.escape(link)}" target="_self">'
        f"<strong>{count}</strong><span>{html.escape(label)}</span></a>{after}"
    )
