"""My calls 我的: an agent's own scorecards with evidence and what to say instead, how the weeks went, and what is unread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import streamlit as st

from qa.access import Identity, Role
from qa.messages import text
from qa.my_calls import CARDS_PAGE, Cards, Fault, MyCard, Place, Week, acknowledge, my_cards, my_weeks
from qa.pages import look, visit
from qa.pages import markup as m
from qa.review import Conflict
from scoring_rules.messages import pick
from scoring_rules.model import Rule

ADDRESS = "mine"
LEAD_IN = 0.3  # seconds played before a place


def opens_for(identity: Identity) -> bool:
    return identity.role is Role.AGENT


def draw() -> None:
    here = visit.current()
    store, identity = here.desk.store, here.identity
    st.title(text("app.page_mine"))
    unread = st.query_params.get("unread") == "1"
    asked = st.query_params.get("page", "")
    page = int(asked) if asked.isdecimal() and 1 <= int(asked) < 10**6 else 1
    found = my_cards(store, identity, page, unread=unread)
    told = visit.told()
    did = look.block(
        (m.told(told[0], problem=told[1]) if told else "")
        + _weeks(my_weeks(store, identity, here.desk.site), here)
        + _tabs(found, unread)
        + _cards(found, page, unread, here),
        "mine",
    )
    if did.get("do") == "read":
        _read(did, here)


def _read(did: Mapping[str, Any], here: visit.Visit) -> None:
    call_id, _, scorecard = str(did["value"]).rpartition("\t")
    try:
        acknowledge(here.desk.store, here.identity, call_id, int(scorecard))
        visit.tell(text("desk.acknowledged", call=call_id))
    except Conflict:
        visit.tell(text("app.conflict"), problem=True)
    st.rerun()


# --- weeks -----------------------------------------------------------------------------------------------------


def _weeks(weeks: Sequence[Week], here: visit.Visit) -> str:
    """A bar a week, its mean score; a hatched one is below the passing score, so that colour is not the only sign."""
    passing = here.desk.site.passing
    full = max([100.0, *(week.score for week in weeks if week.score is not None)])
    bars, days = [], []
    for week in weeks:
        told = text(
            "desk.week", day=f"{week.monday:%m-%d}", calls=week.calls, score=look.points(_rounded(week.score))
        )
        if week.fatal:
            told += " · " + text("desk.week_fatal", count=week.fatal)
        height = 0 if week.score is None else max(2, round(78 * week.score / full))
        low = week.score is not None and week.score < passing
        kind = "empty" if week.score is None else "below" if low else ""
        fatal = "‼" * min(week.fatal, 3)
        label = "" if week.score is None else f"{'▼' if low else ''}{week.score:.0f}"
        bars.append(
            f'<div class="{kind}" role="img" aria-label="{m.escape(told)}" title="{m.escape(told)}">'
            f'<span>{fatal} {label}</span><i style="height:{height}%"></i></div>'
        )
        days.append(f"<span>{week.monday:%m-%d}</span>")
    title = f"{m.escape(text('desk.weeks'))} <small>{m.escape(text('desk.weeks_hint', passing=f'{passing:g}'))}</small>"
    return (
        f'<h2>{title}</h2><div class="weeks">{"".join(bars)}</div><div class="weekdays">{"".join(days)}</div>'
    )


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 1)


# --- cards -----------------------------------------------------------------------------------------------------


def _tabs(found: Cards, unread: bool) -> str:
    every = None if unread else found.total
    return '<div style="height:.8rem"></div>' + m.tabs(
        [
            (text("desk.unread"), f"/{ADDRESS}?unread=1", unread, found.unread),
            (text("app.view_all"), f"/{ADDRESS}", not unread, every),
        ],
        text("app.calls"),
    )


def _cards(found: Cards, page: int, unread: bool, here: visit.Visit) -> str:
    if not found.cards:
        return m.empty(text("desk.all_read") if unread else text("app.no_own_calls"))
    rules = {rule.id: rule for rule in here.desk.pack.rules}
    pages = -(-found.total // CARDS_PAGE)
    kept = {"unread": "1"} if unread else {}
    return "".join(_card(card, rules, here) for card in found.cards) + m.pages(
        min(page, pages), pages, lambda number: look.address(ADDRESS, {**kept, "page": str(number)})
    )


def _card(card: MyCard, rules: Mapping[str, Rule], here: visit.Visit) -> str:
    row, site = card.row, here.desk.site
    low = row.fatal or (row.score is not None and row.score < site.passing)
    facts = " · ".join([look.when(row.started_at, site.zone), look.kind(row.kind), look.clock(row.duration)])
    if card.read_at is None:
        done = m.button(
            "read", text("desk.acknowledge"), value=f"{row.id}\t{card.scorecard_id}", primary=True
        )
    else:
        done = f'<span class="quiet">✓ {m.escape(text("desk.read_at", when=look.when(card.read_at, site.zone)))}</span>'
    fatal = m.chip("‼ " + text("app.why_fatal"), "fault") if row.fatal else ""
    reviewed = m.chip("✓ " + text("desk.reviewed_by_person")) if row.reviewed else ""
    faults = "".join(_fault(fault, card, rules, here) for fault in card.faults)
    body = f"<ul>{faults}</ul>" if faults else f'<p class="quiet">✓ {m.escape(text("desk.no_faults"))}</p>'
    return (
        f"<article{' class=unread' if card.read_at is None else ''} data-row><header>"
        f'<span class="score{" low" if low else ""}">{"▼" if low else ""}{look.points(row.score)}</span>'
        f"{m.link(row.id, look.address('call', {'id': row.id, 'view': 'all'}))}"
        f'<span class="quiet">{m.escape(facts)}</span>{fatal}{reviewed}<span class="grow"></span>{done}</header>{body}</article>'
    )


def _fault(fault: Fault, card: MyCard, rules: Mapping[str, Rule], here: visit.Visit) -> str:
    rule = rules.get(fault.rule)
    say = pick(rule.say_instead, here.language) if rule is not None and rule.say_instead else ""
    why = pick(rule.why, here.language) if rule is not None and rule.why else ""
    cost = text("desk.points", points=f"−{fault.cost:g}") if fault.cost else text("desk.no_points")
    cost = text("app.why_fatal") if fault.fatal else cost
    places = "".join(_place(place) for place in fault.places) or (
        f'<div class="quiet">{m.escape(text("desk.not_said"))}</div>'
    )
    sound = ""
    first = next((p for p in fault.places if p.start is not None), None)
    if card.has_recording and first is not None:
        address = f"/api/sound/{quote(card.row.id, safe='')}?hearing=masked"
        sound = m.play(address, max(0.0, (first.start or 0) - LEAD_IN), first.end, text("desk.play_line"))
    said = f'<div class="say">→ {m.escape(text("desk.say_instead"))}{m.escape(say)}</div>' if say else ""
    reason = f'<div class="quiet">{m.escape(why)}</div>' if why else ""
    return (
        f'<li><span class="nowhere">{sound}</span>'
        f'<span><b>{m.escape(pick(fault.name, here.language))}</b> <span class="quiet">{m.escape(cost)}</span>{reason}</span>'
        f"<span>{places}{said}</span></li>"
    )


def _place(place: Place) -> str:
    quoted = m.marked(place.quote, (place.hit,) if place.hit else ())
    if not quoted:
        stretch = f"{look.clock(place.start)} – {look.clock(place.end)}"
        return f"<div>{m.escape(text('desk.stretch', stretch=stretch))}</div>"
    at = f'<span class="quiet">{look.clock(place.start)}</span> ' if place.start is not None else ""
    return f"<div>{at}{quoted}</div>"
