"""Search 检索: the lines of all calls by words, rule, speaker and feeling; each is played where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import streamlit as st

from qa.access import Identity, Right
from qa.call_filter import CallFilter, FilterError, View
from qa.call_lists import PAGE_SIZE, choices
from qa.line_search import Feeling, Line, LineFilter, Speaker, search_lines
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from qa.rule_search import LOOKED_AT

ADDRESS = "search"
CALL_FIELDS = ("agent", "team", "since", "until")
LEAD_IN = 0.3  # seconds played before a line, so that its first sound is not cut
KNOWN_SIGNS = {"angry": "☹", "anxious": "☹", "sad": "☹", "happy": "☺"}


def opens_for(identity: Identity) -> bool:
    return True


def draw() -> None:
    here = visit.current()
    st.title(text("app.page_search"))
    query = {name: st.query_params[name] for name in st.query_params}
    lines = LineFilter.from_address(query)
    calls = _calls(query)
    before = query.get("before", "")
    place = int(before) if before.isdecimal() and len(before) < 19 else None
    found: Sequence[Line] = ()
    problem = ""
    try:
        found = (
            ()
            if lines.empty
            else search_lines(here.desk.store, here.identity, lines, calls, here.desk.site, place)
        )
    except FilterError:
        problem = m.told(text("app.number_search"), problem=True)
    did = look.block(
        _form(lines, calls, here) + (problem or _results(lines, calls, found, here)),
        "search",
    )
    if did.get("form") == "search":
        _search(did["values"])


def _calls(query: Mapping[str, str]) -> CallFilter:
    asked = {name: query[name] for name in CALL_FIELDS if name in query}
    try:
        return CallFilter.from_address({**asked, "view": View.ALL})
    except FilterError as error:
        look.tell_faults(error)
        return CallFilter.from_address(
            {**{k: v for k, v in asked.items() if k not in error.faults}, "view": View.ALL}
        )


def _form(lines: LineFilter, calls: CallFilter, here: visit.Visit) -> str:
    any_ = text("app.any")
    known = choices(here.desk.store, here.identity)
    feelings = [(f.value, f"{KNOWN_SIGNS[f]} {text(f'desk.feeling_{f}')}") for f in Feeling]
    fields = [
        m.field("q", text("app.field_words"), lines.words, example=text("app.words_example"), first=True, wide=True),
        m.select("rule", text("desk.field_found_by"), sorted(here.rule_names.items()), lines.rule, any_label=any_),
        m.select("speaker", text("desk.field_speaker"), [(s.value, text(f"role.{s}")) for s in Speaker], lines.speaker,
                 any_label=any_),
        m.select("emotion", text("desk.field_emotion"), feelings, lines.emotion, any_label=any_),
        *(
            m.select(n, text(f"app.field_{n}"), [(v, v) for v in known[n]], getattr(calls, n), any_label=any_)
            for n in ("agent", "team")
        ),
        m.field("since", text("app.field_since"), "" if calls.since is None else calls.since.isoformat(), kind="date"),
        m.field("until", text("app.field_until"), "" if calls.until is None else calls.until.isoformat(), kind="date"),
    ]  # fmt: skip
    clear = m.link(text("app.clear"), f"/{ADDRESS}")
    return (
        f'<form class="fields" role="search" data-form="search">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("app.page_search"))}<span class="row">{clear}</span></div></form>'
    )


def _results(lines: LineFilter, calls: CallFilter, found: Sequence[Line], here: visit.Visit) -> str:
    if lines.empty:
        return m.empty(text("desk.search_hint"))
    if not found:
        return m.empty(text("app.nothing_found"))
    inner = "".join(_line(line, here) for line in found)
    further = ""
    if len(found) == PAGE_SIZE:
        query = {**calls.to_address(), **lines.to_address(), "before": str(found[-1].cursor)}
        query.pop("view", None)
        further = f'<nav class="pages">{m.link(text("app.more"), look.address(ADDRESS, query))}</nav>'
    keys = (
        f"<kbd>j</kbd> <kbd>k</kbd> <kbd>p</kbd> <kbd>↵</kbd> <kbd>/</kbd> {m.escape(text('desk.line_keys'))}"
    )
    if lines.words and lines.rule and not further:
        further = f'<p class="quiet">{m.escape(text("desk.rule_looked", count=LOOKED_AT))}</p>'
    return f'<ol class="lines">{inner}</ol>{further}<p class="quiet">{keys}</p>'


def _line(line: Line, here: visit.Visit) -> str:
    match = line.match
    link = look.address("call", {"id": match.call_id, "turn": str(match.turn), "view": "all"})
    sound = ""
    if line.has_recording and match.start is not None and here.may(Right.PLAY_MASKED):
        address = f"/api/sound/{quote(match.call_id, safe='')}?hearing=masked"
        sound = m.play(address, max(0.0, match.start - LEAD_IN), line.end, text("desk.play_line"))
    role = text(f"role.{match.role}") if match.role else match.speaker
    feeling = ""
    if line.emotion in KNOWN_SIGNS:
        feeling = m.chip(
            f"{KNOWN_SIGNS[line.emotion]} {text(f'desk.feeling_{line.emotion}')}",
            "mine" if line.emotion == Feeling.HAPPY else "warn",
        )
    facts = " · ".join(
        [
            look.when(line.started_at, here.desk.site.zone),
            " / ".join(filter(None, (line.agent, line.team))) or "—",
        ]
    )
    return (
        f"<li data-row><span>{sound}</span>"
        f'<span><span class="who {m.escape(match.role or "")}">{m.escape(role)}</span>'
        f'<span class="at">{look.clock(match.start)}</span></span>'
        f'<span><a href="{m.escape(link)}">{m.marked(match.text, match.spans)}</a> {feeling}</span>'
        f'<span class="facts">{m.link(match.call_id, link)}<br>'
        f'<span class="quiet">{m.escape(facts)} · {m.escape(text("app.score_is", score=look.points(line.score)))}</span>'
        "</span></li>"
    )


def _search(values: Mapping[str, Any]) -> None:
    lines = LineFilter.from_address(values)
    calls = {name: str(values.get(name, "")).strip() for name in CALL_FIELDS}
    look.go(look.address(ADDRESS, {**lines.to_address(), **{k: v for k, v in calls.items() if v}}))
