"""The way to one call: the right to it, the audit of looks, its recording, and the end of its review."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Right, require
from qa.store.accounts import Review
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.reviews import settle_review
from qa.store.schema import AuditEvent, Call, Recording, ScorecardRow, TranscriptRow, TurnRow, now

SAME_SIGHT = timedelta(minutes=10)  # looks at one call within this are one entry in the audit trail


def reached(session: Session, identity: Identity, right: Right, call_id: str) -> Call:
    """The call, where the person has the right to it. Raises AccessDenied, the same for a call that there is not."""
    require(identity, right)
    call = session.get(Call, call_id)
    if call is None:
        raise AccessDenied(identity.login, right, call_id)
    require(identity, right, call)
    return call


def turn_of(session: Session, call_id: str, number: int) -> TurnRow:
    """A turn of the call's current transcript. Raises KeyError where there is none."""
    row = session.scalar(
        select(TurnRow)
        .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
        .where(TranscriptRow.call_id == call_id, TranscriptRow.current, TurnRow.number == number)
    )
    if row is None:
        raise KeyError(f"call {call_id} has no turn {number}")
    return row


def audit_look(store: Store, identity: Identity, action: str, call_id: str) -> None:
    """Write a look or a play into the audit trail, once for all that belongs to one sitting."""
    recent = (
        select(AuditEvent.id)
        .where(
            AuditEvent.who == identity.login,
            AuditEvent.at > now() - SAME_SIGHT,
            AuditEvent.action == action,
            AuditEvent.call_id == call_id,
        )
        .limit(1)
    )
    with store.read() as session:
        if session.scalar(recent) is not None:
            return
    with store.write() as session:
        audit(session, identity.login, action, call_id)


def recording_of(store: Store, identity: Identity, right: Right, call_id: str) -> Recording | None:
    """A call's recording; None where the call has none. Raises AccessDenied."""
    with store.read() as session:
        call = reached(session, identity, right, call_id)
        return None if call.recording_id is None else session.get(Recording, call.recording_id)


class Conflict(Exception):
    """The call was judged anew while the person looked at it; nothing was saved."""


def finish(store: Store, identity: Identity, call_id: str, scorecard_id: int) -> None:
    """Close the review of a call as it was judged. Raises AccessDenied; Conflict when it was judged anew meanwhile."""
    with store.write() as session:
        reached(session, identity, Right.VERDICT, call_id)
        current = session.scalar(
            select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
        )
        if current != scorecard_id:
            raise Conflict(call_id)
        session.add(Review(who=identity.login, call_id=call_id, scorecard_id=scorecard_id))
        settle_review(session, call_id)
        audit(session, identity.login, "review finished", call_id)
