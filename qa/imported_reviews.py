"""Reviews that come in as verdicts: a call whose every fault was judged elsewhere waits for nobody here.

In the app a person says that they have finished with a call. A file of verdicts says no such thing; what stands in for it
is that people judged all that the app would have asked them to look at on the scorecard in force.
"""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.judging import place_of_finding
from qa.scorecard import Item
from qa.store.accounts import Review
from qa.store.accounts import Verdict as VerdictRow
from qa.store.queries import audit
from qa.store.reviews import DONE, settle_review
from qa.store.schema import Call, ScorecardRow
from qa.store.scorecards import load_scorecard
from qa.verdicts import Verdict, newest, place_of
from scoring_rules.model import FindingStatus, Outcome

LOOKED_AT = (FindingStatus.CONFIRMED, FindingStatus.SUSPECTED)


def settle_imported(session: Session, call_id: str, imported_by: str) -> bool:
    """Finish the review of a call to which verdicts were imported, if they cover it. Returns whether they did.

    The review is that of whose verdict was the last, at its time, and stands as every other (qa/store/reviews.py): the
    call comes back when the machine judges otherwise.
    """
    last = _covering(session, call_id)
    if last is not None and session.scalar(select(Call.review).where(Call.id == call_id)) != DONE:
        card = session.scalars(
            select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
        ).one()
        session.add(Review(at=last.at, who=last.who, call_id=call_id, scorecard_id=card))
        session.flush()
        audit(session, imported_by, "review imported", call_id, reviewer=last.who)
        settle_review(session, call_id)
        return True
    settle_review(session, call_id)
    return False


def _covering(session: Session, call_id: str) -> VerdictRow | None:
    """The last of the verdicts that cover what a review needs; None where something was not judged, or nothing is needed.

    Needed are the faults and what is suspected on the scorecard in force, rules on trial left out: each finding, or its
    item as a whole, by a verdict on what the scorecard says.
    """
    try:
        items = [item for item in load_scorecard(session, call_id).items if not item.draft]
    except KeyError:  # never scored
        return None
    rows = session.scalars(
        select(VerdictRow)
        .where(VerdictRow.call_id == call_id)
        .order_by(VerdictRow.rule, VerdictRow.at, VerdictRow.id)
    )
    said = {rule: newest(group) for rule, group in groupby(rows, key=lambda row: row.rule)}
    found: list[VerdictRow] = []
    for item in items:
        wanted = _needed(item)
        if wanted is None:
            continue
        here = [row for row in said.get(item.rule, []) if row.outcome == item.outcome and row.verdict != Verdict.MISSED]
        whole = [row for row in here if place_of(row).whole_item]
        judged = {(row.finding_status, place_of(row).key()): row for row in here if row.finding_status is not None}
        if whole:
            found.append(whole[-1])
        elif wanted and all(one in judged for one in wanted):
            found += [judged[one] for one in wanted]
        else:
            return None
    return max(found, key=lambda row: (row.at, row.id), default=None)


def _needed(item: Item) -> list[tuple[str, tuple[object, ...]]] | None:
    """(status, place) of the findings to be judged; empty: only the item as a whole can be; None: nothing."""
    if item.outcome not in (Outcome.FAIL, Outcome.PASS):
        return None
    looked_at = LOOKED_AT if item.outcome is Outcome.FAIL else (FindingStatus.SUSPECTED,)
    wanted = [
        (one.finding.status.value, place_of_finding(one.finding.evidence).key())
        for one in item.findings
        if one.finding.status in looked_at
    ]
    return wanted if wanted or item.outcome is Outcome.FAIL else None
