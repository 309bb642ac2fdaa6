"""Making or changing one clip: lines chosen, trimmed on the waveform, heard masked, with a note and what to say instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import streamlit as st
from streamlit.components.v2 import component

from qa.clips import ClipDraft, ClipRow, ClipSource, CoachingError, open_clip, read_tags, save_clip, source_of
from qa.marks import Kind
from qa.messages import text
from qa.pages import look, visit
from qa.review import Conflict
from scoring_rules.messages import pick

PAGE = "coaching"
FIRST_SECONDS = 15.0  # of a clip for which no place was chosen
LABELS = (
    "lines", "hint", "title", "rule", "note", "say", "tags", "start", "end", "wider", "closer", "save", "good", "bad",
    "no_rule", "no_sound", "choose", "play", "pause",
)  # fmt: skip


@st.cache_resource
def _trim():
    return component(
        "huiting_trim", html=look.asset("coaching.html"), css=look.asset("coaching.css"), js=look.asset("coaching.js")
    )


def draw(here: visit.Visit) -> None:
    query = {name: st.query_params[name] for name in st.query_params}
    number = query.get("clip", "")
    known = None
    if number.isdecimal() and len(number) < 10:
        known, _ = open_clip(here.desk.store, here.identity, int(number))
    call_id = (known.call_id or "") if known else query.get("call", "")
    if not call_id:
        st.info(text("coaching.no_call"))
        return
    try:
        source = source_of(here.desk.store, here.identity, call_id)
    except KeyError:
        st.info(text("app.not_heard"))
        return
    data = _data(here, source, known, query)
    data["problem"] = st.session_state.pop("clip-problem", "")
    result = _trim()(key=f"trim-{data['key']}", data=data, on_save_change=lambda: None)
    if result.save:
        _save(here, source, known, result.save)


def _save(here: visit.Visit, source: ClipSource, known: ClipRow | None, asked: Mapping[str, Any]) -> None:
    """Saved, or told why not with everything that was written still in its place."""
    given = ClipDraft(
        call_id=source.call_id,
        start=float(asked["start"]),
        end=float(asked["end"]),
        kind=Kind(asked.get("kind", Kind.GOOD)),
        title=str(asked.get("title", "")),
        rule=str(asked.get("rule", "")),
        note=str(asked.get("note", "")),
        say_instead=str(asked.get("say", "")),
        tags=read_tags(str(asked.get("tags", ""))),
    )
    try:
        save_clip(here.desk.store, here.identity, given, known and known.id, known and known.version)
    except CoachingError as error:
        st.session_state["clip-problem"] = text(f"coaching.fault_{error.fault}")
        st.rerun()
    except Conflict:
        st.session_state["clip-problem"] = text("coaching.conflict")
        st.rerun()
    visit.tell(text("coaching.clip_saved", title=given.title.strip()))
    look.go(look.address(PAGE, {"part": "clips"}))


def _data(here: visit.Visit, source: ClipSource, known: ClipRow | None, query: Mapping[str, str]) -> dict[str, Any]:
    rules = [
        # What to say is said on calls, so it is in the call's language and not in the reader's.
        {"id": rule.id, "name": pick(rule.name, here.language), "say": pick(rule.say_instead, rule.language)}
        for rule in here.desk.pack.rules
        if source.language.startswith(rule.language)
    ]
    address = quote(source.call_id, safe="")
    rule = (known.rule or "") if known else query.get("rule", "")
    found = next((one for one in rules if one["id"] == rule), None)
    start = known.start if known else _seconds(query.get("start", ""), 0.0)
    end = known.end if known else _seconds(query.get("end", ""), start + FIRST_SECONDS)
    kind = known.kind if known else query.get("kind", "")
    facts = [
        source.call_id,
        look.when(source.started_at, here.desk.site.zone),
        " / ".join(filter(None, (source.agent, source.team))) or "—",
        look.kind(source.kind),
        look.clock(source.duration),
        text("app.masked_now"),
    ]
    return {
        "key": f"{source.call_id}-{known.id if known else 'new'}-{known.version if known else ''}-{start:g}-{end:g}",
        "labels": {name: text(f"coaching.trim_{name}") for name in LABELS},
        "facts": " · ".join(facts),
        "sound": f"/api/sound/{address}?hearing=masked",
        "peaks": f"/api/peaks/{address}",
        "duration": source.duration,
        "turns": [
            {
                "role": role.value if role else "",
                "name": text(f"role.{role}") if role else "",
                "start": begin,
                "end": stop,
                "text": said,
            }
            for role, begin, stop, said in source.lines
        ],
        "rules": sorted(rules, key=lambda one: one["name"]),
        "start": start,
        "end": end,
        "kind": kind if kind in list(Kind) else Kind.GOOD.value,
        "rule": rule if found else "",
        "title": known.title if known else (found["name"] if found else ""),
        "note": known.note if known else "",
        "say": known.say_instead if known else (found["say"] if found else ""),
        "tags": " ".join(known.tags) if known else "",
    }


def _seconds(raw: str, otherwise: float) -> float:
    try:
        value = float(raw)
    except ValueError:
        return otherwise
    return value if 0 <= value < 1_000_000 else otherwise
