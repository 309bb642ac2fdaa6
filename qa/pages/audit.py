"""Audit 审计: who saw, heard, judged or changed what, with a filter that stands in the address."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from qa import accounts
from qa.access import Identity, Role
from qa.audit_trail import TRAIL_PAGE, TrailFilter, audit_trail, known_actions
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from qa.store.schema import AuditEvent

ADDRESS = "audit"


def opens_for(identity: Identity) -> bool:
    return True


def draw() -> None:
    here = visit.current()
    store, identity, zone = here.desk.store, here.identity, here.desk.site.zone
    st.title(text("app.page_audit"))
    wanted = TrailFilter.from_address({name: st.query_params[name] for name in st.query_params})
    rows, total = audit_trail(store, identity, wanted, zone)
    people = [(account.login, account.name) for account in accounts.list_accounts(store, identity)]
    pages = max(1, -(-total // TRAIL_PAGE))
    did = look.block(
        _form(wanted, people, known_actions(store, identity))
        + f'<p class="quiet">{m.escape(text("app.row_count", count=total, page=wanted.page, pages=pages))}</p>'
        + (_table(rows, here) if rows else m.empty(text("desk.no_entries")))
        + m.pages(wanted.page, pages, lambda n: look.address(ADDRESS, wanted.at_page(n).to_address())),
        "audit",
    )
    if did.get("form") == "audit":
        look.go(look.address(ADDRESS, TrailFilter.from_address(did["values"]).to_address()))


def _form(wanted: TrailFilter, people: Sequence[tuple[str, str]], actions: Sequence[str]) -> str:
    any_ = text("app.any")
    fields = [
        m.select("who", text("desk.field_who"), people, wanted.who, any_label=any_),
        m.select("action", text("desk.field_action"), [(a, told(a)) for a in actions], wanted.action, any_label=any_),
        m.field("call", text("app.column_call"), wanted.call),
        m.field("since", text("app.field_since"), "" if wanted.since is None else wanted.since.isoformat(), kind="date"),
        m.field("until", text("app.field_until"), "" if wanted.until is None else wanted.until.isoformat(), kind="date"),
    ]
    clear = m.link(text("app.clear"), f"/{ADDRESS}")
    return (
        f'<form class="fields" data-form="audit">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("app.apply"))}<span class="row">{clear}</span></div></form>'
    )


def _table(rows: Sequence[AuditEvent], here: visit.Visit) -> str:
    columns = [text(f"desk.column_{name}") for name in ("at", "who", "action", "call", "detail")]
    return m.table(columns, [_row(row, here) for row in rows], text("app.page_audit"))


def _row(row: AuditEvent, here: visit.Visit) -> list[str]:
    detail = " · ".join(
        f"{_named('detail', name)}: {_value(name, value)}" for name, value in row.detail.items() if value not in (None, "")
    )
    call = row.call_id or ""
    return [
        m.escape(f"{row.at.astimezone(here.desk.site.zone):%Y-%m-%d %H:%M:%S}"),
        m.escape(_named("who", row.who)),
        m.escape(told(row.action)),
        m.link(call, look.address("call", {"id": call, "view": "all"})) if call else "",
        m.escape(detail),
    ]


def told(action: str) -> str:
    """An action in the reader's language; one that this version does not know, as it stands."""
    return _named("action", action)


def _value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return text("desk.value_yes") if value else text("desk.value_no")
    if name == "reason":
        return _named("refused", str(value))
    if name == "role" and value in list(Role):
        return text(f"app.role_{value}")
    return str(value)


def _named(what: str, code: str) -> str:
    name = f"desk.{what}_{code.replace(' ', '_')}"
    found = text(name)
    return code if found == name else found
