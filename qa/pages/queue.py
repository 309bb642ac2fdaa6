"""Queue 复核: the calls that wait for a person, filtered by the address, so that a list can be shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import streamlit as st

from qa.access import Identity, Role
from qa.call_filter import CallFilter, FilterError, Sort, View
from qa.call_lists import PAGE_SIZE, WORDS_LIMIT, choices, list_calls
from qa.messages import text
from qa.pages import look, visit
from scoring_rules.messages import pick

ADDRESS = "queue"


def opens_for(identity: Identity) -> bool:
    return identity.role is not Role.AGENT


def draw() -> None:
    here = visit.current()
    desk = here.desk
    st.title(text("app.page_queue"))
    wanted = look.read_filter()
    _filters(wanted, choices(desk.store, here.identity), _rule_names(here))
    try:
        found = list_calls(desk.store, here.identity, wanted, desk.site)
    except FilterError as error:
        look.tell_faults(error)
        return
    pages = max(1, -(-found.total // PAGE_SIZE))
    st.caption(text("app.row_count", count=found.total, page=min(wanted.page, pages), pages=pages))
    if found.words_cut:
        st.warning(text("app.words_cut", count=WORDS_LIMIT))
    if not found.rows:
        st.info(text("app.no_calls"))
        return
    query = wanted.to_address()
    opened = look.call_table(found.rows, "queue", passing=desk.site.passing, zone=desk.site.zone, query=query)
    if pages > 1:
        chosen = st.pagination(pages, default=min(wanted.page, pages), key=f"page-{wanted.at_page(1)}-{pages}")
        if chosen != wanted.page:
            _go(wanted.at_page(chosen))
    if opened:
        look.open_call(opened, query)


def _go(wanted: CallFilter) -> None:
    st.query_params.from_dict(wanted.to_address())
    st.rerun()


def _rule_names(here: visit.Visit) -> dict[str, str]:
    return {rule.id: pick(rule.name, here.language) for rule in here.desk.pack.rules}


def _filters(wanted: CallFilter, known: Mapping[str, Sequence[str]], rules: Mapping[str, str]) -> None:
    """The form of the filter; sending it writes the address."""
    active = len(set(wanted.to_address()) - {"page"})
    label = text("app.filters") + (f" ({active})" if active else "")
    with st.expander(label, expanded=bool(active)), st.form("filter", border=False):
        one, two, three, four = st.columns(4)
        view = one.selectbox(
            text("app.field_view"), list(View), list(View).index(wanted.view), format_func=lambda v: text(f"app.view_{v}")
        )
        sort = two.selectbox(
            text("app.field_sort"), list(Sort), list(Sort).index(wanted.sort), format_func=lambda v: text(f"app.sort_{v}")
        )
        since = three.text_input(text("app.field_since"), _day(wanted.since), placeholder="2026-01-31")
        until = four.text_input(text("app.field_until"), _day(wanted.until), placeholder="2026-01-31")
        agent = _choice(one, "agent", wanted.agent, known)
        team = _choice(two, "team", wanted.team, known)
        queue = _choice(three, "queue", wanted.queue, known)
        kind = _choice(four, "kind", wanted.kind, known)
        rule = one.selectbox(
            text("app.field_rule"),
            ["", *rules],
            ["", *rules].index(wanted.rule) if wanted.rule in rules else 0,
            format_func=lambda r: f"{rules[r]} · {r}" if r else text("app.any"),
        )
        below = two.text_input(
            text("app.field_below"), "" if wanted.below is None else f"{wanted.below:g}", placeholder="90"
        )
        words = three.text_input(text("app.field_words"), wanted.words, placeholder=text("app.words_example"))
        with four:
            fatal = st.checkbox(text("app.field_fatal"), wanted.fatal)
            suspected = st.checkbox(text("app.field_suspected"), wanted.suspected)
            angry = st.checkbox(text("app.field_angry"), wanted.angry)
        sent = one.form_submit_button(text("app.apply"), type="primary")
        cleared = two.form_submit_button(text("app.clear"))
    if cleared:
        _go(CallFilter())
    if sent:
        values = {
            "view": view.value, "sort": sort.value, "since": since, "until": until, "agent": agent, "team": team,
            "queue": queue, "kind": kind, "rule": rule, "below": below, "words": words,
            "fatal": "1" if fatal else "", "suspected": "1" if suspected else "", "angry": "1" if angry else "",
            "night": "" if wanted.night is None else str(wanted.night), "tag": wanted.tag,
        }  # fmt: skip
        try:
            _go(CallFilter.from_address(values))
        except FilterError as error:
            look.tell_faults(error)


def _choice(column, name: str, value: str, known: Mapping[str, Sequence[str]]) -> str:
    offered = ["", *known[name]]
    if value and value not in offered:
        offered.append(value)
    return column.selectbox(
        text(f"app.field_{name}"), offered, offered.index(value), format_func=lambda v: v or text("app.any")
    )


def _day(value: date | None) -> str:
    return "" if value is None else value.isoformat()
