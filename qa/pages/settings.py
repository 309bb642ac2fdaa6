"""Settings 设置: the rules, the models and the settings in force, and where each setting comes from."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from qa.access import Identity, Right, require
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m

ADDRESS = "settings"
MEGABYTE = 1_000_000
FINGERPRINT = 12  # characters that are shown


def opens_for(identity: Identity) -> bool:
    return True


def draw() -> None:
    here = visit.current()
    require(here.identity, Right.OPERATE)
    st.title(text("app.page_settings"))
    pack = here.desk.pack
    versions = [[name, version] for name, version in pack.versions.items()]
    rules = [
        *versions,
        [text("app.rule_count"), str(len(pack.rules))],
        [text("app.fingerprint"), pack.fingerprint],
    ]
    columns = [text(f"app.column_{name}") for name in ("setting", "value", "source")]
    settings = [[p.key, p.value, p.source] for p in here.desk.settings.provenance()]
    look.block(
        _section("app.rules_in_force", m.table((), map(_escaped, rules)))
        + _section("desk.models_in_force", _models(here))
        + _section("app.settings_in_force", m.table(columns, map(_escaped, settings))),
        "settings",
    )


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{m.escape(text(title))}</h2>{inner}</section>"


def _escaped(row: Iterable[str]) -> list[str]:
    return [m.escape(cell) for cell in row]


def _models(here: visit.Visit) -> str:
    """The weights that the settings name, as they lie in the models folder; not read through, which takes long."""
    from qa.commands.models import named
    from speech import models

    options = here.desk.settings.speech_options()
    wanted = named(options)
    known = {one.name: one for one in models.listing(options.models_folder, wanted)}
    columns = [text(f"models.column_{name}") for name in ("name", "state", "use", "size", "licence", "fingerprint")]
    rows = [
        [
            one.name,
            ("✓ " if one.state is models.State.PRESENT else "✗ ") + text(f"models.state_{one.state.value}"),
            one.use,
            f"{one.size / MEGABYTE:.0f} MB" if one.size else "",
            one.licence,
            one.fingerprint[:FINGERPRINT],
        ]
        for name in wanted
        if (one := known.get(name)) is not None
    ]
    return m.table(columns, map(_escaped, rows)) + f'<p class="quiet">{m.escape(text("desk.models_hint"))}</p>'
