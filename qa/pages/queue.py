"""Queue 复核: the calls that wait for a person, filtered by the address, so that a list can be shared; who has which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from qa import assignments
from qa.access import AccessDenied, Identity, Right, Role
from qa.assignments import Assigned, Held, NoSuchAssignee, Reviewer
from qa.call_filter import NOBODY, CallFilter, FilterError, Sort, View
from qa.call_lists import (
    BULK_LIMIT,
    PAGE_SIZE,
    WORDS_LIMIT,
    Page,
    choices,
    count_calls,
    list_calls,
    list_owners,
)
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from qa.reviewed import Result, catch_up_for_page
from qa.store.figures import FATAL_BITS
from scoring_rules.messages import message

ADDRESS = "queue"
COUNTED = (View.MINE, View.WAITING, View.CHANGED)


def opens_for(identity: Identity) -> bool:
    return identity.role is not Role.AGENT


def draw() -> None:
    here = visit.current()
    store, site = here.desk.store, here.desk.site
    st.title(text("app.page_queue"))
    wanted = look.read_filter()
    catch_up_for_page(store, here.desk.pack)
    try:
        found = list_calls(store, here.identity, wanted, site)
    except FilterError as error:
        look.tell_faults(error)
        wanted, found = replace(wanted, words=""), Page((), 0)
    people = assignments.reviewers(store, here.identity) if here.may(Right.ASSIGN) else []
    names = {person.login: person.name for person in people} | {here.identity.login: text("desk.me")}
    told = visit.told()
    did = look.block(
        _tabs(wanted, found, here)
        + (m.told(told[0], problem=told[1]) if told else "")
        + _filters(wanted, choices(store, here.identity), here, people)
        + (m.told(text("app.words_cut", count=WORDS_LIMIT), problem=True) if found.words_cut else "")
        + _actions(wanted, found, people, here)
        + _list(wanted, found, names, here),
        "queue",
    )
    if did:
        _do(did, wanted, here)


# --- what is shown ---------------------------------------------------------------------------------------------


def _tabs(wanted: CallFilter, found: Page, here: visit.Visit) -> str:
    views = [view for view in View if view is not View.MINE or here.may(Right.VERDICT)]
    counts = {}
    if replace(wanted, sort=Sort.RISK, page=1) == CallFilter(view=wanted.view):  # the list is counted already
        counts[wanted.view] = found.total
    counted = [view for view in views if view in COUNTED and view not in counts]
    counts |= dict(
        zip(
            counted,
            count_calls(
                here.desk.store, here.identity, [CallFilter(view=view) for view in counted], here.desk.site
            ),
            strict=True,
        )
    )
    return m.tabs(
        [
            (
                text(f"desk.view_{view}"),
                look.address(ADDRESS, replace(wanted, view=view, page=1).to_address()),
                view is wanted.view,
                counts.get(view) if view in COUNTED else None,
            )
            for view in views
        ],
        text("app.field_view"),
    )


def _filters(
    wanted: CallFilter, known: Mapping[str, Sequence[str]], here: visit.Visit, people: Sequence[Reviewer]
) -> str:
    """The form of the filter; sending it writes the address."""
    any_ = text("app.any")
    rules = sorted(here.rule_names.items(), key=lambda rule: rule[0])
    fields = [
        m.field(
            "words",
            text("app.field_words"),
            wanted.words,
            example=text("app.words_example"),
            first=True,
            wide=True,
        ),
        *(
            m.select(
                name,
                text(f"app.field_{name}"),
                [(v, v) for v in known[name]],
                getattr(wanted, name),
                any_label=any_,
            )
            for name in ("agent", "team", "queue")
        ),
        m.select(
            "kind",
            text("app.field_kind"),
            [(v, look.kind(v)) for v in known["kind"]],
            wanted.kind,
            any_label=any_,
        ),
        m.select(
            "rule",
            text("app.field_rule"),
            [(code, name) for code, name in rules],
            wanted.rule,
            any_label=any_,
        ),
        m.field("since", text("app.field_since"), _iso(wanted.since), kind="date"),
        m.field("until", text("app.field_until"), _iso(wanted.until), kind="date"),
        m.field("above", text("desk.field_above"), _plain(wanted.above), kind="number", example="0"),
        m.field("below", text("app.field_below"), _plain(wanted.below), kind="number", example="100"),
        m.select(
            "fatal_class",
            text("desk.field_fatal_class"),
            [(name, message(f"class.{name}", here.language)) for name in FATAL_BITS],
            wanted.fatal_class,
            any_label=any_,
        ),
        m.select("tag", text("desk.field_tag"), [(v, v) for v in known["tag"]], wanted.tag, any_label=any_),
        m.select(
            "result",
            text("desk.field_result"),
            [(one.value, text(f"desk.result_{one}")) for one in Result],
            wanted.result.value,
        ),
    ]
    if people or wanted.assigned:
        options = [(NOBODY, text("desk.nobodys")), *((p.login, p.name) for p in people)]
        fields.append(
            m.select("assigned", text("desk.field_assigned"), options, wanted.assigned, any_label=any_)
        )
    fields += [
        m.select(
            "sort", text("app.field_sort"), [(s.value, text(f"app.sort_{s}")) for s in Sort], wanted.sort.value
        ),
        m.flags(
            [
                (name, text(label), getattr(wanted, name))
                for name, label in (
                    ("fatal", "app.field_fatal"), ("suspected", "app.field_suspected"), ("angry", "app.field_angry"),
                    ("silent", "desk.long_silence"), ("audit", "audits.field"),
                )
            ]
        ),
    ]  # fmt: skip
    clear = m.link(text("app.clear"), look.address(ADDRESS, CallFilter(view=wanted.view).to_address()))
    return (
        f'<form class="fields" data-form="filter" aria-label="{m.escape(text("app.filters"))}">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("app.apply"))}<span class="row">{clear}</span></div></form>'
    )


def _actions(wanted: CallFilter, found: Page, people: Sequence[Reviewer], here: visit.Visit) -> str:
    pages = max(1, -(-found.total // PAGE_SIZE))
    night = f" · {text('desk.of_night', night=wanted.night)}" if wanted.night is not None else ""
    count = text("app.row_count", count=found.total, page=min(wanted.page, pages), pages=pages) + night
    pieces = [f"<span>{m.escape(count)}</span>", '<span class="grow"></span>']
    if here.may(Right.VERDICT) and found.total:
        pieces.append(m.button("claim", text("desk.claim_chosen"), rows=True))
        pieces.append(m.button("release", text("desk.release_chosen"), rows=True))
        pieces.append(m.button("next", text("desk.take_next"), primary=True))
    row = f'<div class="row">{"".join(pieces)}</div>'
    if not people or not found.total:
        return row
    to = "".join(
        f'<label><input type="checkbox" name="to" value="{m.escape(p.login)}">'
        f"{m.escape(text('desk.reviewer', name=p.name, role=text(f'app.role_{p.role}'), count=p.open_calls))}</label>"
        for p in people
    )
    chosen = m.escape(text("desk.assign_chosen"))
    everything = m.escape(text("desk.assign_all", count=min(found.total, BULK_LIMIT)))
    return (
        row + f'<details data-keep="assign"><summary>{m.escape(text("desk.assign"))}</summary>'
        f'<form class="fields" data-form="assign"><div class="flags" role="group" '
        f'aria-label="{m.escape(text("desk.assign_to"))}">{to}</div>'
        + m.field("note", text("desk.assign_note"), "", example=text("desk.assign_note_example"), wide=True)
        + '<div class="buttons line">'
        f'<button type="submit" name="scope" value="chosen" class="primary" data-needs-rows disabled>{chosen} '
        f"(<span data-count>0</span>)</button>"
        f'<button type="submit" name="scope" value="all">{everything}</button>'
        + m.button("unassign", text("desk.unassign_chosen"), rows=True)
        + "</div></form></details>"
    )


def _list(wanted: CallFilter, found: Page, names: Mapping[str, str], here: visit.Visit) -> str:
    if not found.rows:
        message = (
            text(f"desk.empty_{wanted.view}")
            if wanted == CallFilter(view=wanted.view)
            else text("app.no_calls")
        )
        return m.empty(message)
    site, pages = here.desk.site, -(-found.total // PAGE_SIZE)
    return (
        look.call_rows(
            found.rows,
            passing=site.passing,
            zone=site.zone,
            query=wanted.to_address(),
            names=here.rule_names,
            people=names,
            choose=here.may(Right.VERDICT) or here.may(Right.ASSIGN),
        )
        + m.pages(
            min(wanted.page, pages),
            pages,
            lambda page: look.address(ADDRESS, wanted.at_page(page).to_address()),
        )
        + f'<p class="quiet"><kbd>j</kbd> <kbd>k</kbd> <kbd>x</kbd> <kbd>↵</kbd> <kbd>/</kbd> {m.escape(text("desk.list_keys"))}</p>'
    )


# --- what is done ----------------------------------------------------------------------------------------------


def _do(did: Mapping[str, Any], wanted: CallFilter, here: visit.Visit) -> None:
    seen = dict(row.split("\t", 1) for row in did.get("rows", ()))
    if did.get("form") == "filter":
        _filter(did["values"], wanted)
        return
    match did.get("do") or did.get("form"):
        case "next":
            _take_next(wanted, here)
        case "claim":
            _claim(list(seen), here)
        case "release":
            count = sum(_let_go(call_id, here) for call_id in seen)
            visit.tell(text("desk.released", count=count))
        case "assign":
            _assign(did["values"], {call: who or None for call, who in seen.items()}, wanted, here)
        case "unassign":
            count = assignments.unassign(here.desk.store, here.identity, list(seen))
            visit.tell(text("desk.unassigned", count=count))
        case _:
            return
    st.rerun()


def _filter(values: Mapping[str, str], wanted: CallFilter) -> None:
    kept = {"view": wanted.view.value, "night": "" if wanted.night is None else str(wanted.night)}
    try:
        asked = CallFilter.from_address({**kept, **values})
    except FilterError as error:
        look.tell_faults(error)
        return
    look.go(look.address(ADDRESS, asked.to_address()))


def _take_next(wanted: CallFilter, here: visit.Visit) -> None:
    call_id = assignments.claim_next(here.desk.store, here.identity, wanted.at_page(1), here.desk.site)
    if call_id is None:
        visit.tell(text("desk.none_left"), problem=True)
        return
    look.open_call(call_id, wanted.to_address())


def _claim(call_ids: Sequence[str], here: visit.Visit) -> None:
    count, refused = 0, []
    for call_id in call_ids:
        try:
            assignments.claim(here.desk.store, here.identity, call_id)
            count += 1
        except Held as held:
            until = held.until.astimezone(here.desk.site.zone)
            refused.append(text("desk.held_by", call=call_id, who=held.holder, until=f"{until:%H:%M}"))
    minutes = int(assignments.CLAIM_TIME.total_seconds() // 60)
    visit.tell(
        " ".join([text("desk.claimed", count=count, minutes=minutes), *refused]), problem=bool(refused)
    )


def _let_go(call_id: str, here: visit.Visit) -> bool:
    try:
        return assignments.release(here.desk.store, here.identity, call_id)
    except AccessDenied:  # somebody else's, and not this person's to free: told by the count
        return False


def _assign(
    values: Mapping[str, str], seen: dict[str, str | None], wanted: CallFilter, here: visit.Visit
) -> None:
    store, identity, site = here.desk.store, here.identity, here.desk.site
    if values.get("scope") == "all":
        seen = list_owners(store, identity, wanted, site)
    to = [login for login in values.get("to", "").split("\n") if login]
    if not to or not seen:
        visit.tell(text("desk.assign_whom"), problem=True)
        return
    try:
        result = assignments.assign(store, identity, seen, to, values.get("note", ""))
    except NoSuchAssignee as error:
        visit.tell(text("desk.no_such_assignee", who=str(error)), problem=True)
        return
    visit.tell(_outcome(result), problem=len(result.given) < len(seen))


def _outcome(result: Assigned) -> str:
    told = [text("desk.assigned", count=len(result.given))]
    for name in ("held", "taken", "beyond", "done"):
        if calls := getattr(result, name):
            told.append(text(f"desk.assign_{name}", count=len(calls), calls="、".join(calls[:5])))
    return " ".join(told)


def _iso(value: Any) -> str:
    return "" if value is None else value.isoformat()


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
