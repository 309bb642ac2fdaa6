"""The tables of people: accounts, their sessions, failed sign-ins, and what people judged."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from qa.store.schema import MAX_ID, SHA256_HEX, Base, BigKey, now


class Account(Base):
    """A person who may sign in."""

    __tablename__ = "accounts"

    login: Mapped[str] = mapped_column(String(MAX_ID), primary_key=True)  # lower case
    name: Mapped[str] = mapped_column(String(MAX_ID))
    role: Mapped[str] = mapped_column(String(20))
    agent: Mapped[str | None] = mapped_column(String(MAX_ID))  # the agent number whose calls are their own
    teams: Mapped[list[str]] = mapped_column(default=list)
    password: Mapped[str] = mapped_column(String(MAX_ID))  # scrypt$N$r$p$salt$key
    must_change: Mapped[bool] = mapped_column(default=False)  # the password is a one-time one
    active: Mapped[bool] = mapped_column(default=True)
    demo: Mapped[bool] = mapped_column(default=False)
    language: Mapped[str | None] = mapped_column(String(20))  # of the app, as the person chose
    created_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class SignInSession(Base):
    """One sign-in. The browser holds the token, the database only its hash."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "login"),)

    token_hash: Mapped[str] = mapped_column(String(SHA256_HEX), primary_key=True)
    login: Mapped[str] = mapped_column(ForeignKey("accounts.login", ondelete="CASCADE"))
    started_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class FailedSignIns(Base):
    """Failures in a row under a login name, whether or not there is such an account."""

    __tablename__ = "failed_sign_ins"

    login: Mapped[str] = mapped_column(String(MAX_ID), primary_key=True)
    count: Mapped[int]
    last_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]


class Verdict(Base):
    """What a person made of a machine result: an event. Rows are only ever added; what stands is derived from them
    (qa/verdicts.py).

    Anchored to what the person saw: the scorecard with its fingerprint, the item, and the place. A verdict with a
    `finding_status` is on that finding; one without is on the item as a whole, or, if it says `missed`, adds the place
    of a fault that the machine did not find.
    """

    __tablename__ = "verdicts"
    __table_args__ = (
        Index(None, "call_id", "rule"),
        Index(None, "rule", "at"),
        Index("uq_verdicts_event_id", "event_id", unique=True),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    event_id: Mapped[str] = mapped_column(String(64), default=lambda: uuid4().hex)  # the same event is kept once
    at: Mapped[datetime] = mapped_column(default=now)
    source: Mapped[str] = mapped_column(String(20), default="app")  # app | import
    who: Mapped[str] = mapped_column(String(MAX_ID))
    role: Mapped[str] = mapped_column(String(20))
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    scorecard_id: Mapped[int | None] = mapped_column(ForeignKey("scorecards.id", ondelete="CASCADE"))
    rule: Mapped[str] = mapped_column(String(100))
    verdict: Mapped[str] = mapped_column(String(20))  # right | wrong | not_applicable | missed | withdrawn
    outcome: Mapped[str] = mapped_column(String(20))  # the machine's of the item, as seen
    finding_status: Mapped[str | None] = mapped_column(String(20))  # of the finding judged, as seen
    turn: Mapped[int | None]
    start_char: Mapped[int | None]
    end_char: Mapped[int | None]
    start: Mapped[float | None]  # seconds
    end: Mapped[float | None]
    note: Mapped[str | None] = mapped_column(Text)
    seen: Mapped[dict[str, Any]]  # fingerprints of the stages behind what was seen
    sampling_probability: Mapped[float | None]  # with which a random audit drew this item, 0–1; None: not from one
    sample: Mapped[str | None] = mapped_column(String(100))  # the audit's name


class Review(Base):
    """A call that a person has finished with. The newest of a scorecard counts; a call judged anew is open again."""

    __tablename__ = "reviews"
    __table_args__ = (Index(None, "call_id", "scorecard_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    scorecard_id: Mapped[int] = mapped_column(ForeignKey("scorecards.id", ondelete="CASCADE"))
    seconds: Mapped[float | None]  # spent, where it was measured
