"""Verdicts as people give them on a call: kept beside the machine's result, never in its place.

A verdict is anchored to what the person saw: scorecard, item, characters or seconds, outcome, fingerprints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Right
from qa.random_audits import drawn_with
from qa.review import Conflict, reached
from qa.scorecard import Item, Scorecard
from qa.store.accounts import Verdict as VerdictRow
from qa.store.audit_work import answers_audit
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.reviews import settle_review
from qa.store.schema import ScorecardRow, TranscriptRow, TurnRow
from qa.store.scorecards import load_scorecard
from qa.verdicts import Place, Verdict, newest, place_of
from scoring_rules.model import Outcome

MAX_NOTE = 2_000  # characters


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict to be given: on an item of the scorecard that the person sees, at one of its findings or at none.

    A fault that the machine missed has a `place` instead of a finding, or none where all of the call lacks something.
    `known` is the newest verdict on the call that
    the person has seen; without it nobody is told of anybody.
    """

    call_id: str
    scorecard_id: int
    rule: str
    verdict: Verdict
    finding: int | None = None  # index among the item's findings
    place: Place | None = None
    note: str = ""
    known: int | None = None
    event_id: str = ""  # the same event sent twice is kept once


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
    finding_status: str | None
    place: Place
    note: str | None
    same_card: bool  # given on the scorecard that is in force


class JudgedMeanwhile(Exception):
    """Somebody else judged the same item while the person looked at it; nothing was saved."""

    def __init__(self, by: Judged) -> None:
        super().__init__(f"{by.who} judged {by.rule} meanwhile")
        self.by = by


class BadPlace(ValueError):
    """A place that is not in the transcript."""


def judge(store: Store, identity: Identity, given: Judgement) -> int:
    """Keep a verdict. Returns its id.

    Raises AccessDenied; Conflict when another scorecard is in force by now; JudgedMeanwhile; BadPlace; KeyError for a
    rule or a finding that the card has not.
    """
    with store.write() as session:
        reached(session, identity, Right.VERDICT, given.call_id)
        if given.event_id and (before := _same_event(session, identity, given.event_id)):
            return before
        card = session.scalar(
            select(ScorecardRow).where(ScorecardRow.call_id == given.call_id, ScorecardRow.current)
        )
        if card is None or card.id != given.scorecard_id:
            raise Conflict(given.call_id)
        item = {item.rule: item for item in load_scorecard(session, given.call_id).items}[given.rule]
        place, status = _place(session, card, item, given)
        _tell_of_others(session, identity, given, place, card.id)
        seen_by = session.scalar(
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
            turn=place.turn,
            start_char=place.start_char,
            end_char=place.end_char,
            start=place.start,
            end=place.end,
            note=given.note.strip()[:MAX_NOTE] or None,
            seen={"score": card.fingerprint, **(seen_by or {})},
            **({"event_id": given.event_id} if given.event_id else {}),
        )
        silent = item.outcome is Outcome.PASS and answers_audit(row)
        if silent and (drawn := drawn_with(session, given.call_id, given.rule)) is not None:
            row.sampling_probability, row.sample = drawn
        return _kept(session, identity, row)


def take_back(store: Store, identity: Identity, verdict_id: int, *, restore: bool = True) -> int:
    """Undo one's own verdict: what one had said before of the same place stands again, or nothing. Returns an id.

    Without `restore` nothing stands in its place. A verdict restored in this way is taken back under its first id. Raises AccessDenied for another's verdict; Conflict
    when it does not stand.
    """
    with store.write() as session:
        row = session.get(VerdictRow, verdict_id)
        if row is None or row.who != identity.login:
            raise AccessDenied(identity.login, Right.VERDICT)
        reached(session, identity, Right.VERDICT, row.call_id)
        mine = session.scalars(
            select(VerdictRow)
            .where(
                VerdictRow.call_id == row.call_id,
                VerdictRow.rule == row.rule,
                VerdictRow.who == identity.login,
            )
            .order_by(VerdictRow.id)
        ).all()
        here = [one for one in mine if place_of(one).key() == place_of(row).key()]
        if (here[-1].verdict, here[-1].note) != (row.verdict, row.note) or row.verdict == Verdict.WITHDRAWN:
            raise Conflict(row.call_id)
        earlier = [one for one in here if one.id < row.id] if restore else []
        before = earlier[-1] if earlier else None
        source = before or row
        again = VerdictRow(
            who=identity.login,
            role=identity.role.value,
            verdict=before.verdict if before else Verdict.WITHDRAWN.value,
            **{
                name: getattr(source, name)
                for name in (
                    "call_id", "scorecard_id", "rule", "outcome", "finding_status", "turn", "start_char", "end_char",
                    "start", "end", "note", "seen", "sampling_probability", "sample",
                )
            },
        )  # fmt: skip
        return _kept(session, identity, again)


