"""Which drawn items of a call wait for a person."""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from qa.store.accounts import Verdict as VerdictRow
from qa.store.random_audits import DrawnItem, OpenItem
from qa.store.schema import FindingRow, ItemRow, ScorecardRow
from qa.verdicts import Verdict, newest, place_of
from scoring_rules.model import FindingStatus, Outcome


def settle_audit(session: Session, call_id: str) -> None:
    """Write down which of a call's drawn items are open; to be called when one is drawn, and whenever a verdict or a
    scorecard was added.

    A drawn item is open until somebody says of the item as a whole whether the machine is right, or adds a fault that
    it missed; and no longer where the machine by now sees a fault in it, or has no such item.
    """
    drawn = dict(
        session.execute(select(DrawnItem.rule, DrawnItem.present).where(DrawnItem.call_id == call_id)).all()
    )
    if not drawn:
        return
    wanted = silent_of(session, call_id, drawn) - _answered(session, call_id, drawn)
    kept = set(session.scalars(select(OpenItem.rule).where(OpenItem.call_id == call_id)))
    if gone := kept - wanted:
        session.execute(delete(OpenItem).where(OpenItem.call_id == call_id, OpenItem.rule.in_(gone)))
    if new := wanted - kept:
        session.execute(insert(OpenItem), [{"call_id": call_id, "rule": rule} for rule in sorted(new)])


def silent_of(session: Session, call_id: str, drawn: dict[str, bool]) -> set[str]:
    """Of some rules (whether each is on what must be said), those in which the scorecard in force sees no fault."""
    passed = select(ItemRow.rule).join(ScorecardRow, ScorecardRow.id == ItemRow.scorecard_id)
    suspected = select(FindingRow.rule).join(ScorecardRow, ScorecardRow.id == FindingRow.scorecard_id)
    here = (ScorecardRow.call_id == call_id, ScorecardRow.current)
    silent = set(
        session.scalars(passed.where(*here, ItemRow.outcome == Outcome.PASS.value, ItemRow.rule.in_(drawn)))
    )
    doubtful = set(session.scalars(suspected.where(*here, FindingRow.status == FindingStatus.SUSPECTED.value)))
    return {rule for rule in silent if drawn[rule] or rule not in doubtful}


def _answered(session: Session, call_id: str, drawn: dict[str, bool]) -> set[str]:
    rows = session.scalars(
        select(VerdictRow)
        .where(VerdictRow.call_id == call_id, VerdictRow.rule.in_(drawn))
        .order_by(VerdictRow.rule, VerdictRow.at, VerdictRow.id)
    )
    return {
        rule
        for rule, group in groupby(rows, key=lambda row: row.rule)
        if any(answers_audit(row) for row in newest(group))
    }


def answers_audit(row: VerdictRow) -> bool:
    """Whether a verdict says of an item in which the machine saw no fault if it missed one."""
    return row.verdict == Verdict.MISSED or (row.outcome == Outcome.PASS and place_of(row).whole_item)
