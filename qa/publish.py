"""Publishing a site's rules: checked, replayed over history, and refused where settled verdicts of people would flip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from qa.access import Identity, Right, require
from qa.messages import current_language, text
from qa.replay import Replay, VerdictChange
from qa.rule_versions import Layer, at_home, newest_version, read_layer, with_drafts, working_copy
from qa.rulebook import pack_of
from qa.settings import Settings
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.rules import RuleDraft, RuleVersion
from qa.store.schema import Call, ScorecardRow
from scoring_rules.lint import lint
from scoring_rules.meaning import Encoder
from scoring_rules.model import Pack
from scoring_rules.problems import Problem, Severity

COMMAND_LINE = "command line"
MAX_FLIPS = 200  # settled verdicts that are shown; all are counted


class PublishRefused(Exception):
    """Nothing was published; the message says why and what to do. `problems` or `flips` hold what stands against it."""

    def __init__(
        self, message: str, problems: Sequence[Problem] = (), flips: Sequence[VerdictChange] = ()
    ) -> None:
        super().__init__(message)
        self.problems, self.flips = tuple(problems), tuple(flips)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What would be published, beside what is in force."""

    base: Pack
    draft: Pack
    base_layers: tuple[Layer, ...]
    layers: tuple[Layer, ...]
    version: int | None  # in force
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def unchanged(self) -> bool:
        return self.version is not None and self.base_layers == self.layers


def candidate(
    settings: Settings, store: Store, drafts: Sequence[Path] = (), encoder: Encoder | None = None, *, check: bool = True
) -> Candidate:
    """The working copy (with `drafts` over it) beside the rules in force; checked with its examples unless told not to.

    Where nothing was ever published, the shipped rules and the folders of the settings are in force; with no draft
    given the shipped rules alone are the base, so that the first version shows all that a site's own rules do.
    """
    with store.read() as session:
        newest = newest_version(session)
        working = working_copy(session, settings.rules.overlays)
    folders = tuple(read_layer(folder) for folder in settings.rules.overlays)
    layers = with_drafts(working, [read_layer(folder) for folder in drafts])
    base_layers = newest.layers if newest is not None else folders if layers != folders else ()
    draft = pack_of(settings, layers, collect=True)
    found = _of_the_site(settings, lint(draft, encoder), encoder) if check else draft.problems
    problems = tuple(at_home(problem, layers, settings.data.folder) for problem in found)
    base = pack_of(settings, base_layers, collect=True)
    return Candidate(base, draft, base_layers, layers, newest.number if newest else None, problems)


def _of_the_site(settings: Settings, found: Sequence[Problem], encoder: Encoder | None) -> list[Problem]:
    """Problems that the shipped rules have not by themselves: the site can mend no others, a failing example of a
    shipped rule included, unless it is the site's change that makes it fail.
    """
    if not any(problem.severity is Severity.ERROR for problem in found):
        return list(found)
    shipped = {problem.text() for problem in lint(pack_of(settings, (), collect=True), encoder)}
    return [problem for problem in found if problem.text() not in shipped]


