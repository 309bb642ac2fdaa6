"""Settings 设置: what is in force and where it comes from, with the rules and the models."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import streamlit as st

from qa.access import Identity, Right, require
from qa.messages import text
from qa.pages import visit

ADDRESS = "settings"


def opens_for(identity: Identity) -> bool:
    return True


def draw() -> None:
    here = visit.current()
    require(here.identity, Right.OPERATE)
    st.title(text("app.page_settings"))
    pack = here.desk.pack
    st.subheader(text("app.rules_in_force"))
    versions = [[name, version] for name, version in pack.versions.items()]
    rows = [*versions, [text("app.rule_count"), str(len(pack.rules))], [text("app.fingerprint"), pack.fingerprint]]
    st.html(table((), rows))
    st.subheader(text("app.settings_in_force"))
    columns = [text(f"app.column_{name}") for name in ("setting", "value", "source")]
    st.html(table(columns, [[p.key, p.value, p.source] for p in here.desk.settings.provenance()]))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        '<div class="wide"><table class="plain">'
        + (f"<thead><tr>{head}</tr></thead>" if columns else "")
        + f"<tbody>{body}</tbody></table></div>"
    )
