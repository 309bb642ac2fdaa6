"""The board's charts, as Altair draws them. One dark colour and grey: they are read in black and white as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from qa.figures import Bar, Group, ItemFigure
from qa.messages import text
from qa.store.figures import NON_FATAL

INK, FAINT, GREY = "#0b5cad", "#9db8d2", "#8a94a3"
ROW, AXIS = 24, 60  # pixels: of a row, and of the axis below
MOST_ITEMS, MOST_AGENTS = 15, 25
Drawing = alt.LayerChart | alt.FacetChart
PICK = "pick"  # the selection that a click makes


def measure_name(measure: str) -> str:
    return text(f"board.measure_{measure.replace('-', '_')}")


def shown(measure: str, value: float | None) -> str:
    """A figure as people read it: points, or percent."""
    if value is None:
        return "—"
    return f"{value:.1f}" if measure == "score" else f"{100 * value:.1f} %"


def distribution(bars: Sequence[Bar], passing: float) -> Drawing:
    rows = [
        {"low": bar.low, "high": bar.high, "calls": bar.calls, "range": f"{bar.low}–{bar.high}",
         "passed": bar.low >= passing}
        for bar in bars
    ]  # fmt: skip
    base = alt.Chart(alt.Data(values=rows))
    columns = base.mark_bar(stroke=INK).encode(
        x=alt.X("low:Q", title=text("board.axis_score"), scale=alt.Scale(nice=False)),
        x2="high:Q",
        y=alt.Y("calls:Q", title=text("board.axis_calls"), axis=alt.Axis(tickMinStep=1)),
        y2=alt.datum(0),
        color=alt.condition("datum.passed", alt.value(INK), alt.value(FAINT)),
        tooltip=[_tip("range:N", "axis_score"), _tip("calls:Q", "axis_calls")],
    )
    line = alt.Chart(alt.Data(values=[{"at": passing, "told": text("board.passing", passing=f"{passing:g}")}]))
    return alt.layer(
        columns.add_params(_pick("low")),
        line.mark_rule(strokeDash=[5, 4], strokeWidth=1.5).encode(x="at:Q"),
        line.mark_text(align="right", dx=-5, dy=-4, baseline="bottom").encode(x="at:Q", y=alt.value(0), text="told:N"),
    ).properties(height=230, usermeta=_USERMETA, padding={"top": 16}, description=text("board.title_distribution"))


def trend(groups: Sequence[Group], measure: str) -> Drawing:
    """A figure over time with its interval; hollow points have few calls."""
    rows = [{**_row(group, measure), "at": group.name.isoformat()} for group in groups]
    rows = [row for row in rows if row["value"] is not None]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("at:T", title=None, axis=alt.Axis(format="%m-%d", labelOverlap=True, tickCount=8))
    )
    value = _value(measure)
    return alt.layer(
        base.mark_area(color=FAINT, opacity=0.45).encode(y=alt.Y("low:Q", **value), y2="high:Q"),
        base.mark_line(color=INK).encode(y=alt.Y("value:Q", **value)),
        base.mark_point(size=55, stroke=INK, strokeWidth=1.5).encode(
            y=alt.Y("value:Q", **value),
            fill=alt.condition("datum.few", alt.value("white"), alt.value(INK)),
            tooltip=[alt.Tooltip("at:T", title=text("board.axis_day"), format="%Y-%m-%d"), *_told(measure)],
        ).add_params(_pick("at")),
    ).properties(height=260, usermeta=_USERMETA, description=text("board.title_trend", measure=measure_name(measure)))  # fmt: skip


def pareto(items: Sequence[ItemFigure], names: Mapping[str, str]) -> Drawing:
    """Which items fail most, the share of all failures that they make together, and how often each fails."""
    rows = [
        {"rule": item.rule, "failed": item.failed, "judged": item.judged, "rate": item.rate.value,
         "name": ("‼ " if item.fault_class != NON_FATAL else "") + names.get(item.rule, item.rule),
         "told": f"{item.failed} · {100 * (item.rate.value or 0):.1f} % · Σ {100 * item.cumulative:.0f} %"}
        for item in items[:MOST_ITEMS] if item.failed
    ]  # fmt: skip
    most = max((row["failed"] for row in rows), default=1)
    room = alt.Scale(domainMax=most * 1.5, nice=False)  # for the words behind the longest bar
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=_LABELS),
        x=alt.X("failed:Q", title=text("board.axis_failed"), axis=alt.Axis(tickMinStep=1), scale=room),
        tooltip=[_tip("name:N", "axis_item"), _tip("rule:N", "axis_rule"), _tip("failed:Q", "axis_failed"),
                 _tip("judged:Q", "axis_judged"), alt.Tooltip("rate:Q", title=text("board.axis_rate"), format=".1%")],
    )  # fmt: skip
    return alt.layer(
        base.mark_bar(color=INK, height=14).add_params(_pick("rule")),
        base.mark_text(align="left", dx=5).encode(text="told:N"),
    ).properties(height=ROW * max(2, len(rows)) + AXIS, usermeta=_USERMETA, description=text("board.title_pareto"))


def comparison(groups: Sequence[Group], measure: str) -> Drawing:
    """Groups beside each other, the lowest first, each with its interval; grey and hollow where calls are few."""
    rows = []
    for group in _lowest(groups, measure):
        row = _row(group, measure)
        if row["value"] is not None:
            rows.append({**row, "name": group.name, "label": f"{group.name} (n={group.sums.calls})"})
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=_LABELS),
        color=alt.condition("datum.few", alt.value(GREY), alt.value(INK)),
    )
    value = _value(measure)
    return alt.layer(
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", **value), x2="high:Q"),
        base.mark_point(size=80, strokeWidth=1.5).encode(
            x=alt.X("value:Q", **value),
            fill=alt.condition("datum.few", alt.value("white"), alt.value(INK)),
            tooltip=[_tip("name:N", "axis_name"), *_told(measure)],
        ).add_params(_pick("name")),
    ).properties(height=ROW * max(2, len(rows)) + AXIS, usermeta=_USERMETA, description=measure_name(measure))  # fmt: skip


def _lowest(groups: Sequence[Group], measure: str) -> list[Group]:
    """Those to look at first: with enough calls before those with few, the lowest figure first."""
    named = [group for group in groups if group.name is not None]
    order = sorted(named, key=lambda group: (group.sums.few, group.sums.measure(measure).value or 0.0, group.name))
    return order[:MOST_AGENTS]


def _row(group: Group, measure: str) -> dict[str, Any]:
    share = group.sums.measure(measure)
    return {
        "value": share.value,
        "low": share.value if share.low is None else share.low,
        "high": share.value if share.high is None else share.high,
        "calls": group.sums.calls,
        "few": group.sums.few,
        "interval": f"{shown(measure, share.low)} – {shown(measure, share.high)}",
    }


def _value(measure: str) -> dict[str, Any]:
    form = "~g" if measure == "score" else "~%"
    return {
        "title": measure_name(measure),
        "scale": alt.Scale(zero=False),
        "axis": alt.Axis(format=form, tickCount=6),
    }


def _told(measure: str) -> list[alt.Tooltip]:
    form = ".1f" if measure == "score" else ".1%"
    return [
        alt.Tooltip("value:Q", title=measure_name(measure), format=form),
        _tip("interval:N", "axis_interval"),
        _tip("calls:Q", "axis_calls"),
    ]


def _tip(field: str, name: str) -> alt.Tooltip:
    return alt.Tooltip(field, title=text(f"board.{name}"))


def _pick(field: str) -> alt.Parameter:
    return alt.selection_point(name=PICK, fields=[field], on="click", empty=False)


_LABELS = alt.Axis(labelLimit=260, labelOverlap=False)
_USERMETA = {"embedOptions": {"renderer": "svg"}}  # so that a picture can be taken out of the page
