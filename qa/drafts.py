"""What a person is writing on a call, kept in the database while they write: neither a closed page nor a killed server
loses more than the last second or two.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from qa.access import Identity
from qa.comments import noting_right
from qa.review import reached
from qa.store.annotations import Draft
from qa.store.engine import Store
from qa.store.schema import now

MAX_DRAFT = 10_000  # characters
MAX_FIELD = 100


def save_draft(store: Store, identity: Identity, call_id: str, field: str, text: str) -> None:
    """Keep a person's draft of a field (`comment:12`); an empty one is forgotten. Raises AccessDenied, ValueError."""
    if not field or len(field) > MAX_FIELD:
        raise ValueError(field)
    with store.write() as session:
        reached(session, identity, noting_right(identity), call_id)
        if not text.strip():
            forget_draft(session, identity, call_id, field)
            return
        insert = sqlite.insert if store.dialect == "sqlite" else postgresql.insert
        new = insert(Draft).values(
            who=identity.login, call_id=call_id, field=field, text=text[:MAX_DRAFT], at=now()
        )
        session.execute(
            new.on_conflict_do_update(
                index_elements=["who", "call_id", "field"],
                set_={"text": new.excluded.text, "at": new.excluded.at},
            )
        )


def forget_draft(session: Session, identity: Identity, call_id: str, field: str) -> None:
    session.execute(
        delete(Draft).where(Draft.who == identity.login, Draft.call_id == call_id, Draft.field == field)
    )


def drafts_of(session: Session, identity: Identity, call_id: str) -> Mapping[str, str]:
    """A person's drafts on a call: field → text, the oldest first."""
    rows = session.scalars(
        select(Draft).where(Draft.who == identity.login, Draft.call_id == call_id).order_by(Draft.at)
    )
    return {row.field: row.text for row in rows}
