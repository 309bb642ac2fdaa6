"""What the player draws, as plain data in the reader's language.

`sheet` is what was heard and changes with the transcript alone; `state` is what machine and people make of it, and is
sent anew after every command. Characters count into a turn's text, times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from qa.access import Identity, Right, may
from qa.call_view import CallView
from qa.comments import NOTING
from qa.judging import Judged, machine_changed, place_of_finding
from qa.levels import Level, LevelScore
from qa.media import DIGITS, DOUBTFUL
from qa.messages import text
from qa.my_calls import MISSING
from qa.redact import MASK
from qa.scorecard import CardFinding, Item, rules_for
from qa.verdicts import Place, Verdict
from scoring_rules.evaluate import Evidence
from scoring_rules.messages import message, pick
from scoring_rules.model import Expect, FindingStatus, Outcome, Pack, Rule
from speech.acoustics import channel_of
from speech.types import Role, Transcript, Turn

LABELS = (
    "play", "pause", "follow", "speed", "keys", "timeline", "transcript", "scorecard", "fatal",
    "no_card", "say_instead", "why", "why_score", "finish", "next", "previous", "no_sound", "sound_failed",
    "faults", "to_judge", "passed", "rest", "points", "doubtful", "finished",
)  # fmt: skip
CALL_LABELS = (
    "list", "unmask", "original", "loop", "looping", "retrying", "undo", "undone", "nothing_to_undo",
    "silence", "overlap", "music", "negative", "fault", "suspected_fault", "missed_title", "missed_quote",
    "missed_rule", "missed_not_there", "comment_title", "comment_text", "correct_title", "correct_text",
    "correct_who", "correct_swap", "correct_swap_sure", "correct_hint", "mark_title", "mark_kind",
    "mark_good", "mark_bad", "mark_from", "mark_to", "mark_all", "note", "note_title", "note_for", "save",
    "cancel", "withdraw", "drafts", "scoring", "scored", "scoring_late", "add", "comment", "correct",
    "mark", "not_yet", "changed_items", "contested", "machine_then", "machine_now",
    "gone", "channel", "previous_hit", "next_hit", "window", "by_people", "kept_draft", "line_actions",
    "no_turns", "judged", "unsaved", "keys_help", "drawn", "drawn_rest", "drawn_waits",
)  # fmt: skip
NEGATIVE = ("angry", "anxious", "sad")
ROLES = (Role.AGENT, Role.CUSTOMER, Role.IVR)
CHOICES: Mapping[str, tuple[tuple[Verdict, str], ...]] = {
    # what a person can say of it → verdicts with the ids of their names, by keys 1, 2, 3
    "judged": ((Verdict.RIGHT, "right"), (Verdict.WRONG, "wrong"), (Verdict.NOT_APPLICABLE, "not_applicable")),
    "suspected": ((Verdict.RIGHT, "is_so"), (Verdict.WRONG, "is_not_so"), (Verdict.NOT_APPLICABLE, "not_applicable")),
    "open": ((Verdict.RIGHT, "is_pass"), (Verdict.MISSED, "is_fail"), (Verdict.NOT_APPLICABLE, "not_applicable")),
    "not_applicable": ((Verdict.RIGHT, "right"), (Verdict.MISSED, "is_fail")),
    "drawn": ((Verdict.RIGHT, "audit_right"), (Verdict.MISSED, "audit_missed"), (Verdict.NOT_APPLICABLE, "not_applicable")),
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: their rights, their language, and the clock they go by."""

    identity: Identity
    locale: str
    zone: ZoneInfo

    def at(self, instant: datetime) -> str:
        return f"{instant.astimezone(self.zone):%m-%d %H:%M}"


