"""Random audits drawn in the app"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from qa.store.schema import BigKey, Json, UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "random_audits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("unit", sa.String(length=20), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("drawn", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("frame", Json, nullable=False),
        sa.Column("frame_calls", sa.Integer(), nullable=False),
        sa.Column("frame_items", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_random_audits")),
        sa.UniqueConstraint("name", name=op.f("uq_random_audits_name")),
    )
    op.create_table(
        "random_audit_items",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("audit_id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("scorecard_id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audit_id"], ["random_audits.id"], name=op.f("fk_random_audit_items_audit_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_random_audit_items_call_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["scorecard_id"], ["scorecards.id"], name=op.f("fk_random_audit_items_scorecard_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_random_audit_items")),
        sa.UniqueConstraint("audit_id", "call_id", "rule", name=op.f("uq_random_audit_items_audit_id_call_id_rule")),
    )
    op.create_index(op.f("ix_random_audit_items_call_id_rule"), "random_audit_items", ["call_id", "rule"])
    op.create_table(
        "random_audit_open",
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=op.f("fk_random_audit_open_call_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", "rule", name=op.f("pk_random_audit_open")),
    )


def downgrade() -> None:
    op.drop_table("random_audit_open")
    op.drop_table("random_audit_items")
    op.drop_table("random_audits")
