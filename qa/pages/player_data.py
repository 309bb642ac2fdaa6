"""What the player draws, as plain data: turns cut at findings and doubtful words, the timeline, and the scorecard."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from qa.call_view import CallView
from qa.judging import Judged
from qa.media import DOUBTFUL
from qa.messages import text
from qa.scorecard import CardFinding, Item
from scoring_rules.evaluate import Evidence
from scoring_rules.messages import message, pick
from scoring_rules.model import FindingStatus, Outcome, Pack, Rule
from speech.types import Transcript, Turn

LABELS = (
    "play", "pause", "follow", "speed", "keys", "keys_help", "timeline", "transcript", "scorecard", "fatal",
    "no_card", "say_instead", "why", "why_score", "right", "wrong", "not_applicable", "finish", "next",
    "previous", "no_sound", "sound_failed", "faults", "to_judge", "passed", "rest", "points", "doubtful",
    "finished", "changed",
)  # fmt: skip
NEGATIVE = ("angry", "anxious", "sad")


def player_data(view: CallView, pack: Pack, locale: str, *, may_judge: bool) -> dict[str, Any]:
    """Everything about a call that the player shows, in the reader's language."""
    rules = {rule.id: rule for rule in pack.rules if view.transcript.language.startswith(rule.language)}
    items = view.card.items if view.card else ()
    hits = _hits(items, rules, view.transcript, locale)
    return {
        "call": view.row.id,
        "duration": view.transcript.duration or _end(view.transcript),
        "labels": {name: text(f"app.player_{name}") for name in LABELS},
        "turns": [
            _turn(number, turn, [hit for hit in hits if hit["turn"] == number])
            for number, turn in enumerate(view.transcript.turns)
        ],
        "hits": hits,
        "silences": _silences(view.transcript),
        "overlaps": _overlaps(view.transcript),
        "card": _card(view, hits, rules, locale),
        "mayJudge": may_judge and view.card is not None,
        "finished": view.row.reviewed,
    }


def _end(transcript: Transcript) -> float:
    return max((turn.end for turn in transcript.turns if turn.end is not None), default=0.0)


# --- turns -----------------------------------------------------------------------------------------------------


def _turn(number: int, turn: Turn, hits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "role": turn.role.value if turn.role else "",
        "name": text(f"role.{turn.role}") if turn.role else turn.speaker,
        "start": turn.start,
        "end": turn.end,
        "parts": parts(turn.text, hits, doubtful_places(turn)),
        "marks": [text(f"app.mark_{mark}") for mark in turn.marks],
        "emotion": text(f"app.emotion_{turn.emotion.label}") if turn.emotion and turn.emotion.label != "neutral" else "",
        "negative": bool(turn.emotion and turn.emotion.label in NEGATIVE),
    }


def doubtful_places(turn: Turn) -> list[tuple[int, int]]:
    """Characters of the turn's text that the recogniser was not sure of.

    Words are found in the text in order; one that the text writes in another way is passed over.
    """
    places, done = [], 0
    for word in turn.words:
        wanted = word.text.strip()
        start = turn.text.find(wanted, done) if wanted else -1
        if start < 0:
            continue
        done = start + len(wanted)
        if word.probability < DOUBTFUL:
            places.append((start, done))
    return places


