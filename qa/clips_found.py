"""Where clips come from: what reviewers marked as good or bad examples. Lines by rule, words or emotion: line_search.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import aliased

from qa.access import Identity, Right, require, within_reach
from qa.clips import ClipLine, lines_between
from qa.store.annotations import Mark
from qa.store.engine import Store
from qa.store.schema import Call
from qa.store.transcripts import load_transcript

PAGE_SIZE = 20


@dataclass(frozen=True, slots=True)
class MarkedMoment:
    """A mark that stands, with what is said there, masked. Without seconds it is on the whole call."""

    mark_id: int
    at: datetime
    who: str
    kind: str  # good | bad
    note: str
    call_id: str
    agent: str | None
    team: str | None
    started_at: datetime | None
    score: float | None
    has_recording: bool
    start: float | None
    end: float | None
    lines: tuple[ClipLine, ...]


def marked_moments(store: Store, identity: Identity, kind: str = "", before: int | None = None) -> list[MarkedMoment]:
    """The marks on calls that the person coaches on, the newest first. Raises AccessDenied."""
    require(identity, Right.COACH)
    taken_back = aliased(Mark)
    query = (
        select(Mark, Call)
        .join(Call, Call.id == Mark.call_id)
        .where(
            within_reach(identity, Right.COACH),
            Mark.withdraws.is_(None),
            ~select(taken_back.id).where(taken_back.withdraws == Mark.id).exists(),
        )
        .order_by(Mark.id.desc())
        .limit(PAGE_SIZE)
    )
    if kind:
        query = query.where(Mark.kind == kind)
    if before is not None:
        query = query.where(Mark.id < before)
    with store.read() as session:
        return [
            MarkedMoment(
                mark.id, mark.at, mark.who, mark.kind, mark.note or "", call.id, call.agent, call.team,
                call.started_at, call.score, call.recording_id is not None, mark.start, mark.end,
                lines_between(load_transcript(session, call.id), mark.start, mark.end)
                if mark.start is not None and mark.end is not None else (),
            )
            for mark, call in session.execute(query)
        ]  # fmt: skip
