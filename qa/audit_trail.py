"""The audit trail to read: who saw, heard, judged or changed what, filtered and page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from qa.access import Identity, Right, require
from qa.store.engine import Store
from qa.store.schema import AuditEvent

TRAIL_PAGE = 50


@dataclass(frozen=True, slots=True)
class TrailFilter:
    """Empty fields do not filter. Days are the site's, both included; a day that is none does not filter."""

    who: str = ""
    action: str = ""
    call: str = ""
    since: date | None = None
    until: date | None = None
    page: int = 1

    @classmethod
    def from_address(cls, query: Mapping[str, str]) -> TrailFilter:
        page = query.get("page", "")
        return cls(
            query.get("who", "").strip(),
            query.get("action", "").strip(),
            query.get("call", "").strip(),
            _day(query.get("since", "")),
            _day(query.get("until", "")),
            int(page) if page.isdecimal() and 1 <= int(page) < 10**6 else 1,
        )

    def to_address(self) -> dict[str, str]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.page == 1:
            del values["page"]
        return {name: str(value) for name, value in values.items() if value}

    def at_page(self, page: int) -> TrailFilter:
        return replace(self, page=page)


def audit_trail(
    store: Store, identity: Identity, wanted: TrailFilter, zone: ZoneInfo
) -> tuple[Sequence[AuditEvent], int]:
    """A page of the trail, the newest first, and how many entries there are. Raises AccessDenied."""
    require(identity, Right.ADMINISTER)
    conditions = []
    if wanted.who:
        conditions.append(AuditEvent.who == wanted.who)
    if wanted.action:
        conditions.append(AuditEvent.action == wanted.action)
    if wanted.call:
        conditions.append(AuditEvent.call_id == wanted.call)
    if wanted.since:
        conditions.append(AuditEvent.at >= _midnight(wanted.since, zone))
    if wanted.until:
        conditions.append(AuditEvent.at < _midnight(wanted.until + timedelta(days=1), zone))
    with store.read() as session:
        total = session.scalar(select(func.count()).select_from(AuditEvent).where(*conditions)) or 0
        rows = session.scalars(
            select(AuditEvent)
            .where(*conditions)
            .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
            .limit(TRAIL_PAGE)
            .offset((wanted.page - 1) * TRAIL_PAGE)
        ).all()
    return rows, total


def known_actions(store: Store, identity: Identity) -> list[str]:
    """The kinds of entries that there are. Raises AccessDenied."""
    require(identity, Right.ADMINISTER)
    with store.read() as session:
        return list(session.scalars(select(AuditEvent.action).distinct().order_by(AuditEvent.action)))


def _day(raw: str) -> date | None:
    try:
        return date.fromisoformat(raw.strip())
    except ValueError:
        return None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)
