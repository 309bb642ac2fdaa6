"""Work on calls: assignments, claims, acknowledgements, and the state of review on each call"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from qa.store.schema import BigKey, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATE_COLUMNS = ("review", "assigned_to", "held_by", "held_until")


def upgrade() -> None:
    op.create_table(
        "assignments",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("assignee", sa.String(length=200), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_assignments_call_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
    )
    op.create_index(op.f("ix_assignments_call_id"), "assignments", ["call_id"])
    op.create_table(
        "claims",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_claims_call_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claims")),
    )
    op.create_index(op.f("ix_claims_call_id"), "claims", ["call_id"])
    op.create_table(
        "acknowledgements",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("scorecard_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_acknowledgements_call_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["scorecard_id"], ["scorecards.id"], name=op.f("fk_acknowledgements_scorecard_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acknowledgements")),
        sa.UniqueConstraint("scorecard_id", "who", name=op.f("uq_acknowledgements_scorecard_id_who")),
    )
    op.create_index(op.f("ix_acknowledgements_call_id"), "acknowledgements", ["call_id"])
    op.add_column("calls", sa.Column("review", sa.String(length=20), nullable=True))
    op.add_column("calls", sa.Column("assigned_to", sa.String(length=200), nullable=True))
    op.add_column("calls", sa.Column("held_by", sa.String(length=200), nullable=True))
    op.add_column("calls", sa.Column("held_until", UtcDateTime(), nullable=True))
    for name, column, condition in (
        ("ix_calls_assigned_to", "assigned_to", "assigned_to IS NOT NULL"),
        ("ix_calls_held_by", "held_by", "held_by IS NOT NULL"),
        ("ix_calls_review", "review", "review IS NOT NULL"),
    ):
        op.create_index(
            name,
            "calls",
            [column, "started_at"],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
    op.execute("UPDATE calls SET review = 'changed' WHERE id IN (SELECT call_id FROM reviews)")
    op.execute(
        "UPDATE calls SET review = 'done' WHERE id IN (SELECT r.call_id FROM reviews r"
        " JOIN scorecards s ON s.id = r.scorecard_id WHERE s.current)"
    )


def downgrade() -> None:
    for name in ("ix_calls_assigned_to", "ix_calls_held_by", "ix_calls_review"):
        op.drop_index(name, "calls")
    for column in STATE_COLUMNS:
        op.drop_column("calls", column)
    for table in ("acknowledgements", "claims", "assignments"):
        op.drop_table(table)
