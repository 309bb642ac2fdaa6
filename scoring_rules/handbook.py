"""标准话术手册: the rules as a handbook for agents, in Markdown or HTML: what to say, what not, why, what to say instead."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass

from scoring_rules.messages import message, pick
from scoring_rules.model import Example, Expect, Pack, Rule, RuleStatus

SHOWN_EXAMPLES = 2  # of each kind: a handbook is read, a pack is complete

_STYLE = (
    "body{font-family:system-ui,'Noto Sans CJK SC','Microsoft YaHei',sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;"
    "line-height:1.7;color:#1c2321}h2{border-bottom:2px solid #2f6f5e;padding-bottom:.2rem;margin-top:2.5rem}"
    "h3{margin-bottom:.2rem}dl{margin:.2rem 0 1rem}dt{font-weight:600;float:left;clear:left;margin-right:.6rem}"
    "dd{margin:0 0 .2rem}blockquote{margin:.3rem 0 .3rem 1rem;padding-left:.8rem;border-left:3px solid #c9d6d1;white-space:pre-line}"
    "code{color:#5b6b66;font-size:.85em}@media print{h3{break-after:avoid}blockquote{break-inside:avoid}}"
)


@dataclass(frozen=True, slots=True)
class _Block:
    kind: str  # title | section | rule | fact | example
    text: str
    label: str = ""


def handbook(pack: Pack, language: str, locale: str, style: str = "markdown") -> str:
    """The handbook of one language's rules, written in `locale`; `style` is markdown or html."""
    blocks = list(_blocks(pack, language, locale))
    return _html(blocks, locale) if style == "html" else _markdown(blocks)


def _blocks(pack: Pack, language: str, locale: str) -> Iterator[_Block]:
    yield _Block("title", message("book.title", locale))
    told = ", ".join(f"{name} {version}" for name, version in pack.versions.items())
    yield _Block("fact", f"{told} · {pack.fingerprint}", message("book.version", locale))
    rules = [rule for rule in pack.rules if rule.language == language and rule.status is RuleStatus.STABLE]
    for dimension in pack.scoring.dimensions.values():
        mine = [rule for rule in rules if rule.dimension == dimension.id]
        if mine:
            yield _Block("section", pick(dimension.name, locale))
        for rule in mine:
            yield from _rule(rule, locale)


def _rule(rule: Rule, locale: str) -> Iterator[_Block]:
    yield _Block("rule", pick(rule.name, locale), rule.id)
    kind = message("book." + rule.expect.value, locale)
    weight = message("class." + rule.rule_class.value, locale) if rule.fatal else message("book.points", locale, points=rule.points)
    yield _Block("fact", f"{kind} · {weight}", message("book.kind", locale))
    for key, text in (("why", rule.why), ("say_instead", rule.say_instead), ("care", rule.false_positives)):
        if text:
            yield _Block("fact", pick(text, locale), message("book." + key, locale))
    if rule.references:
        yield _Block("fact", "; ".join(rule.references), message("book.references", locale))
    bad, good = ("fail", "pass") if rule.expect is Expect.PRESENT else ("confirmed", "none")
    for label, wanted in (("bad", bad), ("good", good)):
        shown = [example for example in rule.examples if example.expect == wanted][:SHOWN_EXAMPLES]
        for example in shown:
            yield _Block("example", _dialogue(example, locale), message("book." + label, locale))


def _dialogue(example: Example, locale: str) -> str:
    lines = []
    for turn in example.turns:
        if turn.role:
            lines.append(f"{message('role.' + turn.role, locale)}{message('book.colon', locale)}{turn.text}")
        else:
            lines.append(message("book.silence", locale, seconds=turn.silence))
    return "\n".join(lines)


def _markdown(blocks: list[_Block]) -> str:
    lines: list[str] = []
    for block in blocks:
        if block.kind == "title":
            lines += [f"# {block.text}", ""]
        elif block.kind == "section":
            lines += ["", f"## {block.text}", ""]
        elif block.kind == "rule":
            lines += ["", f"### {block.text} `{block.label}`", ""]
        elif block.kind == "fact":
            lines.append(f"- **{block.label}** {block.text}")
        else:
            lines += ["", f"{block.label}", "", *(f"> {line}  " for line in block.text.split("\n")), ""]
    return "\n".join(lines) + "\n"


def _html(blocks: list[_Block], locale: str) -> str:
    parts = [f'<!doctype html><html lang="{locale}"><head><meta charset="utf-8"><title>{html.escape(blocks[0].text)}</title>']
    parts.append(f"<style>{_STYLE}</style></head><body>")
    in_list = False
    for block in blocks:
        text, label = html.escape(block.text), html.escape(block.label)
        if in_list and block.kind != "fact":
            parts.append("</dl>")
            in_list = False
        if block.kind == "title":
            parts.append(f"<h1>{text}</h1>")
        elif block.kind == "section":
            parts.append(f"<h2>{text}</h2>")
        elif block.kind == "rule":
            parts.append(f'<h3 id="{label}">{text} <code>{label}</code></h3>')
        elif block.kind == "fact":
            if not in_list:
                parts.append("<dl>")
                in_list = True
            parts.append(f"<dt>{label}</dt><dd>{text}</dd>")
        else:
            parts.append(f"<p>{label}</p><blockquote>{text}</blockquote>")
    parts.append("</dl></body></html>" if in_list else "</body></html>")
    return "\n".join(parts) + "\n"
