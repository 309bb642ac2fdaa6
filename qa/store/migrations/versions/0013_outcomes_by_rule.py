"""PostgreSQL's planner knows how often each rule has each outcome: taken apart, rare faults looked common"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE STATISTICS items_rule_outcome (mcv) ON rule, outcome FROM items")
        op.execute("ALTER STATISTICS items_rule_outcome SET STATISTICS 500")


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP STATISTICS items_rule_outcome")
