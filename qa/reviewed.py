"""The results of calls as people reviewed them, brought up to date where verdicts or scorecards were added since.

Lists and figures read them from `reviewed_results`; a result is reckoned by the rules in force when it was brought up
to date, as the call page does, and stays until somebody judges again or the machine does.
"""

from __future__ import annotations

import threading
from enum import StrEnum

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from qa.levels import levels_of
from qa.store.engine import Store
from qa.store.figures import Counted, columns_of
from qa.store.reviewed import ReviewedResult
from qa.store.schema import ScorecardRow, TranscriptRow
from qa.store.scorecards import load_scorecard
from scoring_rules.model import Pack

BATCH_CALLS = 10  # in one transaction: others write between
AT_ONCE = 60  # calls that a page waits for: a second; many are stale only after many calls were scored anew
_behind = threading.Lock()  # held while the rest is reckoned behind the pages


class Result(StrEnum):
    """By which result calls are counted and found."""

    MACHINE = "machine"
    REVIEWED = "reviewed"  # as people judged it, where they did; else the machine's


def catch_up(store: Store, pack: Pack, limit: int | None = None) -> int:
    """Reckon stale results anew, all or some. Returns how many are still stale."""
    done = 0
    while (waiting := _stale(store)) and (limit is None or done < limit):
        with store.write() as session:
            # A verdict that is being given holds its row; that stays stale and is taken next time.
            calls = session.scalars(
                select(ReviewedResult.call_id)
                .where(ReviewedResult.stale)
                .order_by(ReviewedResult.call_id)
                .limit(BATCH_CALLS)
                .with_for_update(skip_locked=True)
            ).all()
            for call_id in calls:
                _reckon(session, call_id, pack)
        done += len(calls)
        if not calls:
            break
    return waiting


def catch_up_for_page(store: Store, pack: Pack) -> int:
    """As many as a page can wait for; the rest follows behind it. Returns how many are still stale."""
    waiting = catch_up(store, pack, AT_ONCE)
    if waiting and _behind.acquire(blocking=False):
        threading.Thread(target=_rest, args=(store, pack), name="reviewed results", daemon=True).start()
    return waiting


def _rest(store: Store, pack: Pack) -> None:
    try:
        catch_up(store, pack)
    finally:
        _behind.release()


def _stale(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(ReviewedResult).where(ReviewedResult.stale)) or 0


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
