"""Small commands and questions that more than one part of the product has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from qa.store.schema import AuditEvent, Fingerprint, now


def remember(session: Session, fingerprint: str, stage: str, meaning: Mapping[str, Any]) -> None:
    """Keep what a fingerprint stands for; once is enough, whoever comes first."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    values = {"fingerprint": fingerprint, "stage": stage, "meaning": dict(meaning), "first_seen": now()}
    session.execute(insert(Fingerprint).values(values).on_conflict_do_nothing())


def audit(session: Session, who: str, action: str, call_id: str | None = None, **detail: Any) -> None:
    """Write down who saw or took what. Part of the session's transaction: no entry, no access."""
    session.add(AuditEvent(who=who, action=action, call_id=call_id, detail=detail))
    session.flush()


def occurring(session: Session, column: InstrumentedAttribute[Any]) -> list[str]:
    """The texts that occur in an indexed column, sorted, the empty one left out.

    Goes from each value to the next one in the index: neither database does so for DISTINCT, and reads all rows.
    """
    walk = select(func.min(column).label("value")).where(column > "").cte("walk", recursive=True)
    following = select(func.min(column)).where(column > walk.c.value).scalar_subquery()
    walk = walk.union_all(select(following).where(walk.c.value.is_not(None)))
    return sorted(session.scalars(select(walk.c.value).where(walk.c.value.is_not(None))))
