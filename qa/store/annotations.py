"""The tables of what people add to a call: comments, marks, corrections, and drafts of what they are still writing.

Rows are only ever added, drafts apart: taking something back is a row of its own that names what it withdraws.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from qa.store.schema import MAX_ID, Base, BigKey, now


class Comment(Base):
    """What somebody says about a turn."""

    __tablename__ = "comments"
    __table_args__ = (Index(None, "call_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    role: Mapped[str] = mapped_column(String(20))
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    turn: Mapped[int]
    start: Mapped[float | None]  # seconds, of the turn
    text: Mapped[str] = mapped_column(Text, default="")
    withdraws: Mapped[int | None] = mapped_column(BigKey)  # the comment that no longer stands


class Mark(Base):
    """A call, or a stretch of one, as a good or a bad example."""

    __tablename__ = "marks"
    __table_args__ = (Index(None, "call_id"), Index(None, "kind", "at"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    role: Mapped[str] = mapped_column(String(20))
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))  # good | bad
    first_turn: Mapped[int | None]  # None: the whole call
    last_turn: Mapped[int | None]  # included
    start: Mapped[float | None]  # seconds
    end: Mapped[float | None]
    note: Mapped[str | None] = mapped_column(Text)
    withdraws: Mapped[int | None] = mapped_column(BigKey)  # the mark that no longer stands


class Correction(Base):
    """A transcript put right by a person: what was there, what is there now, and the two versions around it."""

    __tablename__ = "corrections"
    __table_args__ = (Index(None, "call_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    role: Mapped[str] = mapped_column(String(20))
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(20))  # words | role | channels | undo
    turn: Mapped[int | None]
    detail: Mapped[dict[str, Any]]  # before and after
    from_transcript: Mapped[int] = mapped_column(ForeignKey("transcripts.id", ondelete="CASCADE"))
    to_transcript: Mapped[int] = mapped_column(ForeignKey("transcripts.id", ondelete="CASCADE"))
    withdraws: Mapped[int | None] = mapped_column(BigKey)  # the correction that was undone


class Draft(Base):
    """What a person is writing and has not sent yet. One row a person, call and field; gone once it is sent."""

    __tablename__ = "drafts"

    who: Mapped[str] = mapped_column(String(MAX_ID), primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    field: Mapped[str] = mapped_column(String(100), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    text: Mapped[str] = mapped_column(Text)
