"""Small commands and questions that more than one part of the product has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

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
