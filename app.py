"""The app's router: who is signed in, and the pages that their role opens. `huiting app` starts it."""

from __future__ import annotations

from collections.abc import Container

import streamlit as st

from qa.access import Right
from qa.messages import LANGUAGES, in_language, text
from qa.pages import (
    admin,
    audit,
    board,
    call,
    coaching,
    files,
    look,
    mine,
    queue,
    rules,
    search,
    settings,
    today,
)
from qa.pages.visit import Visit, begin

PAGES = (  # module, the rights of which one opens it, its icon
    (today, (Right.SEE,), ":material/today:"),
    (queue, (Right.SEE,), ":material/checklist:"),
    (mine, (Right.SEE,), ":material/person:"),
    (search, (Right.SEE,), ":material/search:"),
    (board, (Right.SEE,), ":material/bar_chart:"),
    (rules, (Right.SEE,), ":material/rule:"),
    (coaching, (Right.COACH, Right.ACKNOWLEDGE), ":material/school:"),
    (call, (Right.SEE,), ":material/graphic_eq:"),
    (files, (Right.SEE, Right.OPERATE), ":material/bedtime:"),
    (settings, (Right.OPERATE,), ":material/tune:"),
    (admin, (Right.ADMINISTER,), ":material/manage_accounts:"),
    (audit, (Right.ADMINISTER,), ":material/policy:"),
)


def pages_of(visit: Visit) -> dict[str, st.Page]:
    """The pages of a role by their address, the one to start with first."""
    return {
        module.ADDRESS: st.Page(
            module.draw, title=text(f"app.page_{module.ADDRESS}"), icon=icon, url_path=module.ADDRESS
        )
        for module, rights, icon in PAGES
        if any(map(visit.may, rights)) and module.opens_for(visit.identity)
    }


def closed_pages(known: Container[str]) -> list[st.Page]:
    """The others: who is sent the address of one is told so, in their language. Streamlit would say "Page not found"."""
    return [
        st.Page(look.closed, title=text(f"app.page_{module.ADDRESS}"), url_path=module.ADDRESS, visibility="hidden")
        for module, _, _ in PAGES
        if module.ADDRESS not in known
    ]


def main() -> None:
    visit = begin()
    if visit is None:
        st.set_page_config(page_title="Huiting 回听", page_icon=look.ICON)
        look.styles()
        st.info(text("app.signed_out"))
        st.link_button(text("app.sign_in_button"), "/sign-in")
        return
    with in_language(visit.language):
        # Before the navigation: without an icon of our own the browser would ask a font server for the page's.
        st.set_page_config(page_icon=look.ICON, layout="wide")
        look.styles()
        pages = st.session_state["pages"] = pages_of(visit)

        def home() -> None:
            st.switch_page(next(iter(pages.values())))

        # The start has an address of its own as well: a default page would answer at "/" only.
        start = st.Page(home, title=text("app.product"), url_path="home", default=True, visibility="hidden")
        unknown = st.Page(look.unknown, title=text("app.page_unknown"), url_path="nowhere", visibility="hidden")
        chosen = st.navigation([start, *pages.values(), *closed_pages(pages), unknown])
        look.follow()
        st.set_page_config(page_title=f"{chosen.title} · {text('app.product')}")
        with st.sidebar:
            account_corner(visit)
        chosen.run()


def account_corner(visit: Visit) -> None:
    """Who is signed in, the language switch, and the way out."""
    identity = visit.identity
    demo = f" · {text('app.demo_account')}" if identity.demo else ""
    st.caption(f"{identity.name} · {text(f'app.role_{identity.role}')}{demo}")
    other = next(code for code in LANGUAGES if code != visit.language)
    with in_language(other):
        name = text("app.this_language")
    if st.button(name, icon=":material/translate:", key="language", width="stretch"):
        visit.switch_language(other)
        st.rerun()
    look.plain_link(text("app.password_title"), "/password")
    look.plain_link(text("app.sign_out"), "/sign-out")


main()
