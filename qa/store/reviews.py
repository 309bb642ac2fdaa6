"""Whether the review of a call still stands, after people finished with it and after machines judged it anew."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from qa.store.accounts import Review, Verdict
from qa.store.audit_work import settle_audit
from qa.store.reviewed import ReviewedResult, mark_stale
from qa.store.schema import Call, FindingRow, ItemRow, ScorecardRow

DONE = "done"
CHANGED = "changed"  # the machine judges otherwise than what a person reviewed


def settle_review(session: Session, call_id: str) -> None:
    """Write onto the call where its review stands; to be called whenever a review or a scorecard was added.

    A review stands while the machine's result is the one that was reviewed, on whichever scorecard: new rules that
    judge this call as before send nobody back to it. A call with verdicts but no finished review is marked only when
    the result has changed.
    """
    settle_audit(session, call_id)
    reviewed = session.scalar(
        select(Review.scorecard_id).where(Review.call_id == call_id).order_by(Review.id.desc()).limit(1)
    )
    seen = reviewed or session.scalar(
        select(Verdict.scorecard_id)
        .where(Verdict.call_id == call_id, Verdict.scorecard_id.is_not(None))
        .order_by(Verdict.id.desc())
        .limit(1)
    )
    if seen is None:  # perhaps people judged no scorecard that is here: verdicts can be imported
        session.execute(
            update(ReviewedResult).where(ReviewedResult.call_id == call_id).values(stale=True)
        )
        return
    mark_stale(session, call_id)
    current = session.scalar(
        select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
    )
    same = current == seen or (current is not None and result_of(session, current) == result_of(session, seen))
    state = CHANGED if not same else DONE if reviewed else None
    session.execute(update(Call).where(Call.id == call_id).values(review=state))


def result_of(session: Session, scorecard_id: int) -> tuple[list[tuple], list[tuple]]:
    """What a scorecard comes to: outcome and points of each item, and the findings of each with their status."""
    items = select(ItemRow.rule, ItemRow.outcome, ItemRow.points).where(ItemRow.scorecard_id == scorecard_id)
    findings = select(FindingRow.rule, FindingRow.status).where(FindingRow.scorecard_id == scorecard_id)
    return (
        sorted(tuple(row) for row in session.execute(items)),
        sorted(tuple(row) for row in session.execute(findings)),
    )
