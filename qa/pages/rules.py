"""Rules 规则: what is looked for and why, a sentence to try, how right each rule is, and the change of rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import streamlit as st

from qa.access import Identity, Right, Role
from qa.accuracy import RuleAccuracy, Share
from qa.messages import text
from qa.pages import look, rules_audit, rules_change, visit
from qa.pages import markup as m
from qa.rulebook import encoder_in_force
from qa.rules_desk import checked_examples, has_sentence_model, rule_accuracy, tried_lines
from scoring_rules.meaning import Encoder
from scoring_rules.messages import message, pick
from scoring_rules.model import Example, Expect, Pack, Rule, RuleClass, RuleStatus
from scoring_rules.plain import in_words

ADDRESS = "rules"
FILTERS = ("words", "language", "dimension", "status", "class", "expect")
STATUS_SIGNS = {RuleStatus.STABLE: "●", RuleStatus.DRAFT: "◐", RuleStatus.RETIRED: "○"}
FAULTS = ("confirmed", "suspected", "fail")
_ENCODING = Lock()  # a sentence model serves one run at a time


def opens_for(identity: Identity) -> bool:
    return identity.role is not Role.AGENT


def draw() -> None:
    here = visit.current()
    st.title(text("app.page_rules"))
    view = st.query_params.get("view", "list")
    views = ["list", "try", "accuracy", *(["change"] if here.may(Right.PUBLISH) else []), "versions"]
    view = view if view in views else "list"
    rule = st.query_params.get("rule", "")
    tabs = m.tabs(
        [
            (text(f"rules_page.view_{name}"), look.address(ADDRESS, {"view": name}), name == view and not rule, None)
            for name in views
        ],
        text("rules_page.views"),
    )
    top = f"<style>{look.asset('rules.css')}</style>{tabs}"
    told = visit.told()
    notice = m.told(told[0], problem=told[1]) if told is not None else ""
    if rule:
        _detail(here, rule, st.query_params.get("language", "zh"), top, notice)
        return
    top += notice
    if view == "list":
        _list(here, top)
    elif view == "try":
        _try(here, top)
    elif view == "accuracy":
        _accuracy(here, top)
    elif view == "change":
        rules_change.draw_change(here, top, encoder)
    elif view == "versions":
        rules_change.draw_versions(here, top)


def encoder(here: visit.Visit, wanted: bool):
    """The sentence model, loaded once a process where it is wanted and there; else None."""
    return _encoder(here.desk.settings) if wanted and has_sentence_model(here.desk.settings) else None


@st.cache_resource(show_spinner=False)
def _encoder(_settings) -> _OneByOne | None:
    found = encoder_in_force(_settings)
    return None if found is None else _OneByOne(found)


class _OneByOne:
    """A sentence model that several people's runs share."""

    def __init__(self, inner: Encoder) -> None:
        self._inner = inner

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    def encode(self, texts: list[str]) -> np.ndarray:
        with _ENCODING:
            return self._inner.encode(texts)

    def adapted(self, adapter: Mapping[str, np.ndarray]) -> _OneByOne:
        return _OneByOne(self._inner.adapted(adapter))


# --- the list ---------------------------------------------------------------------------------------------------


def _list(here: visit.Visit, top: str) -> None:
    pack = here.desk.pack
    wanted = {name: st.query_params.get(name, "") for name in FILTERS}
    found = [rule for rule in pack.rules if _fits(rule, wanted)]
    body = _filter_form(pack, wanted, here.language)
    body += f'<p class="quietly">{m.escape(text("rules_page.count", shown=len(found), all=len(pack.rules)))}</p>'
    for dimension in pack.scoring.dimensions.values():
        mine = [rule for rule in found if rule.dimension == dimension.id]
        if mine:
            weight = text("rules_page.weight", weight=f"{dimension.weight:g}")
            body += f"<h2>{m.escape(pick(dimension.name, here.language))} <small>{m.escape(weight)}</small></h2>"
            body += m.table(_columns(), [_row(rule, here.language) for rule in mine], pick(dimension.name, here.language))
    if not found:
        body += m.empty(text("rules_page.nothing"))
    did = look.block(top + body, "rules-list")
    if did.get("form") == "filter":
        st.query_params.from_dict({name: value for name, value in did["values"].items() if name in FILTERS and value})
        st.rerun()


