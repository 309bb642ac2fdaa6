"""One person's run of a page: who they are, what they may, and in which language they read."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from qa import accounts
from qa.access import Identity, Right, may
from qa.desk import Desk, desk
from qa.messages import LANGUAGES
from scoring_rules.messages import pick


@dataclass(frozen=True, slots=True)
class Visit:
    desk: Desk
    identity: Identity

    @property
    def language(self) -> str:
        chosen = self.identity.language or self.desk.settings.site.language[:2]
        return chosen if chosen in LANGUAGES else "zh"

    @property
    def rule_names(self) -> dict[str, str]:
        """The rules in force by id, in the reader's language."""
        return {rule.id: pick(rule.name, self.language) for rule in self.desk.pack.rules}

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


def tell(message: str, *, problem: bool = False) -> None:
    """Something to be said at the top of the page in the next run."""
    st.session_state["told"] = (message, problem)


def told() -> tuple[str, bool] | None:
    """What is to be said now, once."""
    return st.session_state.pop("told", None)


def current() -> Visit:
    """The visit of this run. Raises PermissionError for nobody: pages run behind the router only."""
    visit = begin()
    if visit is None:
        raise PermissionError("no session")
    return visit
