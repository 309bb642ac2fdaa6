"""Roles and rights, accounts, signing in and lock-out."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from qa import accounts
from qa.access import MATRIX, AccessDenied, Identity, Reach, Right, Role, may, require, within_reach
from qa.accounts import AccountChange, AccountError, Fault, NewAccount, Refusal, SignInRefused
from qa.audit_trail import TrailFilter, audit_trail, known_actions
from qa.retry import retry
from qa.store import Store, open_store
from qa.store.accounts import Account, FailedSignIns, SignInSession
from qa.store.schema import AuditEvent, Call, LedgerRow

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "access.md"
CALLS = {
    "own": ("A1", "north"),  # the agent's own call, in the lead's team
    "team": ("A2", "north"),
    "other": ("A3", "south"),
    "nobody": (None, None),  # metadata without agent and team
}
PEOPLE = {
    Role.AGENT: Identity("a", "a", Role.AGENT, agent="A1", teams=("north",)),
    Role.INSPECTOR: Identity("i", "i", Role.INSPECTOR),
    Role.LEAD: Identity("l", "l", Role.LEAD, agent="A9", teams=("north", "east")),
    Role.TRAINER: Identity("t", "t", Role.TRAINER),
    Role.OPERATOR: Identity("o", "o", Role.OPERATOR),
    Role.ADMIN: Identity("r", "r", Role.ADMIN),
}
REACHED = {
    Reach.NONE: set(),
    Reach.OWN: {"own"},
    Reach.TEAMS: {"own", "team"},
    Reach.ALL: set(CALLS),
}
PASSWORD = "a good long passphrase"


@pytest.fixture(scope="module")
def calls() -> Iterator[Store]:
    """Four calls to reach or not; nobody writes to them."""
    store = open_store("sqlite:///:memory:")
    with store.write() as session:
        session.add_all(Call(id=call, agent=agent, team=team) for call, (agent, team) in CALLS.items())
    yield store
    store.close()


@pytest.fixture
def quick_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cheap hash, for tests that sign in often."""
    monkeypatch.setattr(accounts, "SCRYPT_N", 2**8)


def documented() -> dict[tuple[str, str], str]:
    table = re.search(r"<!-- matrix -->\n(.*?)<!-- /matrix -->", DOCUMENT.read_text("utf-8"), re.S)
    assert table is not None
    head, _, *rows = [[c.strip() for c in line.strip("|\n").split("|")] for line in table[1].splitlines()]
    return {
        (row[0], column.split()[0]): cell
        for row in rows
        for column, cell in zip(head[1:], row[1:], strict=True)
    }


def test_the_document_shows_the_matrix():
    shown = {Reach.NONE: "–"}
    assert documented() == {
        (right.value, role.value): shown.get(reach, reach.value)
        for role, rights in MATRIX.items()
        for right, reach in rights.items()
    }


@pytest.mark.parametrize("right", Right)
@pytest.mark.parametrize("role", Role)
def test_every_cell_for_one_call_and_for_queries(role: Role, right: Right, calls: Store):
    """What the document's cell says is what one call and a query give, for calls of one's own, a team, others, nobody."""
    person = PEOPLE[role]
    expected = REACHED[Reach({"–": "none"}.get(cell, cell)) if (cell := documented()[right.value, role.value]) else Reach.NONE]
    with calls.read() as session:
        rows = session.scalars(select(Call)).all()
        assert {call.id for call in rows if may(person, right, call)} == expected
        assert set(session.scalars(select(Call.id).where(within_reach(person, right)))) == expected
        for call in rows:
            if call.id in expected:
                require(person, right, call)
            else:
                with pytest.raises(AccessDenied):
                    require(person, right, call)
    assert may(person, right) is bool(expected)


def test_an_agent_without_a_number_and_a_lead_without_teams_reach_nothing(calls: Store):
    for person in (Identity("a", "a", Role.AGENT), Identity("l", "l", Role.LEAD)):
        with calls.read() as session:
            assert session.scalars(select(Call.id).where(within_reach(person))).all() == []
            assert not any(may(person, Right.SEE, call) for call in session.scalars(select(Call)))


@pytest.mark.parametrize("right", Right)
def test_a_one_time_password_opens_nothing(right: Right):
    assert not any(may(replace(person, must_change=True), right) for person in PEOPLE.values())


# Accounts


def add(store: Store, login: str = "wang", password: str | None = PASSWORD, **values) -> str:
    with store.write() as session:
        return accounts.add_account(
            session, "test", NewAccount(login, values.pop("role", Role.INSPECTOR), password=password, **values)
        )


def audited(store: Store, action: str) -> list[AuditEvent]:
    with store.read() as session:
        return list(session.scalars(select(AuditEvent).where(AuditEvent.action == action)))


