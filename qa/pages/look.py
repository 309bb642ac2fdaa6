"""How things look alike on every page: styles, badges, times, links, and the table of calls."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import streamlit as st
from streamlit.components.v2 import component

from qa.call_filter import LONG_SILENCE, CallFilter, FilterError
from qa.call_lists import CallRow
from qa.messages import text

ICON = str(Path(__file__).with_name("icon.svg"))
_FOLDER = resources.files("qa").joinpath("pages")


def asset(name: str) -> str:
    """A script, style or mark-up file of the pages."""
    return _FOLDER.joinpath(name).read_text("utf-8")


def styles() -> None:
    st.html(f"<style>{asset('app.css')}</style>")


def plain_link(label: str, address: str) -> None:
    """A link that leaves the page as a whole, for addresses outside the pages."""
    st.html(f'<a class="plain" href="{html.escape(address)}" target="_self">{html.escape(label)}</a>')


def address(page: str, query: Mapping[str, str]) -> str:
    return f"/{page}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")


def when(instant: datetime | None, zone: ZoneInfo) -> str:
    return "—" if instant is None else f"{instant.astimezone(zone):%Y-%m-%d %H:%M}"


def clock(seconds: float | None) -> str:
    if seconds is None:
        return "—"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def points(score: float | None) -> str:
    return "—" if score is None else f"{score:g}"


def why(row: CallRow, passing: float) -> list[str]:
    """Why a call is in front of a person, the gravest first; a sign and a word each, never colour alone."""
    told = []
    if row.fatal:
        told.append("‼ " + text("app.why_fatal"))
    if row.score is not None and row.score < passing:
        told.append("▼ " + text("app.why_below", passing=f"{passing:g}"))
    if row.angry:
        told.append("☹ " + text("app.why_angry"))
    if row.suspected:
        told.append("? " + text("app.why_suspected", count=row.suspected))
    if row.longest_silence >= LONG_SILENCE:
        told.append("⏸ " + text("app.why_silence", seconds=f"{row.longest_silence:.0f}"))
    told += ["◌ " + text(f"reason.{sign}") for sign in row.signs]
    return told


def read_filter() -> CallFilter:
    """The filter in the page's address; what is none is told and left out."""
    query = {name: st.query_params[name] for name in st.query_params}
    try:
        return CallFilter.from_address(query)
    except FilterError as error:
        tell_faults(error)
        return CallFilter.from_address({k: v for k, v in query.items() if k not in error.faults})


def tell_faults(error: FilterError) -> None:
    for name, value in error.faults.items():
        known = name == "words"
        st.warning(text("app.number_search") if known else text("app.bad_filter", field=name, value=value[:60]))


@st.cache_resource
def _table():
    return component(
        "huiting_calls", html=asset("calls.html"), css=asset("calls.css"), js=asset("calls.js")
    )


def call_table(
    rows: Sequence[CallRow], key: str, *, passing: float, zone: ZoneInfo, query: Mapping[str, str]
) -> str | None:
    """A table of calls; returns the call that was chosen in this run. `query` goes along to the call's address."""
    columns = ("call", "started", "agent", "team", "kind", "duration", "score", "why", "reviewed")
    result = _table()(
        key=key,
        data={
            "caption": text("app.calls"),
            "columns": [text(f"app.column_{name}") for name in columns],
            "rows": [_row(row, passing, zone, query) for row in rows],
        },
        on_open_change=lambda: None,
    )
    return result.open


def _row(row: CallRow, passing: float, zone: ZoneInfo, query: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "href": address("call", {**query, "id": row.id}),
        "fatal": row.fatal,
        "cells": [
            row.id,
            when(row.started_at, zone),
            row.agent or "—",
            row.team or "—",
            row.kind or "—",
            clock(row.duration),
            points(row.score),
            why(row, passing),
            "✓" if row.reviewed else "",
        ],
    }


def open_call(call_id: str, query: Mapping[str, str] | None = None) -> None:
    """Leave for a call's page, with the list that it was found in."""
    from qa.pages import call

    st.switch_page(st.session_state["pages"][call.ADDRESS], query_params={**(query or {}), "id": call_id})