def _columns() -> list[str]:
    return [text(f"rules_page.{name}") for name in ("name", "id", "language", "status", "class", "points", "why")]


def _fits(rule: Rule, wanted: Mapping[str, str]) -> bool:
    exact = {
        "language": rule.language, "dimension": rule.dimension, "status": rule.status.value,
        "class": rule.rule_class.value, "expect": rule.expect.value,
    }  # fmt: skip
    if any(wanted[name] and wanted[name] != value for name, value in exact.items()):
        return False
    texts = [rule.id, *rule.name.values(), *rule.why.values(), *rule.say_instead.values()]
    return wanted["words"].strip().lower() in " ".join(texts).lower()


def _filter_form(pack: Pack, wanted: Mapping[str, str], locale: str) -> str:
    any_ = text("app.any")
    dimensions = [(d.id, pick(d.name, locale)) for d in pack.scoring.dimensions.values()]
    fields = [
        m.field("words", text("rules_page.words"), wanted["words"], example=text("rules_page.words_example"), first=True, wide=True),
        m.select("dimension", text("rules_page.dimension"), dimensions, wanted["dimension"], any_label=any_),
        m.select("language", text("rules_page.language"), [(c, language_name(c)) for c in pack.languages], wanted["language"], any_label=any_),
        m.select("status", text("rules_page.status"), [(s.value, text(f"rules_page.status_{s}")) for s in RuleStatus], wanted["status"], any_label=any_),
        m.select("class", text("rules_page.class"), [(c.value, message(f"class.{c}", locale)) for c in RuleClass], wanted["class"], any_label=any_),
        m.select("expect", text("rules_page.kind"), [(e.value, message(f"book.{e}", locale)) for e in Expect], wanted["expect"], any_label=any_),
    ]  # fmt: skip
    clear = m.link(text("app.clear"), look.address(ADDRESS, {}))
    return (
        f'<form class="fields" data-form="filter" aria-label="{m.escape(text("app.filters"))}">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("app.apply"))}<span class="row">{clear}</span></div></form>'
    )


def language_name(code: str) -> str:
    return text(f"rules_page.language_{code}") if code in ("zh", "en") else code


def _row(rule: Rule, locale: str) -> list[str]:
    link = look.address(ADDRESS, {"rule": rule.id, "language": rule.language})
    status = f"{STATUS_SIGNS[rule.status]} {text(f'rules_page.status_{rule.status}')}"
    fatal = m.chip("‼ " + message(f"class.{rule.rule_class}", locale), "fault") if rule.fatal else ""
    return [
        m.link(pick(rule.name, locale), link),
        f"<code>{m.escape(rule.id)}</code>",
        m.escape(language_name(rule.language)),
        m.escape(status),
        fatal or m.escape(message(f"class.{rule.rule_class}", locale)),
        m.escape("—" if rule.fatal else f"{rule.points:g}"),
        m.escape(pick(rule.why, locale)),
    ]


# --- one rule ---------------------------------------------------------------------------------------------------


def _detail(here: visit.Visit, rule_id: str, language: str, top: str, notice: str) -> None:
    """`notice` stands by the form of the change, where the person looks."""
    pack, locale = here.desk.pack, here.language
    try:
        rule = pack.rule(rule_id, language)
    except KeyError:
        look.block(top + m.empty(text("rules_page.no_such_rule", rule=rule_id)), "rules-none")
        return
    found = {one.rule: one for one in rule_accuracy(here.desk.store, here.identity, pack)}.get(rule.id)
    got = _checked(pack, pack.fingerprint, rule.id, rule.language, rule.origin.file)
    body = (
        f'<div class="rule"><h2>{m.escape(pick(rule.name, locale))} <small><code>{m.escape(rule.id)}</code></small></h2>'
        + _facts(rule, pack, locale)
        + "".join(
            f"<h3>{m.escape(part.label)}</h3><ul>{''.join(f'<li>{m.escape(line)}</li>' for line in part.lines)}</ul>"
            for part in in_words(rule, pack, locale)
        )
        + f"<h3>{m.escape(text('rules_page.accuracy'))}</h3>"
        + (accuracy_table([found], {rule.id: pick(rule.name, locale)}) if found else m.empty(text("rules_page.nobody_judged")))
        + _examples(rule, got, locale)
        + (rules_change.change_form(here, rule) if here.may(Right.PUBLISH) else "")
        + notice
        + "</div>"
    )
    did = look.block(top + body, f"rules-{rule.language}-{rule.id}")
    if did.get("form") == "change" or did.get("do") == "take_back":
        rules_change.take_change(here, rule, did)


