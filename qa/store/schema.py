"""The tables. One schema for SQLite and PostgreSQL; `migrations/` brings a database to it.

Machine results are never overwritten: a new transcript or scorecard is a new row, and `current` marks the newest of a
call. The columns of `calls` from `duration` down are copies of the current results, kept so that a queue of
100,000 calls is filtered and sorted by one index.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

MAX_ID = 200  # characters of a call id, an agent's number and other keys from outside
SHA256_HEX = 64


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. Aware on the way in and out, UTC in the database (SQLite keeps no offset)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    return datetime.now(UTC)


Json = JSON(none_as_null=True)  # text on both databases: keys keep their order
# SQLite makes an auto-incrementing key of INTEGER alone.
BigKey = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), dict[str, Any]: Json, list[str]: Json}  # noqa: RUF012


class Recording(Base):
    """A sound file as it was seen: one row a path and content."""

    __tablename__ = "recordings"
    __table_args__ = (UniqueConstraint("path", "sha256"), Index(None, "sha256"))

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(SHA256_HEX))
    size: Mapped[int] = mapped_column(BigInteger)  # bytes
    container: Mapped[str | None] = mapped_column(String(50))
    codec: Mapped[str | None] = mapped_column(String(50))
    sample_rate: Mapped[int | None]  # Hz
    channels: Mapped[int | None]
    duration: Mapped[float | None]  # seconds
    state: Mapped[str] = mapped_column(String(50), default="new")
    first_seen: Mapped[datetime] = mapped_column(default=now)


class Call(Base):
    """A conversation and what is known of it from outside."""

    __tablename__ = "calls"
    __table_args__ = (
        Index(None, "recording_id"),
        Index(None, "agent", "started_at"),
        Index(None, "team", "started_at"),
        Index(None, "queue", "started_at"),
        Index(None, "kind", "started_at"),
        Index(None, "customer_key", "started_at"),
        Index(None, "score", "started_at"),
        Index("ix_calls_fatal", "started_at", sqlite_where=text("fatal"), postgresql_where=text("fatal")),
        Index(
            "ix_calls_suspected",
            "started_at",
            sqlite_where=text("suspected > 0"),
            postgresql_where=text("suspected > 0"),
        ),
        Index(None, "end_emotion", "started_at"),
        *(
            Index(f"ix_calls_{name}", name, "started_at", sqlite_where=text(there), postgresql_where=text(there))
            for name, there in (
                ("assigned_to", "assigned_to IS NOT NULL"),
                ("held_by", "held_by IS NOT NULL"),
                ("review", "review IS NOT NULL"),
            )
        ),
    )

    id: Mapped[str] = mapped_column(String(MAX_ID), primary_key=True)
    recording_id: Mapped[int | None] = mapped_column(ForeignKey("recordings.id"))
    agent: Mapped[str | None] = mapped_column(String(MAX_ID))
    team: Mapped[str | None] = mapped_column(String(MAX_ID))
    queue: Mapped[str | None] = mapped_column(String(MAX_ID))
    direction: Mapped[str | None] = mapped_column(String(20))  # inbound | outbound
    started_at: Mapped[datetime | None]
    time_zone: Mapped[str | None] = mapped_column(
        String(60)
    )  # IANA name, to show started_at as the site reads it
    kind: Mapped[str | None] = mapped_column(String(20))  # 咨询 | 查询 | 投诉 | 建议 | 办理
    kind_source: Mapped[str | None] = mapped_column(String(20))  # metadata | inferred
    kind_confidence: Mapped[float | None]
    customer_key: Mapped[str | None] = mapped_column(String(MAX_ID))
    language: Mapped[str | None] = mapped_column(String(20))
    agent_channel: Mapped[int | None]  # 0-based, as the metadata says
    attributes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[int] = mapped_column()

    # Copies of the current results.
    duration: Mapped[float | None]  # seconds
    score: Mapped[float | None]
    fatal: Mapped[bool | None]
    suspected: Mapped[int | None]  # findings for a person to look at
    longest_silence: Mapped[float | None]  # seconds, music left out
    end_emotion: Mapped[str | None] = mapped_column(
        String(20)
    )  # negative | neutral | positive: the customer at the end

    # Where the work on the call stands; its events are in work.py.
    review: Mapped[str | None] = mapped_column(String(20))  # done | changed: the machine judged otherwise since
    assigned_to: Mapped[str | None] = mapped_column(String(MAX_ID))
    held_by: Mapped[str | None] = mapped_column(String(MAX_ID))
    held_until: Mapped[datetime | None]

    # What the board counts; written by figures.py with every scorecard.
    errors: Mapped[int | None]  # non-fatal items failed
    opportunities: Mapped[int | None]  # non-fatal items passed or failed
    fatal_classes: Mapped[int | None]  # bits: 1 customer-, 2 business-, 4 compliance-critical
    layout_id: Mapped[int | None]  # of item_layouts
    outcomes: Mapped[str | None] = mapped_column(Text)  # one letter an item: P F - ?

    recording: Mapped[Recording | None] = relationship()
    tags: Mapped[list[Tag]] = relationship(cascade="all, delete-orphan", order_by="Tag.tag")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


# In the order in which lists show calls: a page is read off, without a sort. The first holds all that the queue's
# default view asks of a call, so it is counted and paged without touching the table.
_NEWEST = Call.started_at.desc().nulls_last()
Index(
    "ix_calls_risk", Call.fatal.desc(), Call.score, _NEWEST, Call.id, Call.review, Call.suspected, Call.end_emotion
)
Index("ix_calls_newest", _NEWEST, Call.id)


class Tag(Base):
    __tablename__ = "call_tags"
    __table_args__ = (Index(None, "tag", "call_id"),)

    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(MAX_ID), primary_key=True)


class Night(Base):
    """One run over the recordings."""

    __tablename__ = "nights"

    id: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(String(20))  # running | finished | stopped | failed
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    settings_fingerprint: Mapped[str | None] = mapped_column(String(SHA256_HEX))
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    exit_code: Mapped[int | None]
    message: Mapped[str | None] = mapped_column(Text)

    files: Mapped[list[NightFile]] = relationship(cascade="all, delete-orphan")


class NightFile(Base):
    """What became of one received file in one night: the summary is counted from these rows."""

    __tablename__ = "night_files"
    __table_args__ = (
        UniqueConstraint("night_id", "path"),
        Index(None, "call_id"),
        Index(None, "night_id", "outcome"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    night_id: Mapped[int] = mapped_column(ForeignKey("nights.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(Text)
    call_id: Mapped[str | None] = mapped_column(ForeignKey("calls.id", ondelete="SET NULL"))
    outcome: Mapped[str] = mapped_column(String(20))  # pending | scored | quarantined | failed | skipped
    reason: Mapped[str | None] = mapped_column(String(50))
    message: Mapped[str | None] = mapped_column(Text)


class LedgerRow(Base):
    """One stage of one call: the only truth about what is done."""

    __tablename__ = "ledger"
    __table_args__ = (Index(None, "stage", "state"), Index(None, "state", "lease_until"))

    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    stage: Mapped[str] = mapped_column(String(30), primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    fingerprint: Mapped[str | None] = mapped_column(String(SHA256_HEX))
    attempts: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(String(50))
    message: Mapped[str | None] = mapped_column(Text)
    night_id: Mapped[int | None] = mapped_column(ForeignKey("nights.id", ondelete="SET NULL"))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class TranscriptRow(Base):
    """What was heard on a call, by one make of the stages."""

    __tablename__ = "transcripts"
    __table_args__ = (
        Index(None, "call_id"),
        Index(
            "uq_transcripts_current",
            "call_id",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    current: Mapped[bool]
    language: Mapped[str] = mapped_column(String(20))
    duration: Mapped[float | None]  # seconds
    signs: Mapped[list[str]]
    roles: Mapped[dict[str, Any]]
    attributes: Mapped[dict[str, Any]]
    fingerprints: Mapped[dict[str, Any]]
    turn_count: Mapped[int]
    mean_probability: Mapped[float | None]  # over all words, 0–1
    created_at: Mapped[datetime] = mapped_column(default=now)
    made_by: Mapped[str | None] = mapped_column(String(MAX_ID))  # the person who corrected it; None: the machine

    turns: Mapped[list[TurnRow]] = relationship(order_by="TurnRow.number", passive_deletes=True)
    measures: Mapped[Measures | None] = relationship(passive_deletes=True)


class TurnRow(Base):
    __tablename__ = "turns"
    __table_args__ = (UniqueConstraint("transcript_id", "number"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    transcript_id: Mapped[int] = mapped_column(ForeignKey("transcripts.id", ondelete="CASCADE"))
    number: Mapped[int]  # 0-based place in the transcript
    speaker: Mapped[str] = mapped_column(String(MAX_ID))
    role: Mapped[str | None] = mapped_column(String(20))
    start: Mapped[float | None]  # seconds
    end: Mapped[float | None]
    text: Mapped[str] = mapped_column(Text)
    marks: Mapped[list[str] | None]
    emotion_label: Mapped[str | None] = mapped_column(String(20))
    emotion_score: Mapped[float | None]
    loudness_db: Mapped[float | None]  # dBFS
    pitch_hz: Mapped[float | None]
    words: Mapped[bytes | None] = mapped_column(LargeBinary)  # see words.py


class Measures(Base):
    """What was measured on a call. `detail` holds every silence, overlap and latency; the columns are its summary."""

    __tablename__ = "measures"

    transcript_id: Mapped[int] = mapped_column(
        ForeignKey("transcripts.id", ondelete="CASCADE"), primary_key=True
    )
    silence_share: Mapped[float]
    overlap_share: Mapped[float]
    longest_silence: Mapped[float]  # seconds, music left out
    interruptions: Mapped[int]  # by the agent
    agent_rate: Mapped[float | None]  # characters a minute
    customer_rate: Mapped[float | None]
    agent_latency: Mapped[float | None]  # seconds, median
    detail: Mapped[dict[str, Any]]


class ScorecardRow(Base):
    """A call judged, by one make of the rules."""

    __tablename__ = "scorecards"
    __table_args__ = (
        Index(None, "call_id"),
        Index(None, "transcript_id"),
        Index(
            "uq_scorecards_current",
            "call_id",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    transcript_id: Mapped[int] = mapped_column(ForeignKey("transcripts.id", ondelete="CASCADE"))
    current: Mapped[bool]
    score: Mapped[float | None]
    fatal: Mapped[bool]
    suspected: Mapped[int]
    fingerprint: Mapped[str] = mapped_column(String(SHA256_HEX))
    card: Mapped[dict[str, Any]]  # everything but the items
    created_at: Mapped[datetime] = mapped_column(default=now)

    items: Mapped[list[ItemRow]] = relationship(order_by="ItemRow.number", passive_deletes=True)
    findings: Mapped[list[FindingRow]] = relationship(order_by="FindingRow.id", passive_deletes=True)


class ItemRow(Base):
    """One rule's outcome on one scorecard."""

    __tablename__ = "items"
    __table_args__ = (
        Index(None, "rule", "outcome", "scorecard_id"),
        {"sqlite_with_rowid": False},
    )

    scorecard_id: Mapped[int] = mapped_column(
        ForeignKey("scorecards.id", ondelete="CASCADE"), primary_key=True
    )
    rule: Mapped[str] = mapped_column(String(100), primary_key=True)
    number: Mapped[int]  # place on the card
    dimension: Mapped[str] = mapped_column(String(30))
    fault_class: Mapped[str] = mapped_column(String(30))  # non-fatal | customer-critical | …
    outcome: Mapped[str] = mapped_column(String(20))  # pass | fail | not_applicable | not_evaluated
    reason: Mapped[str | None] = mapped_column(String(50))
    points: Mapped[float]  # deducted
    detail: Mapped[dict[str, Any] | None]  # the rest of the item


