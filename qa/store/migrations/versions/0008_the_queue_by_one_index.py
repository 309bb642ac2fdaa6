"""The queue by one index; the longest silence kept on the call"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("longest_silence", sa.Double(), nullable=True))
    op.execute(
        "UPDATE calls SET longest_silence = (SELECT m.longest_silence FROM measures m"
        " JOIN transcripts t ON t.id = m.transcript_id WHERE t.call_id = calls.id AND t.current)"
    )
    op.create_index(
        "ix_calls_risk",
        "calls",
        ["fatal", "score", "started_at", "id", "review", "suspected", "end_emotion"],
    )


def downgrade() -> None:
    op.drop_index("ix_calls_risk", "calls")
    op.drop_column("calls", "longest_silence")