def sheet(view: CallView, reader: Reader) -> dict[str, Any]:
    """What was heard on a call."""
    heard, identity = view.transcript, reader.identity
    return {
        "call": view.row.id,
        "language": reader.locale,
        "transcript": view.transcript_id,
        "madeBy": view.made_by or "",
        "duration": heard.duration or max((turn.end or 0.0 for turn in heard.turns), default=0.0),
        "labels": {name: text(f"app.player_{name}") for name in LABELS}
        | {name: text(f"call.{name}") for name in CALL_LABELS},
        "turns": [_turn(turn) for turn in heard.turns],
        "channels": _channels(heard.turns),
        "roles": [[role.value, text(f"role.{role}")] for role in ROLES],
        "silences": _silences(heard),
        "overlaps": _overlaps(heard),
        "unmasked": view.unmasked,
        "me": identity.login,
        "may": {
            "judge": may(identity, Right.VERDICT) and view.card is not None,
            "correct": may(identity, Right.VERDICT),
            "note": any(may(identity, right) for right in NOTING),
            "unmask": may(identity, Right.UNMASK),
            "original": may(identity, Right.PLAY_ORIGINAL),
        },
    }


def state(view: CallView, pack: Pack, reader: Reader) -> dict[str, Any]:
    """What machine and people make of a call by now."""
    rules = rules_for(pack, view.transcript.language)
    found = _findings(view, rules, reader)
    return {
        "scorecard": view.scorecard_id,
        "known": max((judged.id for judged in view.verdicts), default=0),
        "findings": found,
        "card": _card(view, rules, found, reader),
        "levels": _levels(view.levels, reader),
        "comments": [
            {"id": one.id, "turn": one.turn, "text": one.text, **_by(one, reader)} for one in view.comments
        ],
        "marks": [
            {
                "id": one.id, "kind": one.kind, "name": text(f"call.mark_{one.kind}"), "first": one.first_turn,
                "last": one.last_turn, "note": one.note or "", **_by(one, reader),
            }
            for one in view.marks
        ],
        "corrections": [
            {
                "id": one.id, "turn": one.turn, "last": one.last, "told": _told(one, view.unmasked), **_by(one, reader),
            }
            for one in view.corrections
        ],
        "drafts": dict(view.drafts),
        "scoring": view.scoring,
        "finished": view.row.reviewed,
    }  # fmt: skip


# --- turns -----------------------------------------------------------------------------------------------------


def _turn(turn: Turn) -> dict[str, Any]:
    felt = turn.emotion
    return {
        "role": turn.role.value if turn.role else "",
        "name": text(f"role.{turn.role}") if turn.role else turn.speaker,
        "start": turn.start,
        "end": turn.end,
        "text": turn.text,
        "doubtful": doubtful_places(turn),
        "marks": [text(f"app.mark_{mark}") for mark in turn.marks],
        "emotion": text(f"app.emotion_{felt.label}") if felt and felt.label != "neutral" else "",
        "negative": bool(felt and felt.label in NEGATIVE),
    }


def doubtful_places(turn: Turn) -> list[tuple[int, int]]:
    """Characters of the turn's text that the recogniser was not sure of, neighbours joined.

    Words are found in the text in order; one that the text writes in another way is passed over.
    """
    places: list[tuple[int, int]] = []
    done = 0
    for word in turn.words:
        wanted = word.text.strip()
        start = turn.text.find(wanted, done) if wanted else -1
        if start < 0:
            continue
        done = start + len(wanted)
        if word.probability >= DOUBTFUL:
            continue
        if places and places[-1][1] == start:
            places[-1] = (places[-1][0], done)
        else:
            places.append((start, done))
    return places


def _channels(turns: Sequence[Turn]) -> list[str]:
    """The role that speaks on each channel of a two-channel recording, by most of its turns; empty where unknown."""
    counts: dict[str, dict[str, int]] = {"A": {}, "B": {}}
    for turn in turns:
        channel = counts.get(channel_of(turn.speaker))
        if channel is not None and turn.role is not None:
            channel[turn.role.value] = channel.get(turn.role.value, 0) + 1
    return [max(roles, key=lambda role: roles[role]) if roles else "" for roles in counts.values()]


