"""The random audit below the accuracy of the rules: what was drawn and how far people are, and the form that draws."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from itertools import chain, count
from typing import Any

import streamlit as st

from qa.access import Right
from qa.call_filter import CallFilter, View
from qa.call_lists import choices
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from qa.random_audits import MAX_SEED, MAX_UNITS, Audit, AuditRefused, Frame, Unit, audits, draw_into_queue

KEPT = "random_audit_form"  # what was typed, until it is drawn
TOLD = "random_audit_told"  # said beside the form: the page is long
WAITING = CallFilter(view=View.WAITING, audit=True)
USUAL_COUNT = 30


def section(here: visit.Visit) -> str:
    """Mark-up for who may draw; empty for others."""
    if not here.may(Right.ASSIGN):
        return ""
    found = audits(here.desk.store, here.identity)
    message, problem = st.session_state.pop(TOLD, ("", False))
    queue = look.address("queue", WAITING.to_address())
    return (
        f'<h3 id="audits">⚂ {m.escape(text("audits.title"))}</h3><p class="quietly">{m.escape(text("audits.hint"))}</p>'
        + _form(here, {one.name for one in found})
        + (m.told(message, problem=problem) if message else "")
        + (_table(found, here) if found else m.empty(text("audits.none")))
        + f'<p class="row">{m.link(text("audits.to_queue"), queue)}</p>'
    )


def take(here: visit.Visit, did: Mapping[str, Any]) -> None:
    """Draw what the form asks for."""
    if did.get("form") != "audit" or not here.may(Right.ASSIGN):
        return
    values = dict(did["values"])
    st.session_state[KEPT] = values
    try:
        found = draw_into_queue(
            here.desk.store,
            here.identity,
            here.desk.pack,
            values.get("name", ""),
            Unit(values.get("unit", Unit.CALLS.value)),
            _whole(values.get("count", ""), "bad_count"),
            _whole(values.get("seed", ""), "bad_seed"),
            _frame(here, values),
        )
    except AuditRefused as error:
        limit = MAX_UNITS[values.get("unit", Unit.CALLS.value)]
        told = text(f"audits.{error.reason}", limit=limit, name=values.get("name", "").strip())
        st.session_state[TOLD] = told, True
        st.rerun()
    del st.session_state[KEPT]
    st.session_state[TOLD] = _told(found), False
    st.rerun()


def _form(here: visit.Visit, taken: Collection[str]) -> str:
    kept = st.session_state.setdefault(KEPT, _usual(here, taken))
    known = choices(here.desk.store, here.identity)
    any_ = text("app.any")
    rules = sorted(here.rule_names.items())
    fields = [
        m.field("name", text("audits.name"), kept.get("name", ""), example="2026-W48"),
        m.select("unit", text("audits.unit"), [(u.value, text(f"audits.unit_{u}")) for u in Unit], kept.get("unit", "calls")),
        m.field("count", text("audits.count"), kept.get("count", ""), kind="number", example=str(USUAL_COUNT)),
        m.field("since", text("app.field_since"), kept.get("since", ""), kind="date"),
        m.field("until", text("app.field_until"), kept.get("until", ""), kind="date"),
        m.select("team", text("app.field_team"), [(v, v) for v in known["team"]], kept.get("team", ""), any_label=any_),
        m.select("queue", text("app.field_queue"), [(v, v) for v in known["queue"]], kept.get("queue", ""), any_label=any_),
        m.select("rule", text("audits.rule"), rules, kept.get("rule", ""), any_label=any_),
        m.field("seed", text("audits.seed"), kept.get("seed", ""), example="7"),
        m.flags([("pack_only", text("audits.pack_only"), kept.get("pack_only") == "1")]),
    ]
    return (
        f'<form class="fields" data-form="audit" aria-label="{m.escape(text("audits.title"))}">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("audits.draw"))}</div></form>'
    )


def _usual(here: visit.Visit, taken: Collection[str]) -> dict[str, str]:
    """The week up to yesterday, a name that is free, and a seed that nobody chose."""
    today = datetime.now(here.desk.site.zone).date()
    last = today - timedelta(days=1)
    week = f"{last:%G-W%V}"
    names = chain([week], (f"{week}-{number}" for number in count(2)))
    return {
        "name": next(name for name in names if name not in taken), "count": str(USUAL_COUNT), "since": (today - timedelta(days=7)).isoformat(),
        "until": last.isoformat(), "seed": str(random.randrange(MAX_SEED)),
    }  # fmt: skip


def _whole(value: str, reason: str) -> int:
    """Raises AuditRefused."""
    try:
        return int(value)
    except ValueError as error:
        raise AuditRefused(reason) from error


def _frame(here: visit.Visit, values: Mapping[str, str]) -> Frame:
    """Raises AuditRefused for what is no day."""
    zone = here.desk.site.zone
    try:
        since, until = (
            datetime.fromisoformat(values[name]).replace(tzinfo=zone) if values.get(name) else None
            for name in ("since", "until")
        )
    except ValueError as error:
        raise AuditRefused("bad_day") from error
    return Frame(
        since,
        until and until + timedelta(days=1),
        values.get("team", ""),
        values.get("queue", ""),
        values.get("rule", ""),
        values.get("pack_only") == "1",
    )


def _told(found: Audit) -> str:
    return text(
        "audits.drawn", name=found.name, drawn=text(f"audits.drawn_{found.unit}", count=found.drawn), items=found.items
    )


def _table(found: list[Audit], here: visit.Visit) -> str:
    columns = [text(f"audits.column_{name}") for name in ("name", "at", "frame", "drawn", "probability", "items", "open")]
    return m.table(columns, [_row(one, here) for one in found], text("audits.title"), numbers=(4, 5, 6))


def _row(one: Audit, here: visit.Visit) -> list[str]:
    of = one.frame_calls if one.unit is Unit.CALLS else one.frame_items
    drawn = text(f"audits.drawn_{one.unit}", count=one.drawn) + f" / {of:,}"
    return [
        m.escape(one.name),
        m.escape(f"{look.when(one.at, here.desk.site.zone)} · {one.who}"),
        m.escape(_told_frame(one, here)),
        m.escape(drawn),
        f"{one.probability:.2%}",
        str(one.items),
        str(one.open),
    ]


def _told_frame(one: Audit, here: visit.Visit) -> str:
    frame, zone = one.frame, here.desk.site.zone
    days = []
    if frame.get("since"):
        days.append(f"{datetime.fromisoformat(str(frame['since'])).astimezone(zone):%Y-%m-%d} –")
    if frame.get("until"):
        last = datetime.fromisoformat(str(frame["until"])).astimezone(zone) - timedelta(days=1)
        days.append(f"{'' if days else '– '}{last:%Y-%m-%d}")
    teams = frame.get("teams")
    version = frame.get("version")
    pieces = [
        " ".join(days),
        *([str(frame["team"])] if frame.get("team") else [str(team) for team in teams] if isinstance(teams, list) else []),
        str(frame.get("queue") or ""),
        here.rule_names.get(str(frame.get("rule")), str(frame.get("rule") or "")),
        text("audits.version", version=version) if version else text("audits.pack", pack=str(frame.get("pack"))[:8]),
        text("audits.pack_only") if frame.get("pack_only") else "",
        text("audits.of_seed", seed=one.seed),
    ]
    return " · ".join(piece for piece in pieces if piece)