def test_a_password_is_kept_salted_and_hashed(store: Store):
    add(store, "wang")
    add(store, "li")
    with store.read() as session:
        wang, li = session.scalars(select(Account.password).order_by(Account.login))
    assert wang != li
    assert PASSWORD not in wang
    assert wang.startswith(f"scrypt${2**15}$8$3$")
    assert accounts.check_password(PASSWORD, wang)
    assert not accounts.check_password(PASSWORD + " ", wang)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"login": ""}, Fault.LOGIN_FORM),
        ({"login": "two words"}, Fault.LOGIN_FORM),
        ({"login": "nul\0"}, Fault.LOGIN_FORM),
        ({"login": "WANG "}, Fault.LOGIN_TAKEN),
        ({"login": "x", "role": Role.AGENT}, Fault.AGENT_MISSING),
        ({"login": "x", "role": Role.LEAD}, Fault.TEAMS_MISSING),
    ],
)
def test_accounts_that_cannot_be(store: Store, quick_hash: None, values: dict, fault: Fault):
    add(store)
    with pytest.raises(AccountError) as error:
        add(store, **values)
    assert error.value.fault is fault


def test_signing_in_and_out(store: Store, quick_hash: None):
    add(store)
    identity, token = accounts.sign_in(store, " Wang", PASSWORD, client="10.0.0.7")
    assert (identity.login, identity.role) == ("wang", Role.INSPECTOR)
    assert accounts.signed_in(store, token) == identity
    with store.read() as session:
        assert session.scalars(select(SignInSession.token_hash)).all() != [token]
    accounts.sign_out(store, token)
    assert accounts.signed_in(store, token) is None
    assert [e.who for e in audited(store, "sign in")] == ["wang"]
    assert audited(store, "sign in")[0].detail == {"client": "10.0.0.7"}
    assert len(audited(store, "sign out")) == 1


def test_sessions_end_with_time_password_and_account(store: Store, quick_hash: None, monkeypatch: pytest.MonkeyPatch):
    add(store)
    admin = PEOPLE[Role.ADMIN]
    identity, first = accounts.sign_in(store, "wang", PASSWORD)
    accounts.change_password(store, identity, PASSWORD, "another long passphrase")
    assert accounts.signed_in(store, first) is None
    _, second = accounts.sign_in(store, "wang", "another long passphrase")
    accounts.set_active(store, admin, "wang", False)
    assert accounts.signed_in(store, second) is None
    with pytest.raises(SignInRefused):
        accounts.sign_in(store, "wang", "another long passphrase")
    accounts.set_active(store, admin, "wang", True)
    _, third = accounts.sign_in(store, "wang", "another long passphrase")
    later = accounts.now() + accounts.SESSION_TIME + timedelta(seconds=1)
    monkeypatch.setattr(accounts, "now", lambda: later)
    assert accounts.signed_in(store, third) is None


def test_five_failures_lock_a_name_until_its_time(store: Store, quick_hash: None, monkeypatch: pytest.MonkeyPatch):
    add(store)
    for login in ("wang", "no such person"):
        for _ in range(accounts.MAX_FAILURES):
            with pytest.raises(SignInRefused) as refused:
                accounts.sign_in(store, login, "wrong")
            assert refused.value.reason is Refusal.WRONG
        with pytest.raises(SignInRefused) as refused:
            accounts.sign_in(store, login, PASSWORD)
        assert refused.value.reason is Refusal.LOCKED
        assert refused.value.until is not None
    assert {e.detail["reason"] for e in audited(store, "sign in refused")} == {"wrong", "locked"}
    opened = accounts.now() + accounts.LOCK_TIME
    monkeypatch.setattr(accounts, "now", lambda: opened)
    assert accounts.sign_in(store, "wang", PASSWORD)[0].login == "wang"
    with store.read() as session:
        assert session.get(FailedSignIns, "wang") is None


def test_a_success_forgets_the_failures_before_it(store: Store, quick_hash: None):
    add(store)
    for _ in range(2):
        for _ in range(accounts.MAX_FAILURES - 1):
            with pytest.raises(SignInRefused):
                accounts.sign_in(store, "wang", "wrong")
        accounts.sign_in(store, "wang", PASSWORD)


def test_a_one_time_password_must_be_changed(store: Store, quick_hash: None):
    once = add(store, password=None)
    identity, _ = accounts.sign_in(store, "wang", once)
    assert identity.must_change
    for new, fault in (
        ("short", Fault.PASSWORD_SHORT),
        ("x" * 2_000, Fault.PASSWORD_LONG),
        (once, Fault.PASSWORD_SAME),
        ("i am wang and proud", Fault.PASSWORD_LIKE_LOGIN),
    ):
        with pytest.raises(AccountError) as error:
            accounts.change_password(store, identity, once, new)
        assert error.value.fault is fault
    with pytest.raises(SignInRefused):
        accounts.change_password(store, identity, "not it", PASSWORD)
    accounts.change_password(store, identity, once, PASSWORD)
    assert not accounts.sign_in(store, "wang", PASSWORD)[0].must_change


