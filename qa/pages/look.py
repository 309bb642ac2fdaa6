"""How things look alike on every page: styles, times, links, blocks of mark-up, and the table of calls."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from zoneinfo import ZoneInfo

import streamlit as st
from streamlit.components.v2 import component

from qa.call_filter import LONG_SILENCE, CallFilter, FilterError
from qa.call_lists import CallRow
from qa.messages import text
from qa.pages import markup as m

# The kinds of service that the product knows, by the names that stand in the database.
KINDS = {
    "咨询": "enquiry",
    "查询": "lookup",
    "投诉": "complaint",
    "建议": "suggestion",
    "办理": "transaction",
}
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


def why(row: CallRow, passing: float, names: Mapping[str, str] | None = None) -> list[str]:
    """Why a call is in front of a person, the gravest first; a sign and a word each, never colour alone.

    `names` of rules: with them it says which fatal item failed.
    """
    return [label for label, _ in reasons(row, passing, names or {})]


def reasons(row: CallRow, passing: float, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """(label, kind of chip)"""
    told = []
    fatal = [names[rule] for rule in row.fatal_rules if rule in names]
    if row.fatal:
        told.append(("‼ " + text("app.why_fatal") + (f" · {' · '.join(fatal)}" if fatal else ""), "fault"))
    if row.changed:
        told.append(("↻ " + text("desk.why_changed"), "warn"))
    if row.given is not None and not row.reviewed:
        note = f" · {row.given.note}" if row.given.note else ""
        told.append(("→ " + text("desk.why_given", who=row.given.by) + note, "mine"))
    if row.audits:
        told.append(("⚂ " + text("audits.why", count=row.audits), ""))
    if row.score is not None and row.score < passing:
        told.append(("▼ " + text("app.why_below", passing=f"{passing:g}"), "fault"))
    if row.angry:
        told.append(("☹ " + text("app.why_angry"), "warn"))
    if row.suspected:
        told.append(("? " + text("app.why_suspected", count=row.suspected), "warn"))
    if row.longest_silence >= LONG_SILENCE:
        told.append(("‖ " + text("app.why_silence", seconds=f"{row.longest_silence:.0f}"), "warn"))
    told += [("◌ " + text(f"reason.{sign}"), "") for sign in row.signs]
    return told


def kind(code: str | None) -> str:
    """The kind of service in the reader's language; a site's own kinds as they are."""
    return text(f"desk.kind_{KINDS[code]}") if code in KINDS else code or "—"


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
        st.warning(
            text("app.number_search") if known else text("app.bad_filter", field=name, value=value[:60])
        )


@st.cache_resource
def _block():
    return component("huiting_block", html=asset("block.html"), css=asset("block.css"), js=asset("block.js"))


def block(markup: str, key: str) -> Mapping[str, Any]:
    """Show mark-up of ours (texts in it escaped) and follow its links; returns what was done in it in this run:
    `do` and `value` of a button with the chosen `rows`, or `form` and its `values`. Empty for nothing.
    """
    did = _block()(key=key, data={"markup": markup}, on_did_change=lambda: None).did or {}
    if did.get("go"):
        go(str(did["go"]))
    return did


@st.cache_resource
def _links():
    return component("huiting_links", html=asset("block.html"), js=asset("links.js"))


def follow() -> None:
    """Leave for where a link was clicked, before anything of the page is asked for or drawn.

    A click may come while the next page is already on its way, from a block that it does not draw: so links are told by
    a component of the router, which stands in every run, and its callback keeps them where another click ends that run.
    """
    _links()(key="links", on_go_change=_keep_link)
    if link := st.session_state.pop("link", ""):
        go(link)


def _keep_link() -> None:
    st.session_state["link"] = str(st.session_state["links"].go or "")


def closed() -> None:
    """A page that is not for the person's role."""
    nowhere(text("app.page_closed"))


def unknown() -> None:
    """An address that is none of ours (qa/web.py sends whoever asks for one here)."""
    nowhere(text("app.no_such_page"))


def nowhere(message: str) -> None:
    """There is nothing to show here, and where to go on from."""
    pages = st.session_state["pages"]
    places = [name for name in ("today", "queue", "mine", "search", "files") if name in pages]
    links = "".join(m.link(text(f"app.page_{name}"), address(name, {})) for name in places)
    block(f'{m.empty(message)}<p class="row">{links}</p>', "nowhere")