def parts(
    source: str, hits: Sequence[Mapping[str, Any]], doubtful: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """A text cut wherever a finding or a doubtful word begins or ends. Joined again, the parts are the text."""
    edges = {0, len(source)}
    for hit in hits:
        edges |= {hit["from"], hit["to"]}
    for start, end in doubtful:
        edges |= {start, end}
    found = sorted(edge for edge in edges if 0 <= edge <= len(source))
    return [
        {
            "text": source[start:end],
            "hits": [hit["number"] for hit in hits if hit["from"] <= start and end <= hit["to"]],
            "doubtful": any(a <= start and end <= b for a, b in doubtful),
        }
        for start, end in itertools.pairwise(found)
    ]


# --- findings --------------------------------------------------------------------------------------------------


def _hits(
    items: Sequence[Item], rules: Mapping[str, Rule], transcript: Transcript, locale: str
) -> list[dict[str, Any]]:
    """Every place of every finding that stands somewhere, in the order of the call; `number` names it."""
    places = [
        (item, index, found, place)
        for item in items
        for index, found in enumerate(item.findings)
        for place in found.finding.evidence
        if place.turn is not None or place.start is not None
    ]
    turns = transcript.turns
    placed = sorted(
        ((_seconds(place, turns), item, index, found, place) for item, index, found, place in places),
        key=lambda one: (one[0] if one[0] is not None else float("inf"), one[4].turn or 0),
    )
    return [
        {
            "number": number,
            "rule": item.rule,
            "finding": index,
            "name": pick(item.name, locale),
            "status": found.finding.status.value,
            "statusName": text(f"finding.{found.finding.status}"),
            "fatal": item.fatal,
            # what a passed item was passed for: shown, but no place to stop at
            "good": item.outcome is Outcome.PASS and found.finding.status is FindingStatus.CONFIRMED,
            "turn": place.turn,
            "from": place.start_char if place.start_char is not None else 0,
            "to": place.end_char if place.end_char is not None else 0,
            "at": seconds,
            "until": place.end,
            "quote": _quote(place, turns),
            "why": pick(rules[item.rule].why, locale) if item.rule in rules else "",
            "say": pick(rules[item.rule].say_instead, locale) if item.rule in rules else "",
        }
        for number, (seconds, item, index, found, place) in enumerate(placed)
    ]


def _seconds(place: Evidence, turns: Sequence[Turn]) -> float | None:
    if place.start is not None:
        return place.start
    return turns[place.turn].start if place.turn is not None and place.turn < len(turns) else None


def _quote(place: Evidence, turns: Sequence[Turn]) -> str:
    if place.turn is None or place.turn >= len(turns):
        return ""
    return turns[place.turn].text[place.start_char : place.end_char]


def _silences(transcript: Transcript) -> list[list[float]]:
    found = transcript.acoustics.silences if transcript.acoustics else ()
    return [[silence.span.start, silence.span.end] for silence in found]


def _overlaps(transcript: Transcript) -> list[list[float]]:
    found = transcript.acoustics.overlaps if transcript.acoustics else ()
    return [[overlap.span.start, overlap.span.end] for overlap in found]


# --- the scorecard ---------------------------------------------------------------------------------------------


def _card(
    view: CallView, hits: Sequence[Mapping[str, Any]], rules: Mapping[str, Rule], locale: str
) -> dict[str, Any] | None:
    card = view.card
    if card is None:
        return None
    return {
        "score": None if card.score is None else f"{card.score:g}",
        "band": pick(card.band, locale),
        "fatal": card.fatal,
        "passed": card.passed,
        "explain": card.explain(locale),
        "items": [_item(item, hits, rules.get(item.rule), view.verdicts, locale) for item in card.items],
    }


def _item(
    item: Item,
    hits: Sequence[Mapping[str, Any]],
    rule: Rule | None,
    verdicts: Sequence[Judged],
    locale: str,
) -> dict[str, Any]:
    suspected = any(found.finding.status is FindingStatus.SUSPECTED for found in item.findings)
    return {
        "rule": item.rule,
        "name": pick(item.name, locale),
        "outcome": item.outcome.value,
        "outcomeName": text(f"item.{item.outcome}"),
        "group": _group(item, suspected),
        "fatal": item.fatal,
        "draft": item.draft,
        "cost": f"{item.cost:g}" if item.cost else "",
        "reason": message(f"reason.{item.reason}", locale) if item.reason else "",
        "hits": [hit["number"] for hit in hits if hit["rule"] == item.rule],
        "covered": _covered(item.findings, locale),
        "why": pick(rule.why, locale) if rule else "",
        "say": pick(rule.say_instead, locale) if rule else "",
        "verdicts": [
            {
                "who": one.who,
                "role": text(f"app.role_{one.role}"),
                "verdict": one.verdict,
                "name": text(f"app.player_{one.verdict}"),
                "at": f"{one.at:%Y-%m-%d %H:%M} UTC",
                "note": one.note or "",
                "changed": one.outcome != item.outcome.value,
            }
            for one in verdicts
            if one.rule == item.rule
        ],
    }


def _group(item: Item, suspected: bool) -> str:
    """Where an item stands on the page: faults, what a person must judge, what was passed, the rest."""
    if item.outcome is Outcome.FAIL:
        return "faults"
    if suspected or item.outcome is Outcome.NOT_EVALUATED:
        return "to_judge"
    return "passed" if item.outcome is Outcome.PASS else "rest"


def _covered(findings: Sequence[CardFinding], locale: str) -> str:
    by = next((found.covered_by for found in findings if found.covered_by), "")
    return text("app.covered_by", rule=by) if by else ""
