"""The tables of work on calls: who is to review, who has a call in hand, who has read their scorecard.

Rows are only ever added. What holds now stands on the call itself (`calls.assigned_to`, `held_by`, `held_until`,
`review`), written in the same transaction, so that a queue is filtered without looking through events.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from qa.store.schema import MAX_ID, Base, BigKey, now


class AssignmentEvent(Base):
    """A call given to somebody for review, or taken back."""

    __tablename__ = "assignments"
    __table_args__ = (Index(None, "call_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))  # who gave it
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    assignee: Mapped[str | None] = mapped_column(String(MAX_ID))  # a login; None: taken back
    note: Mapped[str | None] = mapped_column(Text)


class ClaimEvent(Base):
    """A call taken in hand until a time, or let go."""

    __tablename__ = "claims"
    __table_args__ = (Index(None, "call_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    until: Mapped[datetime | None]  # None: let go


class Acknowledgement(Base):
    """An agent has read a scorecard of theirs."""

    __tablename__ = "acknowledgements"
    __table_args__ = (UniqueConstraint("scorecard_id", "who"), Index(None, "call_id"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    scorecard_id: Mapped[int] = mapped_column(ForeignKey("scorecards.id", ondelete="CASCADE"))
