"""Verdicts as JSON lines, in and out (docs/formats.md), and the draw of a random audit in the same shape.

An event is kept once, by its id: the same file may be read again. All lines are checked before the first is stored.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from qa.imported_reviews import settle_imported
from qa.messages import text
from qa.random_audits import silent_items
from qa.redact import mask
from qa.store.accounts import Verdict as VerdictRow
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.reviewed import mark_stale
from qa.store.schema import Call, ItemRow, ScorecardRow, TranscriptRow, TurnRow
from qa.transcripts import Reader, TranscriptError
from qa.verdicts import RANKS, Verdict
from scoring_rules.model import FindingStatus, Outcome

FORMAT = 1
BATCH = 500  # rows a transaction
MAX_TOLD = 50  # errors of one file
MAX_EVENT, MAX_NAME = 64, 200  # characters
FIELDS = (
    "format", "event", "at", "who", "role", "call", "rule", "verdict", "outcome", "finding", "turn", "start_char",
    "end_char", "start", "end", "note", "scorecard", "seen", "sampling_probability", "sample",
)  # fmt: skip
PLACE = ("turn", "start_char", "end_char", "start", "end")


class VerdictFileError(ValueError):
    """Nothing was stored; the message holds one line an error, each with file, line and field."""


@dataclass(frozen=True, slots=True)
class Imported:
    added: int
    known: int  # events that were there already
    reviewed: int = 0  # calls whose review they finished


def import_verdicts(store: Store, path: Path, rules: Iterable[str], *, who: str, dry_run: bool = False) -> Imported:
    """Keep the verdicts of a file. `rules` are the ids in force; ids on stored scorecards are taken as well.

    Raises VerdictFileError with all faults (the first fifty), and stores nothing then.
    """
    errors: list[str] = []
    known_rules = set(rules)
    seen_events: dict[str, int] = {}
    added = known = 0
    with store.read() as session:
        for number, line in _lines(path):
            try:
                values = _read(session, Reader(path.name, number), line, known_rules)
                event = values["event_id"]
                if event in seen_events:
                    told = text("verdicts.event_twice", line=seen_events[event])
                    raise TranscriptError(path.name, number, "event", told)
                seen_events[event] = number
                added, known = (added, known + 1) if _stored(session, values, path, number) else (added + 1, known)
            except TranscriptError as error:
                errors.append(str(error))
                if len(errors) == MAX_TOLD:
                    errors.append(text("verdicts.more_errors", path=path.name))
                    break
    if errors:
        raise VerdictFileError("\n".join(errors))
    reviewed = 0 if dry_run else _store(store, path, known_rules, added, who)
    return Imported(added, known, reviewed)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise VerdictFileError(
                    f"{path.name}:{number}: {text('transcript.not_utf8', byte=error.start)}"
                ) from error
            if line:
                yield number, line


def _store(store: Store, path: Path, rules: set[str], added: int, who: str) -> int:
    """Keep what is new. Returns how many calls are reviewed by it."""
    lines = _lines(path)
    reviewed = 0
    while batch := list(islice(lines, BATCH)):
        with store.write() as session:
            touched: set[str] = set()
            for number, line in batch:
                values = _read(session, Reader(path.name, number), line, rules)
                if not _stored(session, values, path, number):
                    session.add(VerdictRow(**values))
                    mark_stale(session, values["call_id"])
                    touched.add(values["call_id"])
            session.flush()
            reviewed += sum(settle_imported(session, call_id, who) for call_id in sorted(touched))
    with store.write() as session:
        audit(session, who, "verdicts imported", file=path.name, count=added, reviewed=reviewed)
    return reviewed


def _stored(session: Session, values: dict[str, Any], path: Path, number: int) -> bool:
    """Whether the event is there already. Raises TranscriptError where its id stands for another verdict."""
    row = session.scalar(select(VerdictRow).where(VerdictRow.event_id == values["event_id"]))
    if row is None:
        return False
    same = ("who", "call_id", "rule", "verdict", "outcome", "finding_status", *PLACE)
    if any(getattr(row, name) != values[name] for name in same):
        raise TranscriptError(path.name, number, "event", text("verdicts.event_taken", event=values["event_id"]))
    return True


def _read(session: Session, reader: Reader, line: str, rules: set[str]) -> dict[str, Any]:
    """The columns of one line. Raises TranscriptError."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TranscriptError(reader.name, reader.line, "", text("transcript.not_json", reason=error)) from error

    def wrong(field: str, message: str, **values: object) -> TranscriptError:
        return TranscriptError(reader.name, reader.line, field, text(f"verdicts.{message}", **values))

    def name(field: str, limit: int = MAX_NAME) -> str:
        value = reader.string(reader.get(data, field, ""), field)
        if not value.strip() or len(value) > limit or "\0" in value:
            raise wrong(field, "bad_name", limit=limit)
        return value

    if not isinstance(data, dict):
        raise TranscriptError(reader.name, reader.line, "", text("transcript.not_object"))
    for key in data:
        if key not in FIELDS:
            raise wrong(str(key), "unknown_field", fields=", ".join(FIELDS))
    version = reader.get(data, "format", "")
    if version != FORMAT or isinstance(version, bool):
        raise wrong("format", "format", found=version)
    values: dict[str, Any] = {
        "event_id": name("event", MAX_EVENT),
        "source": "import",
        "who": name("who"),
        "role": reader.choice(reader.get(data, "role", ""), "role", RANKS),
        "call_id": name("call"),
        "rule": name("rule", 100),
        "verdict": reader.choice(reader.get(data, "verdict", ""), "verdict", [v.value for v in Verdict]),
        "outcome": reader.choice(reader.get(data, "outcome", ""), "outcome", [o.value for o in Outcome]),
        "finding_status": None,
        "note": None if data.get("note") is None else reader.string(data["note"], "note"),
        "seen": dict(reader.mapping(data.get("seen") or {}, "seen")),
        "sample": None if data.get("sample") is None else name("sample", 100),
        "sampling_probability": None,
        "at": _instant(reader, data, wrong),
    }
    if data.get("finding") is not None:
        values["finding_status"] = reader.choice(data["finding"], "finding", [s.value for s in FindingStatus])
    if data.get("sampling_probability") is not None:
        drawn = reader.number(data["sampling_probability"], "sampling_probability", 0, 1)
        if drawn == 0:
            raise wrong("sampling_probability", "never_drawn")
        values["sampling_probability"] = drawn
    if session.get(Call, values["call_id"]) is None:
        raise wrong("call", "no_such_call", call=values["call_id"])
    if values["rule"] not in rules:
        if not session.scalar(select(exists().where(ItemRow.rule == values["rule"]))):
            raise wrong("rule", "no_such_rule", rule=values["rule"])
        rules.add(values["rule"])
    card = _scorecard(session, reader, data, values["call_id"], wrong)
    values["scorecard_id"] = card and card.id
    values |= _place(session, reader, data, values["call_id"], card, wrong)
    if values["verdict"] == Verdict.MISSED and values["turn"] is None and values["start"] is None:
        raise wrong("turn", "missed_where")
    return values


