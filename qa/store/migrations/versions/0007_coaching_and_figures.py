"""Coaching: clips, packs, assignments. The board's figures on each call"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from qa.store.figures import recount
from qa.store.schema import BigKey, Json, UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FIGURES = (
    ("errors", sa.Integer()),
    ("opportunities", sa.Integer()),
    ("fatal_classes", sa.Integer()),
    ("layout_id", sa.Integer()),
    ("outcomes", sa.Text()),
)


def upgrade() -> None:
    _coaching()
    op.create_table(
        "item_layouts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("items", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item_layouts")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_item_layouts_fingerprint")),
    )
    for name, kind in FIGURES:
        op.add_column("calls", sa.Column(name, kind, nullable=True))
    recount(op.get_bind())


def _coaching() -> None:
    op.create_table(
        "clips",
        *_made("clips"),
        sa.Column("call_id", sa.String(length=200), nullable=False),
        sa.Column("start", sa.Double(), nullable=False),
        sa.Column("end", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=True),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("say_instead", sa.Text(), nullable=False),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        _to("clips", "call_id", "calls"),
    )
    op.create_index(op.f("ix_clips_call_id"), "clips", ["call_id"])
    op.create_index(op.f("ix_clips_rule"), "clips", ["rule"])
    op.create_index(op.f("ix_clips_kind_at"), "clips", ["kind", "at"])
    op.create_table(
        "clip_tags",
        sa.Column("clip_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=200), nullable=False),
        _to("clip_tags", "clip_id", "clips"),
        sa.PrimaryKeyConstraint("clip_id", "tag", name=op.f("pk_clip_tags")),
    )
    op.create_index(op.f("ix_clip_tags_tag_clip_id"), "clip_tags", ["tag", "clip_id"])
    op.create_table(
        "clip_packs",
        *_made("clip_packs"),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_table(
        "clip_pack_entries",
        sa.Column("pack_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("clip_id", sa.Integer(), nullable=False),
        _to("clip_pack_entries", "pack_id", "clip_packs"),
        _to("clip_pack_entries", "clip_id", "clips"),
        sa.PrimaryKeyConstraint("pack_id", "place", name=op.f("pk_clip_pack_entries")),
    )
    op.create_index(op.f("ix_clip_pack_entries_clip_id"), "clip_pack_entries", ["clip_id"])
    op.create_table(
        "coaching_assignments",
        *_made("coaching_assignments"),
        sa.Column("pack_id", sa.Integer(), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("goal", sa.Text(), nullable=False),
        sa.Column("due", sa.Date(), nullable=False),
        sa.Column("withdrawn_at", UtcDateTime(), nullable=True),
        _to("coaching_assignments", "pack_id", "clip_packs"),
    )
    op.create_index(op.f("ix_coaching_assignments_agent_due"), "coaching_assignments", ["agent", "due"])
    op.create_index(op.f("ix_coaching_assignments_pack_id"), "coaching_assignments", ["pack_id"])
    op.create_table(
        "coaching_acknowledgements",
        *_made("coaching_acknowledgements", BigKey),
        sa.Column("assignment_id", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        _to("coaching_acknowledgements", "assignment_id", "coaching_assignments"),
        sa.UniqueConstraint("assignment_id", name=op.f("uq_coaching_acknowledgements_assignment_id")),
    )
    op.create_table(
        "clip_plays",
        *_made("clip_plays", BigKey),
        sa.Column("clip_id", sa.Integer(), nullable=False),
        _to("clip_plays", "clip_id", "clips"),
    )
    op.create_index(op.f("ix_clip_plays_clip_id_who"), "clip_plays", ["clip_id", "who"])
    op.create_index(op.f("ix_clip_plays_who_at"), "clip_plays", ["who", "at"])


def _made(table: str, key: sa.types.TypeEngine | None = None) -> list[sa.schema.SchemaItem]:
    """What tells of every row who made it, and when."""
    return [
        sa.Column("id", key or sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def _to(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name, ondelete="CASCADE")


def downgrade() -> None:
    for name, _ in FIGURES:
        op.drop_column("calls", name)
    for table in (
        "item_layouts",
        "clip_plays",
        "coaching_acknowledgements",
        "coaching_assignments",
        "clip_pack_entries",
        "clip_packs",
        "clip_tags",
        "clips",
    ):
        op.drop_table(table)