def _silences(heard: Transcript) -> list[dict[str, Any]]:
    found = heard.acoustics.silences if heard.acoustics else ()
    return [{"from": one.span.start, "to": one.span.end, "music": one.music} for one in found]


def _overlaps(heard: Transcript) -> list[dict[str, Any]]:
    found = heard.acoustics.overlaps if heard.acoustics else ()
    return [{"from": one.span.start, "to": one.span.end, "interruption": one.interruption} for one in found]


# --- findings --------------------------------------------------------------------------------------------------


def _findings(view: CallView, rules: Mapping[str, Rule], reader: Reader) -> list[dict[str, Any]]:
    """What the machine found and what people added, in the order of the call; `number` names it."""
    turns, items = view.transcript.turns, {item.rule: item for item in (view.card.items if view.card else ())}
    found = [
        _finding(item, index, one, rules.get(item.rule), view, reader)
        for item in items.values()
        for index, one in enumerate(item.findings)
    ]
    found += [
        _added(judged, items.get(judged.rule), rules.get(judged.rule), view, reader)
        for judged in view.verdicts
        if judged.verdict == Verdict.MISSED and not judged.place.whole_item
    ]
    found.sort(key=lambda one: (one["at"] is None, one["at"] or 0.0, (one["places"][0]["turn"] or 0) if one["places"] else 0))
    for number, one in enumerate(found):
        one["number"] = number
        one["quote"] = " … ".join(filter(None, (_quote(place, turns) for place in one["places"])))
    return found


def _finding(
    item: Item, index: int, found: CardFinding, rule: Rule | None, view: CallView, reader: Reader
) -> dict[str, Any]:
    finding = found.finding
    places = [_place(place, view.transcript.turns) for place in finding.evidence]
    places.sort(key=lambda place: place["window"] is not None)  # what asked for it before the stretch that was searched
    status = finding.status
    apart = _judged_apart(item, rule)
    return {
        **_of_rule(item.rule, item, rule, reader),
        "finding": index,
        "status": status.value,
        "statusName": text(f"finding.{status}"),
        "searched": finding.how == MISSING,  # its stretch is where it was looked for, and not what was measured
        # what a passed item was passed for: shown, but no place to stop at
        "good": item.outcome is Outcome.PASS and status is FindingStatus.CONFIRMED,
        "places": places,
        "at": next((place["at"] for place in places if place["at"] is not None), None),
        "covered": text("app.covered_by", rule=found.covered_by) if found.covered_by else "",
        "choices": _choices("suspected" if status is FindingStatus.SUSPECTED else "judged") if apart else [],
        "verdicts": [
            _verdict(judged, view, reader)
            for judged in view.verdicts
            if apart and judged.rule == item.rule and _same(judged, place_of_finding(finding.evidence))
        ],
    }


def _judged_apart(item: Item, rule: Rule | None) -> bool:
    """Whether each finding has its own verdict; else the item has one. Where something must be said, or a person is to
    decide because the machine could not, it is the item that is judged.
    """
    if rule is not None and rule.expect is Expect.PRESENT:
        return False
    return item.outcome in (Outcome.FAIL, Outcome.PASS)


def _same(judged: Judged, place: Place) -> bool:
    return judged.finding_status is not None and judged.place.key() == place.key()


def _added(judged: Judged, item: Item | None, rule: Rule | None, view: CallView, reader: Reader) -> dict[str, Any]:
    place = judged.place
    shown = _place(Evidence(place.turn, place.start_char, place.end_char, place.start, place.end), view.transcript.turns)
    return {
        **_of_rule(judged.rule, item, rule, reader),
        "finding": None,
        "status": "missed",
        "searched": False,
        "statusName": text("call.by_people"),
        "good": False,
        "places": [shown],
        "at": shown["at"],
        "covered": "",
        "choices": [],
        "verdicts": [_verdict(judged, view, reader)],
    }


