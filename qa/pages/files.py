"""Files 文件: what became of each file of a night, with the reason."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from qa.access import Identity, Role
from qa.messages import text
from qa.morning import FILES_PAGE, FileRow, night_account, night_files, nights
from qa.pages import look, visit
from qa.states import Outcome

ADDRESS = "files"
COLUMNS = ("outcome", "reason", "file", "why", "call")


def opens_for(identity: Identity) -> bool:
    return identity.role is not Role.AGENT


def draw() -> None:
    here = visit.current()
    desk, zone = here.desk, here.desk.site.zone
    st.title(text("app.page_files"))
    known = nights(desk.store, here.identity)
    if not known:
        st.info(text("app.no_night"))
        return
    numbers = [night.id for night in known]
    labels = {n.id: text("app.night_choice", night=n.id, began=look.when(n.started_at, zone)) for n in known}
    asked = st.query_params.get("night", "")
    chosen = int(asked) if asked.isdecimal() and int(asked) in numbers else numbers[0]
    outcomes: list[Outcome | None] = [None, *Outcome]
    outcome_asked = st.query_params.get("outcome", "")
    outcome = Outcome(outcome_asked) if outcome_asked in list(Outcome) else None
    one, two = st.columns(2)
    night = one.selectbox(text("app.field_night"), numbers, numbers.index(chosen), format_func=labels.__getitem__)
    wanted = two.selectbox(
        text("app.field_outcome"),
        outcomes,
        outcomes.index(outcome),
        format_func=lambda o: text("app.any") if o is None else text(f"outcome.{o}"),
    )
    if (night, wanted) != (chosen, outcome):
        st.query_params.from_dict({"night": str(night)} | ({"outcome": wanted.value} if wanted else {}))
        st.rerun()
    page = st.query_params.get("page", "")
    number = int(page) if page.isdecimal() and 1 <= int(page) < 10**6 else 1
    rows, total = night_files(desk.store, here.identity, night, wanted, number)
    account = night_account(desk.store, here.identity, desk.site.passing, night)
    if account is not None and account.partial:
        st.caption(text("app.within_reach"))
    pages = max(1, -(-total // FILES_PAGE))
    st.caption(text("app.row_count", count=total, page=number, pages=pages))
    if rows:
        st.html(_table(rows))
    if pages > 1:
        turned = st.pagination(pages, default=min(number, pages), key=f"files-page-{night}-{wanted}-{pages}")
        if turned != number:
            st.query_params["page"] = str(turned)
            st.rerun()


def _table(rows: Sequence[FileRow]) -> str:
    head = "".join(f'<th scope="col">{html.escape(text(f"summary.column_{name}"))}</th>' for name in COLUMNS)
    return (
        f'<div class="wide"><table class="plain"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(map(_row, rows))}</tbody></table></div>"
    )


def _row(row: FileRow) -> str:
    call = ""
    if row.call_id and row.outcome == Outcome.SCORED:
        link = look.address("call", {"id": row.call_id, "view": "all"})
        call = f'<a href="{html.escape(link)}" target="_self">{html.escape(row.call_id)}</a>'
    cells = (
        html.escape(text(f"outcome.{row.outcome}")),
        html.escape(text(f"reason.{row.reason}")) if row.reason else "",
        html.escape(row.path),
        html.escape(row.message or ""),
        call,
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
