"""The library of clips: found again, heard, changed, taken out, and put into packs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from qa.clips import PAGE_SIZE, ClipFilter, ClipRow, known_tags, list_clips, retire_clip
from qa.coaching import list_packs, open_pack, save_pack
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from qa.pages.coaching_find import kind_chip

PAGE = "coaching"
NEW = "new"  # instead of a pack: one that is to be made


def draw(here: visit.Visit) -> None:
    query = {name: st.query_params[name] for name in st.query_params}
    page = query.get("page", "1")
    wanted = ClipFilter(
        kind=query.get("kind", ""),
        rule=query.get("rule", ""),
        tag=query.get("tag", ""),
        words=query.get("words", ""),
        retired=query.get("retired") == "1",
        page=int(page) if page.isdecimal() and int(page[:6]) > 0 else 1,
    )
    rows, total = list_clips(here.desk.store, here.identity, wanted)
    did = look.block(_form(here, wanted) + _list(here, rows, total, wanted, query), "coaching-clips")
    if did.get("form") == "library":
        values = {name: str(value).strip() for name, value in did["values"].items() if str(value).strip()}
        look.go(look.address(PAGE, {"part": "clips", **values}))
    elif did.get("form") == "add":
        _add(here, did["values"], did.get("rows", []))
    elif did.get("do") in ("retire", "back"):
        retire_clip(here.desk.store, here.identity, int(did["value"]), back=did["do"] == "back")
        visit.tell(text("coaching.clip_retired" if did["do"] == "retire" else "coaching.clip_back"))
        st.rerun()


def _form(here: visit.Visit, wanted: ClipFilter) -> str:
    any_ = text("app.any")
    tags = known_tags(here.desk.store, here.identity)
    fields = [
        m.field("words", text("coaching.field_words"), wanted.words, first=True, wide=True),
        m.select("kind", text("coaching.field_kind"), [(k, text(f"coaching.kind_{k}")) for k in ("good", "bad")],
                 wanted.kind, any_label=any_),
        m.select("rule", text("coaching.field_rule"), sorted(here.rule_names.items()), wanted.rule, any_label=any_),
        m.select("tag", text("coaching.field_tag"), [(tag, tag) for tag in tags], wanted.tag, any_label=any_),
        m.flags([("retired", text("coaching.field_retired"), wanted.retired)]),
    ]  # fmt: skip
    clear = m.link(text("app.clear"), look.address(PAGE, {"part": "clips"}))
    return (
        f'<form class="fields" role="search" data-form="library">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("app.apply"))}<span class="row">{clear}</span></div></form>'
    )


def _list(
    here: visit.Visit, rows: list[ClipRow], total: int, wanted: ClipFilter, query: Mapping[str, str]
) -> str:
    if not rows:
        return m.empty(text("coaching.no_clips"))
    pages = -(-total // PAGE_SIZE)
    turn = m.pages(
        wanted.page, pages, lambda page: look.address(PAGE, {**query, "part": "clips", "page": str(page)})
    )
    packs = [(str(pack.id), pack.name) for pack in list_packs(here.desk.store, here.identity)]
    add = (
        f'<form class="fields" data-form="add">'
        f"{m.select('pack', text('coaching.to_pack'), [(NEW, text('coaching.new_pack')), *packs], NEW)}"
        f"{m.field('name', text('coaching.pack_name'), '', example=text('coaching.pack_example'))}"
        f'<div class="buttons"><button type="submit" class="primary" data-needs-rows disabled>'
        f"{m.escape(text('coaching.add'))} (<span data-count>0</span>)</button></div></form>"
    )
    count = f'<p class="quiet">{m.escape(text("coaching.clip_count", count=total))}</p>'
    return f"{count}{''.join(clip_card(here, row, choose=True) for row in rows)}{turn}{add}"


def clip_card(here: visit.Visit, row: ClipRow, *, choose: bool = False, more: str = "", lines: str = "") -> str:
    """A clip with what it shows; `more` are further buttons, `lines` what is said; both mark-up already."""
    box = (
        f'<input type="checkbox" name="row" value="{row.id}" aria-label="{m.escape(row.title)}"> ' if choose else ""
    )
    sound = m.play(f"/api/clip/{row.id}", 0, 0, text("coaching.listen", title=row.title))
    rule = m.chip(here.rule_names.get(row.rule, row.rule)) if row.rule else ""
    tags = "".join(m.chip(f"# {tag}") for tag in row.tags)
    facts = []
    if row.call_id is not None:
        facts = [" / ".join(filter(None, (row.agent, row.team))) or "—", look.when(row.started_at, here.desk.site.zone)]
    note = "".join(f"<div>{m.escape(line)}</div>" for line in row.note.splitlines())
    say = f'<div class="say">➜ {m.escape(text("coaching.say_instead"))} {m.escape(row.say_instead)}</div>' if row.say_instead else ""
    buttons = more
    if choose:
        edit = m.link(text("coaching.edit"), look.address(PAGE, {"part": "clip", "clip": str(row.id)}))
        retire = (
            m.button("back", text("coaching.put_back"), value=str(row.id))
            if row.retired
            else m.button("retire", text("coaching.retire"), value=str(row.id), ask=text("coaching.sure"))
        )
        buttons = edit + retire + more
    return (
        f'<article data-row><header>{box}{sound} <b>{m.escape(row.title)}</b> {kind_chip(row.kind)}{rule}{tags}'
        f'<span class="quiet">{row.seconds:.1f} s{"".join(" · " + m.escape(fact) for fact in facts)}</span>'
        f'<span class="grow"></span><span class="row">{buttons}</span></header>{lines}{note}{say}</article>'
    )


def _add(here: visit.Visit, values: Mapping[str, Any], rows: list[str]) -> None:
    """The chosen clips go to the end of a pack, or make a new one."""
    chosen = [int(row) for row in rows if str(row).isdecimal()]
    store, identity, pack = here.desk.store, here.identity, str(values.get("pack", NEW))
    if pack == NEW:
        pack_id = save_pack(store, identity, str(values.get("name", "")), "", chosen)
    else:
        known, clips = open_pack(store, identity, int(pack))
        held = [clip.row.id for clip in clips]
        pack_id = save_pack(store, identity, known.name, known.note, [*held, *chosen], known.id, known.version)
    visit.tell(text("coaching.added", count=len(chosen)))
    look.go(look.address(PAGE, {"part": "pack", "pack": str(pack_id)}))
