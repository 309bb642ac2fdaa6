"""Why a text counts or does not: every hit that was considered, how it came about, and what held it back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from scoring_rules.conversation import Conversation
from scoring_rules.evaluate import Considered, Evaluator, Evidence, Finding, RuleResult
from scoring_rules.examples import Dialogue, dialogue
from scoring_rules.messages import message, pick
from scoring_rules.model import Expect, Outcome, Pack, Rule
from scoring_rules.plain import in_few_words

SPEAKERS = {
    "agent": "agent", "customer": "customer", "ivr": "ivr",
    "客服": "agent", "坐席": "agent", "座席": "agent", "客户": "customer", "顾客": "customer", "用户": "customer",
}  # fmt: skip
_SPEAKER = re.compile(r"\s*([^\W\d_]+)\s*[:：]")
AROUND = 12  # characters shown before and after a hit


class UnknownSpeaker(ValueError):
    """A line names a speaker that there is not."""

    def told(self, locale: str) -> str:
        return message("try.unknown_speaker", locale, name=self.args[0], names=", ".join(SPEAKERS))


def spoken(text: str, role: str, before: Sequence[str], after: Sequence[str], language: str) -> tuple[Dialogue, int]:
    """A conversation around one text, from lines such as `customer: …`; and the index of the text's turn.

    A line without a speaker is the customer's. Raises UnknownSpeaker.
    """
    turns = [*map(_line, before), (role, text), *map(_line, after)]
    return dialogue(turns, language), len(before)


def _line(line: str) -> tuple[str, str]:
    found = _SPEAKER.match(line)
    if found is None:
        return "customer", line.strip()
    name = found[1].lower()
    if name in SPEAKERS:
        return SPEAKERS[name], line[found.end() :].strip()
    if name.isascii():  # a name of a speaker is meant; Chinese before a colon may be what was said
        raise UnknownSpeaker(found[1])
    return "customer", line.strip()


def tried(evaluator: Evaluator, conversation: Conversation, turn: int | None, locale: str) -> list[str]:
    """What the rules see in a conversation, or in one of its turns, line by line."""
    results, considered = evaluator.trace(conversation)
    rules = {rule.id: rule for rule in evaluator.pack.rules if rule.language == conversation.language[:2]}
    lines: list[str] = []
    for result in results:
        rule = rules[result.rule]
        mine = [one for one in considered if one.rule == rule.id and turn in (None, one.place.turn)]
        missing = rule.expect is Expect.PRESENT and result.outcome in (Outcome.PASS, Outcome.FAIL) and turn is None
        if mine or missing:
            lines += explained(rule, result, mine, conversation, evaluator.pack, locale)
    return lines or [message("try.nothing", locale)]


def explained(
    rule: Rule,
    result: RuleResult,
    considered: Sequence[Considered],
    conversation: Conversation,
    pack: Pack,
    locale: str,
) -> list[str]:
    """One rule's outcome with its evidence and, hit by hit, what decided."""
    lines = [f"{rule.id} {pick(rule.name, locale)}: {message('outcome.' + result.outcome.value, locale)}"]
    if result.reason:
        lines.append(f"  {message('reason.' + result.reason, locale)}")
    for one in considered:
        how = message("how." + one.hit.how, locale)
        fate = message("fate." + one.fate, locale)
        lines.append(f"  {_shown(one.place, conversation)}  {how} → {fate}")
        if one.by is not None:
            what = in_few_words(one.by, pack, locale)
            lines.append(f"      {message('try.because', locale, what=what, where=one.by.origin)}")
        if one.shares:
            shares = [f"{message(f'share.{voter}', locale)} {odds:+.2f}" for voter, odds in one.shares]
            lines.append(f"      {message('try.shares', locale, shares=' · '.join(shares))}")
    if not considered:
        for finding in result.findings:
            lines += _finding(finding, conversation, locale)
    for reason in result.unevaluated:
        if result.outcome is not Outcome.NOT_EVALUATED:
            lines.append(f"  {message('try.partly', locale, reason=message('reason.' + reason, locale))}")
    return lines


def _finding(finding: Finding, conversation: Conversation, locale: str) -> list[str]:
    how = message("how." + finding.how, locale)
    status = message("status." + finding.status.value, locale)
    note = f" {finding.note}" if finding.note else ""
    return [f"  {_shown(place, conversation)}  {how}{note} → {status}" for place in finding.evidence]


def _shown(place: Evidence, conversation: Conversation) -> str:
    """A place as people read it: the words with what stands around them, or seconds and turns."""
    if place.turn is not None and place.start_char is not None and place.end_char is not None:
        text = conversation.turns[place.turn].text
        start, end = place.start_char, place.end_char
        before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
        return f"#{place.turn} {before}【{text[start:end]}】{after}"
    seconds = f"{place.start:.1f}–{place.end:.1f} s" if place.start is not None and place.end is not None else ""
    turns = "#" + ",".join(map(str, place.turns)) if place.turns else ""
    return " ".join(filter(None, (turns, seconds)))
