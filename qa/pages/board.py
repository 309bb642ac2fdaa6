"""Board 看板: how good the calls are, which items fail, whose and when; every figure leads to its calls."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from qa.access import Identity, Right, Role
from qa.call_filter import FilterError
from qa.call_lists import Site, choices
from qa.figures import FEW_CALLS, MEASURES, Board, Group, Scope, Share, Sums, board, span_of_days
from qa.figures_files import note_export
from qa.messages import text
from qa.pages import board_charts as charts
from qa.pages import look, visit
from qa.reviewed import Result, catch_up_for_page
from qa.store.figures import FATAL_BITS
from scoring_rules.messages import pick

ADDRESS = "board"
RECENT_DAYS = 30  # what an address without days shows, up to the newest call
FRESH_SECONDS = 60
STEPS = ("day", "week")
STYLE = """<style>
[data-testid="stElementToolbar"] { display: none; } /* its words are English only */
table.plain tr.few td { color: #5f6b7a; font-style: italic; }
.sum .number small { opacity: .8; font-variant-numeric: tabular-nums; }
</style>"""


def opens_for(identity: Identity) -> bool:
    return identity.role is not Role.AGENT


@st.cache_data(ttl=FRESH_SECONDS, max_entries=200, show_spinner=False)
def _board(_store: Any, identity: Identity, scope: Scope, _site: Site) -> Board:
    return board(_store, identity, scope, _site)


def draw() -> None:
    here = visit.current()
    desk = here.desk
    st.title(text("app.page_board"))
    st.html(STYLE)
    span = span_of_days(desk.store, here.identity, desk.site.zone)
    if span is None:
        st.info(text("board.empty"))
        return
    scope = _scope()
    if scope.since is None and scope.until is None and st.query_params.get("days") != "all":
        scope = replace(scope, since=max(span[0], span[1] - timedelta(days=RECENT_DAYS - 1)), until=span[1])
    _filters(here, scope, span)
    scope = replace(scope, result=Result(_choice("result", tuple(Result), _result_name)))
    waiting = catch_up_for_page(desk.store, desk.pack) if scope.result is Result.REVIEWED else 0
    found = _board(desk.store, here.identity, scope, desk.site)
    if not found.total.calls:
        st.info(text("board.nothing"))
        return
    st.caption(f"{_counted(found, scope, waiting)} {text('board.counted', few=FEW_CALLS)}")
    st.html(_heads(found.total, scope, desk.site.passing))
    names = {rule.id: pick(rule.name, here.language) for rule in desk.pack.rules}
    with st.container(horizontal=True):
        measure, step = _choice("measure", MEASURES, charts.measure_name), _choice("step", STEPS, _step_name)
    _charts(_Page(here, scope, found, names, measure, step))
    _tables(here, scope)


def _scope() -> Scope:
    query = {name: st.query_params[name] for name in st.query_params}
    try:
        return Scope.from_address(query)
    except FilterError as error:
        look.tell_faults(error)
        return Scope.from_address({name: value for name, value in query.items() if name not in error.faults})


def _counted(found: Board, scope: Scope, waiting: int) -> str:
    """By which result the figures are, and what of people's is in them."""
    if scope.result is Result.MACHINE:
        return text("board.by_machine")
    told = text("board.by_reviewed", judged=found.judged, calls=found.total.calls)
    return f"{told} {text('board.reckoning', count=waiting)}" if waiting else told


def _result_name(result: str) -> str:
    return text(f"board.result_{result}")


def _step_name(step: str) -> str:
    return text(f"board.step_{step}")


def _choice(name: str, offered: Sequence[str], told: Callable[[str], str]) -> str:
    """One of a few, kept in the address."""
    asked = st.query_params.get(name, offered[0])
    now = asked if asked in offered else offered[0]
    chosen = st.segmented_control(
        text(f"board.{name}"), offered, default=now, format_func=told, key=f"board-{name}", required=True
    )
    if chosen and chosen != now:
        st.query_params[name] = chosen
    return chosen or now


# --- the filter --------------------------------------------------------------------------------------------------


def _filters(here: visit.Visit, scope: Scope, span: tuple[Any, Any]) -> None:
    """The form of the filter; sending it writes the address."""
    known = choices(here.desk.store, here.identity)
    told = [value for value in (scope.team, scope.agent, scope.queue, scope.kind) if value]
    days = f"{scope.since or span[0]} – {scope.until or span[1]}"
    label = text("board.filter", told=" · ".join([days, *told]))
    with st.expander(label), st.form("board-filter", border=False):
        columns = st.columns(4)
        values = {
            name: _select(column, name, getattr(scope, name), known)
            for column, name in zip(columns, ("team", "agent", "queue", "kind"), strict=True)
        }
        since, until, sent, whole = st.columns(4, vertical_alignment="bottom")
        for column, name in ((since, "since"), (until, "until")):
            day = getattr(scope, name)
            values[name] = column.text_input(
                text(f"app.field_{name}"), "" if day is None else day.isoformat(), placeholder="2026-01-31"
            )
        apply = sent.form_submit_button(text("app.apply"), type="primary")
        all_days = whole.form_submit_button(text("board.all_days"))
    if not apply and not all_days:
        return
    if all_days:
        values |= {"since": "", "until": ""}
    try:
        wanted = Scope.from_address({name: value for name, value in values.items() if value}).to_address()
    except FilterError as error:
        look.tell_faults(error)
        return
    if not {"since", "until"} & set(wanted):
        wanted["days"] = "all"
    kept = {name: st.query_params[name] for name in ("measure", "step", "result") if name in st.query_params}
    st.query_params.from_dict({**wanted, **kept})
    st.rerun()


def _select(column: Any, name: str, value: str, known: Mapping[str, Sequence[str]]) -> str:
    offered = ["", *known[name]]
    if value not in offered:
        offered.append(value)
    shown = look.kind if name == "kind" else str
    return column.selectbox(
        text(f"app.field_{name}"), offered, offered.index(value), format_func=lambda v: shown(v) if v else text("app.any")
    )


# --- figures -----------------------------------------------------------------------------------------------------


def _heads(total: Sums, scope: Scope, passing: float) -> str:
    """The figures of all calls together; the accuracies of fatal and of other errors stand apart."""
    cells = [
        _cell(str(total.calls), text("board.calls"), "", scope.calls()),
        _cell(charts.shown("score", total.mean_score.value), charts.measure_name("score"), _interval("score", total)),
        _cell(
            str(total.below), "▼ " + text("app.why_below", passing=f"{passing:g}"), "", scope.calls(below=passing)
        ),
        *(
            _cell(
                charts.shown(name, total.measure(name).value),
                charts.measure_name(name),
                _interval(name, total),
                scope.calls(fatal_class=name) if name in FATAL_BITS else None,
            )
            for name in MEASURES
            if name != "score"
        ),
    ]
    return f'<div class="sum" role="group" aria-label="{html.escape(text("board.heads"))}">{"".join(cells)}</div>'


def _interval(measure: str, sums: Sums) -> str:
    share = sums.measure(measure)
    return "" if share.low is None else f"{charts.shown(measure, share.low)} – {charts.shown(measure, share.high)}"


def _cell(value: str, label: str, under: str, query: Mapping[str, str] | None = None) -> str:
    inner = f"<strong>{html.escape(value)}</strong><span>{html.escape(label)}</span>"
    inner += f"<small>{html.escape(under)}</small>" if under else ""
    if query is None:
        return f'<div class="number">{inner}</div>'
    return f'<a class="number" href="{html.escape(look.address("queue", query))}" target="_self">{inner}</a>'


class _Page:
    """What every chart of a run needs."""

    def __init__(
        self, here: visit.Visit, scope: Scope, found: Board, names: Mapping[str, str], measure: str, step: str
    ) -> None:
        self.here, self.scope, self.found, self.names = here, scope, found, names
        self.measure, self.step = measure, step


def _charts(page: _Page) -> None:
    found, scope = page.found, page.scope
    groups = found.days if page.step == "day" else found.weeks
    left, right = st.columns(2)
    with left:
        st.subheader(text("board.title_trend", measure=charts.measure_name(page.measure)))
        if groups:
            _chart(page, "trend", charts.trend(groups, page.measure), lambda at: _days(scope, at, page.step))
        _group_table(page, groups, text("board.axis_day"), lambda name: _days(scope, name.isoformat(), page.step))
        st.subheader(text("board.title_teams", measure=charts.measure_name(page.measure)))
        _chart(page, "teams", charts.comparison(found.teams, page.measure), lambda name: scope.calls(team=name))
        _group_table(page, found.teams, text("app.field_team"), lambda name: scope.calls(team=name))
        st.subheader(text("board.title_agents", measure=charts.measure_name(page.measure)))
        _chart(page, "agents", charts.comparison(found.agents, page.measure), lambda name: scope.calls(agent=name))
        if len(found.agents) > charts.MOST_AGENTS:
            st.caption(text("board.lowest", count=charts.MOST_AGENTS, all=len(found.agents)))
        _group_table(page, found.agents, text("app.field_agent"), lambda name: scope.calls(agent=name))
    with right:
        st.subheader(text("board.title_distribution"))
        _chart(page, "distribution", charts.distribution(found.bars, page.here.desk.site.passing), _bar_of(page))
        st.subheader(text("board.title_pareto"))
        _chart(page, "pareto", charts.pareto(found.items, page.names), lambda rule: scope.calls(rule=rule))
        _item_table(page)


def _days(scope: Scope, at: Any, step: str) -> dict[str, str]:
    """The calls of a day or of the week that begins with it. A click tells the day as text or as milliseconds."""
    if isinstance(at, int | float):
        first = datetime.fromtimestamp(at / 1_000, UTC).date()
    else:
        first = date.fromisoformat(str(at)[:10])
    last = first + timedelta(days=6 if step == "week" else 0)
    since = first if scope.since is None else max(first, scope.since)
    until = last if scope.until is None else min(last, scope.until)
    return scope.calls(since=since, until=until)


def _bar_of(page: _Page) -> Callable[[Any], dict[str, str]]:
    bars = {bar.low: bar for bar in page.found.bars}

    def address(low: Any) -> dict[str, str]:
        bar = bars[int(low)]
        last = bar is page.found.bars[-1]
        return page.scope.calls(above=float(bar.low), **({} if last else {"below": float(bar.high)}))

    return address


@st.cache_resource
def _pictures():
    return component(
        "huiting_board_picture", html=look.asset("board.html"), css=look.asset("board.css"), js=look.asset("board.js")
    )


def _chart(page: _Page, name: str, chart: charts.Drawing, address: Callable[[Any], dict[str, str]]) -> None:
    """A chart whose marks lead to their calls when they are clicked, and its pictures for those who may export."""
    with st.container(key=f"chart-{name}"):
        event: Any = st.altair_chart(
            chart, width="stretch", key=f"board-{name}", on_select="rerun", selection_mode=charts.PICK
        )
    if page.here.may(Right.EXPORT):
        _picture(page, name)
    picked = event.selection.get(charts.PICK) or []
    if picked:
        [value] = picked[0].values()
        st.switch_page(st.session_state["pages"]["queue"], query_params=address(value))


def _picture(page: _Page, name: str) -> None:
    """Two buttons; the browser saves what it has drawn once the export is written down."""
    granted = st.session_state.pop(f"picture-{name}", None)
    result = _pictures()(
        key=f"picture-of-{name}",
        data={
            "chart": f"chart-{name}",
            "labels": {form: text(f"board.picture_{form}") for form in ("png", "svg")},
            "granted": granted,
        },
        on_picture_change=lambda: None,
    )
    if result.picture in ("png", "svg"):
        note_export(page.here.desk.store, page.here.identity, page.scope, result.picture, name)
        number = st.session_state["pictures"] = st.session_state.get("pictures", 0) + 1
        st.session_state[f"picture-{name}"] = {"form": result.picture, "number": number}
        st.rerun()


# --- the same as tables ------------------------------------------------------------------------------------------


def _group_table(page: _Page, groups: Sequence[Group], heading: str, address: Callable[[Any], dict[str, str]]) -> None:
    with st.expander(text("board.as_table")):
        heads = [heading, text("board.axis_calls"), *map(charts.measure_name, MEASURES)]
        rows = [
            (
                _link(str(group.name), address(group.name)) if group.name is not None else text("board.none"),
                str(group.sums.calls) + (f" ({text('board.few')})" if group.sums.few else ""),
                *(_told(name, group.sums.measure(name)) for name in MEASURES),
            )
            for group in groups
        ]
        st.html(_table(heads, rows, [group.sums.few for group in groups]))


def _item_table(page: _Page) -> None:
    with st.expander(text("board.as_table")):
        heads = [text(f"board.axis_{name}") for name in ("item", "failed", "judged", "rate", "cumulative")]
        rows = [
            (
                _link(page.names.get(item.rule, item.rule), page.scope.calls(rule=item.rule)),
                str(item.failed),
                str(item.judged),
                _told("rate", item.rate),
                charts.shown("rate", item.cumulative),
            )
            for item in page.found.items
        ]
        st.html(_table(heads, rows, [item.judged < FEW_CALLS for item in page.found.items]))


def _told(measure: str, share: Share) -> str:
    if share.low is None:
        return charts.shown(measure, share.value)
    low, high = charts.shown(measure, share.low), charts.shown(measure, share.high)
    return f"{charts.shown(measure, share.value)} <small>({low} – {high})</small>"


def _link(label: str, query: Mapping[str, str]) -> str:
    return f'<a href="{html.escape(look.address("queue", query))}" target="_self">{html.escape(label)}</a>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], grey: Sequence[bool]) -> str:
    """`rows` are HTML already."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in heads)
    lines = [
        ('<tr class="few">' if few else "<tr>")
        + "".join(f"<td>{cell}</td>" for cell in row)
        + "</tr>"
        for row, few in zip(rows, grey, strict=True)
    ]
    return f'<div class="wide"><table class="plain"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _tables(here: visit.Visit, scope: Scope) -> None:
    if not here.may(Right.EXPORT):
        return
    st.subheader(text("board.title_export"))
    query = scope.to_address()
    with st.container(horizontal=True):
        for name, form in (("board", "xlsx"), ("groups", "csv"), ("items", "csv"), ("distribution", "csv")):
            address = look.address(f"api/board/{name}.{form}", {**query, "lang": here.language})
            look.plain_link(text(f"board.export_{name}"), address)
    st.caption(text("board.export_hint"))
