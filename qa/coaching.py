"""Coaching: packs of clips in an order, given to agents with a goal and a day, and acknowledged by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from qa.access import AccessDenied, Identity, Reach, Right, Role, may, reach, require, within_reach
from qa.clips import (
    MAX_TEXT,
    MAX_TITLE,
    ClipLine,
    ClipRow,
    CoachingError,
    Fault,
    clip_row,
    coached,
    heard,
    lines_of_clip,
)
from qa.review import Conflict
from qa.store.accounts import Account
from qa.store.coaching import Clip, ClipPack, ClipPackEntry, CoachingAcknowledgement, CoachingAssignment
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.schema import Call, now

MAX_CLIPS = 50  # in a pack
MAX_AGENTS = 200  # at once


class State(StrEnum):
    OVERDUE = "overdue"  # not acknowledged, and the day is over
    OPEN = "open"
    DONE = "done"  # acknowledged


@dataclass(frozen=True, slots=True)
class PackRow:
    id: int
    version: int
    name: str
    note: str
    who: str
    at: datetime
    retired: bool
    clips: int
    seconds: float
    assigned: int  # to so many agents, those that were withdrawn left out
    acknowledged: int


@dataclass(frozen=True, slots=True)
class PackClip:
    """A clip in a pack with what is said in it, masked."""

    row: ClipRow
    lines: tuple[ClipLine, ...]


@dataclass(frozen=True, slots=True)
class AssignmentRow:
    id: int
    pack_id: int
    pack: str
    agent: str
    goal: str
    due: date
    who: str
    at: datetime
    clips: int
    heard: int  # clips that the agent listened to
    acknowledged_at: datetime | None
    reply: str  # what the agent wrote with it
    state: State


# --- packs -------------------------------------------------------------------------------------------------------


def save_pack(
    store: Store,
    identity: Identity,
    name: str,
    note: str,
    clips: Sequence[int],
    pack_id: int | None = None,
    version: int | None = None,
) -> int:
    """Make a pack of clips in their order, or change the one that was seen in `version`. Returns its id.

    Raises AccessDenied, CoachingError; Conflict where somebody changed it first.
    """
    require(identity, Right.COACH)
    if not 0 < len(name.strip()) <= MAX_TITLE:
        raise CoachingError(Fault.TITLE)
    if len(note) > MAX_TEXT:
        raise CoachingError(Fault.TEXT_LONG)
    wanted = list(dict.fromkeys(clips))[:MAX_CLIPS]
    try:
        with store.write() as session:
            if pack_id is None:
                pack = ClipPack(who=identity.login)
                session.add(pack)
            else:
                pack = pack_to_coach(session, identity, pack_id)
                if pack.version != version:
                    raise Conflict(str(pack_id))
            pack.name, pack.note = name.strip(), note.strip()
            for clip_id in wanted:
                coached(session, identity, clip_id)
            pack.entries.clear()
            session.flush()
            pack.entries = [ClipPackEntry(place=place, clip_id=clip_id) for place, clip_id in enumerate(wanted)]
            pack.at = now()  # a pack of the same name with other clips is another version
            session.flush()
            action = "pack made" if pack_id is None else "pack changed"
            audit(session, identity.login, action, pack=pack.id, clips=wanted)
            return pack.id
    except StaleDataError as error:
        raise Conflict(str(pack_id)) from error


def retire_pack(store: Store, identity: Identity, pack_id: int, *, back: bool = False) -> None:
    """Take a pack out of use, or put it back; those who were given it keep it. Raises AccessDenied."""
    with store.write() as session:
        pack = pack_to_coach(session, identity, pack_id)
        pack.retired_at = None if back else now()
        audit(session, identity.login, "pack put back" if back else "pack retired", pack=pack_id)


def list_packs(store: Store, identity: Identity, *, retired: bool = False) -> list[PackRow]:
    """The packs all of whose clips the person coaches on, the newest first. Raises AccessDenied."""
    require(identity, Right.COACH)
    query = select(ClipPack).where(ClipPack.retired_at.is_not(None) if retired else ClipPack.retired_at.is_(None))
    with store.read() as session:
        packs = session.scalars(query.order_by(ClipPack.id.desc())).all()
        reachable = _reachable(session, identity, [pack.id for pack in packs])
        return _pack_rows(session, [pack for pack in packs if pack.id in reachable or pack.who == identity.login])


def open_pack(store: Store, identity: Identity, pack_id: int) -> tuple[PackRow, list[PackClip]]:
    """A pack with its clips, for who coaches. Raises AccessDenied."""
    with store.read() as session:
        pack = pack_to_coach(session, identity, pack_id)
        return _pack_rows(session, [pack])[0], clips_of(session, pack, named=True)


def clips_of(session: Session, pack: ClipPack, *, named: bool) -> list[PackClip]:
    """The clips of a pack in their order. `named`: with call and agent. Ask for the right before."""
    found = []
    for entry in pack.entries:
        clip = session.get_one(Clip, entry.clip_id)
        call = session.get_one(Call, clip.call_id) if named else None
        found.append(PackClip(clip_row(clip, call), lines_of_clip(session, clip)))
    return found


def pack_to_coach(session: Session, identity: Identity, pack_id: int) -> ClipPack:
    """A pack that the person may work with. Raises AccessDenied, the same for a pack that there is not."""
    require(identity, Right.COACH)
    pack = session.get(ClipPack, pack_id)
    if pack is None or (pack.who != identity.login and pack_id not in _reachable(session, identity, [pack_id])):
        raise AccessDenied(identity.login, Right.COACH)
    if pack.who == identity.login:  # the person's own; but the reach may have become shorter since
        for entry in pack.entries:
            coached(session, identity, entry.clip_id)
    return pack


def _reachable(session: Session, identity: Identity, pack_ids: Sequence[int]) -> set[int]:
    """Those of some packs that hold clips, and none of a call beyond the person's reach."""
    inside = func.sum(case((within_reach(identity, Right.COACH), 1), else_=0))
    rows = session.execute(
        select(ClipPackEntry.pack_id, func.count(), inside)
        .join(Clip, Clip.id == ClipPackEntry.clip_id)
        .join(Call, Call.id == Clip.call_id)
        .where(ClipPackEntry.pack_id.in_(pack_ids))
        .group_by(ClipPackEntry.pack_id)
    )
    found = {pack_id for pack_id, count, reached in rows if count == reached}
    if reach(identity, Right.COACH) is Reach.ALL:
        return set(pack_ids)
    return found


