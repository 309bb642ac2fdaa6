"""One call as people work with it: a look, its recording, verdicts. Every function asks for the right first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Right, require
from qa.call_lists import CallRow, rows_of
from qa.redact import mask_transcript
from qa.scorecard import Scorecard
from qa.store.accounts import Review
from qa.store.accounts import Verdict as VerdictRow
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.reviews import settle_review
from qa.store.schema import AuditEvent, Call, Recording, ScorecardRow, TranscriptRow, now
from qa.store.scorecards import load_scorecard
from qa.store.transcripts import load_transcript
from qa.verdicts import Verdict
from speech.types import Transcript

SAME_SIGHT = timedelta(minutes=10)  # looks at one call within this are one entry in the audit trail


@dataclass(frozen=True, slots=True)
class Judged:
    """A person's verdict, as it stands beside the machine's."""

    id: int
    at: datetime
    who: str
    role: str
    rule: str
    verdict: str
    outcome: str  # the machine's, as the person saw it
    note: str | None
    same_card: bool  # given on the scorecard that is in force


@dataclass(frozen=True, slots=True)
class CallView:
    """Everything a person sees of one call. The transcript is masked unless `unmasked`."""

    row: CallRow
    transcript: Transcript
    card: Scorecard | None
    scorecard_id: int | None
    verdicts: tuple[Judged, ...]
    unmasked: bool
    has_recording: bool
    customer_key: str | None


def open_call(store: Store, identity: Identity, call_id: str, *, unmasked: bool = False) -> CallView:
    """A call to look at; the look is audited. Raises AccessDenied, also for a call that there is not.

    Raises KeyError for a call within reach that has no transcript.
    """
    with store.read() as session:
        call = reached(session, identity, Right.UNMASK if unmasked else Right.SEE, call_id)
        transcript = load_transcript(session, call_id)
        scorecard_id = session.scalar(
            select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
        )
        view = CallView(
            row=rows_of(session, Call.id == call_id, (Call.id,), 1, 0)[0],
            transcript=transcript if unmasked else mask_transcript(transcript),
            card=None if scorecard_id is None else load_scorecard(session, call_id),
            scorecard_id=scorecard_id,
            verdicts=tuple(_verdicts(session, call_id, scorecard_id)),
            unmasked=unmasked,
            has_recording=call.recording_id is not None,
            customer_key=call.customer_key if unmasked else None,
        )
    audit_look(store, identity, "unmask" if unmasked else "see", call_id)
    return view


def reached(session: Session, identity: Identity, right: Right, call_id: str) -> Call:
    """The call, where the person has the right to it. Raises AccessDenied, the same for a call that there is not."""
    require(identity, right)
    call = session.get(Call, call_id)
    if call is None:
        raise AccessDenied(identity.login, right, call_id)
    require(identity, right, call)
    return call


def audit_look(store: Store, identity: Identity, action: str, call_id: str) -> None:
    """Write a look or a play into the audit trail, once for all that belongs to one sitting."""
    recent = (
        select(AuditEvent.id)
        .where(
            AuditEvent.who == identity.login,
            AuditEvent.at > now() - SAME_SIGHT,
            AuditEvent.action == action,
            AuditEvent.call_id == call_id,
        )
        .limit(1)
    )
    with store.read() as session:
        if session.scalar(recent) is not None:
            return
    with store.write() as session:
        audit(session, identity.login, action, call_id)


def recording_of(store: Store, identity: Identity, right: Right, call_id: str) -> Recording | None:
    """A call's recording; None where the call has none. Raises AccessDenied."""
    with store.read() as session:
        call = reached(session, identity, right, call_id)
        return None if call.recording_id is None else session.get(Recording, call.recording_id)


# --- verdicts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict to be given: on an item of the scorecard that the person sees, at one of its findings or at none."""

    call_id: str
    scorecard_id: int
    rule: str
    verdict: Verdict
    finding: int | None = None  # index among the item's findings
    note: str = ""


class Conflict(Exception):
    """The call was judged anew while the person looked at it; nothing was saved."""


def judge(store: Store, identity: Identity, given: Judgement) -> int:
    """Keep a verdict beside the machine's result; nothing is overwritten. Returns its id.

    Raises AccessDenied; Conflict when another scorecard is in force by now; KeyError for a rule or a finding that the
    card has not.
    """
    with store.write() as session:
        reached(session, identity, Right.VERDICT, given.call_id)
        card = session.scalar(
            select(ScorecardRow).where(ScorecardRow.call_id == given.call_id, ScorecardRow.current)
        )
        if card is None or card.id != given.scorecard_id:
            raise Conflict(given.call_id)
        items = {item.rule: item for item in load_scorecard(session, given.call_id).items}
        item = items[given.rule]
        place = status = None
        if given.finding is not None:
            if not 0 <= given.finding < len(item.findings):
                raise KeyError(f"{given.rule} has no finding {given.finding}")
            found = item.findings[given.finding].finding
            evidence, status = found.evidence, found.status.value
            place = evidence[0] if evidence else None
        made_by = session.scalar(
            select(TranscriptRow.fingerprints).where(TranscriptRow.id == card.transcript_id)
        )
        row = VerdictRow(
            who=identity.login,
            role=identity.role.value,
            call_id=given.call_id,
            scorecard_id=card.id,
            rule=given.rule,
            verdict=given.verdict.value,
            outcome=item.outcome.value,
            finding_status=status,
            turn=place and place.turn,
            start_char=place and place.start_char,
            end_char=place and place.end_char,
            start=place and place.start,
            end=place and place.end,
            note=given.note or None,
            seen={"score": card.fingerprint, **(made_by or {})},
        )
        session.add(row)
        audit(session, identity.login, "verdict", given.call_id, rule=given.rule, verdict=given.verdict.value)
        session.flush()
        return row.id


def finish(store: Store, identity: Identity, call_id: str, scorecard_id: int) -> None:
    """Close the review of a call as it was judged. Raises AccessDenied; Conflict when it was judged anew meanwhile."""
    with store.write() as session:
        reached(session, identity, Right.VERDICT, call_id)
        current = session.scalar(
            select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
        )
        if current != scorecard_id:
            raise Conflict(call_id)
        session.add(Review(who=identity.login, call_id=call_id, scorecard_id=scorecard_id))
        settle_review(session, call_id)
        audit(session, identity.login, "review finished", call_id)


def _verdicts(session: Session, call_id: str, scorecard_id: int | None) -> list[Judged]:
    """The newest verdict of each person on each item, in the order in which they were given."""
    newest = (
        select(func.max(VerdictRow.id))
        .where(VerdictRow.call_id == call_id)
        .group_by(VerdictRow.who, VerdictRow.rule)
    )
    rows = session.scalars(
        select(VerdictRow)
        .where(VerdictRow.id.in_(newest), VerdictRow.verdict != Verdict.WITHDRAWN.value)
        .order_by(VerdictRow.id)
    )
    return [
        Judged(
            row.id, row.at, row.who, row.role, row.rule, row.verdict, row.outcome, row.note,
            row.scorecard_id == scorecard_id,
        )
        for row in rows
    ]  # fmt: skip


