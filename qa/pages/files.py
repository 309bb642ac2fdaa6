"""Nights 夜间任务: what became of each file of a night, with the reason; what was refused can be tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from qa.access import Identity, Right, Role
from qa.messages import text
from qa.morning import FILES_PAGE, FileRow, NightAccount, night_account, night_files, nights
from qa.pages import look, visit
from qa.pages import markup as m
from qa.retry import retry
from qa.states import Outcome
from qa.store.schema import Night

ADDRESS = "files"
COLUMNS = ("outcome", "reason", "file", "why", "call")
REFUSED = (Outcome.QUARANTINED, Outcome.FAILED, Outcome.SKIPPED)


def opens_for(identity: Identity) -> bool:
    return identity.role is not Role.AGENT


def draw() -> None:
    here = visit.current()
    store, identity = here.desk.store, here.identity
    st.title(text("app.page_files"))
    known = nights(store, identity)
    if not known:
        look.block(m.empty(text("app.no_night")), "empty")
        return
    numbers = [night.id for night in known]
    asked, page = st.query_params.get("night", ""), st.query_params.get("page", "")
    night = int(asked) if asked.isdecimal() and int(asked) in numbers else numbers[0]
    named = st.query_params.get("outcome", "")
    outcome = Outcome(named) if named in list(Outcome) else None
    number = int(page) if page.isdecimal() and 1 <= int(page) < 10**6 else 1
    account = night_account(store, identity, here.desk.site.passing, night)
    assert account is not None
    rows, total = night_files(store, identity, night, outcome, number)
    may_retry, told = here.may(Right.OPERATE), visit.told()
    query = {"night": str(night)} | ({"outcome": outcome.value} if outcome else {})
    did = look.block(
        (m.told(told[0], problem=told[1]) if told else "")
        + _choice(known, night, here)
        + _outcomes(account, outcome)
        + _reasons(account, may_retry=may_retry)
        + (_table(rows, may_retry=may_retry, may_see=here.may(Right.SEE)) if rows else m.empty(text("desk.no_files")))
        + m.pages(number, -(-total // FILES_PAGE), lambda n: look.address(ADDRESS, {**query, "page": str(n)})),
        "files",
    )
    if did.get("form") == "night":
        look.go(look.address(ADDRESS, {"night": did["values"]["night"]}))
    if did.get("do") in ("retry", "retry_reason"):
        _retry(did, here)


def _retry(did: Mapping[str, Any], here: visit.Visit) -> None:
    value = str(did["value"])
    calls, reason = ([value], "") if did["do"] == "retry" else ([], value)
    done = retry(here.desk.store, here.identity, calls, reason)
    visit.tell(text("desk.retried", count=len(done)) if done else text("desk.retried_none"), problem=not done)
    st.rerun()


def _choice(known: Sequence[Night], chosen: int, here: visit.Visit) -> str:
    zone = here.desk.site.zone
    options = [
        (str(n.id), text("app.night_choice", night=n.id, began=look.when(n.started_at, zone))
         + f" · {text(f'night.{n.state}')}")
        for n in known
    ]  # fmt: skip
    night = next(night for night in known if night.id == chosen)
    message = m.told(night.message, problem=True) if night.message and here.may(Right.OPERATE) else ""
    return (
        f'<form class="row" data-form="night" data-live>{m.select("night", text("app.field_night"), options, str(chosen))}'
        f"</form>{message}"
    )


def _outcomes(account: NightAccount, chosen: Outcome | None) -> str:
    night = str(account.id)
    shown = [o for o in Outcome if o is not Outcome.PENDING or account.outcomes[o]]
    partial = f'<p class="quiet">{m.escape(text("app.within_reach"))}</p>' if account.partial else ""
    return partial + m.tabs(
        [
            (text("summary.received"), look.address(ADDRESS, {"night": night}), chosen is None, account.received),
            *(
                (
                    text(f"outcome.{outcome}"),
                    look.address(ADDRESS, {"night": night, "outcome": outcome.value}),
                    chosen is outcome,
                    account.outcomes[outcome],
                )
                for outcome in shown
            ),
        ],
        text("app.field_outcome"),
    )


def _reasons(account: NightAccount, *, may_retry: bool) -> str:
    """Each reason with its count, and a button that tries all calls with it again."""
    found = [(o, reason, count) for (o, reason), count in account.reasons.items() if o in REFUSED]
    if not found:
        return ""
    pieces = []
    for outcome, reason, count in sorted(found, key=lambda one: -one[2]):
        chip = m.chip(f"{text(f'outcome.{outcome}')} · {text(f'reason.{reason}')} {count}", "warn")
        again = ""
        if may_retry:
            again = m.button(
                "retry_reason", text("desk.retry_reason"), value=reason, ask=text("desk.retry_ask", count=count)
            )
        pieces.append(f"<span>{chip}{again}</span>")
    return f'<div class="row" style="margin-bottom:.6rem">{"".join(pieces)}</div>'


def _table(rows: Sequence[FileRow], *, may_retry: bool, may_see: bool) -> str:
    columns = [text(f"summary.column_{name}") for name in COLUMNS] + ([""] if may_retry else [])
    return m.table(columns, [_row(row, may_retry, may_see) for row in rows], text("app.page_files"))


def _row(row: FileRow, may_retry: bool, may_see: bool) -> list[str]:
    call = m.escape(row.call_id or "")
    if row.call_id and may_see and row.outcome == Outcome.SCORED:
        call = m.link(row.call_id, look.address("call", {"id": row.call_id, "view": "all"}))
    cells = [
        m.escape(text(f"outcome.{row.outcome}")),
        m.escape(text(f"reason.{row.reason}")) if row.reason else "",
        m.escape(row.path),
        m.escape(row.message or ""),
        call,
    ]
    if may_retry:
        cells.append(m.button("retry", text("desk.retry"), value=row.call_id or "") if row.retryable else "")
    return cells
