"""The tables of coaching: clips out of calls, packs of clips, and packs given to agents.

A clip keeps seconds of its call and no words: what is shown and heard is cut, masked, from the transcript and the
recording that are in force. A clip or pack that is taken out of use stays, for the sake of those who were given it.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from qa.store.schema import MAX_ID, Base, BigKey, now


class Clip(Base):
    """A stretch of a call that shows how it is done, or how not."""

    __tablename__ = "clips"
    __table_args__ = (Index(None, "call_id"), Index(None, "rule"), Index(None, "kind", "at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    start: Mapped[float]  # seconds of the call
    end: Mapped[float]
    kind: Mapped[str] = mapped_column(String(10))  # good | bad
    rule: Mapped[str | None] = mapped_column(String(100))  # what it is an example of
    title: Mapped[str] = mapped_column(String(MAX_ID))
    note: Mapped[str] = mapped_column(Text, default="")
    say_instead: Mapped[str] = mapped_column(Text, default="")
    retired_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column()

    tags: Mapped[list[ClipTag]] = relationship(
        cascade="all, delete-orphan", order_by="ClipTag.tag", lazy="selectin"
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class ClipTag(Base):
    __tablename__ = "clip_tags"
    __table_args__ = (Index(None, "tag", "clip_id"),)

    clip_id: Mapped[int] = mapped_column(ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(MAX_ID), primary_key=True)


class ClipPack(Base):
    """Clips in an order, for a purpose."""

    __tablename__ = "clip_packs"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    name: Mapped[str] = mapped_column(String(MAX_ID))
    note: Mapped[str] = mapped_column(Text, default="")
    retired_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column()

    entries: Mapped[list[ClipPackEntry]] = relationship(
        cascade="all, delete-orphan", order_by="ClipPackEntry.place", lazy="selectin"
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class ClipPackEntry(Base):
    __tablename__ = "clip_pack_entries"
    __table_args__ = (Index(None, "clip_id"),)

    pack_id: Mapped[int] = mapped_column(ForeignKey("clip_packs.id", ondelete="CASCADE"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)  # 0-based
    clip_id: Mapped[int] = mapped_column(ForeignKey("clips.id", ondelete="CASCADE"))


class CoachingAssignment(Base):
    """A pack given to an agent, with what it is for and until when."""

    __tablename__ = "coaching_assignments"
    __table_args__ = (Index(None, "agent", "due"), Index(None, "pack_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    pack_id: Mapped[int] = mapped_column(ForeignKey("clip_packs.id", ondelete="CASCADE"))
    agent: Mapped[str] = mapped_column(String(MAX_ID))  # the agent's number, as on calls
    goal: Mapped[str] = mapped_column(Text)
    due: Mapped[date]  # the last day, as the site reads it
    withdrawn_at: Mapped[datetime | None]


class CoachingAcknowledgement(Base):
    """An agent has worked through what was assigned."""

    __tablename__ = "coaching_acknowledgements"
    __table_args__ = (UniqueConstraint("assignment_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    assignment_id: Mapped[int] = mapped_column(ForeignKey("coaching_assignments.id", ondelete="CASCADE"))
    note: Mapped[str] = mapped_column(Text, default="")


class ClipPlay(Base):
    """Somebody listened to a clip. Rows are only ever added."""

    __tablename__ = "clip_plays"
    __table_args__ = (Index(None, "clip_id", "who"), Index(None, "who", "at"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    clip_id: Mapped[int] = mapped_column(ForeignKey("clips.id", ondelete="CASCADE"))
