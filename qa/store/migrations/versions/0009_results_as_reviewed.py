"""Results as people reviewed them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reviewed_results",
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.Column("level", sa.String(length=20), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("fatal", sa.Boolean(), nullable=True),
        sa.Column("errors", sa.Integer(), nullable=True),
        sa.Column("opportunities", sa.Integer(), nullable=True),
        sa.Column("fatal_classes", sa.Integer(), nullable=True),
        sa.Column("layout_id", sa.Integer(), nullable=True),
        sa.Column("outcomes", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_reviewed_results_call_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_reviewed_results")),
    )
    op.create_index(
        "ix_reviewed_results_stale",
        "reviewed_results",
        ["call_id"],
        sqlite_where=sa.text("stale"),
        postgresql_where=sa.text("stale"),
    )
    # Reckoned when they are first needed.
    op.execute(
        "INSERT INTO reviewed_results (call_id, stale)"
        " SELECT call_id, true FROM verdicts UNION SELECT call_id, true FROM reviews"
    )


def downgrade() -> None:
    op.drop_table("reviewed_results")