@st.cache_data(max_entries=500, show_spinner=False)
def _checked(_pack: Pack, fingerprint: str, rule: str, language: str, file: str) -> dict[tuple[str, int], str]:
    """`file` is where the rule stands: the places of its examples are told with it."""
    return checked_examples(_pack, None, rule, language)


def _facts(rule: Rule, pack: Pack, locale: str) -> str:
    dimension = pack.scoring.dimensions[rule.dimension]
    weight = message(f"class.{rule.rule_class}", locale) if rule.fatal else message("book.points", locale, points=rule.points)
    facts = [
        (message("book.kind", locale), f"{message(f'book.{rule.expect}', locale)} · {weight}"),
        (text("rules_page.dimension"), pick(dimension.name, locale)),
        (text("rules_page.status"), f"{STATUS_SIGNS[rule.status]} {text(f'rules_page.status_{rule.status}')}"),
        (message("book.why", locale), pick(rule.why, locale)),
        (message("book.say_instead", locale), pick(rule.say_instead, locale)),
        (message("book.care", locale), pick(rule.false_positives, locale)),
        (message("book.references", locale), "; ".join(rule.references)),
        (text("rules_page.place"), f"{'/'.join(Path(rule.origin.file).parts[-2:])}:{rule.origin.line}"),
    ]
    inner = "".join(f"<dt>{m.escape(label)}</dt><dd>{m.escape(value)}</dd>" for label, value in facts if value)
    return f'<dl class="facts">{inner}</dl>'


def _examples(rule: Rule, got: Mapping[tuple[str, int], str], locale: str) -> str:
    if not rule.examples:
        return ""
    told = "".join(_example(example, got.get((example.origin.file, example.origin.line)), locale) for example in rule.examples)
    return (
        f'<details data-keep="examples"><summary>{m.escape(text("rules_page.examples", count=len(rule.examples)))}</summary>{told}</details>'
    )


def _example(example: Example, got: str | None, locale: str) -> str:
    lines = []
    for number, turn in enumerate(example.turns):
        if turn.role:
            said = f"{message('role.' + turn.role, locale)}{message('book.colon', locale)}{turn.text}"
            mark = ' class="here"' if number == example.here else ""
            lines.append(f"<p{mark}>{m.escape(said)}</p>")
        else:
            lines.append(f'<p class="quietly">{m.escape(message("book.silence", locale, seconds=turn.silence))}</p>')
    kind = "bad" if example.expect in FAULTS else "good"
    label = text("rules_page.expects", what=text(f"rules_page.expect_{example.expect}"))
    wrong = got is not None and got != example.expect
    if wrong:
        label += " · " + text("rules_page.example_is", what=text(f"rules_page.expect_{got}"))
    return (
        f'<div class="example {kind}"><p class="quietly{" failed" if wrong else ""}">{m.escape(label)}</p>{"".join(lines)}</div>'
    )


# --- a sentence to try ------------------------------------------------------------------------------------------


def _try(here: visit.Visit, top: str) -> None:
    kept = st.session_state.setdefault("rules_try", {"role": "agent", "language": "zh", "which": "force"})
    roles = [(name, message(f"role.{name}", here.language)) for name in ("agent", "customer")]
    languages = [(code, language_name(code)) for code in here.desk.pack.languages]
    which = [("force", text("rules_page.in_force"))]
    if here.may(Right.PUBLISH):
        which.append(("draft", text("rules_page.the_draft")))
    fields = [
        area("before", text("rules_page.before"), kept.get("before", ""), text("rules_page.before_example")),
        m.field("said", text("rules_page.said"), kept.get("said", ""), example=text("rules_page.said_example"), first=True, wide=True),
        m.select("role", text("rules_page.who"), roles, kept["role"]),
        m.select("language", text("rules_page.language"), languages, kept["language"]),
        m.select("which", text("rules_page.which"), which, kept["which"]),
        area("after", text("rules_page.after"), kept.get("after", ""), text("rules_page.after_example")),
        m.flags([("model", text("rules_page.with_model"), kept.get("model") == "1")] if has_sentence_model(here.desk.settings) else []),
    ]  # fmt: skip
    form = (
        f'<form class="fields" data-form="try" aria-label="{m.escape(text("rules_page.view_try"))}">{"".join(fields)}'
        f'<div class="buttons">{m.submit(text("rules_page.do_try"))}</div></form>'
    )
    result = _tried(here, kept) if kept.get("said", "").strip() else m.empty(text("rules_page.try_hint"))
    did = look.block(top + form + result, "rules-try")
    if did.get("form") == "try":
        st.session_state["rules_try"] = dict(did["values"])
        st.rerun()