Wrong = Callable[..., TranscriptError]


def _instant(reader: Reader, data: dict[str, Any], wrong: Wrong) -> datetime:
    value = reader.string(reader.get(data, "at", ""), "at")
    try:
        instant = datetime.fromisoformat(value)
    except ValueError as error:
        raise wrong("at", "bad_instant", found=value) from error
    if instant.tzinfo is None:
        raise wrong("at", "no_zone", found=value)
    return instant


def _scorecard(
    session: Session, reader: Reader, data: dict[str, Any], call_id: str, wrong: Wrong
) -> ScorecardRow | None:
    """The newest scorecard of that fingerprint; None where the line names none."""
    if data.get("scorecard") is None:
        return None
    fingerprint = reader.string(data["scorecard"], "scorecard")
    row = session.scalar(
        select(ScorecardRow)
        .where(ScorecardRow.call_id == call_id, ScorecardRow.fingerprint == fingerprint)
        .order_by(ScorecardRow.id.desc())
        .limit(1)
    )
    if row is None:
        raise wrong("scorecard", "no_such_card", call=call_id)
    return row


def _place(
    session: Session, reader: Reader, data: dict[str, Any], call_id: str, card: ScorecardRow | None, wrong: Wrong
) -> dict[str, Any]:
    """Turn, characters and seconds, checked against the transcript that was judged (the current one, if none is named)."""
    place: dict[str, Any] = dict.fromkeys(PLACE)
    chosen = TranscriptRow.id == card.transcript_id if card else TranscriptRow.current
    if data.get("turn") is not None:
        transcript = session.scalar(select(TranscriptRow).where(TranscriptRow.call_id == call_id, chosen))
        if transcript is None or not transcript.turn_count:
            raise wrong("turn", "no_transcript", call=call_id)
        place["turn"] = reader.count(data["turn"], "turn", transcript.turn_count)
        told = session.scalar(
            select(TurnRow.text).where(TurnRow.transcript_id == transcript.id, TurnRow.number == place["turn"])
        )
        length = len(told or "")
        if data.get("start_char") is not None or data.get("end_char") is not None:
            start = reader.count(reader.get(data, "start_char", ""), "start_char", max(1, length))
            end = reader.get(data, "end_char", "")
            if isinstance(end, bool) or not isinstance(end, int) or not start < end <= length:
                raise wrong("end_char", "bad_end", start=start, length=length, found=end)
            place |= {"start_char": start, "end_char": end}
    elif data.get("start_char") is not None or data.get("end_char") is not None:
        raise wrong("turn", "chars_without_turn")
    if data.get("start") is not None or data.get("end") is not None:
        place["start"] = reader.number(reader.get(data, "start", ""), "start", 0)
        place["end"] = reader.number(reader.get(data, "end", ""), "end", place["start"])
    return place