def go(link: str) -> None:
    """Leave for an address within the app. What is no page of this person is left alone."""
    parts = urlsplit(link)
    page = st.session_state["pages"].get(parts.path.strip("/"))
    if page is not None:
        st.switch_page(page, query_params=dict(parse_qsl(parts.query)))


def call_rows(
    rows: Sequence[CallRow],
    *,
    passing: float,
    zone: ZoneInfo,
    query: Mapping[str, str],
    names: Mapping[str, str],
    people: Mapping[str, str] | None = None,
    choose: bool = False,
) -> str:
    """A table of calls. `query` goes along to a call's address; `people` are the names of reviewers by login;
    `choose`: rows can be chosen.
    """
    columns = ("call", "started", "agent", "kind", "duration", "score", "why", "state")
    head = "".join(
        f'<th scope="col"{" class=number" if name in ("duration", "score") else ""}>{m.escape(text(f"app.column_{name}"))}</th>'
        for name in columns
    )
    if choose:
        box = f'<input type="checkbox" data-all aria-label="{m.escape(text("desk.choose_all"))}">'
        head = f'<th scope="col">{box}</th>{head}'
    body = "".join(_row(row, passing, zone, query, names, people or {}, choose) for row in rows)
    return (
        f'<div class="wide"><table class="calls"><caption>{m.escape(text("app.calls"))}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(
    row: CallRow,
    passing: float,
    zone: ZoneInfo,
    query: Mapping[str, str],
    names: Mapping[str, str],
    people: Mapping[str, str],
    choose: bool,
) -> str:
    low = row.fatal or (row.score is not None and row.score < passing)
    seen = m.escape(f"{row.id}\t{row.assigned_to or ''}")
    label = m.escape(text("desk.choose", call=row.id))
    box = f'<td><input type="checkbox" name="row" value="{seen}" aria-label="{label}"></td>' if choose else ""
    chips = "".join(m.chip(label, kind_) for label, kind_ in reasons(row, passing, names))
    cells = (
        f'<td class="tight">{m.link(row.id, address("call", {**query, "id": row.id}))}</td>'
        f'<td class="tight">{m.escape(when(row.started_at, zone))}</td>'
        f'<td class="tight">{m.escape(" / ".join(filter(None, (row.agent, row.team))) or "—")}</td>'
        f'<td class="tight">{m.escape(kind(row.kind))}</td>'
        f'<td class="number">{clock(row.duration)}</td>'
        f'<td class="number{" low" if low else ""}">{points(row.score)}{_people(row)}</td>'
        f"<td>{chips}</td>"
        f'<td class="tight">{"<br>".join(map(m.escape, states(row, zone, people)))}</td>'
    )
    return f"<tr data-row{' class=fatal' if row.fatal else ''}>{box}{cells}</tr>"


def _people(row: CallRow) -> str:
    """What people made of the call, where it is not what the machine did."""
    made = row.as_reviewed
    if made is None or (made.score, made.fatal) == (row.score, row.fatal):
        return ""
    told = f"{'‼ ' if made.fatal else ''}{points(made.score)}"
    return f'<br><small class="quiet">{m.escape(text(f"desk.as_{made.level}", score=told))}</small>'


def states(row: CallRow, zone: ZoneInfo, people: Mapping[str, str]) -> list[str]:
    """Whether a call is reviewed, who has it in hand and whose it is; `people` are names by login."""
    if row.reviewed:
        return ["✓ " + text("app.column_reviewed")]
    told = []
    if row.held_by and row.held_until:
        until = f"{row.held_until.astimezone(zone):%H:%M}"
        told.append("● " + text("desk.held", who=people.get(row.held_by, row.held_by), until=until))
    if row.assigned_to:
        told.append("→ " + people.get(row.assigned_to, row.assigned_to))
    return told


def open_call(call_id: str, query: Mapping[str, str] | None = None) -> None:
    """Leave for a call's page, with the list that it was found in."""
    from qa.pages import call

    st.switch_page(st.session_state["pages"][call.ADDRESS], query_params={**(query or {}), "id": call_id})
