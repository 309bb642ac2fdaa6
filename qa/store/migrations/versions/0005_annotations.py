"""What people add to a call: comments, marks, corrections, drafts; who made a transcript"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from qa.store.schema import BigKey, Json, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "comments",
        *_event("comments"),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("start", sa.Double(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("withdraws", BigKey, nullable=True),
    )
    op.create_index(op.f("ix_comments_call_id"), "comments", ["call_id"])
    op.create_table(
        "marks",
        *_event("marks"),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("first_turn", sa.Integer(), nullable=True),
        sa.Column("last_turn", sa.Integer(), nullable=True),
        sa.Column("start", sa.Double(), nullable=True),
        sa.Column("end", sa.Double(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("withdraws", BigKey, nullable=True),
    )
    op.create_index(op.f("ix_marks_call_id"), "marks", ["call_id"])
    op.create_index(op.f("ix_marks_kind_at"), "marks", ["kind", "at"])
    op.create_table(
        "corrections",
        *_event("corrections"),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=True),
        sa.Column("detail", Json, nullable=False),
        sa.Column("from_transcript", sa.Integer(), nullable=False),
        sa.Column("to_transcript", sa.Integer(), nullable=False),
        sa.Column("withdraws", BigKey, nullable=True),
        *(
            sa.ForeignKeyConstraint(
                [name], ["transcripts.id"], name=op.f(f"fk_corrections_{name}"), ondelete="CASCADE"
            )
            for name in ("from_transcript", "to_transcript")
        ),
    )
    op.create_index(op.f("ix_corrections_call_id"), "corrections", ["call_id"])
    op.create_table(
        "drafts",
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("field", sa.String(length=100), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_drafts_call_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("who", "call_id", "field", name=op.f("pk_drafts")),
    )
    op.add_column("transcripts", sa.Column("made_by", sa.String(length=200), nullable=True))


def _event(table: str) -> list[sa.schema.SchemaItem]:
    """The columns that every event of a person on a call has."""
    return [
        sa.Column("id", BigKey, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f(f"fk_{table}_call_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def downgrade() -> None:
    op.drop_column("transcripts", "made_by")
    for table in ("drafts", "corrections", "marks", "comments"):
        op.drop_table(table)
