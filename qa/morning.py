"""What became of a night, for the page of the morning: counts that add up, and the files behind each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, exists, func, select, true
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Reach, Right, may, reach, within_reach
from qa.call_filter import long_silence, waits
from qa.file_messages import retell
from qa.redact import mask, mask_identifier
from qa.retry import REFUSED
from qa.states import Outcome
from qa.store.engine import Store
from qa.store.schema import Call, LedgerRow, Night, NightFile

FILES_PAGE = 50


@dataclass(frozen=True, slots=True)
class NightAccount:
    """received = scored + quarantined + failed + skipped (+ pending while it runs), within the person's reach."""

    id: int
    started_at: datetime
    finished_at: datetime | None
    state: str
    outcomes: Mapping[Outcome, int]
    reasons: Mapping[tuple[Outcome, str], int]
    fatal: int  # of the scored calls, as they are judged now
    angry: int
    silent: int  # a silence of LONG_SILENCE or more
    below: int
    suspected: int
    waiting: int  # risky and not yet reviewed
    partial: bool  # only calls within reach are counted

    @property
    def received(self) -> int:
        return sum(self.outcomes.values())


@dataclass(frozen=True, slots=True)
class FileRow:
    path: str  # the file's name, personal data masked
    call_id: str | None
    outcome: str
    reason: str | None
    message: str | None
    retryable: bool  # it can be put back into the queue of the next run


def nights(store: Store, identity: Identity, count: int = 30) -> list[Night]:
    """The newest nights. Raises AccessDenied for who has neither calls to see nor nights to operate."""
    _require(identity)
    with store.read() as session:
        return list(session.scalars(select(Night).order_by(Night.id.desc()).limit(count)))


def night_account(store: Store, identity: Identity, passing: float, night_id: int | None = None) -> NightAccount | None:
    """One night's account, the newest without a number; None where there is none. Raises AccessDenied."""
    _require(identity)
    with store.read() as session:
        chosen = select(Night).order_by(Night.id.desc()).limit(1)
        night = session.scalar(chosen if night_id is None else select(Night).where(Night.id == night_id))
        return None if night is None else _account(session, identity, passing, night)


def _account(session: Session, identity: Identity, passing: float, night: Night) -> NightAccount:
    whole = _sees_whole_night(identity)
    files = (
        select(NightFile.outcome, NightFile.reason, func.count())
        .outerjoin(Call, Call.id == NightFile.call_id)
        .where(NightFile.night_id == night.id, true() if whole else within_reach(identity))
        .group_by(NightFile.outcome, NightFile.reason)
    )
    outcomes = dict.fromkeys(Outcome, 0)
    reasons: dict[tuple[Outcome, str], int] = {}
    for outcome, reason, count in session.execute(files):
        outcomes[Outcome(outcome)] += count
        if reason:
            reasons[Outcome(outcome), reason] = count
    scored = select(NightFile.call_id).where(
        NightFile.night_id == night.id, NightFile.outcome == Outcome.SCORED.value
    )

    def counted(condition) -> int:
        query = select(func.count()).select_from(Call).where(Call.id.in_(scored), within_reach(identity), condition)
        return session.scalar(query) or 0

    return NightAccount(
        id=night.id,
        started_at=night.started_at,
        finished_at=night.finished_at,
        state=night.state,
        outcomes=outcomes,
        reasons=reasons,
        fatal=counted(Call.fatal),
        angry=counted(Call.end_emotion == "negative"),
        silent=counted(long_silence()),
        below=counted(Call.score < passing),
        suspected=counted(Call.suspected > 0),
        waiting=counted(waits(passing)),
        partial=not whole,
    )


def night_files(
    store: Store, identity: Identity, night_id: int, outcome: Outcome | None, page: int
) -> tuple[list[FileRow], int]:
    """A page of a night's files, and how many there are. Raises AccessDenied."""
    _require(identity)
    condition = and_(
        NightFile.night_id == night_id,
        true() if outcome is None else NightFile.outcome == outcome.value,
        true() if _sees_whole_night(identity) else within_reach(identity),
    )
    joined = select(NightFile).outerjoin(Call, Call.id == NightFile.call_id).where(condition)
    with store.read() as session:
        total = session.scalar(select(func.count()).select_from(joined.subquery())) or 0
        refused = exists().where(LedgerRow.call_id == NightFile.call_id, LedgerRow.state.in_(REFUSED))
        rows = session.execute(
            joined.add_columns(refused).order_by(NightFile.outcome, NightFile.reason, NightFile.path)
            .limit(FILES_PAGE)
            .offset((page - 1) * FILES_PAGE)
        )
        return [
            FileRow(
                mask_identifier(row.path.replace("\\", "/").rsplit("/", 1)[-1]),
                row.call_id,
                row.outcome,
                row.reason,
                row.message and mask(retell(row.message)),
                refused,
            )
            for row, refused in rows
        ], total


def _sees_whole_night(identity: Identity) -> bool:
    return may(identity, Right.OPERATE) or reach(identity, Right.SEE) is Reach.ALL


def _require(identity: Identity) -> None:
    if not (may(identity, Right.SEE) or may(identity, Right.OPERATE)):
        raise AccessDenied(identity.login, Right.SEE)
