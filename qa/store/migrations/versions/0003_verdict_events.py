"""Verdict events: an id of their own, where they come from, what they speak of, how the item was drawn"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("verdicts") as table:
        table.add_column(sa.Column("event_id", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("source", sa.String(length=20), nullable=False, server_default="app"))
        table.add_column(sa.Column("finding_status", sa.String(length=20), nullable=True))
        table.add_column(sa.Column("sampling_probability", sa.Double(), nullable=True))
        table.add_column(sa.Column("sample", sa.String(length=100), nullable=True))
        table.alter_column("scorecard_id", existing_type=sa.Integer(), nullable=True)
    op.execute("UPDATE verdicts SET event_id = 'app-' || id")
    with op.batch_alter_table("verdicts") as table:
        table.alter_column("event_id", existing_type=sa.String(length=64), nullable=False)
        table.alter_column("source", existing_type=sa.String(length=20), server_default=None)
    op.create_index(op.f("uq_verdicts_event_id"), "verdicts", ["event_id"], unique=True)


def downgrade() -> None:
    op.drop_index(op.f("uq_verdicts_event_id"), "verdicts")
    op.execute("DELETE FROM verdicts WHERE scorecard_id IS NULL")
    with op.batch_alter_table("verdicts") as table:
        table.alter_column("scorecard_id", existing_type=sa.Integer(), nullable=False)
        for column in ("event_id", "source", "finding_status", "sampling_probability", "sample"):
            table.drop_column(column)