def _tried(here: visit.Visit, given: Mapping[str, str]) -> str:
    pack = here.desk.pack
    if given.get("which") == "draft" and here.may(Right.PUBLISH):
        pack = rules_change.drafted(here).draft
    with st.spinner(text("rules_page.working"), show_time=False):
        lines = tried_lines(
            pack,
            encoder(here, given.get("model") == "1"),
            given["said"].strip(),
            given.get("role", "agent"),
            _lines(given.get("before", "")),
            _lines(given.get("after", "")),
            given.get("language", "zh"),
            here.language,
        )
    return f'<pre class="try" role="status">{m.escape(chr(10).join(lines))}</pre>'


def _lines(value: str) -> list[str]:
    return [line for line in value.splitlines() if line.strip()]


def area(name: str, label: str, value: str, example: str = "") -> str:
    return (
        f'<label class="whole">{m.escape(label)}<textarea name="{name}" rows="2" placeholder="{m.escape(example)}">'
        f"{m.escape(value)}</textarea></label>"
    )


# --- accuracy ---------------------------------------------------------------------------------------------------


def _accuracy(here: visit.Visit, top: str) -> None:
    since, until = (rules_change.date_of(here, st.query_params.get(name, "")) for name in ("since", "until"))
    found = rule_accuracy(here.desk.store, here.identity, here.desk.pack, since, until)
    names = {rule.id: pick(rule.name, here.language) for rule in reversed(here.desk.pack.rules)}
    form = (
        f'<form class="fields" data-form="days">{m.field("since", text("app.field_since"), st.query_params.get("since", ""), kind="date")}'
        f"{m.field('until', text('app.field_until'), st.query_params.get('until', ''), kind='date')}"
        f'<div class="buttons">{m.submit(text("app.apply"))}</div></form>'
    )
    body = accuracy_table(found, names) if found else m.empty(text("rules_page.nobody_judged"))
    legend = f'<p class="quietly">{m.escape(text("accuracy.legend"))}</p>'
    did = look.block(top + form + body + legend + rules_audit.section(here), "rules-accuracy")
    rules_audit.take(here, did)
    if did.get("form") == "days":
        days = {name: value for name, value in did["values"].items() if value}
        st.query_params.from_dict({"view": "accuracy", **days})
        st.rerun()


def accuracy_table(found: Sequence[RuleAccuracy], names: Mapping[str, str]) -> str:
    columns = ("rule", "precision", "suspected", "recall", "audited", "missed", "added", "contested")
    rows = [
        [
            m.link(names.get(one.rule, one.rule), look.address(ADDRESS, {"rule": one.rule})),
            _share(one.confirmed),
            _share(one.suspected),
            _share(one.recall, counted=False),
            *(str(number) for number in (one.audited, one.missed, one.added, one.contested)),
        ]
        for one in found
    ]
    return m.table([text(f"accuracy.{name}") for name in columns], rows, text("rules_page.accuracy"), numbers=(4, 5, 6, 7))


def _share(share: Share | None, *, counted: bool = True) -> str:
    """A share in words, with a bar for its interval and a stroke for itself."""
    if share is None or share.value is None:
        return "—"
    told = f"{share.value:.0%} ({share.low * 100:.0f}–{share.high * 100:.0f})"
    told += f" · {share.count:g}/{share.of:g}" if counted else ""
    bar = (
        f'<span class="bar" aria-hidden="true"><i style="left:{share.low:.1%};right:{1 - share.high:.1%}"></i>'
        f'<b style="left:{share.value:.1%}"></b></span>'
    )
    return bar + m.escape(told)
