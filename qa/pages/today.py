"""Today 今日: what became of last night, number by number, what is alarming, what waits, and which calls to open first."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from qa.access import Identity, Right, Role
from qa.call_filter import NOBODY, CallFilter, View
from qa.call_lists import count_calls, list_calls
from qa.messages import text
from qa.morning import NightAccount, night_account
from qa.my_calls import unread_by_agents
from qa.pages import look, visit
from qa.pages import markup as m
from qa.states import Outcome

ADDRESS = "today"
FIRST_CALLS = 10
UNREAD_SINCE = timedelta(days=14)  # before the night: how far back unread scorecards are told
UNREAD_NAMES = 8
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
        look.block(m.empty(text("app.no_night")), "empty")
        return
    waiting = CallFilter(night=account.id)
    me = {here.identity.login: text("desk.me")}
    rows = list_calls(desk.store, here.identity, waiting, site, FIRST_CALLS).rows
    query = waiting.to_address()
    first = (
        look.call_rows(
            rows, passing=site.passing, zone=site.zone, query=query, names=here.rule_names, people=me
        )
        if rows
        else m.empty(text("app.nothing_waits"))
    )
    more = account.waiting > len(rows)
    all_of_them = (
        m.link(text("app.all_waiting", count=account.waiting), look.address("queue", query)) if more else ""
    )
    look.block(
        f'<p class="quiet">{m.escape(_night_line(account, here))}</p>'
        + _sum(account)
        + f'<div class="halves"><section><h2>{m.escape(text("desk.alerts"))}</h2>{_alerts(account, site.passing)}</section>'
        + f"<section><h2>{m.escape(text('desk.waits_for_me'))}</h2>{_mine(account, here)}</section></div>"
        + f"<h2>{m.escape(text('app.look_first'))} <small>{m.escape(text('desk.look_first_hint'))}</small></h2>"
        + first
        + f'<p class="pages">{all_of_them}</p>',
        "today",
    )


def _night_line(account: NightAccount, here: visit.Visit) -> str:
    zone = here.desk.site.zone
    began = look.when(account.started_at, zone)
    ended = "…" if account.finished_at is None else f"{account.finished_at.astimezone(zone):%H:%M}"
    line = text(
        "app.night_line", night=account.id, began=began, ended=ended, state=text(f"night.{account.state}")
    )
    return line + (f" · {text('app.within_reach')}" if account.partial else "")


def _sum(account: NightAccount) -> str:
    """received = scored + …, each number a link to what it counts."""
    night = str(account.id)
    pieces = [m.tile(text("summary.received"), account.received, look.address("files", {"night": night}))]
    shown = [o for o in (*OUTCOMES, Outcome.PENDING) if o is not Outcome.PENDING or account.outcomes[o]]
    for place, outcome in enumerate(shown):
        if outcome is Outcome.SCORED:
            link = look.address("queue", CallFilter(view=View.ALL, night=account.id).to_address())
        else:
            link = look.address("files", {"night": night, "outcome": outcome.value})
        label = f"{SIGNS[outcome]} {text(f'outcome.{outcome}')}"
        pieces.append(f'<span class="joiner" aria-hidden="true">{"+" if place else "="}</span>')
        pieces.append(m.tile(label, account.outcomes[outcome], link, outcome.value))
    return (
        f'<div class="sum" role="group" aria-label="{m.escape(text("app.account"))}">{"".join(pieces)}</div>'
    )


def _alerts(account: NightAccount, passing: float) -> str:
    night = account.id
    alerts = (
        ("‼ " + text("app.why_fatal"), account.fatal, "fault", CallFilter(view=View.ALL, night=night, fatal=True)),
        ("☹ " + text("app.why_angry"), account.angry, "warn", CallFilter(view=View.ALL, night=night, angry=True)),
        ("‖ " + text("desk.long_silence"), account.silent, "warn", CallFilter(view=View.ALL, night=night, silent=True)),
        ("▼ " + text("app.why_below", passing=f"{passing:g}"), account.below, "fault",
         CallFilter(view=View.ALL, night=night, below=passing)),
        ("? " + text("app.suspected_calls"), account.suspected, "warn",
         CallFilter(view=View.ALL, night=night, suspected=True)),
    )  # fmt: skip
    tiles = [
        m.tile(label, count, look.address("queue", wanted.to_address()), kind, quiet=True)
        for label, count, kind, wanted in alerts
    ]
    return (
        f'<div class="sum" role="group" aria-label="{m.escape(text("desk.alerts"))}">{"".join(tiles)}</div>'
    )


def _mine(account: NightAccount, here: visit.Visit) -> str:
    """What waits for this person: their own work, and for who assigns, what is nobody's yet."""
    store, identity, site = here.desk.store, here.identity, here.desk.site
    lists: list[tuple[str, CallFilter]] = []
    if here.may(Right.VERDICT):
        lists.append(("→ " + text("desk.given_to_me"), CallFilter(view=View.MINE)))
    lists += [
        ("◷ " + text("app.waiting"), CallFilter()),
        ("↻ " + text("desk.view_changed"), CallFilter(view=View.CHANGED)),
    ]
    if here.may(Right.ASSIGN):
        lists.append(("○ " + text("desk.nobodys"), CallFilter(assigned=NOBODY)))
    counts = count_calls(store, identity, [wanted for _, wanted in lists], site)
    tiles = [
        m.tile(label, count, look.address("queue", wanted.to_address()), "mine", quiet=True)
        for (label, wanted), count in zip(lists, counts, strict=True)
    ]
    unread = ""
    if here.may(Right.ASSIGN):
        agents = [
            row for row in unread_by_agents(store, identity, account.started_at - UNREAD_SINCE) if row[2]
        ]
        if agents:
            names = " · ".join(f"{agent} {count}" for agent, _, count in agents[:UNREAD_NAMES])
            rest = "" if len(agents) <= UNREAD_NAMES else " …"
            unread = f'<p class="quiet">{m.escape(text("desk.unread_by", agents=names + rest))}</p>'
    return f'<div class="sum" role="group" aria-label="{m.escape(text("desk.waits_for_me"))}">{"".join(tiles)}</div>{unread}'
