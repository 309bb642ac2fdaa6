"""Published versions of a site's rules, and drafts made in the app"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from qa.store.schema import Json, UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rule_versions",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("layers", Json, nullable=False),
        sa.Column("replayed", Json, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rule_versions")),
    )
    op.create_table(
        "rule_drafts",
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("changes", Json, nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("language", name=op.f("pk_rule_drafts")),
    )


def downgrade() -> None:
    op.drop_table("rule_drafts")
    op.drop_table("rule_versions")
