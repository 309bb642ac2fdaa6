"""My calls 我的: an agent's own scorecards with evidence and what to say instead, how the weeks went, and what is unread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import streamlit as st

from qa.access import Identity, Role
from qa.coaching import AssignmentRow, State, own_assignments
from qa.levels import LevelScore
from qa.messages import text
from qa.my_calls import CARDS_PAGE, Cards, Fault, MyCard, Place, Said, Week, acknowledge, my_cards, my_weeks
from qa.pages import look, visit
from qa.pages import markup as m
from qa.pages.coaching_packs import site_day
from qa.review import Conflict
from qa.reviewed import catch_up_for_page
from scoring_rules.messages import pick
from scoring_rules.model import Rule

ADDRESS = "mine"
MOST_COACHING = 3  # assignments named in the notice
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
    catch_up_for_page(store, here.desk.pack)
    found = my_cards(store, identity, here.desk.pack, page, unread=unread)
    told = visit.told()
    did = look.block(
        (m.told(told[0], problem=told[1]) if told else "")
        + _coaching(own_assignments(store, identity, site_day(here)))
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


# --- coaching ---------------------------------------------------------------------------------------------------


def _coaching(assigned: Sequence[AssignmentRow]) -> str:
    """What was assigned and waits, the most urgent first; nothing where nothing does."""
    waiting = [row for row in assigned if row.state is not State.DONE]
    if not waiting:
        return ""
    late = any(row.state is State.OVERDUE for row in waiting)
    rows = "".join(
        f"<li>{m.link(row.pack, look.address('coaching', {'given': str(row.id)}))} "
        f'<span class="quiet">{m.escape(_coaching_facts(row))}</span></li>'
        for row in waiting[:MOST_COACHING]
    )
    rest = f"<li>{m.link(text('coaching.all_own'), '/coaching')}</li>" if len(waiting) > MOST_COACHING else ""
    return (
        f'<section class="told{" problem" if late else ""}" role="note" aria-label="{m.escape(text("desk.coaching"))}">'
        f"<b>{m.escape(text('desk.coaching_waits', count=len(waiting)))}</b><ul>{rows}{rest}</ul></section>"
    )


def _coaching_facts(row: AssignmentRow) -> str:
    facts = text("desk.coaching_facts", clips=row.clips, heard=row.heard, due=row.due.isoformat())
    return f"▲ {text('coaching.state_overdue')} · {facts}" if row.state is State.OVERDUE else facts


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
        if week.machine is not None and _rounded(week.machine) != _rounded(week.score):
            told += " · " + text("desk.week_machine", score=look.points(_rounded(week.machine)))
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
    counts = card.counts
    low = counts.card.passed is False
    facts = " · ".join([look.when(row.started_at, site.zone), look.kind(row.kind), look.clock(row.duration)])
    if card.read_at is None:
        done = m.button(
            "read", text("desk.acknowledge"), value=f"{row.id}\t{card.scorecard_id}", primary=True
        )
    else:
        done = f'<span class="quiet">✓ {m.escape(text("desk.read_at", when=look.when(card.read_at, site.zone)))}</span>'
    fatal = m.chip("‼ " + text("app.why_fatal"), "fault") if counts.card.fatal else ""
    whose = m.chip(text(f"desk.counts_{counts.level}"))
    faults = "".join(_fault(fault, card, rules, here) for fault in card.faults)
    body = f"<ul>{faults}</ul>" if faults else f'<p class="quiet">✓ {m.escape(text("desk.no_faults"))}</p>'
    return (
        f"<article{' class=unread' if card.read_at is None else ''} data-row><header>"
        f'<span class="score{" low" if low else ""}">{"▼" if low else ""}{look.points(counts.card.score)}</span>'
        f"{m.link(row.id, look.address('call', {'id': row.id, 'view': 'all'}))}"
        f'<span class="quiet">{m.escape(facts)}</span>{whose}{fatal}<span class="grow"></span>{done}</header>{_levels(card, here)}{body}</article>'
    )


def _levels(card: MyCard, here: visit.Visit) -> str:
    """Score and outcome of every level beside each other; nothing where there is the machine's alone."""
    if len(card.levels) == 1:
        return ""
    told = " · ".join(_level(one, here) for one in card.levels)
    return f'<p class="quiet levels">{m.escape(told)}</p>'


def _level(one: LevelScore, here: visit.Visit) -> str:
    name = text(f"desk.level_{one.level}")
    if one.at is not None:
        name += f" {look.when(one.at, here.desk.site.zone)}"
    outcome = text("desk.passed" if one.card.passed else "desk.not_passed") if one.card.passed is not None else "—"
    return f"{name} {look.points(one.card.score)} {outcome}" + (" ‼" if one.card.fatal else "")


def _fault(fault: Fault, card: MyCard, rules: Mapping[str, Rule], here: visit.Visit) -> str:
    rule = rules.get(fault.rule)
    say = pick(rule.say_instead, here.language) if rule is not None and rule.say_instead else ""
    why = pick(rule.why, here.language) if rule is not None and rule.why else ""
    cost = text("desk.points", points=f"−{fault.cost:g}") if fault.cost else text("desk.no_points")
    cost = text("app.why_fatal") if fault.fatal else cost
    said = "" if fault.said is Said.MACHINE else m.chip(text(f"desk.fault_{fault.said}"))
    name = f"<b>{m.escape(pick(fault.name, here.language))}</b>"
    if fault.said is Said.CANCELLED:
        name, cost = f"<s>{name}</s>", ""
    places = "".join(_place(place) for place in fault.places) or (
        f'<div class="quiet">{m.escape(text("desk.not_said"))}</div>'
    )
    sound = ""
    first = next((p for p in fault.places if p.start is not None), None)
    if card.has_recording and first is not None:
        address = f"/api/sound/{quote(card.row.id, safe='')}?hearing=masked"
        sound = m.play(address, max(0.0, (first.start or 0) - LEAD_IN), first.end, text("desk.play_line"))
    better = f'<div class="say">→ {m.escape(text("desk.say_instead"))}{m.escape(say)}</div>' if say else ""
    reason = f'<div class="quiet">{m.escape(why)}</div>' if why else ""
    return (
        f'<li><span class="nowhere">{sound}</span>'
        f'<span>{name} <span class="quiet">{m.escape(cost)}</span> {said}{reason}</span>'
        f"<span>{places}{better}</span></li>"
    )


def _place(place: Place) -> str:
    quoted = m.marked(place.quote, (place.hit,) if place.hit else ())
    if not quoted:
        stretch = f"{look.clock(place.start)} – {look.clock(place.end)}"
        return f"<div>{m.escape(text('desk.stretch', stretch=stretch))}</div>"
    at = f'<span class="quiet">{look.clock(place.start)}</span> ' if place.start is not None else ""
    return f"<div>{at}{quoted}</div>"
