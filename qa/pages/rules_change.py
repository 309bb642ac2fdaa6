"""Changing rules in the app: a draft, its replay over stored calls, its publication; and the versions published so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import streamlit as st

from qa.access import Right
from qa.messages import text
from qa.pages import look, visit
from qa.pages import markup as m
from qa.publish import (
    Candidate,
    DraftConflict,
    PublishRefused,
    candidate,
    change_rule,
    draft_changes,
    outdated,
    publish,
)
from qa.replay import Change, FindingChange, VerdictChange, changed_rules
from qa.rule_versions import Version, difference, versions
from qa.rules_desk import Replayed, has_sentence_model, replayed
from scoring_rules.messages import message
from scoring_rules.model import Rule, RuleStatus

ADDRESS = "rules"
SIGNS = {Change.GAINED: "+", Change.LOST: "−", Change.STATUS: "~"}
MAX_PHRASES = 200  # lines of one field of the change form

Encode = Callable[[visit.Visit, bool], Any]


def date_of(here: visit.Visit, value: str) -> datetime | None:
    """The first moment of a day at the site; None for none, or for what is no day."""
    try:
        return datetime.fromisoformat(value).replace(tzinfo=here.desk.site.zone) if value else None
    except ValueError:
        return None


# --- the form on a rule's own page ------------------------------------------------------------------------------


def change_form(here: visit.Visit, rule: Rule) -> str:
    """What can be changed without writing YAML; it goes into the draft."""
    changes, seen = draft_changes(here.desk.store, rule.language)
    mine = changes.get(rule.id, {})
    statuses = [(status.value, text(f"rules_page.status_{status}")) for status in RuleStatus]
    as_is = text("rules_page.as_is")
    fields = [
        m.select("status", text("rules_page.status"), statuses, mine.get("status", ""), any_label=as_is),
        m.field("points", text("rules_page.points"), f"{mine['points']:g}" if "points" in mine else "", kind="number", example=f"{rule.points:g}"),
        _area("phrases", text("rules_page.more_phrases"), "\n".join(mine.get("phrases", ())), text("rules_page.a_phrase_a_line")),
    ]  # fmt: skip
    if rule.expect == "absent":
        told = "\n".join(phrase for entry in mine.get("unless", ()) for phrase in entry.get("phrase", ()))
        fields.append(_area("unless", text("rules_page.more_exceptions"), told, text("rules_page.exceptions_hint")))
    back = m.button("take_back", text("rules_page.take_back"), value=str(seen)) if mine else ""
    return (
        f'<h3 id="change">{m.escape(text("rules_page.change_this"))}</h3>'
        f'<p class="quietly">{m.escape(text("rules_page.change_hint"))}</p>'
        f'<form class="fields" data-form="change"><input type="hidden" name="seen" value="{seen}">{"".join(fields)}'
        f'<div class="buttons whole">{m.submit(text("rules_page.into_draft"))}{back}'
        f"{m.link(text('rules_page.view_change'), look.address(ADDRESS, {'view': 'change'}))}</div></form>"
    )


def take_change(here: visit.Visit, rule: Rule, did: Mapping[str, Any]) -> None:
    values = did.get("values", {})
    change: dict[str, Any] = {}
    if did.get("form") == "change":
        if values.get("status"):
            change["status"] = values["status"]
        if values.get("points", "").strip():
            change["points"] = float(values["points"])
        if phrases := _phrases(values.get("phrases", "")):
            change["phrases"] = phrases
        if exceptions := _phrases(values.get("unless", "")):
            change["unless"] = [{"phrase": exceptions}]
    seen = int(values.get("seen") or did.get("value") or 0)
    try:
        change_rule(here.desk.settings, here.desk.store, here.identity, rule.language, rule.id, change, seen)
        visit.tell(text("rules_page.in_draft" if change else "rules_page.out_of_draft"))
    except DraftConflict:
        visit.tell(text("rules_page.draft_conflict"), problem=True)
    except PublishRefused as refused:
        visit.tell(str(refused), problem=True)
    st.rerun()


def _phrases(value: str) -> list[str]:
    return list(dict.fromkeys(line.strip() for line in value.splitlines() if line.strip()))[:MAX_PHRASES]


def _area(name: str, label: str, value: str, example: str) -> str:
    return (
        f'<label class="whole">{m.escape(label)}<textarea name="{name}" rows="2" placeholder="{m.escape(example)}">'
        f"{m.escape(value)}</textarea></label>"
    )


# --- the draft --------------------------------------------------------------------------------------------------


def drafted(here: visit.Visit, model: Any = None, *, check: bool = False) -> Candidate:
    return candidate(here.desk.settings, here.desk.store, encoder=model, check=check)


def draw_change(here: visit.Visit, top: str, encoder: Encode) -> None:
    found = drafted(here)
    changed = sorted(changed_rules(found.base, found.draft))
    lines = difference(found.base_layers, found.layers)
    if found.version is None:
        base = text("rules_page.unpublished")
    else:
        base = text("rules_page.against", version=found.version)
    body = f'<p class="quietly">{m.escape(base)}</p>'
    if not lines:
        look.block(top + body + m.empty(text("rules_page.no_draft")), "rules-change")
        return
    if found.errors:
        problems = "".join(f"<li>{m.escape(problem.text(here.language))}</li>" for problem in found.errors)
        body += f'{m.told(text("rules_page.errors", count=len(found.errors)), problem=True)}<ul>{problems}</ul>'
    told = ", ".join(rule for _, rule in changed) or text("replay.no_rules")
    body += f"<p>{m.escape(text('replay.changed_rules', rules=told))}</p>"
    body += f'<details data-keep="diff"><summary>{m.escape(text("rules_page.diff"))}</summary>{_diff(lines)}</details>'
    result: Replayed | None = st.session_state.get("rules_replay")
    fresh = result is not None and result.draft == found.draft.fingerprint
    if not found.errors:
        body += _replay_form(here)
        if result is not None and fresh:
            body += _result(here, result)
        body += _publish_form(st.session_state.pop("rules_refused", False))
    did = look.block(f'{top}<div class="rule">{body}</div>', "rules-change")
    if did.get("form") == "replay":
        _replay(here, found, encoder, did["values"])
    elif did.get("form") == "publish":
        _publish(here, encoder, did["values"])


def _replay_form(here: visit.Visit) -> str:
    fields = [
        m.field("since", text("app.field_since"), "", kind="date"),
        m.field("until", text("app.field_until"), "", kind="date"),
        _model_flag(here),
    ]
    return (
        f"<h3>{m.escape(text('rules_page.replay'))}</h3>"
        f'<form class="fields" data-form="replay">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("rules_page.do_replay"))}</div></form>'
    )


def _model_flag(here: visit.Visit) -> str:
    """Nights judge by the sentence model where there is one, so a replay does unless it is told not to."""
    if not has_sentence_model(here.desk.settings):
        return ""
    return m.flags([("model", text("rules_page.with_model"), True)])


def _publish_form(refused: bool) -> str:
    fields = [m.field("note", text("rules_page.note"), "", example=text("rules_page.note_example"), wide=True)]
    if refused:
        fields.append(m.field("because", text("rules_page.because"), "", example=text("rules_page.because_example"), wide=True))
    return (
        f"<h3>{m.escape(text('rules_page.publish'))}</h3><p class=\"quietly\">{m.escape(text('rules_page.publish_hint'))}</p>"
        f'<form class="fields" data-form="publish">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("rules_page.do_publish"))}</div></form>'
    )


def _replay(here: visit.Visit, found: Candidate, encoder: Encode, values: Mapping[str, str]) -> None:
    since, until = date_of(here, values.get("since", "")), date_of(here, values.get("until", ""))
    with st.spinner(text("rules_page.working"), show_time=False):
        model = encoder(here, values.get("model") == "1")
        progress = _Progress()
        result = replayed(
            here.desk.store, here.identity, found, model, since, until, on_total=progress.total, on_call=progress.done
        )
    st.session_state["rules_replay"] = result
    st.rerun()


def _publish(here: visit.Visit, encoder: Encode, values: Mapping[str, str]) -> None:
    with st.spinner(text("rules_page.working"), show_time=False):
        model = encoder(here, True)
        progress = _Progress()
        try:
            number = publish(
                here.desk.settings, here.desk.store, drafted(here, model, check=True), values.get("note", ""),
                who=here.identity, because=values.get("because", ""), encoder=model,
                on_total=progress.total, on_call=progress.done,
            )  # fmt: skip
        except PublishRefused as refused:
            parts = [str(refused), *(problem.text(here.language) for problem in refused.problems[:5])]
            parts += [f"{flip.call} {flip.rule} ({', '.join(flip.who)})" for flip in refused.flips[:10]]
            st.session_state["rules_refused"] = bool(refused.flips)
            visit.tell("\n".join(parts), problem=True)
            st.rerun()
        with here.desk.store.read() as session:
            waiting = outdated(session, here.desk.pack)
    st.session_state.pop("rules_replay", None)
    told = text("publish.done", version=number)
    visit.tell(f"{told} {text('publish.rescore', count=waiting)}" if waiting else told)
    st.query_params.from_dict({"view": "versions"})
    st.rerun()


class _Progress:
    """A bar over the calls of a replay."""

    def __init__(self) -> None:
        self._bar = st.progress(0.0)
        self._total = self._done = 0

    def total(self, total: int) -> None:
        self._total = total

    def done(self, _: str) -> None:
        self._done += 1
        step = max(1, self._total // 100)
        if self._total and (self._done % step == 0 or self._done == self._total):
            self._bar.progress(min(1.0, self._done / self._total), f"{self._done}/{self._total}")


# --- what a replay said -----------------------------------------------------------------------------------------


def _result(here: visit.Visit, result: Replayed) -> str:
    summary, locale = result.summary, here.language
    names = here.rule_names
    body = (
        '<div role="status">'
        f"<p>{m.escape(text('replay.calls', calls=summary.calls, changed=summary.changed_calls, skipped=summary.skipped))}</p>"
    )
    if summary.flips:
        body += m.told(text("rules_page.flips", count=summary.flips), problem=True)
    body += (
        f"<p>{m.escape(text('replay.verdicts', flips=summary.flips, contested=summary.contested_flips, met=summary.agreements))}</p></div>"
    )
    rules = sorted({*summary.gained, *summary.lost, *summary.restated, *(rule for rule, _, _ in summary.outcomes)})
    if rules:
        columns = [text("accuracy.rule"), *(text(f"replay.{name}") for name in ("gained", "lost", "restated", "outcomes"))]
        rows = [
            [
                m.escape(names.get(rule, rule)), f"+{summary.gained[rule]}", f"−{summary.lost[rule]}",
                str(summary.restated[rule]), "<br>".join(m.escape(move) for move in _moves(summary.outcomes, rule, locale)),
            ]
            for rule in rules
        ]  # fmt: skip
        body += m.table(columns, rows, text("rules_page.replay"), numbers=(1, 2, 3))
    moved = [(agent, found) for agent, found in summary.agents.items() if found.changed]
    if moved:
        moved.sort(key=lambda pair: -abs(pair[1].mean_after - pair[1].mean_before))
        columns = [text(f"replay.{name}") for name in ("agent", "mean_score", "changed_calls", "passed", "fatal")]
        rows = [
            [
                m.escape(agent or "—"), f"{found.mean_before:.1f} → {found.mean_after:.1f}", f"{found.changed}/{found.calls}",
                f"{found.passed_before} → {found.passed_after}", f"{found.fatal_before} → {found.fatal_after}",
            ]
            for agent, found in moved
        ]  # fmt: skip
        body += f"<h3>{m.escape(text('rules_page.agents'))}</h3>" + m.table(columns, rows, text("rules_page.agents"))
    for change in Change:
        mine = [one for one in result.findings if one.change is change]
        if mine:
            body += f"<h3>{SIGNS[change]} {m.escape(text(f'rules_page.findings_{change}'))} <small>{_of(summary, change)}</small></h3>"
            body += m.table(_finding_columns(), [_finding(one, names, locale) for one in mine], text(f"rules_page.findings_{change}"))
    if result.verdicts:
        columns = [text(f"rules_page.{name}") for name in ("call", "rule", "who_judged", "says", "then")]
        body += f"<h3>{m.escape(text('rules_page.verdicts'))}</h3>"
        body += m.table(columns, [_verdict(one, names) for one in result.verdicts], text("rules_page.verdicts"))
    return body


def _of(summary, change: Change) -> int:
    counts = {Change.GAINED: summary.gained, Change.LOST: summary.lost, Change.STATUS: summary.restated}
    return sum(counts[change].values())


def _moves(outcomes: Mapping[tuple[str, str, str], int], rule: str, locale: str) -> list[str]:
    def named(outcome: str) -> str:
        return message(f"outcome.{outcome}", locale) if outcome else "—"

    return [f"{named(was)} → {named(now)} {count}" for (name, was, now), count in sorted(outcomes.items()) if name == rule]


def _finding_columns() -> list[str]:
    return [text(f"rules_page.{name}") for name in ("call", "rule", "finding_status", "words_found")]


def _finding(found: FindingChange, names: Mapping[str, str], locale: str) -> list[str]:
    query = {"id": found.call, "view": "all"} | ({"turn": str(found.turn)} if found.turn is not None else {})
    status = message(f"status.{found.status}", locale)
    if found.was:
        status = f"{message(f'status.{found.was}', locale)} → {status}"
    words = f"{m.escape(found.before)}<mark>{m.escape(found.words)}</mark>{m.escape(found.after)}"
    how = message(f"how.{found.how}", locale)
    return [
        m.link(found.call, look.address("call", query)),
        m.escape(names.get(found.rule, found.rule)),
        m.escape(f"{status} · {how}"),
        f'<span class="words">{words if found.words else m.escape(found.before)}</span>',
    ]


def _verdict(found: VerdictChange, names: Mapping[str, str]) -> list[str]:
    said = text("replay.says_fault" if found.fault else "replay.says_none")
    then = ("✓ " if found.agrees else "✗ ") + text("replay.verdict_met" if found.agrees else "replay.verdict_flips")
    then += "" if found.settled else f" ({text('replay.contested')})"
    return [
        m.link(found.call, look.address("call", {"id": found.call, "view": "all"})),
        m.escape(names.get(found.rule, found.rule)),
        m.escape(", ".join(found.who)),
        m.escape(said),
        m.escape(then),
    ]


# --- versions ---------------------------------------------------------------------------------------------------


def draw_versions(here: visit.Visit, top: str) -> None:
    with here.desk.store.read() as session:
        found = versions(session)
        waiting = outdated(session, here.desk.pack) if here.may(Right.PUBLISH) else 0
    if not found:
        look.block(top + m.empty(text("rules_page.never_published")), "rules-versions")
        return
    body = m.told(text("publish.rescore", count=waiting)) if waiting else ""
    body += m.table(
        [text(f"rules_page.{name}") for name in ("version", "when", "who_did", "note", "because_short", "replay")],
        [_version(one, here) for one in found],
        text("rules_page.view_versions"),
    )
    for newer, older in zip(found, [*found[1:], None], strict=True):
        lines = difference(older.layers if older else (), newer.layers)
        label = text("rules_page.version_diff", version=newer.number)
        body += f'<details data-keep="v{newer.number}"><summary>{m.escape(label)}</summary>{_diff(lines)}</details>'
    look.block(f'{top}<div class="rule">{body}</div>', "rules-versions")


def _version(found: Version, here: visit.Visit) -> list[str]:
    figures = found.replayed
    told = text(
        "rules_page.version_figures",
        calls=figures.get("calls", 0),
        gained=sum(figures.get("gained", {}).values()),
        lost=sum(figures.get("lost", {}).values()),
        flips=figures.get("settled_verdicts_contradicted", 0),
    )
    return [
        f"<b>{found.number}</b> <code>{m.escape(found.fingerprint)}</code>",
        m.escape(look.when(found.at, here.desk.site.zone)),
        m.escape(found.who),
        m.escape(found.note),
        m.escape(found.because or ""),
        m.escape(told),
    ]


def _diff(lines: list[str]) -> str:
    kinds = {"+": "plus", "-": "minus"}
    told = "\n".join(
        f'<span class="{kinds[line[0]]}">{m.escape(line)}</span>' if line[:1] in kinds else m.escape(line) for line in lines
    )
    return f"<pre>{told}</pre>"
