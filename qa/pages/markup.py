"""Mark-up of the pages' blocks. Everything that comes in as text goes out escaped."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence

from qa.messages import text

escape = html.escape


def select(
    name: str, label: str, options: Iterable[tuple[str, str]], value: str, *, any_label: str | None = None
) -> str:
    """A list to choose from. A value that is none of the options is kept as one of its own."""
    offered = list(options)
    if any_label is not None:
        offered.insert(0, ("", any_label))
    if value not in (code for code, _ in offered):
        offered.append((value, value))
    inner = "".join(
        f'<option value="{escape(code)}"{" selected" if code == value else ""}>{escape(shown)}</option>'
        for code, shown in offered
    )
    return f'<label>{escape(label)}<select name="{name}">{inner}</select></label>'


def field(
    name: str,
    label: str,
    value: str,
    *,
    kind: str = "text",
    example: str = "",
    first: bool = False,
    wide: bool = False,
) -> str:
    extra = " data-first" if first else ""
    number = ' min="0" max="1000" step="any"' if kind == "number" else ""
    return (
        f'<label{" class=two" if wide else ""}>{escape(label)}<input name="{name}" type="{kind}" '
        f'value="{escape(value)}" placeholder="{escape(example)}" autocomplete="off"{number}{extra}></label>'
    )


def flags(options: Sequence[tuple[str, str, bool]]) -> str:
    inner = "".join(
        f'<label><input type="checkbox" name="{name}" value="1"{" checked" if on else ""}>{escape(label)}</label>'
        for name, label, on in options
    )
    return f'<div class="flags">{inner}</div>'


def button(
    name: str, label: str, *, value: str = "", ask: str = "", primary: bool = False, rows: bool = False
) -> str:
    """`ask`: what a first press asks, before a second one does it; `rows`: it needs rows that are chosen."""
    return (
        f'<button type="button" data-do="{name}" data-value="{escape(value)}"'
        + (f' data-ask="{escape(ask)}"' if ask else "")
        + (' class="primary"' if primary else "")
        + (" data-needs-rows disabled" if rows else "")
        + f">{escape(label)}</button>"
    )


def submit(label: str) -> str:
    return f'<button type="submit" class="primary">{escape(label)}</button>'


def link(label: str, address: str, *, current: bool = False, name: str = "") -> str:
    return (
        f'<a href="{escape(address)}"{" aria-current=page" if current else ""}'
        + (f' aria-label="{escape(name)}"' if name else "")
        + f">{escape(label)}</a>"
    )


def play(sound: str, start: float | None, end: float | None, label: str) -> str:
    """A button that plays a stretch where it stands; `sound` is the recording's address."""
    return (
        f'<button type="button" class="play" aria-pressed="false" aria-label="{escape(label)}" title="{escape(label)}" '
        f'data-play="{escape(sound)}" data-start="{start or 0:.2f}" data-end="{end or 0:.2f}" '
        f'data-failed="{escape(text("desk.sound_failed"))}"></button>'
    )


def tile(label: str, count: int, address: str, kind: str = "", *, quiet: bool = False) -> str:
    none = " none" if quiet and not count else ""
    return (
        f'<a class="tile {kind}{none}" href="{escape(address)}"><strong>{count}</strong>'
        f"<span>{escape(label)}</span></a>"
    )


def chip(label: str, kind: str = "") -> str:
    return f'<span class="chip {kind}">{escape(label)}</span>'


def marked(source: str, spans: Sequence[tuple[int, int]]) -> str:
    """A text with stretches of its characters marked."""
    pieces, done = [], 0
    for start, end in spans:
        start = max(start, done)
        if start >= end:
            continue
        pieces += [escape(source[done:start]), "<mark>", escape(source[start:end]), "</mark>"]
        done = end
    return "".join(pieces) + escape(source[done:])


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", *, numbers: Sequence[int] = ()
) -> str:
    """A table of cells that are mark-up already."""
    kinds = dict.fromkeys(numbers, ' class="number"')
    head = "".join(f'<th scope="col"{kinds.get(n, "")}>{escape(c)}</th>' for n, c in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(f"<td{kinds.get(n, '')}>{cell}</td>" for n, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table>{f"<caption>{escape(caption)}</caption>" if caption else ""}'
        + (f"<thead><tr>{head}</tr></thead>" if columns else "")
        + f"<tbody>{body}</tbody></table></div>"
    )


def pages(current: int, count: int, address: Callable[[int], str]) -> str:
    """Links to the pages of a list; `address` makes the one of a page."""
    if count <= 1:
        return ""
    shown = sorted({1, *range(max(1, current - 2), min(count, current + 2) + 1), count})
    pieces, last = [], 0
    for number in shown:
        if number > last + 1:
            pieces.append("<span>…</span>")
        here = number == current
        pieces.append(f"<b>{number}</b>" if here else link(str(number), address(number)))
        last = number
    if current > 1:
        pieces.insert(0, link(text("desk.page_before"), address(current - 1)))
    if current < count:
        pieces.append(link(text("desk.page_after"), address(current + 1)))
    return f'<nav class="pages" aria-label="{escape(text("desk.pages"))}">{"".join(pieces)}</nav>'


def empty(message: str) -> str:
    return f'<p class="empty" role="status">{escape(message)}</p>'


def told(message: str, *, problem: bool = False) -> str:
    return f'<p class="told{" problem" if problem else ""}" role="{"alert" if problem else "status"}">{escape(message)}</p>'


def tabs(options: Sequence[tuple[str, str, bool, int | None]], name: str) -> str:
    """(label, address, current, count)"""
    inner = "".join(
        f'<a href="{escape(address)}"{" aria-current=page" if current else ""}>{escape(label)}'
        + (f"<b>{count}</b>" if count is not None else "")
        + "</a>"
        for label, address, current, count in options
    )
    return f'<nav class="tabs" aria-label="{escape(name)}">{inner}</nav>'