def _pack_rows(session: Session, packs: Sequence[ClipPack]) -> list[PackRow]:
    ids = [pack.id for pack in packs]
    seconds = {
        row[0]: row[1]
        for row in session.execute(
            select(ClipPackEntry.pack_id, func.sum(Clip.end - Clip.start))
            .join(Clip, Clip.id == ClipPackEntry.clip_id)
            .where(ClipPackEntry.pack_id.in_(ids))
            .group_by(ClipPackEntry.pack_id)
        )
    }
    given = {
        row[0]: (row[1], row[2])
        for row in session.execute(
            select(CoachingAssignment.pack_id, func.count(), func.count(CoachingAcknowledgement.id))
            .outerjoin(CoachingAcknowledgement, CoachingAcknowledgement.assignment_id == CoachingAssignment.id)
            .where(CoachingAssignment.pack_id.in_(ids), CoachingAssignment.withdrawn_at.is_(None))
            .group_by(CoachingAssignment.pack_id)
        )
    }
    return [
        PackRow(
            pack.id, pack.version, pack.name, pack.note, pack.who, pack.at, pack.retired_at is not None,
            len(pack.entries), seconds.get(pack.id) or 0.0, *given.get(pack.id, (0, 0)),
        )
        for pack in packs
    ]  # fmt: skip


# --- assignments -------------------------------------------------------------------------------------------------


def agents_to_coach(store: Store, identity: Identity) -> list[str]:
    """The agent numbers that the person may give packs to: of calls and of accounts within reach. Raises AccessDenied."""
    require(identity, Right.COACH)
    with store.read() as session:
        return sorted(_agents(session, identity))


