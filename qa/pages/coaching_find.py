"""Finding moments for clips: lines by rule, words, emotion, kind and score, and what reviewers marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import streamlit as st

from qa.call_filter import CallFilter, FilterError, View
from qa.call_lists import choices
from qa.clips_found import PAGE_SIZE as MARKS_PAGE
from qa.clips_found import MarkedMoment, marked_moments
from qa.line_search import PAGE_SIZE, Feeling, Line, LineFilter, Speaker, search_lines
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from scoring_rules.model import Expect

CALL_FIELDS = ("agent", "team", "kind", "above", "below")
LEAD_IN = 0.3  # seconds before and after a line that a clip begins with
PAGE = "coaching"


def draw(here: visit.Visit) -> None:
    query = {name: st.query_params[name] for name in st.query_params}
    lines, before = LineFilter.from_address(query), query.get("before", "")
    place = int(before) if before.isdecimal() and len(before) < 19 else None
    calls = _calls(query)
    marks = query.get("marks", "")
    if lines.empty:
        results = _marks(here, marks if marks in ("good", "bad") else "", place)
    else:
        try:
            found = search_lines(here.desk.store, here.identity, lines, calls, here.desk.site, place)
            results = _lines(here, found, lines, calls)
        except FilterError:
            results = m.told(text("app.number_search"), problem=True)
    did = look.block(_form(here, lines, calls, marks) + results, "coaching-find")
    if did.get("form") == "find":
        wanted = {name: str(value).strip() for name, value in did["values"].items() if str(value).strip()}
        look.go(look.address(PAGE, {"part": "find", **wanted}))


def _calls(query: Mapping[str, str]) -> CallFilter:
    asked = {name: query[name] for name in CALL_FIELDS if name in query}
    try:
        return CallFilter.from_address({**asked, "view": View.ALL})
    except FilterError as error:
        look.tell_faults(error)
        kept = {name: value for name, value in asked.items() if name not in error.faults}
        return CallFilter.from_address({**kept, "view": View.ALL})


def _form(here: visit.Visit, lines: LineFilter, calls: CallFilter, marks: str) -> str:
    any_, known = text("app.any"), choices(here.desk.store, here.identity)
    feelings = [(feeling.value, text(f"desk.feeling_{feeling}")) for feeling in Feeling]
    kinds = [(code, look.kind(code)) for code in known["kind"]]
    fields = [
        m.field("q", text("app.field_words"), lines.words, example=text("app.words_example"), first=True, wide=True),
        m.select("rule", text("coaching.field_rule"), sorted(here.rule_names.items()), lines.rule, any_label=any_),
        m.select("emotion", text("desk.field_emotion"), feelings, lines.emotion, any_label=any_),
        m.select("speaker", text("desk.field_speaker"), [(s.value, text(f"role.{s}")) for s in Speaker], lines.speaker,
                 any_label=any_),
        m.select("kind", text("app.field_kind"), kinds, calls.kind, any_label=any_),
        *(m.select(name, text(f"app.field_{name}"), [(v, v) for v in known[name]], getattr(calls, name), any_label=any_)
          for name in ("team", "agent")),
        m.field("above", text("coaching.field_above"), _number(calls.above), kind="number"),
        m.field("below", text("coaching.field_below"), _number(calls.below), kind="number"),
        m.select("marks", text("coaching.field_marks"), [(k, text(f"coaching.kind_{k}")) for k in ("good", "bad")],
                 marks, any_label=any_),
    ]  # fmt: skip
    clear = m.link(text("app.clear"), look.address(PAGE, {"part": "find"}))
    return (
        f'<form class="fields" role="search" data-form="find">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("coaching.find"))}<span class="row">{clear}</span></div></form>'
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _lines(here: visit.Visit, found: Sequence[Line], lines: LineFilter, calls: CallFilter) -> str:
    if not found:
        return m.empty(text("coaching.nothing_found"))
    rule = next((one for one in here.desk.pack.rules if one.id == lines.rule), None)
    kind = "good" if rule is not None and rule.expect is Expect.PRESENT else "bad" if rule else ""
    inner = "".join(_line(here, line, lines.rule, kind) for line in found)
    further = ""
    if len(found) == PAGE_SIZE:
        query = {**calls.to_address(), **lines.to_address(), "part": "find", "before": str(found[-1].match.turn_id)}
        query.pop("view", None)
        further = f'<nav class="pages">{m.link(text("app.more"), look.address(PAGE, query))}</nav>'
    return f'<ol class="lines">{inner}</ol>{further}'


def _line(here: visit.Visit, line: Line, rule: str, kind: str) -> str:
    match = line.match
    role = text(f"role.{match.role}") if match.role else match.speaker
    said = f'<span class="who {m.escape(match.role or "")}">{m.escape(role)}</span> {m.marked(match.text, match.spans)}'
    facts = [look.when(line.started_at, here.desk.site.zone), _whose(line.agent, line.team),
             text("app.score_is", score=look.points(line.score))]  # fmt: skip
    span = None if match.start is None or line.end is None else (max(0.0, match.start - LEAD_IN), line.end + LEAD_IN)
    return moment(match.call_id, span, said, facts, rule=rule, kind=kind, sound=line.has_recording)


def _marks(here: visit.Visit, kind: str, before: int | None) -> str:
    found = marked_moments(here.desk.store, here.identity, kind, before)
    title = f"<h2>{m.escape(text('coaching.marked'))}</h2>"
    if not found:
        return title + m.empty(text("coaching.no_marks"))
    inner = "".join(_mark(here, one) for one in found)
    further = ""
    if len(found) == MARKS_PAGE:
        query = {"part": "find", "before": str(found[-1].mark_id), **({"marks": kind} if kind else {})}
        further = f'<nav class="pages">{m.link(text("app.more"), look.address(PAGE, query))}</nav>'
    return f'{title}<ol class="lines">{inner}</ol>{further}'


def _mark(here: visit.Visit, one: MarkedMoment) -> str:
    told = "<br>".join(
        f'<span class="who {line.role or ""}">{m.escape(text(f"role.{line.role}") if line.role else "")}</span> '
        f"{m.escape(line.text)}"
        for line in one.lines[:3]
    )
    note = f'<br><span class="quiet">{m.escape(one.note)}</span>' if one.note else ""
    said = f"{kind_chip(one.kind)} {told or m.escape(text('coaching.whole_call'))}{note}"
    facts = [look.when(one.started_at, here.desk.site.zone), _whose(one.agent, one.team),
             text("coaching.marked_by", who=one.who)]  # fmt: skip
    span = None if one.start is None or one.end is None else (max(0.0, one.start - LEAD_IN), one.end + LEAD_IN)
    return moment(one.call_id, span, said, facts, kind=one.kind, sound=one.has_recording)


def moment(
    call_id: str,
    span: tuple[float, float] | None,
    said: str,
    facts: Sequence[str],
    *,
    rule: str = "",
    kind: str = "",
    sound: bool = False,
) -> str:
    """A place in a call, to be heard where it stands and made a clip of. `said` is mark-up already."""
    start, end = span or (0.0, 15.0)
    play = ""
    if sound:
        address = f"/api/sound/{quote(call_id, safe='')}?hearing=masked"
        play = m.play(address, start, end, text("desk.play_line"))
        query = {"part": "clip", "call": call_id, "start": f"{start:.2f}", "end": f"{end:.2f}", "rule": rule, "kind": kind}
        address = look.address(PAGE, {name: value for name, value in query.items() if value})
        make = f'<a class="chip" href="{m.escape(address)}">{m.escape(text("coaching.make_clip"))}</a>'
    else:
        make = f'<span class="quiet">{m.escape(text("coaching.no_recording"))}</span>'
    return (
        f'<li data-row><span>{play}</span><span class="at">{look.clock(start)}</span><span>{said}</span>'
        f'<span class="facts">{make}<br><span class="quiet">{m.escape(" · ".join(facts))}</span></span></li>'
    )


def kind_chip(kind: str) -> str:
    sign = "✓" if kind == "good" else "✗"
    return m.chip(f"{sign} {text(f'coaching.kind_{kind}')}", "" if kind == "good" else "fault")


def _whose(agent: str | None, team: str | None) -> str:
    return " / ".join(filter(None, (agent, team))) or "—"
