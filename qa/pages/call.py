"""Call 通话: the recording, what was said, and the scorecard with its evidence, side by side."""

from __future__ import annotations

from urllib.parse import quote

import streamlit as st
from streamlit.components.v2 import component

from qa.access import AccessDenied, Identity, Right
from qa.call_filter import CallFilter
from qa.call_lists import neighbours
from qa.call_view import CallView, open_call
from qa.judging import Judgement, judge
from qa.media import Hearing
from qa.messages import text
from qa.pages import look, visit
from qa.pages.player_data import player_data
from qa.review import Conflict, finish
from qa.verdicts import Verdict

ADDRESS = "call"


def opens_for(identity: Identity) -> bool:
    return True


@st.cache_resource
def _player():
    return component(
        "huiting_player", html=look.asset("player.html"), css=look.asset("player.css"), js=look.asset("player.js")
    )


def draw() -> None:
    here = visit.current()
    call_id = st.query_params.get("id", "")
    if not call_id:
        st.info(text("app.no_call_chosen"))
        return
    unmasked, hearing = _choices(here, call_id)
    try:
        view = open_call(here.desk.store, here.identity, call_id, unmasked=unmasked)
    except AccessDenied:
        st.error(text("app.no_such_call"))
        return
    except KeyError:
        st.info(text("app.not_heard"))
        return
    _head(view, here)
    _drawn(view, here, hearing)


def _choices(here: visit.Visit, call_id: str) -> tuple[bool, Hearing]:
    """Masked is the default, in every visit anew; the switches are there for those who may only."""
    unmasked, original = False, False
    switches = [right for right in (Right.UNMASK, Right.PLAY_ORIGINAL) if here.may(right)]
    if switches:
        with st.container(horizontal=True, horizontal_alignment="right"):
            if Right.UNMASK in switches:
                unmasked = st.toggle(text("app.unmask"), key=f"unmask-{call_id}")
            if Right.PLAY_ORIGINAL in switches:
                original = st.toggle(text("app.play_original"), key=f"original-{call_id}")
    return unmasked, Hearing.ORIGINAL if original else Hearing.MASKED


def _head(view: CallView, here: visit.Visit) -> None:
    row = view.row
    facts = [
        row.id,
        look.when(row.started_at, here.desk.site.zone),
        " / ".join(filter(None, (row.agent, row.team))) or "—",
        row.queue or "",
        row.kind or "",
        look.clock(row.duration),
        *look.why(row, here.desk.site.passing),
        text("app.unmasked_now") if view.unmasked else text("app.masked_now"),
    ]
    st.caption(" · ".join(filter(None, facts)).replace("*", r"\*"))


def _drawn(view: CallView, here: visit.Visit, hearing: Hearing) -> None:
    call_id, may_judge = view.row.id, here.may(Right.VERDICT)
    data = player_data(view, here.desk.pack, here.language, may_judge=may_judge)
    address = quote(call_id, safe="")
    turn = st.query_params.get("turn", "")
    data |= {
        "sound": f"/api/sound/{address}?hearing={hearing.value}" if view.has_recording else "",
        "peaks": f"/api/peaks/{address}" if view.has_recording else "",
        "turn": int(turn) if turn.isdecimal() and len(turn) < 6 else None,
        "me": here.identity.login,
        "saved": st.session_state.pop("saved", ""),
        "conflict": st.session_state.pop("conflict", ""),
    }
    result = _player()(
        key=f"player-{call_id}",
        data=data,
        on_verdict_change=lambda: None,
        on_finish_change=lambda: None,
        on_go_change=lambda: None,
    )
    if result.verdict:
        _judge(view, here, result.verdict)
    if result.finish:
        _finish(view, here)
    if result.go in ("next", "previous"):
        _go(view, here, result.go)


def _judge(view: CallView, here: visit.Visit, asked: dict) -> None:
    """One verdict, saved at once; the sound plays on."""
    if view.scorecard_id is None:
        return
    given = Judgement(
        view.row.id,
        view.scorecard_id,
        str(asked["rule"]),
        Verdict(asked["verdict"]),
        asked.get("finding"),
    )
    try:
        judge(here.desk.store, here.identity, given)
        st.session_state["saved"] = text("app.saved")
    except Conflict:
        st.session_state["conflict"] = text("app.conflict")
    st.rerun()


def _finish(view: CallView, here: visit.Visit) -> None:
    if view.scorecard_id is None:
        return
    _, following = neighbours(here.desk.store, here.identity, _list(), here.desk.site, view.row.id)
    try:
        finish(here.desk.store, here.identity, view.row.id, view.scorecard_id)
    except Conflict:
        st.session_state["conflict"] = text("app.conflict")
        st.rerun()
    _leave_for(following)


def _go(view: CallView, here: visit.Visit, way: str) -> None:
    before, after = neighbours(here.desk.store, here.identity, _list(), here.desk.site, view.row.id)
    _leave_for(after if way == "next" else before)


def _leave_for(call_id: str | None) -> None:
    query = _list().to_address()
    if call_id is not None:
        look.open_call(call_id, query)
    st.session_state["saved"] = text("app.list_ends")
    st.rerun()


def _list() -> CallFilter:
    """The list that the call was opened from, as its address tells."""
    return look.read_filter()