def _agents(session: Session, identity: Identity) -> set[str]:
    within = within_reach(identity, Right.COACH)
    found = set(session.scalars(select(Call.agent).where(Call.agent.is_not(None), within).distinct()))
    everywhere = reach(identity, Right.COACH) is Reach.ALL
    accounts = session.scalars(select(Account).where(Account.role == Role.AGENT.value, Account.active))
    found |= {
        one.agent for one in accounts if one.agent and (everywhere or set(one.teams) & set(identity.teams))
    }
    return {agent for agent in found if agent}


def assign(
    store: Store, identity: Identity, pack_id: int, agents: Sequence[str], goal: str, due: date, today: date
) -> int:
    """Give a pack to agents. Who has it already and has not acknowledged it keeps that. Returns how many it was
    given to. `today` is the site's. Raises AccessDenied, CoachingError.
    """
    wanted = list(dict.fromkeys(agents))[:MAX_AGENTS]
    if not wanted:
        raise CoachingError(Fault.NO_AGENT)
    if not 0 < len(goal.strip()) <= MAX_TEXT:
        raise CoachingError(Fault.GOAL)
    if due < today:
        raise CoachingError(Fault.DUE)
    with store.write() as session:
        pack = pack_to_coach(session, identity, pack_id)
        if not pack.entries:
            raise CoachingError(Fault.EMPTY_PACK)
        if not set(wanted) <= _agents(session, identity):
            raise AccessDenied(identity.login, Right.COACH)
        having = set(
            session.scalars(
                select(CoachingAssignment.agent)
                .outerjoin(CoachingAcknowledgement, CoachingAcknowledgement.assignment_id == CoachingAssignment.id)
                .where(
                    CoachingAssignment.pack_id == pack_id,
                    CoachingAssignment.withdrawn_at.is_(None),
                    CoachingAcknowledgement.id.is_(None),
                )
            )
        )
        fresh = [agent for agent in wanted if agent not in having]
        for agent in fresh:
            session.add(
                CoachingAssignment(who=identity.login, pack_id=pack_id, agent=agent, goal=goal.strip(), due=due)
            )
        audit(session, identity.login, "coaching assigned", pack=pack_id, agents=fresh, due=due.isoformat())
        return len(fresh)


def withdraw_assignment(store: Store, identity: Identity, assignment_id: int) -> None:
    """Take an assignment back that nobody acknowledged. Raises AccessDenied."""
    with store.write() as session:
        row = session.get(CoachingAssignment, assignment_id)
        if row is None or row.agent not in _agents(session, _coach(identity)):
            raise AccessDenied(identity.login, Right.COACH)
        if row.withdrawn_at is None and _acknowledgement(session, assignment_id) is None:
            row.withdrawn_at = now()
            audit(session, identity.login, "coaching withdrawn", pack=row.pack_id, agent=row.agent)


def list_assignments(store: Store, identity: Identity, today: date, pack_id: int | None = None) -> list[AssignmentRow]:
    """The assignments of the agents within reach, what is overdue first. `today` is the site's. Raises AccessDenied."""
    with store.read() as session:
        agents = _agents(session, _coach(identity))
        query = select(CoachingAssignment).where(CoachingAssignment.withdrawn_at.is_(None))
        if reach(identity, Right.COACH) is not Reach.ALL:
            query = query.where(or_(CoachingAssignment.agent.in_(agents), CoachingAssignment.who == identity.login))
        if pack_id is not None:
            query = query.where(CoachingAssignment.pack_id == pack_id)
        rows = _assignment_rows(session, session.scalars(query).all(), today)
    order = list(State)
    return sorted(rows, key=lambda row: (order.index(row.state), row.due, row.agent, row.id))


