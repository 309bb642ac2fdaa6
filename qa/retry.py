"""Calls that the night refused, put back into the queue of the next run; nothing of them is lost meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa import ledger
from qa.access import Identity, Right, require
from qa.ledger import State
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.schema import LedgerRow

REFUSED = (State.QUARANTINED, State.FAILED, State.SKIPPED)


def reopen_calls(session: Session, calls: Sequence[str] = (), reason: str = "") -> set[str]:
    """Reopen these calls, those with a reason, or both; without either, all that were refused. Returns which."""
    chosen = select(LedgerRow).where(LedgerRow.state.in_(REFUSED))
    if calls:
        chosen = chosen.where(LedgerRow.call_id.in_(calls))
    if reason:
        chosen = chosen.where(LedgerRow.reason == reason)
    found = list(session.scalars(chosen))
    for entry in found:
        ledger.reopen(entry)
    return {entry.call_id for entry in found}


def retry(store: Store, identity: Identity, calls: Sequence[str] = (), reason: str = "") -> set[str]:
    """In the app's name: calls, or a reason; never all at once. Raises AccessDenied, ValueError for neither."""
    require(identity, Right.OPERATE)
    if not calls and not reason:
        raise ValueError("name calls or a reason")
    with store.write() as session:
        done = reopen_calls(session, calls, reason)
        for call_id in sorted(done):
            audit(session, identity.login, "retry", call_id, reason=reason)
    return done
