"""The queue's two orders as indexes have them: a page is read off the index, and nothing is sorted"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # SQLite has NULL last in a falling order, and no word for it in an index.
    last = " NULLS LAST" if op.get_context().dialect.name == "postgresql" else ""
    op.drop_index("ix_calls_risk", "calls")
    op.drop_index("ix_calls_started_at", "calls")
    op.execute(
        "CREATE INDEX ix_calls_risk ON calls"
        f" (fatal DESC, score, started_at DESC{last}, id, review, suspected, end_emotion)"
    )
    op.execute(f"CREATE INDEX ix_calls_newest ON calls (started_at DESC{last}, id)")


def downgrade() -> None:
    op.drop_index("ix_calls_newest", "calls")
    op.drop_index("ix_calls_risk", "calls")
    op.create_index("ix_calls_started_at", "calls", ["started_at"])
    op.create_index(
        "ix_calls_risk", "calls", ["fatal", "score", "started_at", "id", "review", "suspected", "end_emotion"]
    )
