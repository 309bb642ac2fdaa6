"""My calls 我的: an agent's own calls, newest first, with what each lost points for."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from qa.access import Identity
from qa.call_filter import FilterError, Sort, View
from qa.call_lists import PAGE_SIZE, list_calls
from qa.messages import text
from qa.pages import look, visit

ADDRESS = "mine"


def opens_for(identity: Identity) -> bool:
    return identity.agent is not None


def draw() -> None:
    here = visit.current()
    st.title(text("app.page_mine"))
    asked = look.read_filter()
    wanted = replace(asked, view=View.ALL, sort=Sort.NEWEST, agent=here.identity.agent or "")
    try:
        found = list_calls(here.desk.store, here.identity, wanted, here.desk.site)
    except FilterError as error:
        look.tell_faults(error)
        return
    if not found.rows:
        st.info(text("app.no_own_calls"))
        return
    pages = -(-found.total // PAGE_SIZE)
    st.caption(text("app.row_count", count=found.total, page=wanted.page, pages=pages))
    site, query = here.desk.site, wanted.to_address()
    opened = look.call_table(found.rows, "mine", passing=site.passing, zone=site.zone, query=query)
    if pages > 1:
        chosen = st.pagination(pages, default=min(wanted.page, pages), key=f"mine-page-{pages}")
        if chosen != wanted.page:
            st.query_params.from_dict({"page": str(chosen)})
            st.rerun()
    if opened:
        look.open_call(opened, query)
