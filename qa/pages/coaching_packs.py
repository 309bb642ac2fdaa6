"""Packs of clips and who has them: order, assignments with a goal and a day, acknowledgements, the ZIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import streamlit as st

from qa.coaching import (
    AssignmentRow,
    PackClip,
    PackRow,
    State,
    agents_to_coach,
    assign,
    list_assignments,
    list_packs,
    open_pack,
    retire_pack,
    save_pack,
    withdraw_assignment,
)
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from qa.pages.coaching_library import clip_card
from qa.store.schema import now

PAGE = "coaching"
DUE_DAYS = 7  # what a new assignment proposes
SIGNS = {State.OVERDUE: ("⚠", "fault"), State.OPEN: ("…", "warn"), State.DONE: ("✓", "")}


def site_day(here: visit.Visit) -> date:
    """Today, as the site reads it."""
    return now().astimezone(here.desk.site.zone).date()


# --- all packs ---------------------------------------------------------------------------------------------------


def draw(here: visit.Visit) -> None:
    retired = st.query_params.get("retired") == "1"
    found = list_packs(here.desk.store, here.identity, retired=retired)
    other = {"part": "packs"} if retired else {"part": "packs", "retired": "1"}
    new = (
        f'<form class="fields" data-form="new">{m.field("name", text("coaching.pack_name"), "", wide=True, first=True)}'
        f'<div class="buttons">{m.submit(text("coaching.new_pack"))}</div></form>'
    )
    columns = [text(f"coaching.column_{name}") for name in ("pack", "clips", "length", "assigned", "who", "changed")]
    rows = [
        (
            m.link(pack.name, look.address(PAGE, {"part": "pack", "pack": str(pack.id)})),
            str(pack.clips),
            look.clock(pack.seconds),
            text("coaching.acknowledged_of", done=pack.acknowledged, all=pack.assigned) if pack.assigned else "—",
            m.escape(pack.who),
            look.when(pack.at, here.desk.site.zone),
        )
        for pack in found
    ]
    listed = m.table(columns, rows, text("coaching.tab_packs"), numbers=(1, 2)) if rows else m.empty(text("coaching.no_packs"))
    switch = m.link(text("coaching.packs_in_use" if retired else "coaching.packs_retired"), look.address(PAGE, other))
    did = look.block(f'{new}{listed}<p class="quiet">{switch}</p>', "coaching-packs")
    if did.get("form") == "new":
        made = save_pack(here.desk.store, here.identity, str(did["values"].get("name", "")), "", [])
        look.go(look.address(PAGE, {"part": "pack", "pack": str(made)}))


# --- one pack ----------------------------------------------------------------------------------------------------


def draw_pack(here: visit.Visit) -> None:
    number = st.query_params.get("pack", "")
    if not number.isdecimal() or len(number) > 9:
        look.go(look.address(PAGE, {"part": "packs"}))
        return
    pack, clips = open_pack(here.desk.store, here.identity, int(number))
    given = list_assignments(here.desk.store, here.identity, site_day(here), pack.id)
    did = look.block(_pack(here, pack, clips) + _assign_form(here, pack) + _given(here, given), f"pack-{pack.id}")
    if did.get("form") or did.get("do"):
        _act(here, pack, [clip.row.id for clip in clips], did)


def _pack(here: visit.Visit, pack: PackRow, clips: Sequence[PackClip]) -> str:
    form = (
        f'<form class="fields" data-form="pack">{m.field("name", text("coaching.pack_name"), pack.name, wide=True)}'
        f"{m.field('note', text('coaching.pack_note'), pack.note, wide=True)}"
        f'<div class="buttons">{m.submit(text("coaching.save"))}</div></form>'
    )
    cards = []
    for place, clip in enumerate(clips):
        number = str(clip.row.id)
        more = "".join(
            m.button(name, label, value=number)
            for name, label, there in (
                ("up", "↑", place > 0),
                ("down", "↓", place < len(clips) - 1),
                ("remove", text("coaching.remove"), True),
            )
            if there
        )
        cards.append(clip_card(here, clip.row, more=more, lines=said(clip)))
    held = "".join(cards) or m.empty(text("coaching.empty_pack"))
    zipped = f"/api/pack/{pack.id}.zip?lang={here.language}"
    out = "".join(
        f'<a data-whole="1" download href="{m.escape(address)}">{m.escape(text(label))}</a>'
        for address, label in ((zipped, "coaching.zip"), (f"{zipped}&named=1", "coaching.zip_named"))
    )
    retire = (
        m.button("back", text("coaching.put_back"))
        if pack.retired
        else m.button("retire", text("coaching.retire_pack"), ask=text("coaching.sure"))
    )
    return (
        f"{form}<h2>{m.escape(text('coaching.pack_clips', count=pack.clips))}</h2>{held}"
        f'<div class="row">{out if clips else ""}<span class="grow"></span>{retire}</div>'
        f'<p class="quiet">{m.escape(text("coaching.zip_hint"))}</p>'
    )


def said(clip: PackClip) -> str:
    """What is said in a clip."""
    lines = "".join(
        f'<div><span class="who {line.role or ""}">{m.escape(text(f"role.{line.role}") if line.role else "")}</span> '
        f"{m.escape(line.text)}</div>"
        for line in clip.lines
    )
    return f'<div class="said">{lines}</div>'


def _assign_form(here: visit.Visit, pack: PackRow) -> str:
    if pack.retired or not pack.clips:
        return ""
    offered = "".join(
        f'<option value="{m.escape(agent)}">{m.escape(agent)}</option>'
        for agent in agents_to_coach(here.desk.store, here.identity)
    )
    due = site_day(here) + timedelta(days=DUE_DAYS)
    return (
        f"<h2>{m.escape(text('coaching.assign_title'))}</h2>"
        f'<form class="fields" data-form="assign"><label>{m.escape(text("coaching.agents"))}'
        f'<select name="agents" multiple size="6" style="height:8.5rem">{offered}</select></label>'
        f"{m.field('goal', text('coaching.goal'), '', example=text('coaching.goal_example'), wide=True)}"
        f"{m.field('due', text('coaching.due'), due.isoformat(), kind='date')}"
        f'<div class="buttons">{m.submit(text("coaching.assign"))}</div></form>'
    )


def _act(here: visit.Visit, pack: PackRow, held: list[int], did: Mapping[str, Any]) -> None:
    store, identity = here.desk.store, here.identity
    values = did.get("values", {})
    if did.get("form") == "pack":
        save_pack(store, identity, str(values.get("name", "")), str(values.get("note", "")), held, pack.id, pack.version)
        visit.tell(text("coaching.saved"))
    elif did.get("form") == "assign":
        agents = [agent for agent in str(values.get("agents", "")).split("\n") if agent]
        due = _day(str(values.get("due", "")), site_day(here) - timedelta(days=1))
        count = assign(store, identity, pack.id, agents, str(values.get("goal", "")), due, site_day(here))
        visit.tell(text("coaching.assigned", count=count, having=len(set(agents)) - count))
    elif did.get("do") in ("up", "down", "remove"):
        order = _moved(held, int(did["value"]), str(did["do"]))
        save_pack(store, identity, pack.name, pack.note, order, pack.id, pack.version)
    elif did.get("do") in ("retire", "back"):
        retire_pack(store, identity, pack.id, back=did["do"] == "back")
        visit.tell(text("coaching.pack_retired" if did["do"] == "retire" else "coaching.pack_back"))
    elif did.get("do") == "withdraw":
        withdraw_assignment(store, identity, int(did["value"]))
        visit.tell(text("coaching.withdrawn"))
    st.rerun()


def _moved(held: list[int], clip: int, way: str) -> list[int]:
    if clip not in held:
        return held
    place, order = held.index(clip), [one for one in held if one != clip]
    if way != "remove":
        order.insert(max(0, place + (1 if way == "down" else -1)), clip)
    return order


def _day(raw: str, otherwise: date) -> date:
    try:
        return date.fromisoformat(raw)
    except ValueError:
        return otherwise


# --- who has them ------------------------------------------------------------------------------------------------


def draw_given(here: visit.Visit) -> None:
    rows = list_assignments(here.desk.store, here.identity, site_day(here))
    wanted = st.query_params.get("state", "")
    counts = {state: sum(row.state is state for row in rows) for state in State}
    tiles = "".join(
        m.tile(f"{SIGNS[state][0]} {text(f'coaching.state_{state}')}", counts[state],
               look.address(PAGE, {"part": "given", "state": state.value}), SIGNS[state][1], quiet=True)
        for state in State
    )  # fmt: skip
    shown = [row for row in rows if wanted not in list(State) or row.state.value == wanted]
    body = f'<div class="sum">{tiles}</div>' if rows else ""
    did = look.block(body + _given(here, shown, empty=True), "coaching-given")
    if did.get("do") == "withdraw":
        withdraw_assignment(here.desk.store, here.identity, int(did["value"]))
        visit.tell(text("coaching.withdrawn"))
        st.rerun()


def _given(here: visit.Visit, rows: Sequence[AssignmentRow], *, empty: bool = False) -> str:
    if not rows:
        return m.empty(text("coaching.none_given")) if empty else ""
    columns = [text(f"coaching.column_{n}") for n in ("agent", "pack", "goal", "due", "state", "heard", "reply", "who")]
    cells = [
        (
            m.escape(row.agent),
            m.link(row.pack, look.address(PAGE, {"part": "pack", "pack": str(row.pack_id)})),
            m.escape(row.goal),
            row.due.isoformat(),
            state_chip(row, here),
            f"{row.heard} / {row.clips}",
            m.escape(row.reply),
            m.escape(row.who),
            ""
            if row.state is State.DONE
            else m.button("withdraw", text("coaching.withdraw"), value=str(row.id), ask=text("coaching.sure")),
        )
        for row in rows
    ]
    title = "" if empty else f"<h2>{m.escape(text('coaching.tab_given'))}</h2>"
    return title + m.table([*columns, ""], cells, text("coaching.tab_given"), numbers=(5,))


def state_chip(row: AssignmentRow, here: visit.Visit) -> str:
    sign, kind = SIGNS[row.state]
    when = f" {look.when(row.acknowledged_at, here.desk.site.zone)}" if row.acknowledged_at else ""
    return m.chip(f"{sign} {text(f'coaching.state_{row.state}')}{when}", kind)
