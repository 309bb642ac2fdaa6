"""Call 通话: the recording, what was said, and the scorecard with its evidence, side by side.

The page hands the player the call's address; what is shown and done there goes through qa/call_api.py. What leads away
from the call (next, previous, finish, back to the list) comes back here.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import streamlit as st
from streamlit.components.v2 import component

from qa.access import AccessDenied, Identity, Right
from qa.assignments import Held, claim, claim_next
from qa.call_filter import WORK, CallFilter
from qa.call_lists import CallRow, neighbours
from qa.call_view import glance
from qa.messages import text
from qa.my_calls import acknowledged_at
from qa.pages import look, visit
from qa.review import Conflict, finish

ADDRESS = "call"
SCRIPTS = ("player_sound.js", "player_timeline.js", "player_dialogue.js", "player_card.js", "player_panel.js", "player.js")

# The page is one instrument: it takes the width and the height that there are.
ROOM = "<style>[data-testid=stMainBlockContainer] { padding: 2.2rem 1.4rem .5rem; max-width: none; }</style>"


def opens_for(identity: Identity) -> bool:
    return True


@st.cache_resource
def _player():
    scripts = "\n".join(look.asset(name) for name in SCRIPTS)
    return component("huiting_player", html=look.asset("player.html"), css=look.asset("player.css"), js=scripts)


def draw() -> None:
    here = visit.current()
    call_id = st.query_params.get("id", "")
    if not call_id:
        look.nowhere(text("app.no_call_chosen"))
        return
    try:
        row, has_recording = glance(here.desk.store, here.identity, call_id)
    except AccessDenied:
        look.nowhere(text("app.no_such_call"))
        return
    except KeyError:
        look.nowhere(text("app.not_heard"))
        return
    st.html(ROOM)
    _head(row, here)
    address = quote(call_id, safe="")
    turn = st.query_params.get("turn", "")
    result = _player()(
        key=f"player-{call_id}",
        data={
            "call": call_id,
            "language": here.language,
            "sound": f"/api/sound/{address}" if has_recording else "",
            "peaks": f"/api/peaks/{address}" if has_recording else "",
            "turn": int(turn) if turn.isdecimal() and len(turn) < 6 else None,
            "me": here.identity.login,
            "notice": st.session_state.pop("notice", ""),
            "problem": st.session_state.pop("problem", False),
            "labels": {"saved": text("app.saved"), "failed": text("call.failed")},
        },
        on_finish_change=lambda: None,
        on_go_change=lambda: None,
    )
    if result.finish and here.may(Right.VERDICT):
        _finish(here, call_id, int(result.finish))
    if result.go == "list":
        pages = st.session_state["pages"]
        st.switch_page(pages.get("queue") or pages["mine"], query_params=_list().to_address())
    if result.go in ("next", "previous"):
        before, after = neighbours(here.desk.store, here.identity, _list(), here.desk.site, call_id)
        _leave_for(after if result.go == "next" else before)


def _head(row: CallRow, here: visit.Visit) -> None:
    facts = [
        row.id,
        look.when(row.started_at, here.desk.site.zone),
        " / ".join(filter(None, (row.agent, row.team))) or "—",
        row.queue or "",
        look.kind(row.kind),
        look.clock(row.duration),
        *look.why(row if here.may(Right.VERDICT) else replace(row, given=None), here.desk.site.passing, here.rule_names),
        *look.states(row, here.desk.site.zone, {here.identity.login: text("desk.me")}),
        *_read_by_agent(row, here),
    ]
    st.caption(" · ".join(filter(None, facts)).replace("*", r"\*"))


def _read_by_agent(row: CallRow, here: visit.Visit) -> list[str]:
    read = acknowledged_at(here.desk.store, here.identity, row.id)
    return [] if read is None else ["✓ " + text("desk.agent_read_at", when=look.when(read, here.desk.site.zone))]


def _finish(here: visit.Visit, call_id: str, scorecard_id: int) -> None:
    """`scorecard_id` is the one that the person saw."""
    _, following = neighbours(here.desk.store, here.identity, _list(), here.desk.site, call_id)
    try:
        finish(here.desk.store, here.identity, call_id, scorecard_id)
    except Conflict:
        _tell(text("app.conflict"), problem=True)
    _leave_for(_in_hand(here, following))


def _in_hand(here: visit.Visit, call_id: str | None) -> str | None:
    """The next call of a list of work, claimed; where somebody was quicker, the first that nobody has."""
    wanted = _list()
    if call_id is None or wanted.view not in WORK:
        return call_id
    try:
        claim(here.desk.store, here.identity, call_id)
    except Held:
        return claim_next(here.desk.store, here.identity, wanted, here.desk.site)
    return call_id


def _leave_for(call_id: str | None) -> None:
    if call_id is not None:
        look.open_call(call_id, _list().to_address())
    _tell(text("app.list_ends"))


def _tell(notice: str, *, problem: bool = False) -> None:
    st.session_state["notice"], st.session_state["problem"] = notice, problem
    st.rerun()


def _list() -> CallFilter:
    """The list that the call was opened from, as its address tells."""
    return look.read_filter()
