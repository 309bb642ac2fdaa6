"""Who reviews which call: leads give calls and take them back, reviewers take a call in hand for a while.

Each is an event that is only ever added; where a call stands now is kept on the call. A claim is a courtesy, not a
lock: it tells the others, and ends by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Right, may, require, within_reach
from qa.accounts import identity_of
from qa.call_filter import CallFilter, audited, free_for
from qa.call_lists import Site, condition_of
from qa.store.accounts import Account
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.reviews import DONE
from qa.store.schema import Call, now
from qa.store.work import AssignmentEvent, ClaimEvent

CLAIM_TIME = timedelta(minutes=30)
CHUNK = 500  # ids in one query
CANDIDATES = 50  # calls of a list among which the next one is looked for: others take some of them meanwhile


class Held(Exception):
    """Somebody else has the call in hand until a time."""

    def __init__(self, call_id: str, holder: str, until: datetime) -> None:
        super().__init__(f"{call_id} is held by {holder} until {until:%H:%M}")
        self.call_id, self.holder, self.until = call_id, holder, until


class NoSuchAssignee(ValueError):
    """Nobody by that name reviews calls."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """What became of calls to be given: each is in exactly one group."""

    given: tuple[str, ...] = ()
    held: tuple[str, ...] = ()  # somebody else is reviewing it right now
    taken: tuple[str, ...] = ()  # given to somebody else since the list was read
    beyond: tuple[str, ...] = ()  # not within the reach of whom it was to be given to
    done: tuple[str, ...] = ()  # reviewed since the list was read


@dataclass(frozen=True, slots=True)
class Reviewer:
    login: str
    name: str
    role: str
    open_calls: int  # given to them and not yet reviewed


# --- claims ----------------------------------------------------------------------------------------------------


def claim(store: Store, identity: Identity, call_id: str) -> datetime:
    """Take a call in hand, or keep it longer. Returns until when. Raises AccessDenied, Held."""
    require(identity, Right.VERDICT)
    with store.write() as session:
        return _claim(session, identity, _within(session, identity, Right.VERDICT, call_id))


def claim_next(store: Store, identity: Identity, wanted: CallFilter, site: Site) -> str | None:
    """Take the first call of a list that nobody else has in hand; None where there is none left.

    Raises AccessDenied, FilterError.
    """
    require(identity, Right.VERDICT)
    # The list is sorted outside the transaction that writes: on SQLite, everybody's verdicts would wait for it.
    with store.read() as session:
        within = and_(
            condition_of(session, identity, wanted, site)[0], within_reach(identity, Right.VERDICT)
        )
    lost: list[str] = []
    while True:
        with store.read() as session:
            free = and_(within, free_for(identity.login, now()), Call.id.not_in(lost))
            query = select(Call.id).where(free).order_by(*wanted.order()).limit(CANDIDATES)
            candidates = session.scalars(query).all()
        if not candidates:
            return None
        with store.write() as session:
            call = session.scalar(
                select(Call)
                .where(Call.id.in_(candidates), within, free_for(identity.login, now()))
                .order_by(*wanted.order())
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if call is not None:
                _claim(session, identity, call)
                return call.id
        lost += candidates


def release(store: Store, identity: Identity, call_id: str) -> bool:
    """Let a call go: one's own, or by the right to assign anybody's. Returns whether it was held.

    Raises AccessDenied.
    """
    with store.write() as session:
        call = session.get(Call, call_id, with_for_update=True)
        if call is None or not may(identity, Right.SEE, call):
            raise AccessDenied(identity.login, Right.VERDICT, call_id)
        holder = _holder(call)
        if holder is None:
            return False
        if holder != identity.login:
            require(identity, Right.ASSIGN, call)
            audit(session, identity.login, "claim freed", call_id, holder=holder)
        session.add(ClaimEvent(who=identity.login, call_id=call_id, until=None))
        call.held_by = call.held_until = None
        return True


def _claim(session: Session, identity: Identity, call: Call) -> datetime:
    at = now()
    holder = _holder(call)
    if holder not in (None, identity.login):
        assert holder is not None
        assert call.held_until is not None
        raise Held(call.id, holder, call.held_until)
    until = at + CLAIM_TIME
    call.held_by, call.held_until = identity.login, until
    session.add(ClaimEvent(at=at, who=identity.login, call_id=call.id, until=until))
    return until


def _holder(call: Call) -> str | None:
    return call.held_by if call.held_until is not None and call.held_until > now() else None


# --- assignments -----------------------------------------------------------------------------------------------


def reviewers(store: Store, identity: Identity) -> list[Reviewer]:
    """Who can be given calls, with how many they have open. Raises AccessDenied."""
    require(identity, Right.ASSIGN)
    with store.read() as session:
        accounts = session.scalars(select(Account).where(Account.active).order_by(Account.login)).all()
        open_calls = _open_calls(session)
        return [
            Reviewer(account.login, account.name, account.role, open_calls.get(account.login, 0))
            for account in accounts
            if may(_person(account), Right.VERDICT)
        ]


def assign(
    store: Store,
    identity: Identity,
    seen: Mapping[str, str | None],
    assignees: Sequence[str],
    note: str = "",
) -> Assigned:
    """Give calls to reviewers, one after the other in turn. `seen`: the calls, and whose each was when the list was
    read; a call that went to somebody else since is left there, and told.

    Raises AccessDenied, and nothing is given, when one of the calls is beyond the reach of who gives; NoSuchAssignee.
    """
    require(identity, Right.ASSIGN)
    groups: dict[str, list[str]] = {name: [] for name in ("given", "held", "taken", "beyond", "done")}
    with store.write() as session:
        people = [_reviewer(session, login) for login in assignees]
        if not people:
            raise NoSuchAssignee("")
        drawn = set(session.scalars(select(Call.id).where(Call.id.in_(seen), audited())))
        turn = 0
        for call in _calls(session, identity, list(seen)):
            person = people[turn % len(people)]
            holder = _holder(call)
            if call.review == DONE and call.id not in drawn:
                group = "done"
            elif call.assigned_to != seen[call.id]:
                group = "taken"
            elif holder not in (None, *(one.login for one in people)):
                group = "held"
            elif not may(person, Right.VERDICT, call):
                group = "beyond"
            else:
                group = "given"
                if holder is not None:  # who has it in hand keeps it
                    person = next(one for one in people if one.login == holder)
                else:
                    turn += 1
                _give(session, identity, call, person.login, note)
            groups[group].append(call.id)
    return Assigned(**{name: tuple(calls) for name, calls in groups.items()})


def unassign(store: Store, identity: Identity, call_ids: Sequence[str]) -> int:
    """Take calls back. Returns how many were somebody's. Raises AccessDenied, and nothing is taken back."""
    require(identity, Right.ASSIGN)
    count = 0
    with store.write() as session:
        for call in _calls(session, identity, call_ids):
            if call.assigned_to is not None:
                _give(session, identity, call, None, "")
                count += 1
    return count