@pytest.mark.parametrize("role", Role)
def test_only_who_administers_touches_accounts(store: Store, quick_hash: None, role: Role):
    person = PEOPLE[role]
    commands = (
        lambda: accounts.create_account(store, person, NewAccount("new", Role.TRAINER)),
        lambda: accounts.list_accounts(store, person),
        lambda: accounts.give_new_password(store, person, "new"),
        lambda: accounts.set_active(store, person, "new", False),
        lambda: accounts.change_account(store, person, "new", AccountChange(Role.INSPECTOR, "New")),
        lambda: audit_trail(store, person, TrailFilter(), ZoneInfo("Asia/Shanghai")),
        lambda: known_actions(store, person),
    )
    for command in commands:
        if MATRIX[role][Right.ADMINISTER] is Reach.ALL:
            command()
        else:
            with pytest.raises(AccessDenied):
                command()


def test_the_last_admin_stays(store: Store, quick_hash: None):
    add(store, "root", role=Role.ADMIN)
    for command in (
        lambda: accounts.set_active(store, PEOPLE[Role.ADMIN], "root", False),
        lambda: accounts.change_account(store, PEOPLE[Role.ADMIN], "root", AccountChange(Role.TRAINER, "Root")),
    ):
        with pytest.raises(AccountError) as error:
            command()
        assert error.value.fault is Fault.LAST_ADMIN


def test_another_role_is_in_force_at_once_and_told_in_the_trail(store: Store, quick_hash: None):
    add(store)
    _, token = accounts.sign_in(store, "wang", PASSWORD)
    admin = PEOPLE[Role.ADMIN]
    for wanted, fault in (
        (AccountChange(Role.LEAD, "Wang"), Fault.TEAMS_MISSING),
        (AccountChange(Role.AGENT, "Wang"), Fault.AGENT_MISSING),
    ):
        with pytest.raises(AccountError) as error:
            accounts.change_account(store, admin, "wang", wanted)
        assert error.value.fault is fault
    accounts.change_account(store, admin, "wang", AccountChange(Role.LEAD, "王芳", teams=["north"]))
    now = accounts.signed_in(store, token)
    assert now is not None
    assert (now.role, now.name, now.teams) == (Role.LEAD, "王芳", ("north",))
    [event] = audited(store, "account changed")
    assert (event.detail["before"]["role"], event.detail["after"]["role"]) == ("inspector", "lead")


def test_the_trail_is_filtered_and_paged(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qa.audit_trail.TRAIL_PAGE", 2)
    zone, admin = ZoneInfo("Asia/Shanghai"), PEOPLE[Role.ADMIN]
    with store.write() as session:
        for day, who, action, call in (
            (1, "a", "see", "c1"), (2, "a", "verdict", "c1"), (3, "b", "see", "c2"), (4, "b", "sign in", None),
        ):  # fmt: skip
            session.add(AuditEvent(at=datetime(2026, 3, day, 23, 59, tzinfo=zone), who=who, action=action, call_id=call))

    def found(**query: str) -> list[tuple[str, str]]:
        rows, _ = audit_trail(store, admin, TrailFilter.from_address(query), zone)
        return [(row.who, row.action) for row in rows]

    assert found() == [("b", "sign in"), ("b", "see")]
    assert found(page="2") == [("a", "verdict"), ("a", "see")]
    assert found(who="a", action="see") == [("a", "see")]
    assert found(call="c2") == [("b", "see")]
    assert found(since="2026-03-02", until="2026-03-02") == [("a", "verdict")]
    assert found(since="nonsense", page="-1") == found()
    assert audit_trail(store, admin, TrailFilter(), zone)[1] == 4
    assert known_actions(store, admin) == ["see", "sign in", "verdict"]


@pytest.mark.parametrize("role", Role)
def test_only_who_operates_puts_calls_back(store: Store, role: Role):
    with store.write() as session:
        session.add(Call(id="c"))
        session.flush()
        session.add(LedgerRow(call_id="c", stage="hear", state="quarantined", reason="no_speech", attempts=3))
    if MATRIX[role][Right.OPERATE] is Reach.NONE:
        with pytest.raises(AccessDenied):
            retry(store, PEOPLE[role], reason="no_speech")
        return
    with pytest.raises(ValueError, match="calls or a reason"):
        retry(store, PEOPLE[role])
    assert retry(store, PEOPLE[role], reason="clipped") == set()
    assert retry(store, PEOPLE[role], reason="no_speech") == {"c"}
    assert retry(store, PEOPLE[role], ["c"]) == set()  # it waits already
    with store.read() as session:
        row = session.get_one(LedgerRow, ("c", "hear"))
    assert (row.state, row.attempts, row.reason) == ("pending", 0, None)
    assert [event.call_id for event in audited(store, "retry")] == ["c"]


# The secret


def test_the_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path):
    secret = accounts.signing_secret(tmp_path / "data")
    assert len(secret) >= 64
    assert accounts.signing_secret(tmp_path / "data") == secret
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["secret"]


def test_the_environments_secret_wins_and_must_be_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HUITING_SECRET", "s" * 40)
    assert accounts.signing_secret(tmp_path) == "s" * 40
    monkeypatch.setenv("HUITING_SECRET", "short")
    with pytest.raises(ValueError, match="HUITING_SECRET"):
        accounts.signing_secret(tmp_path)