def _of_rule(rule_id: str, item: Item | None, rule: Rule | None, reader: Reader) -> dict[str, Any]:
    named = item.name if item else rule.name if rule else {}
    return {
        "rule": rule_id,
        "name": pick(named, reader.locale) if named else rule_id,
        "fatal": bool(item and item.fatal),
        "why": pick(rule.why, reader.locale) if rule else "",
        "say": pick(rule.say_instead, reader.locale) if rule else "",
    }


def _place(place: Evidence, turns: Sequence[Turn]) -> dict[str, Any]:
    """A place with the turn in which it is seen; a window that was searched is seen at its first turn."""
    turn = place.turn if place.turn is not None else place.turns[0] if place.turns else None
    known = turns[turn] if turn is not None and turn < len(turns) else None
    at = place.start if place.start is not None else known.start if known else None
    until = place.end if place.end is not None else known.end if known else None
    exact = place.turn is not None and place.start_char is not None
    return {
        "turn": turn if known else None,
        "from": place.start_char if exact else None,
        "to": place.end_char if exact else None,
        "at": at,
        "until": until,
        "window": [place.turns[0], place.turns[-1]] if place.turn is None and place.turns else None,
    }


def _quote(place: Mapping[str, Any], turns: Sequence[Turn]) -> str:
    if place["turn"] is None or place["from"] is None:
        return ""
    return turns[place["turn"]].text[place["from"] : place["to"]]


# --- the scorecard ---------------------------------------------------------------------------------------------


def _card(
    view: CallView, rules: Mapping[str, Rule], found: Sequence[Mapping[str, Any]], reader: Reader
) -> dict[str, Any] | None:
    card = view.card
    if card is None:
        return None
    return {
        "score": _points(card.score),
        "band": pick(card.band, reader.locale),
        "fatal": card.fatal,
        "explain": card.explain(reader.locale),
        "items": [_item(item, rules.get(item.rule), view, found, reader) for item in card.items],
        "gone": [
            _verdict(judged, view, reader) | {"rule": judged.rule}
            for judged in view.verdicts
            if judged.rule not in {item.rule for item in card.items}
        ],
    }


def _item(
    item: Item, rule: Rule | None, view: CallView, found: Sequence[Mapping[str, Any]], reader: Reader
) -> dict[str, Any]:
    mine = [one for one in found if one["rule"] == item.rule]
    shown = {verdict["id"] for one in mine for verdict in one["verdicts"]}
    suspected = any(one.finding.status is FindingStatus.SUSPECTED for one in item.findings)
    group = _group(item, suspected, item.rule in view.drawn)
    apart = any(one["choices"] for one in mine) and group != "drawn"
    return {
        "rule": item.rule,
        "name": pick(item.name, reader.locale),
        "dimension": item.dimension,
        "outcome": item.outcome.value,
        "outcomeName": text(f"item.{item.outcome}"),
        "group": group,
        "waits": view.drawn.get(item.rule, False),
        "fatal": item.fatal,
        "draft": item.draft,
        "cost": f"{item.cost:g}" if item.cost else "",
        "reason": message(f"reason.{item.reason}", reader.locale) if item.reason else "",
        "findings": [one["number"] for one in mine],
        "why": pick(rule.why, reader.locale) if rule else "",
        "say": pick(rule.say_instead, reader.locale) if rule else "",
        "choices": [] if apart else _choices("drawn" if group == "drawn" else _kind(item)),
        "verdicts": [
            _verdict(judged, view, reader)
            for judged in view.verdicts
            if judged.rule == item.rule and judged.id not in shown
        ],
    }


def _kind(item: Item) -> str:
    if item.outcome is Outcome.NOT_EVALUATED:
        return "open"
    return "not_applicable" if item.outcome is Outcome.NOT_APPLICABLE else "judged"


def _choices(kind: str) -> list[list[str]]:
    return [[verdict.value, text(f"call.{name}")] for verdict, name in CHOICES[kind]]