def _give(session: Session, identity: Identity, call: Call, assignee: str | None, note: str) -> None:
    session.add(
        AssignmentEvent(who=identity.login, call_id=call.id, assignee=assignee, note=note.strip() or None)
    )
    audit(
        session,
        identity.login,
        "assigned" if assignee else "unassigned",
        call.id,
        to=assignee or call.assigned_to,
    )
    call.assigned_to = assignee


def _reviewer(session: Session, login: str) -> Identity:
    account = session.get(Account, login)
    if account is None or not account.active or not may(person := _person(account), Right.VERDICT):
        raise NoSuchAssignee(login)
    return person


def _person(account: Account) -> Identity:
    """Who the account is once they have chosen a password: new people are given calls as well."""
    return replace(identity_of(account), must_change=False)


def _open_calls(session: Session) -> dict[str, int]:
    query = (
        select(Call.assigned_to, func.count())
        .where(Call.assigned_to.is_not(None), or_(func.coalesce(Call.review, "") != DONE, audited()))
        .group_by(Call.assigned_to)
    )
    return {login: count for login, count in session.execute(query) if login}


def _within(session: Session, identity: Identity, right: Right, call_id: str) -> Call:
    call = session.get(Call, call_id, with_for_update=True)
    if call is None or not may(identity, right, call):
        raise AccessDenied(identity.login, right, call_id)
    return call


def _calls(session: Session, identity: Identity, call_ids: Sequence[str]) -> Iterator[Call]:
    """The calls in the order asked for, all within the reach of who assigns. Raises AccessDenied before the first."""
    found: dict[str, Call] = {}
    for first in range(0, len(call_ids), CHUNK):
        chosen = select(Call).where(Call.id.in_(call_ids[first : first + CHUNK]))
        # In one order, so that two who assign at once wait for each other and do not lock each other out.
        chosen = chosen.order_by(Call.id).with_for_update()
        found |= {call.id: call for call in session.scalars(chosen)}
    for call_id in call_ids:
        if call_id not in found:
            raise AccessDenied(identity.login, Right.ASSIGN, call_id)
        require(identity, Right.ASSIGN, found[call_id])
    return (found[call_id] for call_id in dict.fromkeys(call_ids))
