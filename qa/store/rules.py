"""The tables of rules: the published versions of a site's packs, and what is being changed in the app."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from qa.store.schema import MAX_ID, SHA256_HEX, Base, Json, now


class RuleVersion(Base):
    """A site's packs as they were published. Rows are only ever added; the highest number is in force."""

    __tablename__ = "rule_versions"

    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    who: Mapped[str] = mapped_column(String(MAX_ID))
    note: Mapped[str] = mapped_column(Text)
    because: Mapped[str | None] = mapped_column(Text)  # why it was published although settled verdicts flip
    fingerprint: Mapped[str] = mapped_column(String(SHA256_HEX))  # of the whole pack, the shipped rules included
    layers: Mapped[list[dict[str, Any]]] = mapped_column(Json)  # [{"name": folder, "files": {name: text}}], in order
    replayed: Mapped[dict[str, Any]]  # what the replay before publishing said, in figures


class RuleDraft(Base):
    """What people are changing in the app, one row a language: an overlay in the making, judged by nobody yet."""

    __tablename__ = "rule_drafts"

    language: Mapped[str] = mapped_column(String(20), primary_key=True)
    changes: Mapped[dict[str, Any]]  # rule → {status, points, phrases, unless}
    who: Mapped[str] = mapped_column(String(MAX_ID))
    at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
