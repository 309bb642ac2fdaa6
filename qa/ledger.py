"""The only truth about what is done: one row a call and stage."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from qa.store.schema import LedgerRow, now


class Stage(StrEnum):
    HEAR = "hear"  # decode, recognise, diarize, measure: all that needs the sound
    EMOTION = "emotion"
    SCORE = "score"


class State(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    SKIPPED = "skipped"


def row(session: Session, call_id: str, stage: Stage) -> LedgerRow:
    """The row of a call's stage, made if there is none."""
    found = session.get(LedgerRow, (call_id, stage))
    if found is None:
        found = LedgerRow(call_id=call_id, stage=stage, state=State.PENDING)
        session.add(found)
        session.flush()
    return found


def start(session: Session, call_id: str, stage: Stage, night_id: int, owner: str) -> None:
    entry = row(session, call_id, stage)
    entry.state, entry.night_id, entry.lease_owner = State.RUNNING, night_id, owner
    entry.started_at, entry.finished_at, entry.reason, entry.message = now(), None, None, None


def finish(session: Session, call_id: str, stage: Stage, fingerprint: str, night_id: int | None = None) -> None:
    entry = row(session, call_id, stage)
    entry.state, entry.fingerprint, entry.finished_at = State.DONE, fingerprint, now()
    entry.lease_owner = entry.reason = entry.message = None
    entry.night_id = entry.night_id if night_id is None else night_id


def refuse(session: Session, call_id: str, stage: Stage, state: State, reason: str, message: str) -> None:
    """The stage will not be done, or not now: quarantined, failed or skipped, with why."""
    entry = row(session, call_id, stage)
    entry.state, entry.reason, entry.message, entry.finished_at = state, reason, message, now()
    entry.lease_owner = None
    if state is State.FAILED:
        entry.attempts += 1


def crashed(session: Session, call_id: str, stage: Stage, message: str) -> int:
    """A worker died with this call alone in its hands; returns how often that has happened."""
    entry = row(session, call_id, stage)
    entry.attempts += 1
    entry.state, entry.message, entry.lease_owner = State.PENDING, message, None
    return entry.attempts


def release(session: Session) -> int:
    """Put back what a dead night had under way; only for who holds the night's lock. Returns how many rows."""
    result = session.execute(
        update(LedgerRow)
        .where(LedgerRow.state == State.RUNNING)
        .values(state=State.PENDING, lease_owner=None, version=LedgerRow.version + 1)
    )
    return cast("CursorResult[Any]", result).rowcount


def states(session: Session, call_ids: list[str]) -> dict[tuple[str, Stage], LedgerRow]:
    """The rows of many calls, by call and stage."""
    found: dict[tuple[str, Stage], LedgerRow] = {}
    for first in range(0, len(call_ids), 500):
        rows = session.scalars(select(LedgerRow).where(LedgerRow.call_id.in_(call_ids[first : first + 500])))
        found |= {(entry.call_id, Stage(entry.stage)): entry for entry in rows}
    return found


def reopen(entry: LedgerRow) -> None:
    """A person wants it tried again, from the start."""
    entry.state, entry.attempts, entry.reason, entry.message = State.PENDING, 0, None, None
    entry.lease_owner = entry.finished_at = None
