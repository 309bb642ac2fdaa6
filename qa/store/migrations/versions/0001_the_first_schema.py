"""The first schema"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from qa.store.schema import BigKey, Json, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=50), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=True),
        sa.Column("detail", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])
    op.create_index(op.f("ix_audit_call_id"), "audit", ["call_id"])
    op.create_index(op.f("ix_audit_who_at"), "audit", ["who", "at"])

    op.create_table(
        "fingerprints",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=30), nullable=False),
        sa.Column("meaning", Json, nullable=False),
        sa.Column("first_seen", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "stage", name=op.f("pk_fingerprints")),
    )
    op.create_table(
        "nights",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("options", Json, nullable=False),
        sa.Column("settings_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("counts", Json, nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nights")),
    )
    op.create_table(
        "recordings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("container", sa.String(length=50), nullable=True),
        sa.Column("codec", sa.String(length=50), nullable=True),
        sa.Column("sample_rate", sa.Integer(), nullable=True),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("duration", sa.Double(), nullable=True),
        sa.Column("state", sa.String(length=50), nullable=False),
        sa.Column("first_seen", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recordings")),
        sa.UniqueConstraint("path", "sha256", name=op.f("uq_recordings_path_sha256")),
    )
    op.create_index(op.f("ix_recordings_sha256"), "recordings", ["sha256"])

    op.create_table(
        "calls",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("recording_id", sa.Integer(), nullable=True),
        sa.Column("agent", sa.String(length=200), nullable=True),
        sa.Column("team", sa.String(length=200), nullable=True),
        sa.Column("queue", sa.String(length=200), nullable=True),
        sa.Column("direction", sa.String(length=20), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("time_zone", sa.String(length=60), nullable=True),
        sa.Column("kind", sa.String(length=20), nullable=True),
        sa.Column("kind_source", sa.String(length=20), nullable=True),
        sa.Column("kind_confidence", sa.Double(), nullable=True),
        sa.Column("customer_key", sa.String(length=200), nullable=True),
        sa.Column("language", sa.String(length=20), nullable=True),
        sa.Column("agent_channel", sa.Integer(), nullable=True),
        sa.Column("attributes", Json, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("duration", sa.Double(), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("fatal", sa.Boolean(), nullable=True),
        sa.Column("suspected", sa.Integer(), nullable=True),
        sa.Column("end_emotion", sa.String(length=20), nullable=True),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name=op.f("fk_calls_recording_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
    )
    op.create_index(op.f("ix_calls_agent_started_at"), "calls", ["agent", "started_at"])
    op.create_index(op.f("ix_calls_customer_key_started_at"), "calls", ["customer_key", "started_at"])
    op.create_index(op.f("ix_calls_end_emotion_started_at"), "calls", ["end_emotion", "started_at"])
    op.create_index(
        "ix_calls_fatal",
        "calls",
        ["started_at"],
        sqlite_where=sa.text("fatal"),
        postgresql_where=sa.text("fatal"),
    )
    op.create_index(op.f("ix_calls_kind_started_at"), "calls", ["kind", "started_at"])
    op.create_index(op.f("ix_calls_queue_started_at"), "calls", ["queue", "started_at"])
    op.create_index(op.f("ix_calls_recording_id"), "calls", ["recording_id"])
    op.create_index(op.f("ix_calls_score_started_at"), "calls", ["score", "started_at"])
    op.create_index(op.f("ix_calls_started_at"), "calls", ["started_at"])
    op.create_index(
        "ix_calls_suspected",
        "calls",
        ["started_at"],
        sqlite_where=sa.text("suspected > 0"),
        postgresql_where=sa.text("suspected > 0"),
    )
    op.create_index(op.f("ix_calls_team_started_at"), "calls", ["team", "started_at"])

    op.create_table(
        "call_tags",
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("tag", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_call_tags_call_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", "tag", name=op.f("pk_call_tags")),
    )
    op.create_index(op.f("ix_call_tags_tag_call_id"), "call_tags", ["tag", "call_id"])

    op.create_table(
        "ledger",
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("stage", sa.String(length=30), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=255), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.String(length=50), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("night_id", sa.Integer(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_ledger_call_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["night_id"], ["nights.id"], name=op.f("fk_ledger_night_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("call_id", "stage", name=op.f("pk_ledger")),
    )
    op.create_index(op.f("ix_ledger_stage_state"), "ledger", ["stage", "state"])
    op.create_index(op.f("ix_ledger_state_lease_until"), "ledger", ["state", "lease_until"])

    op.create_table(
        "night_files",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("night_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=50), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_night_files_call_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["night_id"], ["nights.id"], name=op.f("fk_night_files_night_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_night_files")),
        sa.UniqueConstraint("night_id", "path", name=op.f("uq_night_files_night_id_path")),
    )
    op.create_index(op.f("ix_night_files_call_id"), "night_files", ["call_id"])
    op.create_index(op.f("ix_night_files_night_id_outcome"), "night_files", ["night_id", "outcome"])

    op.create_table(
        "transcripts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("duration", sa.Double(), nullable=True),
        sa.Column("signs", Json, nullable=False),
        sa.Column("roles", Json, nullable=False),
        sa.Column("attributes", Json, nullable=False),
        sa.Column("fingerprints", Json, nullable=False),
        sa.Column("turn_count", sa.Integer(), nullable=False),
        sa.Column("mean_probability", sa.Double(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_transcripts_call_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transcripts")),
    )
    op.create_index(op.f("ix_transcripts_call_id"), "transcripts", ["call_id"])
    op.create_index(
        "uq_transcripts_current",
        "transcripts",
        ["call_id"],
        unique=True,
        sqlite_where=sa.text("current"),
        postgresql_where=sa.text("current"),
    )

    op.create_table(
        "measures",
        sa.Column("transcript_id", sa.Integer(), nullable=False),
        sa.Column("silence_share", sa.Double(), nullable=False),
        sa.Column("overlap_share", sa.Double(), nullable=False),
        sa.Column("longest_silence", sa.Double(), nullable=False),
        sa.Column("interruptions", sa.Integer(), nullable=False),
        sa.Column("agent_rate", sa.Double(), nullable=True),
        sa.Column("customer_rate", sa.Double(), nullable=True),
        sa.Column("agent_latency", sa.Double(), nullable=True),
        sa.Column("detail", Json, nullable=False),
        sa.ForeignKeyConstraint(
            ["transcript_id"], ["transcripts.id"], name=op.f("fk_measures_transcript_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("transcript_id", name=op.f("pk_measures")),
    )
    op.create_table(
        "scorecards",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("transcript_id", sa.Integer(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("fatal", sa.Boolean(), nullable=False),
        sa.Column("suspected", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("card", Json, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_scorecards_call_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["transcript_id"],
            ["transcripts.id"],
            name=op.f("fk_scorecards_transcript_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scorecards")),
    )
    op.create_index(op.f("ix_scorecards_call_id"), "scorecards", ["call_id"])
    op.create_index(op.f("ix_scorecards_transcript_id"), "scorecards", ["transcript_id"])
    op.create_index(
        "uq_scorecards_current",
        "scorecards",
        ["call_id"],
        unique=True,
        sqlite_where=sa.text("current"),
        postgresql_where=sa.text("current"),
    )

    op.create_table(
        "turns",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("transcript_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("speaker", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=True),
        sa.Column("start", sa.Double(), nullable=True),
        sa.Column("end", sa.Double(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("marks", Json, nullable=True),
        sa.Column("emotion_label", sa.String(length=20), nullable=True),
        sa.Column("emotion_score", sa.Double(), nullable=True),
        sa.Column("loudness_db", sa.Double(), nullable=True),
        sa.Column("pitch_hz", sa.Double(), nullable=True),
        sa.Column("words", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["transcript_id"], ["transcripts.id"], name=op.f("fk_turns_transcript_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turns")),
        sa.UniqueConstraint("transcript_id", "number", name=op.f("uq_turns_transcript_id_number")),
    )
    op.create_table(
        "findings",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("scorecard_id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("how", sa.String(length=30), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=True),
        sa.Column("start_char", sa.Integer(), nullable=True),
        sa.Column("end_char", sa.Integer(), nullable=True),
        sa.Column("start", sa.Double(), nullable=True),
        sa.Column("end", sa.Double(), nullable=True),
        sa.Column("detail", Json, nullable=True),
        sa.ForeignKeyConstraint(
            ["scorecard_id"], ["scorecards.id"], name=op.f("fk_findings_scorecard_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
    )
    op.create_index(op.f("ix_findings_rule_status"), "findings", ["rule", "status"])
    op.create_index(op.f("ix_findings_scorecard_id_rule"), "findings", ["scorecard_id", "rule"])

    op.create_table(
        "items",
        sa.Column("scorecard_id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("dimension", sa.String(length=30), nullable=False),
        sa.Column("fault_class", sa.String(length=30), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=50), nullable=True),
        sa.Column("points", sa.Double(), nullable=False),
        sa.Column("detail", Json, nullable=True),
        sa.ForeignKeyConstraint(
            ["scorecard_id"], ["scorecards.id"], name=op.f("fk_items_scorecard_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scorecard_id", "rule", name=op.f("pk_items")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_items_rule_outcome_scorecard_id"), "items", ["rule", "outcome", "scorecard_id"])

    # The search index (qa/store/search.py); it is no table of the declared schema.
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE turn_search USING fts5("
            "tokens, content='', tokenize=\"unicode61 remove_diacritics 0 tokenchars '_'\")"
        )
    else:
        op.execute(
            "CREATE TABLE turn_search ("
            "turn_id BIGINT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE, tokens tsvector NOT NULL)"
        )
        op.execute("CREATE INDEX ix_turn_search_tokens ON turn_search USING gin (tokens)")


def downgrade() -> None:
    op.drop_table("turn_search")
    for table in (
        "items",
        "findings",
        "turns",
        "scorecards",
        "measures",
        "transcripts",
        "night_files",
        "ledger",
        "call_tags",
        "calls",
        "recordings",
        "nights",
        "fingerprints",
        "audit",
    ):
        op.drop_table(table)
