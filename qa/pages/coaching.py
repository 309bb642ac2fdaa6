"""Coaching 辅导: for who coaches, the library of clips, packs and assignments; for agents, what was assigned to them."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from qa.access import AccessDenied, Identity, Right, may
from qa.clips import CoachingError
from qa.messages import text
from qa.pages import coaching_clip, coaching_find, coaching_library, coaching_own, coaching_packs, look, visit
from qa.pages import markup as m
from qa.review import Conflict

ADDRESS = "coaching"
TABS = ("find", "clips", "packs", "given")
PARTS: dict[str, Callable[[visit.Visit], None]] = {
    "find": coaching_find.draw,
    "clips": coaching_library.draw,
    "clip": coaching_clip.draw,
    "packs": coaching_packs.draw,
    "pack": coaching_packs.draw_pack,
    "given": coaching_packs.draw_given,
}
WITHIN = {"clip": "clips", "pack": "packs"}  # parts that belong to a tab


def opens_for(identity: Identity) -> bool:
    return may(identity, Right.COACH) or identity.agent is not None


def draw() -> None:
    here = visit.current()
    st.title(text("app.page_coaching"))
    told = visit.told()
    try:
        if not here.may(Right.COACH):
            look.block(m.told(told[0], problem=told[1]) if told else "", "coaching-told")
            coaching_own.draw(here)
            return
        part = st.query_params.get("part", "clips")
        part = part if part in PARTS else "clips"
        tabs = [
            (text(f"coaching.tab_{tab}"), look.address(ADDRESS, {"part": tab}), tab == WITHIN.get(part, part), None)
            for tab in TABS
        ]
        head = m.tabs(tabs, text("app.page_coaching")) + (m.told(told[0], problem=told[1]) if told else "")
        look.block(head, "coaching-tabs")
        PARTS[part](here)
    except AccessDenied:
        st.error(text("coaching.not_there"))
    except CoachingError as error:
        visit.tell(text(f"coaching.fault_{error.fault}"), problem=True)
        st.rerun()
    except Conflict:
        visit.tell(text("coaching.conflict"), problem=True)
        st.rerun()
