"""What people made of calls, kept beside the machine's result that stands on the call itself.

One row a call that people judged or finished with: what its highest level of inspection says (qa/levels.py). A row is
written anew when it is next needed (qa/reviewed.py); whatever changes a verdict or a scorecard marks it stale.
"""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text, literal, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from qa.store.schema import MAX_ID, Base


class ReviewedResult(Base):
    """A call as people see it; the columns are named as on `calls`, and mean the same."""

    __tablename__ = "reviewed_results"
    __table_args__ = (
        Index(
            "ix_reviewed_results_stale", "call_id", sqlite_where=text("stale"), postgresql_where=text("stale")
        ),
    )

    call_id: Mapped[str] = mapped_column(
        String(MAX_ID), ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True
    )
    stale: Mapped[bool]  # the other columns are not what people say by now
    level: Mapped[str | None] = mapped_column(String(20))  # inspector | lead; None: never reckoned
    score: Mapped[float | None]
    fatal: Mapped[bool | None]
    errors: Mapped[int | None]
    opportunities: Mapped[int | None]
    fatal_classes: Mapped[int | None]
    layout_id: Mapped[int | None]
    outcomes: Mapped[str | None] = mapped_column(Text)


def mark_stale(session: Session, call_id: str) -> None:
    """To be called in the transaction that adds a verdict or a review, or a scorecard to a call that has one."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(ReviewedResult).values(call_id=call_id, stale=literal(True))
    session.execute(statement.on_conflict_do_update(index_elements=["call_id"], set_={"stale": True}))
