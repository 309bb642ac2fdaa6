"""Accounts, signing in and staying signed in.

Passwords are kept as salted scrypt. A sign-in makes a session: the browser holds a signed random token in an HttpOnly
cookie, the database its hash, so that a session can be ended from here. Five failures in a row under one name lock
that name for a quarter of an hour, whether or not there is such an account; an attempt counts before its password is
checked, so that many at once gain nothing.

Single sign-on has its place beside `sign_in`: whatever proves who somebody is ends in `begin_session`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from qa.access import Identity, Right, Role, require
from qa.messages import language_code
from qa.store.accounts import Account, FailedSignIns, SignInSession
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.schema import MAX_ID, now

# OWASP Password Storage Cheat Sheet, scrypt with 32 MiB.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**15, 8, 3
SCRYPT_MEMORY = 2**26  # bytes that one hash may use: 128·N·r and room
SALT_BYTES = 16
TOKEN_BYTES = 32
SECRET_BYTES = 32
SECRET_VARIABLE = "HUITING_SECRET"
SECRET_FILE = "secret"
MIN_SECRET_CHARACTERS = 32
MIN_PASSWORD = 10  # characters, of one that a person chooses
MAX_PASSWORD = 1_000
MAX_FAILURES = 5  # in a row
LOCK_TIME = timedelta(minutes=15)
FORGET_FAILURES_AFTER = timedelta(hours=24)
SESSION_TIME = timedelta(hours=12)  # a shift
PASSWORD_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike


class Refusal(StrEnum):
    WRONG = "wrong"  # name or password: never says which
    LOCKED = "locked"


class SignInRefused(Exception):
    """Nobody is signed in. `until` is when a locked name opens again."""

    def __init__(self, reason: Refusal, until: datetime | None = None) -> None:
        super().__init__(reason.value)
        self.reason, self.until = reason, until


class Fault(StrEnum):
    LOGIN_FORM = "login_form"
    LOGIN_TAKEN = "login_taken"
    NO_ACCOUNT = "no_account"
    AGENT_MISSING = "agent_missing"
    TEAMS_MISSING = "teams_missing"
    PASSWORD_SHORT = "password_short"
    PASSWORD_LONG = "password_long"
    PASSWORD_SAME = "password_same"
    PASSWORD_LIKE_LOGIN = "password_like_login"
    LAST_ADMIN = "last_admin"


class AccountError(ValueError):
    """An account cannot be as asked; `fault` names why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


# --- passwords and secrets -------------------------------------------------------------------------------------


