"""The results of calls as people reviewed them, brought up to date where verdicts or scorecards were added since.

Lists and figures read them from `reviewed_results`; a result is reckoned by the rules in force when it was brought up
to date, as the call page does, and stays until somebody judges again or the machine does.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from qa.levels import levels_of
from qa.store.engine import Store
from qa.store.figures import Counted, columns_of
from qa.store.reviewed import ReviewedResult
from qa.store.schema import ScorecardRow, TranscriptRow
from qa.store.scorecards import load_scorecard
from scoring_rules.model import Pack

BATCH_CALLS = 50  # in one transaction: others write between


class Result(StrEnum):
    """By which result calls are counted and found."""

    MACHINE = "machine"
    REVIEWED = "reviewed"  # as people judged it, where they did; else the machine's


def catch_up(store: Store, pack: Pack) -> int:
    """Reckon every stale result anew. Returns how many; to be called before reviewed results are read."""
    done = 0
    while _any_stale(store):
        with store.write() as session:
            # A verdict that is being given holds its row; it stays stale and is taken next time.
            stale = session.scalars(
                select(ReviewedResult.call_id)
                .where(ReviewedResult.stale)
                .order_by(ReviewedResult.call_id)
                .limit(BATCH_CALLS)
                .with_for_update(skip_locked=True)
            ).all()
            for call_id in stale:
                _reckon(session, call_id, pack)
            done += len(stale)
        if not stale:
            break
    return done


def _any_stale(store: Store) -> bool:
    with store.read() as session:
        return bool(session.scalar(select(exists().where(ReviewedResult.stale))))


def _reckon(session: Session, call_id: str, pack: Pack) -> None:
    """Write one call's row; no row stays where no person's word does."""
    here = ReviewedResult.call_id == call_id
    scored = session.execute(
        select(ScorecardRow.id, TranscriptRow.language)
        .join(TranscriptRow, TranscriptRow.id == ScorecardRow.transcript_id)
        .where(ScorecardRow.call_id == call_id, ScorecardRow.current)
    ).first()
    levels = [] if scored is None else levels_of(session, load_scorecard(session, call_id, scored.id), pack, scored.language)
    if len(levels) < 2:  # the machine alone
        session.execute(delete(ReviewedResult).where(here))
        return
    last = levels[-1]
    counted = [Counted(item.rule, item.rule_class, item.outcome.value, item.draft) for item in last.card.items]
    session.execute(
        update(ReviewedResult)
        .where(here)
        .values(
            stale=False,
            level=last.level.value,
            score=last.card.score,
            fatal=last.card.fatal,
            **columns_of(session.connection(), counted),
        )
    )