# --- out ------------------------------------------------------------------------------------------------------


def export_verdicts(
    store: Store, *, who: str, zone: ZoneInfo, since: datetime | None = None, unmasked: bool = False
) -> Iterator[str]:
    """Stored verdicts as lines of the same format, oldest first; personal data in notes masked. Audited first."""
    with store.write() as session:
        audit(session, who, "verdicts exported", since=str(since) if since else None, unmasked=unmasked)
    query = (
        select(VerdictRow, ScorecardRow.fingerprint)
        .outerjoin(ScorecardRow, ScorecardRow.id == VerdictRow.scorecard_id)
        .order_by(VerdictRow.at, VerdictRow.id)
        .execution_options(yield_per=BATCH)
    )
    if since is not None:
        query = query.where(VerdictRow.at >= since)
    with store.read() as session:
        for row, card in session.execute(query):
            yield _line(row, card, zone, unmasked)


def _line(row: VerdictRow, card: str | None, zone: ZoneInfo, unmasked: bool) -> str:
    line = {
        "format": FORMAT,
        "event": row.event_id,
        "at": row.at.astimezone(zone).isoformat(),
        "who": row.who,
        "role": row.role,
        "call": row.call_id,
        "rule": row.rule,
        "verdict": row.verdict,
        "outcome": row.outcome,
        "finding": row.finding_status,
        **{name: getattr(row, name) for name in PLACE},
        "note": row.note if unmasked or row.note is None else mask(row.note),
        "scorecard": card,
        "seen": row.seen or None,
        "sampling_probability": row.sampling_probability,
        "sample": row.sample,
    }
    return json.dumps({key: value for key, value in line.items() if value is not None}, ensure_ascii=False)


# --- a random audit -------------------------------------------------------------------------------------------


def draw_audit(
    store: Store,
    name: str,
    probability: float,
    seed: int,
    present: Iterable[str],
    where: Sequence[ColumnElement[bool]] = (),
    rule: str | None = None,
) -> Iterator[str]:
    """Items in which the machine saw no fault, each drawn by itself with `probability`: lines to be completed with
    `event`, `at`, `who`, `role` and `verdict` (right: nothing missed; missed: with its place), then imported.

    `present` are the rules on what must be said: their findings are no faults. The same seed draws the same items.
    Items that are not applicable or not evaluated are left out.
    """
    dice = random.Random(seed)
    query = (
        silent_items(present, *where)
        .with_only_columns(ScorecardRow.call_id, ScorecardRow.fingerprint, ItemRow.rule, ItemRow.outcome)
        .order_by(ScorecardRow.call_id, ItemRow.rule)
        .execution_options(yield_per=BATCH)
    )
    if rule is not None:
        query = query.where(ItemRow.rule == rule)
    with store.read() as session:
        for call, card, item, outcome in session.execute(query):
            if dice.random() < probability:
                line = {
                    "format": FORMAT, "call": call, "rule": item, "outcome": outcome, "scorecard": card,
                    "sampling_probability": probability, "sample": name,
                }  # fmt: skip
                yield json.dumps(line, ensure_ascii=False)
