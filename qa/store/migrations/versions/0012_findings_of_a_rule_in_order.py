"""Findings of a rule in the order in which they were found: PostgreSQL's index held no order among them"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_findings_rule_status", "findings")
    op.create_index("ix_findings_rule_status_id", "findings", ["rule", "status", "id"])


def downgrade() -> None:
    op.drop_index("ix_findings_rule_status_id", "findings")
    op.create_index("ix_findings_rule_status", "findings", ["rule", "status"])