class ItemLayout(Base):
    """Which items `calls.outcomes` tells of, in order: rule and class of each."""

    __tablename__ = "item_layouts"
    __table_args__ = (UniqueConstraint("fingerprint"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(SHA256_HEX))
    items: Mapped[list[Any]] = mapped_column(Json)


class FindingRow(Base):
    """One event that a rule found. The columns hold its first place; `detail` further ones."""

    __tablename__ = "findings"
    __table_args__ = (Index(None, "scorecard_id", "rule"), Index(None, "rule", "status", "id"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    scorecard_id: Mapped[int] = mapped_column(ForeignKey("scorecards.id", ondelete="CASCADE"))
    rule: Mapped[str] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(20))  # confirmed | suspected | mitigated
    how: Mapped[str] = mapped_column(String(30))  # phrase | pinyin | meaning | … | missing
    turn: Mapped[int | None]
    start_char: Mapped[int | None]
    end_char: Mapped[int | None]
    start: Mapped[float | None]  # seconds
    end: Mapped[float | None]
    detail: Mapped[dict[str, Any] | None]  # the rest of the finding


class Fingerprint(Base):
    """What a fingerprint stands for: models, settings and rules of a stage."""

    __tablename__ = "fingerprints"

    fingerprint: Mapped[str] = mapped_column(String(SHA256_HEX), primary_key=True)
    stage: Mapped[str] = mapped_column(String(30), primary_key=True)
    meaning: Mapped[dict[str, Any]]
    first_seen: Mapped[datetime] = mapped_column(default=now)


class AuditEvent(Base):
    """Who saw or changed what. Rows are only ever added."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), Index(None, "who", "at"), Index(None, "call_id"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    action: Mapped[str] = mapped_column(String(50))  # unmask | export | …
    call_id: Mapped[str | None] = mapped_column(String(MAX_ID))  # no foreign key: the trail outlives the call
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