def own_assignments(store: Store, identity: Identity, today: date) -> list[AssignmentRow]:
    """What was assigned to the person themselves, what waits first. `today` is the site's. Raises AccessDenied."""
    require(identity, Right.ACKNOWLEDGE)
    with store.read() as session:
        query = select(CoachingAssignment).where(
            CoachingAssignment.agent == identity.agent, CoachingAssignment.withdrawn_at.is_(None)
        )
        rows = _assignment_rows(session, session.scalars(query).all() if identity.agent else [], today)
    return sorted(rows, key=lambda row: (row.state is State.DONE, row.due, row.id))


def open_assignment(
    store: Store, identity: Identity, assignment_id: int, today: date
) -> tuple[AssignmentRow, str, list[PackClip]]:
    """An assignment of one's own: it, the pack's note, and the clips without call and agent. Raises AccessDenied."""
    require(identity, Right.ACKNOWLEDGE)
    with store.read() as session:
        row = _own(session, identity, assignment_id)
        pack = session.get_one(ClipPack, row.pack_id)
        return _assignment_rows(session, [row], today)[0], pack.note, clips_of(session, pack, named=False)


def acknowledge(store: Store, identity: Identity, assignment_id: int, reply: str = "") -> None:
    """Say that one has worked through an assignment; once is enough. Raises AccessDenied, CoachingError."""
    require(identity, Right.ACKNOWLEDGE)
    if len(reply) > MAX_TEXT:
        raise CoachingError(Fault.TEXT_LONG)
    with store.write() as session:
        row = _own(session, identity, assignment_id)
        if _acknowledgement(session, assignment_id) is not None:
            return
        session.add(CoachingAcknowledgement(who=identity.login, assignment_id=row.id, note=reply.strip()))
        audit(session, identity.login, "coaching acknowledged", pack=row.pack_id)


def _coach(identity: Identity) -> Identity:
    require(identity, Right.COACH)
    return identity


def _own(session: Session, identity: Identity, assignment_id: int) -> CoachingAssignment:
    row = session.get(CoachingAssignment, assignment_id)
    own = row is not None and identity.agent is not None and row.agent == identity.agent
    if row is None or not own or row.withdrawn_at is not None or not may(identity, Right.ACKNOWLEDGE):
        raise AccessDenied(identity.login, Right.ACKNOWLEDGE)
    return row


def _acknowledgement(session: Session, assignment_id: int) -> CoachingAcknowledgement | None:
    return session.scalar(
        select(CoachingAcknowledgement).where(CoachingAcknowledgement.assignment_id == assignment_id)
    )


def _assignment_rows(
    session: Session, rows: Sequence[CoachingAssignment], today: date
) -> list[AssignmentRow]:
    ids, agents = [row.id for row in rows], {row.agent for row in rows}
    packs = {
        pack.id: pack
        for pack in session.scalars(select(ClipPack).where(ClipPack.id.in_({row.pack_id for row in rows})))
    }
    done = {
        one.assignment_id: one
        for one in session.scalars(
            select(CoachingAcknowledgement).where(CoachingAcknowledgement.assignment_id.in_(ids))
        )
    }
    logins: dict[str, list[str]] = {}
    for agent, login in session.execute(select(Account.agent, Account.login).where(Account.agent.in_(agents))):
        logins.setdefault(agent or "", []).append(login)
    clips = {entry.clip_id for pack in packs.values() for entry in pack.entries}
    listened = heard(session, sorted(clips), [login for some in logins.values() for login in some])
    found = []
    for row in rows:
        pack, told = packs[row.pack_id], done.get(row.id)
        of_pack = {entry.clip_id for entry in pack.entries}
        by_agent = {clip for login in logins.get(row.agent, ()) for clip in listened[login]}
        state = State.DONE if told else State.OVERDUE if row.due < today else State.OPEN
        found.append(
            AssignmentRow(
                id=row.id,
                pack_id=row.pack_id,
                pack=pack.name,
                agent=row.agent,
                goal=row.goal,
                due=row.due,
                who=row.who,
                at=row.at,
                clips=len(of_pack),
                heard=len(of_pack & by_agent),
                acknowledged_at=told and told.at,
                reply=told.note if told else "",
                state=state,
            )
        )
    return found