def verdicts_of(session: Session, call_id: str, scorecard_id: int | None) -> list[Judged]:
    """The newest verdict of each person on each place of each item, in the order in which they were given."""
    rows = session.scalars(
        select(VerdictRow).where(VerdictRow.call_id == call_id).order_by(VerdictRow.rule, VerdictRow.id)
    )
    found = [row for _, group in groupby(rows, key=lambda row: row.rule) for row in newest(group)]
    return [
        Judged(
            row.id, row.at, row.who, row.role, row.rule, row.verdict, row.outcome, row.finding_status,
            place_of(row), row.note, row.scorecard_id == scorecard_id,
        )
        for row in sorted(found, key=lambda row: row.id)
    ]  # fmt: skip


def machine_changed(judged: Judged, card: Scorecard) -> bool:
    """Whether the machine says something else by now than what the person judged."""
    if judged.same_card:
        return False
    item = next((item for item in card.items if item.rule == judged.rule), None)
    if item is None or item.outcome.value != judged.outcome:
        return True
    if judged.finding_status is None:
        return False
    return judged.finding_status not in {
        found.finding.status.value
        for found in item.findings
        if place_of_finding(found.finding.evidence).key() == judged.place.key()
    }


def place_of_finding(evidence: Sequence) -> Place:
    """Where a finding stands: its first place."""
    if not evidence:
        return Place()
    first = evidence[0]
    return Place(first.turn, first.start_char, first.end_char, first.start, first.end)


def _kept(session: Session, identity: Identity, row: VerdictRow) -> int:
    session.add(row)
    session.flush()
    settle_review(session, row.call_id)
    audit(session, identity.login, "verdict", row.call_id, rule=row.rule, verdict=row.verdict)
    return row.id


def _same_event(session: Session, identity: Identity, event_id: str) -> int | None:
    return session.scalar(
        select(VerdictRow.id).where(VerdictRow.event_id == event_id, VerdictRow.who == identity.login)
    )


def _place(session: Session, card: ScorecardRow, item: Item, given: Judgement) -> tuple[Place, str | None]:
    """Where the verdict is anchored, and the status of the finding that it is on."""
    if given.place is not None:
        return _checked(session, card.transcript_id, given.place), None
    if given.finding is None:
        return Place(), None
    if not 0 <= given.finding < len(item.findings):
        raise KeyError(f"{given.rule} has no finding {given.finding}")
    found = item.findings[given.finding].finding
    return place_of_finding(found.evidence), found.status.value


def _checked(session: Session, transcript_id: int, place: Place) -> Place:
    """A place of the transcript, with its seconds. Raises BadPlace."""
    turn = session.scalar(
        select(TurnRow).where(TurnRow.transcript_id == transcript_id, TurnRow.number == place.turn)
    )
    if turn is None:
        raise BadPlace(f"turn {place.turn}")
    start, end = place.start_char, place.end_char
    if start is None or end is None or not 0 <= start < end <= len(turn.text):
        raise BadPlace(f"turn {place.turn}, characters {start}–{end} of {len(turn.text)}")
    return Place(place.turn, start, end, turn.start, turn.end)


def _tell_of_others(
    session: Session, identity: Identity, given: Judgement, place: Place, scorecard_id: int
) -> None:
    """Raises JudgedMeanwhile where others judged the same place after what the person has seen."""
    if given.known is None or given.verdict is Verdict.WITHDRAWN:
        return
    others = [
        judged
        for judged in verdicts_of(session, given.call_id, scorecard_id)
        if judged.who != identity.login and judged.id > given.known and judged.rule == given.rule
    ]
    here = [judged for judged in others if judged.place.key() in ((), place.key()) or not place.key()]
    if here:
        raise JudgedMeanwhile(here[-1])
