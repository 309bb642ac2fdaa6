"""Comments on turns, among those who review and coach; agents do not see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Right, may
from qa.review import reached, turn_of
from qa.store.annotations import Comment
from qa.store.engine import Store
from qa.store.queries import audit

MAX_COMMENT = 4_000  # characters
NOTING = (Right.VERDICT, Right.COACH)  # either of which lets a person write on a call


class NothingWritten(ValueError):
    """A text of spaces, or none at all."""


@dataclass(frozen=True, slots=True)
class Said:
    """A comment that stands."""

    id: int
    at: datetime
    who: str
    role: str
    turn: int
    start: float | None  # seconds, of the turn
    text: str


def noting_right(identity: Identity) -> Right:
    """The right by which a person may write on calls, if any: verdicts for reviewers, coaching for trainers."""
    return next((right for right in NOTING if may(identity, right)), Right.VERDICT)


def comment(store: Store, identity: Identity, call_id: str, turn: int, text: str) -> int:
    """Add a comment to a turn. Returns its id. Raises AccessDenied, NothingWritten, KeyError for no such turn."""
    written = text.strip()[:MAX_COMMENT]
    if not written:
        raise NothingWritten("comment")
    with store.write() as session:
        reached(session, identity, noting_right(identity), call_id)
        row = Comment(
            who=identity.login,
            role=identity.role.value,
            call_id=call_id,
            turn=turn,
            start=turn_of(session, call_id, turn).start,
            text=written,
        )
        session.add(row)
        audit(session, identity.login, "comment", call_id, turn=turn)
        session.flush()
        return row.id


def withdraw_comment(store: Store, identity: Identity, comment_id: int) -> None:
    """Take one's own comment back; it stays among the events. Raises AccessDenied."""
    with store.write() as session:
        row = session.get(Comment, comment_id)
        if row is None or row.who != identity.login or row.withdraws is not None:
            raise AccessDenied(identity.login, Right.VERDICT)
        reached(session, identity, noting_right(identity), row.call_id)
        session.add(
            Comment(
                who=identity.login, role=identity.role.value, call_id=row.call_id, turn=row.turn, start=row.start,
                withdraws=row.id,
            )
        )
        audit(session, identity.login, "comment withdrawn", row.call_id, turn=row.turn)


def comments_of(session: Session, identity: Identity, call_id: str) -> list[Said]:
    """The comments that stand on a call, oldest first; none for who may not write any."""
    if not any(may(identity, right) for right in NOTING):
        return []
    rows = session.scalars(select(Comment).where(Comment.call_id == call_id).order_by(Comment.id)).all()
    gone = {row.withdraws for row in rows}
    return [
        Said(row.id, row.at, row.who, row.role, row.turn, row.start, row.text)
        for row in rows
        if row.withdraws is None and row.id not in gone
    ]