def calls_between(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    """The calls of a replay: those that started from `since` until before `until`."""
    limits: list[ColumnElement[bool]] = [] if since is None else [Call.started_at >= since]
    return limits if until is None else [*limits, Call.started_at < until]


def publish(
    settings: Settings,
    store: Store,
    found: Candidate,
    note: str,
    *,
    who: Identity | None,
    because: str = "",
    since: datetime | None = None,
    encoder: Encoder | None = None,
    on_total: Callable[[int], None] = lambda total: None,
    on_call: Callable[[str], None] = lambda call_id: None,
) -> int:
    """Keep a candidate as the next version and let it be in force. Returns its number. `who` None: the command line.

    It is replayed over the calls from `since` on. Raises AccessDenied; PublishRefused for a missing note, errors in the
    pack or its examples, settled verdicts that would flip (unless `because` says why they may), a pack that is in force
    already, or one that was published meanwhile.
    """
    if who is not None:
        require(who, Right.PUBLISH)
    if not note.strip():
        raise PublishRefused(text("publish.no_note"))
    if found.errors:
        raise PublishRefused(text("publish.errors", count=len(found.errors)), problems=found.errors)
    if found.unchanged:
        raise PublishRefused(text("publish.unchanged", version=found.version))
    replay = Replay(store, found.base, found.draft, encoder, calls_between(since, None))
    on_total(replay.total())
    flips: list[VerdictChange] = []
    for event in replay.events(on_call):
        if isinstance(event, VerdictChange) and event.flips and len(flips) < MAX_FLIPS:
            flips.append(event)
    if replay.summary.flips and not because.strip():
        raise PublishRefused(text("publish.flips", count=replay.summary.flips), flips=flips)
    return keep(store, found, note, who, because, replay.summary.figures())


def keep(
    store: Store, found: Candidate, note: str, who: Identity | None, because: str, replayed: Mapping[str, Any]
) -> int:
    """Store a version that was checked. Raises PublishRefused when another one came first."""
    name = COMMAND_LINE if who is None else who.login
    with store.write() as session:
        newest = newest_version(session)
        if (newest.number if newest else None) != found.version:
            raise PublishRefused(text("publish.meanwhile"))
        row = RuleVersion(
            number=(found.version or 0) + 1,
            who=name,
            note=note.strip(),
            because=because.strip() or None,
            fingerprint=found.draft.fingerprint,
            layers=[{"name": layer.name, "files": dict(layer.files)} for layer in found.layers],
            replayed=dict(replayed),
        )
        session.add(row)
        session.flush()
        audit(
            session, name, "rules published", version=row.number, note=row.note, because=row.because,
            fingerprint=row.fingerprint, flips=replayed.get("settled_verdicts_contradicted", 0),
        )  # fmt: skip
        return row.number


def outdated(session: Session, pack: Pack) -> int:
    """How many calls' scorecards in force were made by other rules than these: `huiting rescore` brings them up."""
    made_by = ScorecardRow.card["pack"].as_string()
    query = select(func.count()).select_from(ScorecardRow).where(ScorecardRow.current)
    return session.scalar(query.where(func.coalesce(made_by, "") != pack.fingerprint)) or 0


# --- changes made in the app ----------------------------------------------------------------------------------


class DraftConflict(Exception):
    """Somebody else changed the draft meanwhile; nothing was saved."""


CHANGEABLE = ("status", "points", "phrases", "unless")


def draft_changes(store: Store, language: str) -> tuple[Mapping[str, Any], int]:
    """What was changed in the app in a language's rules (rule → keys of an overlay), and the draft's version."""
    with store.read() as session:
        row = session.get(RuleDraft, language)
        return ({}, 0) if row is None else (row.changes, row.version)


def change_rule(
    settings: Settings, store: Store, identity: Identity, language: str, rule: str, change: Mapping[str, Any], seen: int
) -> None:
    """Put a rule's change into the draft, in the place of its former one; an empty change takes it out.

    `seen` is the draft's version that the person had before them. Raises AccessDenied; DraftConflict; PublishRefused
    with the loader's problems where the change is none that a pack can hold.
    """
    require(identity, Right.PUBLISH)
    with store.write() as session:
        row = session.get(RuleDraft, language)
        if (row.version if row else 0) != seen:
            raise DraftConflict(language)
        changes = {name: dict(value) for name, value in (row.changes if row else {}).items()}
        changes.pop(rule, None)
        kept = {key: value for key, value in change.items() if key in CHANGEABLE and value not in (None, "", [], {})}
        if kept:
            changes[rule] = kept
        if row is None:
            row = RuleDraft(language=language, who=identity.login, changes=changes)
            session.add(row)
        row.changes, row.who = changes, identity.login
        session.flush()
        pack = pack_of(settings, working_copy(session, settings.rules.overlays), collect=True)
        bad = [p for p in pack.problems if p.severity is Severity.ERROR and f"app-{language}/" in p.origin.file]
        if bad:
            raise PublishRefused("\n".join(problem.text(current_language()) for problem in bad), problems=bad)
        audit(session, identity.login, "rule changed", rule=rule, language=language, change=kept)