def hash_password(password: str) -> str:
    salt = os.urandom(SALT_BYTES)
    key = _scrypt(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    return f"scrypt${SCRYPT_N}${SCRYPT_R}${SCRYPT_P}${_encode(salt)}${_encode(key)}"


def check_password(password: str, stored: str) -> bool:
    """Whether a password is the one that was hashed. Raises ValueError for a stored value of another form."""
    scheme, n, r, p, salt, key = stored.split("$")
    if scheme != "scrypt":
        raise ValueError(f"a password hashed with {scheme!r}, expected scrypt")
    found = _scrypt(password, _decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, _decode(key))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    source = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(source, salt=salt, n=n, r=r, p=p, maxmem=SCRYPT_MEMORY, dklen=32)


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _decode(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


def new_password() -> str:
    """A one-time password that can be read out and typed: four groups of four."""
    return "-".join("".join(secrets.choice(PASSWORD_LETTERS) for _ in range(4)) for _ in range(4))


def signing_secret(data_folder: Path) -> str:
    """What cookies are signed with: `HUITING_SECRET`, else a file in the data folder that only its owner reads.

    Raises ValueError for a secret in the environment that is too short to sign with.
    """
    named = os.environ.get(SECRET_VARIABLE, "")
    if named:
        if len(named) < MIN_SECRET_CHARACTERS:
            raise ValueError(f"{SECRET_VARIABLE} has {len(named)} characters, at least {MIN_SECRET_CHARACTERS} are needed")
        return named
    path = data_folder / SECRET_FILE
    data_folder.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{SECRET_FILE}-{os.getpid()}-{secrets.token_hex(4)}")
    if not path.exists():
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
        try:
            os.link(fresh, path)  # whole or not at all, and the first of two starters wins
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    secret = path.read_text("utf-8").strip()
    if len(secret) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"{path} holds no secret; delete it and start again")
    return secret


# --- accounts --------------------------------------------------------------------------------------------------


def identity_of(account: Account) -> Identity:
    return Identity(
        login=account.login,
        name=account.name,
        role=Role(account.role),
        agent=account.agent,
        teams=tuple(account.teams),
        language=account.language,
        must_change=account.must_change,
        demo=account.demo,
    )


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What is asked for. `password` None: a one-time password is made."""

    login: str
    role: Role
    name: str = ""
    agent: str | None = None
    teams: Sequence[str] = ()
    password: str | None = None
    demo: bool = False


def add_account(session: Session, by: str, wanted: NewAccount) -> str:
    """Make an account and return its password. For the command line; in the app `create_account` asks for the right.

    Raises AccountError.
    """
    login = wanted.login.strip().lower()
    if not login or len(login) > MAX_ID or any(c.isspace() or not c.isprintable() for c in login):
        raise AccountError(Fault.LOGIN_FORM)
    if session.get(Account, login) is not None:
        raise AccountError(Fault.LOGIN_TAKEN)
    _check_role(wanted.role, wanted.agent, wanted.teams)
    password = wanted.password or new_password()
    account = Account(
        login=login,
        name=wanted.name or login,
        role=wanted.role.value,
        agent=wanted.agent or None,
        teams=list(wanted.teams),
        password=hash_password(password),
        must_change=wanted.password is None and not wanted.demo,
        demo=wanted.demo,
    )
    session.add(account)
    session.flush()
    audit(session, by, "account added", account=login, role=wanted.role.value, demo=wanted.demo)
    return password


def create_account(store: Store, identity: Identity, wanted: NewAccount) -> str:
    """Make an account in the app's name. Returns the one-time password. Raises AccessDenied, AccountError."""
    require(identity, Right.ADMINISTER)
    with store.write() as session:
        return add_account(session, identity.login, wanted)


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What an account is to be; the name it signs in with stays."""

    role: Role
    name: str
    agent: str | None = None
    teams: Sequence[str] = ()


def change_account(store: Store, identity: Identity, login: str, wanted: AccountChange) -> None:
    """Another role, name, agent number or teams; open pages of the person follow at once.

    Raises AccessDenied, AccountError.
    """
    require(identity, Right.ADMINISTER)
    _check_role(wanted.role, wanted.agent, wanted.teams)
    with store.write() as session:
        account = _account(session, login)
        if account.role == Role.ADMIN and wanted.role is not Role.ADMIN and not _other_admins(session, account.login):
            raise AccountError(Fault.LAST_ADMIN)
        before = {"role": account.role, "agent": account.agent, "teams": list(account.teams)}
        account.role, account.name = wanted.role.value, wanted.name.strip() or account.login
        account.agent, account.teams = wanted.agent or None, list(wanted.teams)
        after = {"role": account.role, "agent": account.agent, "teams": list(account.teams)}
        audit(session, identity.login, "account changed", account=account.login, before=before, after=after)


def _check_role(role: Role, agent: str | None, teams: Sequence[str]) -> None:
    if role is Role.AGENT and not agent:
        raise AccountError(Fault.AGENT_MISSING)
    if role is Role.LEAD and not teams:
        raise AccountError(Fault.TEAMS_MISSING)


def set_active(store: Store, identity: Identity, login: str, active: bool) -> None:
    """Open or close an account; closing ends its sessions. Raises AccessDenied, AccountError."""
    require(identity, Right.ADMINISTER)
    with store.write() as session:
        account = _account(session, login)
        if not active and account.role == Role.ADMIN and _other_admins(session, account.login) == 0:
            raise AccountError(Fault.LAST_ADMIN)
        if not active:
            close(session, identity.login, account)
            return
        account.active = True
        audit(session, identity.login, "account opened", account=account.login)


def close(session: Session, by: str, account: Account) -> None:
    """Nobody signs in to the account any more, and who is signed in is out."""
    account.active = False
    _end_sessions(session, account.login)
    audit(session, by, "account closed", account=account.login)


def reset_password(session: Session, by: str, login: str, *, one_time: bool = True) -> str:
    """A new random password for an account; its sessions end and its lock opens. Raises AccountError."""
    account = _account(session, login)
    password = new_password()
    account.password, account.must_change, account.active = hash_password(password), one_time, True
    _end_sessions(session, account.login)
    session.execute(delete(FailedSignIns).where(FailedSignIns.login == account.login))
    audit(session, by, "password reset", account=account.login)
    return password


def give_new_password(store: Store, identity: Identity, login: str) -> str:
    """Raises AccessDenied, AccountError."""
    require(identity, Right.ADMINISTER)
    with store.write() as session:
        return reset_password(session, identity.login, login)


def list_accounts(store: Store, identity: Identity) -> list[Account]:
    """Raises AccessDenied."""
    require(identity, Right.ADMINISTER)
    with store.read() as session:
        return all_accounts(session)


def all_accounts(session: Session) -> list[Account]:
    return list(session.scalars(select(Account).order_by(Account.login)))


def has_admin(session: Session) -> bool:
    query = select(func.count()).where(Account.role == Role.ADMIN, Account.active, ~Account.demo)
    return bool(session.scalar(query))


def choose_language(store: Store, identity: Identity, language: str) -> None:
    """Keep the language of the app for a person. Raises ValueError for one that there is not."""
    with store.write() as session:
        session.execute(
            update(Account).where(Account.login == identity.login).values(language=language_code(language))
        )


def change_password(store: Store, identity: Identity, old: str, new: str) -> None:
    """A person's own new password; all their sessions end. Raises SignInRefused (the old one), AccountError."""
    if len(new) < MIN_PASSWORD:
        raise AccountError(Fault.PASSWORD_SHORT)
    if len(new) > MAX_PASSWORD:
        raise AccountError(Fault.PASSWORD_LONG)
    if new == old:
        raise AccountError(Fault.PASSWORD_SAME)
    if identity.login in new.lower():
        raise AccountError(Fault.PASSWORD_LIKE_LOGIN)
    _verify(store, identity.login, old)
    hashed = hash_password(new)
    with store.write() as session:
        account = _account(session, identity.login)
        account.password, account.must_change = hashed, False
        _end_sessions(session, identity.login)
        audit(session, identity.login, "password changed")


def _account(session: Session, login: str) -> Account:
    account = session.get(Account, login.strip().lower())
    if account is None:
        raise AccountError(Fault.NO_ACCOUNT)
    return account


def _other_admins(session: Session, login: str) -> int:
    query = select(func.count()).where(Account.role == Role.ADMIN, Account.active, Account.login != login)
    return session.scalar(query) or 0


def _end_sessions(session: Session, login: str) -> None:
    session.execute(
        update(SignInSession)
        .where(SignInSession.login == login, SignInSession.ended_at.is_(None))
        .values(ended_at=now())
    )


# --- signing in ------------------------------------------------------------------------------------------------


def sign_in(store: Store, login: str, password: str, *, client: str = "") -> tuple[Identity, str]:
    """Check a name and a password and begin a session. Returns who it is, and the token for the cookie.

    `client` is the address that asks, for the audit trail. Raises SignInRefused.
    """
    identity = _verify(store, login, password, client=client)
    return identity, begin_session(store, identity, client=client)


def begin_session(store: Store, identity: Identity, *, client: str = "") -> str:
    """A new session for somebody whose identity is proved. Returns its token, which is kept nowhere here."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with store.write() as session:
        session.execute(delete(SignInSession).where(SignInSession.expires_at < now()))
        session.add(
            SignInSession(token_hash=_token_hash(token), login=identity.login, expires_at=now() + SESSION_TIME)
        )
        audit(session, identity.login, "sign in", client=client)
    return token


def signed_in(store: Store, token: str) -> Identity | None:
    """Whose session a token is; None when it is unknown, over or ended, or the account is closed."""
    with store.read() as session:
        account = session.scalar(
            select(Account)
            .join(SignInSession, SignInSession.login == Account.login)
            .where(
                SignInSession.token_hash == _token_hash(token),
                SignInSession.ended_at.is_(None),
                SignInSession.expires_at > now(),
                Account.active,
            )
        )
    return None if account is None else identity_of(account)


def sign_out(store: Store, token: str) -> None:
    with store.write() as session:
        row = session.get(SignInSession, _token_hash(token))
        if row is not None and row.ended_at is None:
            row.ended_at = now()
            audit(session, row.login, "sign out")


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _verify(store: Store, login: str, password: str, *, client: str = "") -> Identity:
    login = login.strip().lower()[:MAX_ID].replace("\0", "")
    _count_attempt(store, login, client)
    with store.read() as session:
        account = session.get(Account, login)
    # An unknown name costs the same time as a known one.
    stored = account.password if account is not None else _nobodys_password()
    right = check_password(password[: MAX_PASSWORD + 1], stored)
    if account is None or not account.active or not right:
        with store.write() as session:
            audit(session, login, "sign in refused", client=client, reason=Refusal.WRONG.value)
        raise SignInRefused(Refusal.WRONG)
    with store.write() as session:
        session.execute(delete(FailedSignIns).where(FailedSignIns.login == login))
    return identity_of(account)


def _count_attempt(store: Store, login: str, client: str) -> None:
    """Count an attempt as failed until it succeeds. Raises SignInRefused while the name is locked."""
    at = now()
    with store.write() as session:
        session.execute(delete(FailedSignIns).where(FailedSignIns.last_at < at - FORGET_FAILURES_AFTER))
        insert = sqlite.insert if store.dialect == "sqlite" else postgresql.insert
        session.execute(
            insert(FailedSignIns).values(login=login, count=0, last_at=at).on_conflict_do_nothing()
        )
        row = session.get_one(FailedSignIns, login, with_for_update=True)
        locked_until = row.locked_until
        if locked_until is not None and locked_until <= at:
            row.count, row.locked_until, locked_until = 0, None, None
        if locked_until is None:
            row.count, row.last_at = row.count + 1, at
            if row.count >= MAX_FAILURES:
                row.locked_until = at + LOCK_TIME
        else:
            audit(session, login, "sign in refused", client=client, reason=Refusal.LOCKED.value)
    if locked_until is not None:
        raise SignInRefused(Refusal.LOCKED, locked_until)


_nobody: list[str] = []


def _nobodys_password() -> str:
    if not _nobody:
        _nobody.append(hash_password(secrets.token_hex(SALT_BYTES)))
    return _nobody[0]
