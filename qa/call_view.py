"""Everything that one person sees of one call: what was heard, the machine's scorecard, and what people made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.access import Identity, Right
from qa.call_lists import CallRow, rows_of
from qa.comments import Said, comments_of
from qa.corrections import Corrected, awaits_score, corrections_of
from qa.drafts import drafts_of
from qa.judging import Judged, verdicts_of
from qa.levels import LevelScore, levels_of
from qa.marks import Example, marks_of
from qa.random_audits import drawn_rules
from qa.redact import mask_transcript
from qa.review import audit_look, reached
from qa.scorecard import Scorecard
from qa.store.engine import Store
from qa.store.schema import Call, ScorecardRow, TranscriptRow
from qa.store.scorecards import load_scorecard
from qa.store.transcripts import current_transcript_id, load_transcript
from scoring_rules.model import Pack
from speech.types import Transcript

REMEMBERED = 32  # transcripts: they never change, and every command answers with what the call looks like by now


@dataclass(frozen=True, slots=True)
class CallView:
    """A call as a person sees it. The transcript is masked unless `unmasked`; times are seconds."""

    row: CallRow
    transcript: Transcript
    transcript_id: int
    made_by: str | None  # the person who corrected the transcript
    card: Scorecard | None
    scorecard_id: int | None
    levels: tuple[LevelScore, ...]
    verdicts: tuple[Judged, ...]
    comments: tuple[Said, ...]
    marks: tuple[Example, ...]
    corrections: tuple[Corrected, ...]
    drafts: Mapping[str, str]
    drawn: Mapping[str, bool]  # items that a random audit drew → whether they still wait for a verdict
    scoring: bool  # a corrected transcript is being scored
    unmasked: bool
    has_recording: bool
    customer_key: str | None


def open_call(
    store: Store, identity: Identity, call_id: str, pack: Pack | None = None, *, unmasked: bool = False
) -> CallView:
    """A call to look at; the look is audited. With a `pack`, also the scores of people.

    Raises AccessDenied, also for a call that there is not; KeyError for a call within reach that has no transcript.
    """
    with store.read() as session:
        call = reached(session, identity, Right.UNMASK if unmasked else Right.SEE, call_id)
        heard = session.execute(
            select(TranscriptRow.id, TranscriptRow.made_by).where(
                TranscriptRow.call_id == call_id, TranscriptRow.current
            )
        ).first()
        if heard is None:
            raise KeyError(f"call {call_id} has no transcript")
        transcript = _transcript(session, str(store.engine.url), call_id, heard.id, unmasked)
        scorecard_id = session.scalar(
            select(ScorecardRow.id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
        )
        card = None if scorecard_id is None else load_scorecard(session, call_id)
        view = CallView(
            row=rows_of(session, Call.id == call_id, (Call.id,), 1, 0)[0],
            transcript=transcript,
            transcript_id=heard.id,
            made_by=heard.made_by,
            card=card,
            scorecard_id=scorecard_id,
            levels=() if card is None or pack is None else tuple(levels_of(session, card, pack, transcript.language)),
            verdicts=tuple(verdicts_of(session, call_id, scorecard_id)),
            comments=tuple(comments_of(session, identity, call_id)),
            marks=tuple(marks_of(session, call_id)),
            corrections=tuple(corrections_of(session, call_id)),
            drafts=drafts_of(session, identity, call_id),
            drawn=drawn_rules(session, call_id),
            scoring=awaits_score(session, call_id),
            unmasked=unmasked,
            has_recording=call.recording_id is not None,
            customer_key=call.customer_key if unmasked else None,
        )
    audit_look(store, identity, "unmask" if unmasked else "see", call_id)
    return view


def glance(store: Store, identity: Identity, call_id: str) -> tuple[CallRow, bool]:
    """A call's line as lists show it, and whether it has a recording. Raises as `open_call` does."""
    with store.read() as session:
        call = reached(session, identity, Right.SEE, call_id)
        if current_transcript_id(session, call_id) is None:
            raise KeyError(f"call {call_id} has no transcript")
        return rows_of(session, Call.id == call_id, (Call.id,), 1, 0)[0], call.recording_id is not None


_remembered: dict[tuple[str, str, int, bool], Transcript] = {}


def _transcript(session: Session, database: str, call_id: str, transcript_id: int, unmasked: bool) -> Transcript:
    """A stored transcript, masked unless told otherwise. Whoever asks has been asked for the right before."""
    key = (database, call_id, transcript_id, unmasked)
    found = _remembered.pop(key, None)
    if found is None:
        heard = load_transcript(session, call_id, transcript_id)
        found = heard if unmasked else mask_transcript(heard)
    _remembered[key] = found  # the newest last
    while len(_remembered) > REMEMBERED:
        _remembered.pop(next(iter(_remembered)), None)
    return found
