"""Calls as people work with them: lists, one call, search, verdicts. Every function asks for the right first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Right, may, require, within_reach
from qa.call_filter import CallFilter, FilterError, reviewed
from qa.redact import find_in_turns, mask_transcript, mask_turns
from qa.scorecard import Scorecard
from qa.store.accounts import Review
from qa.store.accounts import Verdict as VerdictRow
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.schema import AuditEvent, Call, Measures, Recording, ScorecardRow, TranscriptRow, TurnRow, now
from qa.store.scorecards import load_scorecard
from qa.store.search import Match, search
from qa.store.transcripts import load_transcript
from qa.verdicts import Verdict
from speech.types import Transcript

PAGE_SIZE = 25
WORDS_LIMIT = 2_000  # turns that a list's word filter looks at, the newest first
LONG_SILENCE = 15.0  # seconds: domain, serious when unexplained
SAME_SIGHT = timedelta(minutes=10)  # looks at one call within this are one entry in the audit trail
# Searching numbers character by character would find out what is masked.
_NUMBERS = re.compile(r"[0-9零〇一二三四五六七八九幺]{4}")


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call in a list, with why it is worth a look."""

    id: str
    started_at: datetime | None
    time_zone: str | None
    agent: str | None
    team: str | None
    queue: str | None
    kind: str | None
    duration: float | None  # seconds
    score: float | None
    fatal: bool
    suspected: int
    angry: bool
    longest_silence: float  # seconds
    signs: tuple[str, ...]
    reviewed: bool


@dataclass(frozen=True, slots=True)
class Page:
    rows: tuple[CallRow, ...]
    total: int
    words_cut: bool = False  # the words occur so often that only the newest were looked at


@dataclass(frozen=True, slots=True)
class Site:
    """What lists need to know of the site: the passing score and the time zone."""

    passing: float
    zone: ZoneInfo


def list_calls(store: Store, identity: Identity, wanted: CallFilter, site: Site, size: int = PAGE_SIZE) -> Page:
    """A page of the calls within the person's reach. Raises AccessDenied, FilterError."""
    require(identity, Right.SEE)
    with store.read() as session:
        condition, cut = _condition(session, identity, wanted, site)
        total = session.scalar(select(func.count()).select_from(Call).where(condition)) or 0
        rows = _rows(session, condition, wanted.order(), size, (wanted.page - 1) * size)
    return Page(tuple(rows), total, cut)


def neighbours(
    store: Store, identity: Identity, wanted: CallFilter, site: Site, call_id: str
) -> tuple[str | None, str | None]:
    """The calls before and after one in a list; for a call that left the list, None and the first one left.

    Raises AccessDenied, FilterError.
    """
    require(identity, Right.SEE)
    with store.read() as session:
        condition, _ = _condition(session, identity, wanted, site)
        order = wanted.order()
        placed = (
            select(
                Call.id,
                func.lag(Call.id).over(order_by=order).label("before"),
                func.lead(Call.id).over(order_by=order).label("after"),
            )
            .where(condition)
            .subquery()
        )
        row = session.execute(select(placed.c.before, placed.c.after).where(placed.c.id == call_id)).first()
        if row is not None:
            return row.before, row.after
        return None, session.scalar(select(Call.id).where(condition).order_by(*order).limit(1))


def choices(store: Store, identity: Identity) -> Mapping[str, Sequence[str]]:
    """The agents, teams, queues and kinds that occur within the person's reach. Raises AccessDenied."""
    require(identity, Right.SEE)
    columns = (Call.agent, Call.team, Call.queue, Call.kind)
    with store.read() as session:
        return {
            column.key: [
                value
                for value in session.scalars(
                    select(column).where(column.is_not(None), within_reach(identity)).distinct().order_by(column)
                )
                if value
            ]
            for column in columns
        }


def look_first(store: Store, identity: Identity, wanted: CallFilter, site: Site, count: int) -> tuple[CallRow, ...]:
    """The calls to open first of those in a list. Raises AccessDenied."""
    return list_calls(store, identity, wanted, site, count).rows


def _condition(
    session: Session, identity: Identity, wanted: CallFilter, site: Site
) -> tuple[ColumnElement[bool], bool]:
    reach = within_reach(identity)
    holding, cut = None, False
    if wanted.words:
        plain = "".join(unicodedata.normalize("NFKC", wanted.words).split())
        if _NUMBERS.search(plain) and not may(identity, Right.UNMASK):
            raise FilterError({"words": wanted.words})
        matches = search(session, wanted.words, limit=WORDS_LIMIT, where=[reach])
        holding, cut = sorted({match.call_id for match in matches}), len(matches) == WORDS_LIMIT
    return and_(reach, wanted.condition(site.passing, site.zone, holding)), cut


def _rows(session: Session, condition, order, limit: int, offset: int) -> list[CallRow]:
    query = (
        select(Call, TranscriptRow.signs, Measures.longest_silence, reviewed().label("reviewed"))
        .outerjoin(TranscriptRow, and_(TranscriptRow.call_id == Call.id, TranscriptRow.current))
        .outerjoin(Measures, Measures.transcript_id == TranscriptRow.id)
        .where(condition)
        .order_by(*order)
        .limit(limit)
        .offset(offset)
    )
    return [
        CallRow(
            id=call.id,
            started_at=call.started_at,
            time_zone=call.time_zone,
            agent=call.agent,
            team=call.team,
            queue=call.queue,
            kind=call.kind,
            duration=call.duration,
            score=call.score,
            fatal=bool(call.fatal),
            suspected=call.suspected or 0,
            angry=call.end_emotion == "negative",
            longest_silence=silence or 0.0,
            signs=tuple(signs or ()),
            reviewed=done,
        )
        for call, signs, silence, done in session.execute(query)
    ]


# --- one call --------------------------------------------------------------------------------------------------


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
            row=_rows(session, Call.id == call_id, (Call.id,), 1, 0)[0],
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


# --- search ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A turn that holds the words, masked, with their places."""

    match: Match
    agent: str | None
    started_at: datetime | None
    score: float | None


def search_lines(
    store: Store, identity: Identity, words: str, wanted: CallFilter, site: Site, before: int | None = None
) -> list[Line]:
    """Turns within reach that hold every term, the newest first; what is masked is not found by those who may not
    unmask. The page after begins `before` the last `turn_id`. Raises AccessDenied, FilterError.
    """
    require(identity, Right.SEE)
    with store.read() as session:
        condition, _ = _condition(session, identity, wanted, site)
        matches = search(session, words, limit=PAGE_SIZE, before=before, where=[condition])
        lines = []
        for match in matches:
            texts = session.scalars(
                select(TurnRow.text)
                .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
                .where(TranscriptRow.call_id == match.call_id, TranscriptRow.current)
                .order_by(TurnRow.number)
            ).all()
            if not may(identity, Right.UNMASK) and _touches(match, find_in_turns(texts)[match.turn]):
                continue
            call = session.get_one(Call, match.call_id)
            shown = match._replace(text=mask_turns(texts)[match.turn])
            lines.append(Line(shown, call.agent, call.started_at, call.score))
    return lines


def _touches(match: Match, found) -> bool:
    return any(start < item.end and item.start < end for start, end in match.spans for item in found)


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


