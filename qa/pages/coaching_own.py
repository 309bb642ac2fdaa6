"""What was assigned to an agent: its goal, its clips to listen to, and the acknowledgement."""

from __future__ import annotations

import streamlit as st

from qa.coaching import AssignmentRow, State, acknowledge, open_assignment, own_assignments
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from qa.pages.coaching_library import clip_card
from qa.pages.coaching_packs import said, site_day, state_chip

PAGE = "coaching"


def draw(here: visit.Visit) -> None:
    number = st.query_params.get("given", "")
    if number.isdecimal() and len(number) < 10:
        _one(here, int(number))
        return
    rows = own_assignments(here.desk.store, here.identity, site_day(here))
    if not rows:
        look.block(m.empty(text("coaching.none_own")), "own-coaching")
        return
    look.block("".join(_card(here, row) for row in rows), "own-coaching")


def _card(here: visit.Visit, row: AssignmentRow) -> str:
    link = m.link(row.pack, look.address(PAGE, {"given": str(row.id)}))
    return (
        f'<article data-row{"" if row.state is State.DONE else " class=unread"}><header><b>{link}</b> '
        f'{state_chip(row, here)}<span class="quiet">{m.escape(_facts(row))}</span></header>'
        f"<div>{m.escape(text('coaching.goal_is', goal=row.goal))}</div></article>"
    )


def _facts(row: AssignmentRow) -> str:
    return text("coaching.own_facts", due=row.due.isoformat(), heard=row.heard, clips=row.clips, who=row.who)


def _one(here: visit.Visit, number: int) -> None:
    row, note, clips = open_assignment(here.desk.store, here.identity, number, site_day(here))
    back = m.link("← " + text("coaching.all_own"), f"/{PAGE}")
    told = "".join(f"<p>{m.escape(line)}</p>" for line in note.splitlines() if line.strip())
    cards = "".join(clip_card(here, clip.row, lines=said(clip)) for clip in clips)
    if row.state is State.DONE:
        end = m.told(text("coaching.you_acknowledged", when=look.when(row.acknowledged_at, here.desk.site.zone)))
    else:
        end = (
            f'<form class="fields" data-form="acknowledge">{m.field("reply", text("coaching.reply"), "", wide=True)}'
            f'<div class="buttons">{m.submit(text("coaching.acknowledge"))}</div></form>'
        )
    did = look.block(
        f"<p>{back}</p><h2>{m.escape(row.pack)} {state_chip(row, here)}</h2>"
        f"<p>{m.escape(text('coaching.goal_is', goal=row.goal))}</p>"
        f'<p class="quiet">{m.escape(_facts(row))}</p>{told}{cards}{end}',
        f"own-{number}",
    )
    if did.get("form") == "acknowledge":
        acknowledge(here.desk.store, here.identity, number, str(did["values"].get("reply", "")))
        visit.tell(text("coaching.thanks"))
        st.rerun()
