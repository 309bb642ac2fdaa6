"""One person's run of a page: who they are, what they may, and in which language they read."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from qa import accounts
from qa.access import Identity, Right, may
from qa.desk import Desk, desk
from qa.messages import LANGUAGES


@dataclass(frozen=True, slots=True)
class Visit:
    desk: Desk
    identity: Identity

    @property
    def language(self) -> str:
        chosen = self.identity.language or self.desk.settings.site.language[:2]
        return chosen if chosen in LANGUAGES else "zh"

    def may(self, right: Right) -> bool:
        return may(self.identity, right)

    def switch_language(self, language: str) -> None:
        accounts.choose_language(self.desk.store, self.identity, language)


def begin() -> Visit | None:
    """The visit of whoever sends the cookie; None for nobody. Asked anew in every run, so that a closed account ends."""
    house = desk()
    identity = house.identity(st.context.cookies)
    if identity is None or identity.must_change:
        return None
    return Visit(house, identity)


def current() -> Visit:
    """The visit of this run. Raises PermissionError for nobody: pages run behind the router only."""
    visit = begin()
    if visit is None:
        raise PermissionError("no session")
    return visit