def _verdict(judged: Judged, view: CallView, reader: Reader) -> dict[str, Any]:
    changed = view.card is not None and machine_changed(judged, view.card)
    item = next((one for one in view.card.items if one.rule == judged.rule), None) if view.card else None
    return {
        "id": judged.id,
        "verdict": judged.verdict,
        "name": text(f"call.{_name(judged)}"),
        "note": judged.note or "",
        "changed": changed,
        # where the machine says something else by now, both are told
        "then": text(f"item.{judged.outcome}") if changed else "",
        "now": (text(f"item.{item.outcome}") if item else text("call.gone")) if changed else "",
        "thenStatus": text(f"finding.{judged.finding_status}") if changed and judged.finding_status else "",
        **_by(judged, reader),
    }


def _name(judged: Judged) -> str:
    """The id of the name that the verdict's button bore."""
    if judged.finding_status == FindingStatus.SUSPECTED:
        kind = "suspected"
    elif judged.outcome == Outcome.NOT_EVALUATED:
        kind = "open"
    else:
        kind = "not_applicable" if judged.outcome == Outcome.NOT_APPLICABLE else "judged"
    if judged.verdict == Verdict.MISSED:
        if judged.outcome == Outcome.PASS and judged.place.whole_item:
            return "audit_missed"
        return "is_fail" if judged.place.whole_item else "missed_by_machine"
    return next((name for verdict, name in CHOICES[kind] if verdict == judged.verdict), judged.verdict)


def _group(item: Item, suspected: bool, drawn: bool) -> str:
    """Where an item stands on the page: faults, what a person must judge, what a random audit drew, what was passed,
    the rest.
    """
    if item.outcome is Outcome.FAIL:
        return "faults"
    if suspected or item.outcome is Outcome.NOT_EVALUATED:
        return "to_judge"
    if item.outcome is Outcome.PASS:
        return "drawn" if drawn else "passed"
    return "rest"


# --- people ----------------------------------------------------------------------------------------------------


def _by(one: Any, reader: Reader) -> dict[str, Any]:
    """Who, as what, when."""
    mine = one.who == reader.identity.login
    return {"who": one.who, "role": text(f"app.role_{one.role}"), "when": reader.at(one.at), "mine": mine}


def _levels(levels: Sequence[LevelScore], reader: Reader) -> list[dict[str, Any]]:
    known = {one.level: one for one in levels}
    return [_level(level, known.get(level), reader) for level in Level]


def _level(level: Level, found: LevelScore | None, reader: Reader) -> dict[str, Any]:
    name = text("call.score_machine") if level is Level.MACHINE else text(f"app.role_{level}")
    if found is None:
        return {"level": level.value, "name": name, "score": None}
    names = {item.rule: pick(item.name, reader.locale) for item in found.card.items}
    return {
        "level": level.value,
        "name": name,
        "score": _points(found.card.score) or "—",
        "fatal": found.card.fatal,
        "who": list(found.who),
        "when": reader.at(found.at) if found.at else "",
        "finished": found.finished,
        "changed": [names.get(rule, rule) for rule in found.changed],
        "contested": [names.get(rule, rule) for rule in found.contested],
    }


def _points(score: float | None) -> str:
    return "" if score is None else f"{score:g}"


def _told(correction: Any, unmasked: bool) -> str:
    """A correction in words; what it replaced may hold personal data."""
    if correction.kind == "channels":
        return text("call.told_channels")
    if correction.kind == "role":
        names = {role.value: text(f"role.{role}") for role in Role}
        before, after = (names.get(one, one) for one in (correction.before, correction.after))
    else:
        before, after = (one if unmasked else _undigited(one) for one in (correction.before, correction.after))
    return text("call.told_change", before=before or "∅", after=after or "∅")


def _undigited(piece: str) -> str:
    """A piece of a turn without its digits: a piece does not show whether it belongs to a number."""
    return "".join(MASK if character in DIGITS else character for character in piece)
