"""What the app's server and its pages share: settings, database, rules in force, and the cookie that says who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from itsdangerous import BadData, URLSafeTimedSerializer

from qa import accounts
from qa.access import Identity
from qa.call_lists import Site
from qa.rulebook import packs_in_force
from qa.settings import Settings
from qa.store.engine import Store, open_store
from scoring_rules.model import Pack

COOKIE = "huiting_session"
COOKIE_SALT = "huiting session"


@dataclass(frozen=True, slots=True)
class Desk:
    """The app at work on one data folder. Open it once a process: `desk()`."""

    settings: Settings
    store: Store
    signer: URLSafeTimedSerializer

    @property
    def pack(self) -> Pack:
        """The rules in force by now: a version may be published while the app is open."""
        return packs_in_force(self.settings, self.store)

    @property
    def site(self) -> Site:
        return Site(self.pack.scoring.passing, self.settings.time_zone)

    @property
    def sound_folder(self) -> Path:
        return self.settings.sound_folder

    def cookie(self, token: str) -> str:
        """A session's token, signed."""
        return self.signer.dumps(token)

    def token(self, cookies: Mapping[str, str]) -> str | None:
        """The session's token out of a browser's cookies; None where there is none or its signature is not ours."""
        try:
            token = self.signer.loads(cookies.get(COOKIE, ""), max_age=int(accounts.SESSION_TIME.total_seconds()))
        except BadData:
            return None
        return token if isinstance(token, str) else None

    def identity(self, cookies: Mapping[str, str]) -> Identity | None:
        """Who sends these cookies; None for nobody."""
        token = self.token(cookies)
        return None if token is None else accounts.signed_in(self.store, token)


def open_desk(settings: Settings) -> Desk:
    """Raises StoreError, PackError, ValueError (a secret that cannot be used)."""
    secret = accounts.signing_secret(settings.data.folder)
    store = open_store(settings.store_url)
    packs_in_force(settings, store)  # faults in the rules are told now, and not by the first page
    return Desk(settings, store, URLSafeTimedSerializer(secret, salt=COOKIE_SALT))


@cache
def desk() -> Desk:
    """The desk of this process, by the settings that the environment names."""
    return open_desk(Settings.load())
