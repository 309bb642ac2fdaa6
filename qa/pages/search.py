"""Search 检索: the words in all calls, line by line, each with its place in the call."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from qa.access import Identity
from qa.call_filter import CallFilter, FilterError, View
from qa.call_lists import PAGE_SIZE
from qa.line_search import Line, LineFilter, search_lines
from qa.messages import text
from qa.pages import look, visit

ADDRESS = "search"


def opens_for(identity: Identity) -> bool:
    return True


def draw() -> None:
    here = visit.current()
    st.title(text("app.page_search"))
    words = st.text_input(
        text("app.field_words"),
        st.query_params.get("q", ""),
        placeholder=text("app.words_example"),
        help=None,
    ).strip()
    if words != st.query_params.get("q", ""):
        st.query_params.from_dict({"q": words} if words else {})
    if not words:
        st.caption(text("app.search_hint"))
        return
    before = st.query_params.get("before", "")
    try:
        lines = search_lines(
            here.desk.store,
            here.identity,
            LineFilter(words),
            CallFilter(view=View.ALL),
            here.desk.site,
            int(before) if before.isdecimal() and len(before) < 19 else None,
        )
    except FilterError as error:
        look.tell_faults(error)
        return
    if not lines:
        st.info(text("app.nothing_found"))
        return
    st.html(_list(lines, here))
    if len(lines) == PAGE_SIZE:
        further = {"q": words, "before": str(lines[-1].match.turn_id)}
        look.plain_link(text("app.more"), look.address(ADDRESS, further))


def _list(lines: Sequence[Line], here: visit.Visit) -> str:
    return f'<ol class="lines">{"".join(_line(line, here) for line in lines)}</ol>'


def _line(line: Line, here: visit.Visit) -> str:
    match = line.match
    query = {"id": match.call_id, "turn": str(match.turn), "view": "all"}
    facts = " · ".join(
        [
            match.call_id,
            look.when(line.started_at, here.desk.site.zone),
            line.agent or "—",
            text("app.score_is", score=look.points(line.score)),
        ]
    )
    role = text(f"role.{match.role}") if match.role else match.speaker
    return (
        f'<li><a class="line" href="{html.escape(look.address("call", query))}" target="_self">'
        f'<span class="at">▶ {look.clock(match.start)}</span> <b>{html.escape(role)}</b> '
        f"<span>{_marked(match.text, match.spans)}</span><small>{html.escape(facts)}</small></a></li>"
    )


def _marked(source: str, spans: Sequence[tuple[int, int]]) -> str:
    pieces, done = [], 0
    for start, end in spans:
        start = max(start, done)
        if start >= end:
            continue
        pieces += [html.escape(source[done:start]), "<mark>", html.escape(source[start:end]), "</mark>"]
        done = end
    return "".join(pieces) + html.escape(source[done:])
