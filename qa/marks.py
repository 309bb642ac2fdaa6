"""Calls and stretches of calls marked as good or bad examples: what the trainers' library is filled from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Right
from qa.comments import noting_right
from qa.review import reached, turn_of
from qa.store.annotations import Mark
from qa.store.engine import Store
from qa.store.queries import audit

MAX_NOTE = 2_000  # characters


class Kind(StrEnum):
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Example:
    """A mark that stands. Without turns and seconds it is on the whole call."""

    id: int
    at: datetime
    who: str
    role: str
    call_id: str
    kind: str
    first_turn: int | None
    last_turn: int | None  # included
    start: float | None  # seconds
    end: float | None
    note: str | None


def mark(
    store: Store,
    identity: Identity,
    call_id: str,
    kind: Kind,
    turns: tuple[int, int] | None = None,
    note: str = "",
) -> int:
    """Mark a call, or its `turns` from first to last, as an example. Returns the mark's id.

    Raises AccessDenied; KeyError for turns that the call has not; ValueError for a last turn before the first.
    """
    with store.write() as session:
        reached(session, identity, noting_right(identity), call_id)
        first = last = None
        if turns is not None:
            if turns[0] > turns[1]:
                raise ValueError(f"turns {turns[0]} to {turns[1]}")
            first, last = turn_of(session, call_id, turns[0]), turn_of(session, call_id, turns[1])
        row = Mark(
            who=identity.login,
            role=identity.role.value,
            call_id=call_id,
            kind=kind.value,
            first_turn=first and first.number,
            last_turn=last and last.number,
            start=first and first.start,
            end=last and last.end,
            note=note.strip()[:MAX_NOTE] or None,
        )
        session.add(row)
        audit(session, identity.login, "mark", call_id, kind=kind.value, turns=list(turns or ()))
        session.flush()
        return row.id


def withdraw_mark(store: Store, identity: Identity, mark_id: int) -> None:
    """Take one's own mark back; it stays among the events. Raises AccessDenied."""
    with store.write() as session:
        row = session.get(Mark, mark_id)
        if row is None or row.who != identity.login or row.withdraws is not None:
            raise AccessDenied(identity.login, Right.VERDICT)
        reached(session, identity, noting_right(identity), row.call_id)
        session.add(
            Mark(
                who=identity.login, role=identity.role.value, call_id=row.call_id, kind=row.kind,
                first_turn=row.first_turn, last_turn=row.last_turn, start=row.start, end=row.end, withdraws=row.id,
            )
        )
        audit(session, identity.login, "mark withdrawn", row.call_id, kind=row.kind)


def marks_of(session: Session, *call_ids: str) -> list[Example]:
    """The marks that stand on some calls, oldest first. Ask for the right to the calls before."""
    rows = session.scalars(select(Mark).where(Mark.call_id.in_(call_ids)).order_by(Mark.id)).all()
    gone = {row.withdraws for row in rows}
    return [
        Example(
            row.id, row.at, row.who, row.role, row.call_id, row.kind, row.first_turn, row.last_turn, row.start, row.end,
            row.note,
        )
        for row in rows
        if row.withdraws is None and row.id not in gone
    ]  # fmt: skip
