"""The tables of random audits: what was drawn among the items in which the machine saw no fault, and what is still open.

A draw and its items are only ever added: the probability with which an item was drawn is what its verdict weighs. Which
of them wait for a person is derived (qa/store/audit_work.py) and kept apart, so that a queue is filtered by it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from qa.store.schema import MAX_ID, Base, BigKey, now


class RandomAudit(Base):
    """One draw: who, of how much, and from which frame."""

    __tablename__ = "random_audits"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    name: Mapped[str] = mapped_column(String(100))
    unit: Mapped[str] = mapped_column(String(20))  # calls | items
    wanted: Mapped[int]  # units asked for
    drawn: Mapped[int]  # units drawn: fewer where the frame has fewer
    seed: Mapped[int] = mapped_column(BigInteger)
    probability: Mapped[float]  # of every item of the frame: units drawn / units in it
    frame: Mapped[dict[str, Any]]  # since, until, team, queue, rule, teams in reach, pack, pack_only, version
    frame_calls: Mapped[int]  # calls in it that have such an item
    frame_items: Mapped[int]


class DrawnItem(Base):
    """An item that was drawn, on the scorecard that was in force."""

    __tablename__ = "random_audit_items"
    __table_args__ = (UniqueConstraint("audit_id", "call_id", "rule"), Index(None, "call_id", "rule"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    audit_id: Mapped[int] = mapped_column(ForeignKey("random_audits.id", ondelete="CASCADE"))
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    scorecard_id: Mapped[int] = mapped_column(ForeignKey("scorecards.id", ondelete="CASCADE"))
    rule: Mapped[str] = mapped_column(String(100))
    present: Mapped[bool]  # the rule is on what must be said: a suspected finding of it is no claim
    probability: Mapped[float]  # 0–1


class OpenItem(Base):
    """A drawn item that waits for a verdict. Derived."""

    __tablename__ = "random_audit_open"

    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    rule: Mapped[str] = mapped_column(String(100), primary_key=True)
