"""Who may do what: roles, rights, and how far a right reaches.

The one table is `MATRIX`; docs/access.md shows it and a test holds the two equal. Every query and command of the app
takes an `Identity` and asks here; what is not allowed raises AccessDenied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, false, true

from qa.store.schema import Call

if TYPE_CHECKING:
    from collections.abc import Mapping


class Role(StrEnum):
    AGENT = "agent"
    INSPECTOR = "inspector"
    LEAD = "lead"
    TRAINER = "trainer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Right(StrEnum):
    SEE = "see"  # a call's transcript and scorecard, personal data masked
    PLAY_MASKED = "play_masked"  # its sound, personal data beeped
    PLAY_ORIGINAL = "play_original"
    UNMASK = "unmask"  # its text as it was heard
    VERDICT = "verdict"  # judge a machine result, claim a call, close a review
    ACKNOWLEDGE = "acknowledge"  # say that one has read one's scorecard
    ASSIGN = "assign"  # give calls to inspectors
    COACH = "coach"  # clips, packs, and who gets them
    EXPORT = "export"
    PUBLISH = "publish"  # rules
    OPERATE = "operate"  # nights, their files, settings in force
    ADMINISTER = "administer"  # accounts and roles, the audit trail


class Reach(StrEnum):
    NONE = "none"
    OWN = "own"  # calls whose agent the person is
    TEAMS = "teams"  # calls that belonged to one of the person's teams when they were made
    ALL = "all"


_ALL_RIGHTS = tuple(Right)


def _reaches(*reaches: Reach) -> Mapping[Right, Reach]:
    return dict(zip(_ALL_RIGHTS, reaches, strict=True))


_N, _O, _T, _A = Reach.NONE, Reach.OWN, Reach.TEAMS, Reach.ALL

# fmt: off
MATRIX: Mapping[Role, Mapping[Right, Reach]] = {
    #                          see masked original unmask verdict acknowledge assign coach export publish operate administer
    Role.AGENT:     _reaches(_O, _O,    _N,      _N,    _N,     _O,         _N,    _N,    _N,    _N,     _N,     _N),
    Role.INSPECTOR: _reaches(_A, _A,    _A,      _A,    _A,     _N,         _N,    _N,    _N,    _N,     _N,     _N),
    Role.LEAD:      _reaches(_T, _T,    _T,      _T,    _T,     _N,         _T,    _T,    _T,    _A,     _N,     _N),
    Role.TRAINER:   _reaches(_A, _A,    _N,      _N,    _N,     _N,         _N,    _A,    _N,    _N,     _N,     _N),
    Role.OPERATOR:  _reaches(_N, _N,    _N,      _N,    _N,     _N,         _N,    _N,    _N,    _N,     _A,     _N),
    Role.ADMIN:     _reaches(_A, _A,    _N,      _N,    _N,     _N,         _A,    _N,    _A,    _A,     _A,     _A),
}
# fmt: on


class AccessDenied(PermissionError):
    """The person may not do this; told without saying whether the call exists."""

    def __init__(self, login: str, right: Right, call_id: str | None = None) -> None:
        super().__init__(f"{login} may not {right.value}" + (f" call {call_id}" if call_id else ""))
        self.login, self.right, self.call_id = login, right, call_id


@dataclass(frozen=True, slots=True)
class Identity:
    """A person who is signed in. `agent` is the agent number whose calls are their own."""

    login: str
    name: str
    role: Role
    agent: str | None = None
    teams: tuple[str, ...] = ()
    language: str | None = None
    must_change: bool = False  # signed in with a one-time password: nothing else is open yet
    demo: bool = False


def reach(identity: Identity, right: Right) -> Reach:
    return Reach.NONE if identity.must_change else MATRIX[identity.role][right]


def may(identity: Identity, right: Right, call: Call | None = None) -> bool:
    """Whether the person has a right; without a call, whether they have it at all."""
    found = reach(identity, right)
    if call is None or found in (Reach.NONE, Reach.ALL):
        return found is not Reach.NONE
    if found is Reach.OWN:
        return identity.agent is not None and call.agent == identity.agent
    return call.team is not None and call.team in identity.teams


def require(identity: Identity, right: Right, call: Call | None = None) -> None:
    """Raises AccessDenied unless the person may."""
    if not may(identity, right, call):
        raise AccessDenied(identity.login, right, None if call is None else call.id)


def within_reach(identity: Identity, right: Right = Right.SEE) -> ColumnElement[bool]:
    """The condition on `calls` that a right sets; for queries, as `may` is for one call."""
    found = reach(identity, right)
    if found is Reach.ALL:
        return true()
    if found is Reach.OWN and identity.agent is not None:
        return Call.agent == identity.agent
    if found is Reach.TEAMS and identity.teams:
        return Call.team.in_(identity.teams)
    return false()
