"""Tonight's files into the database: who they are, whether they are whole, and whether they were heard before."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.file_messages import keep
from qa.intake import Entry, Intake
from qa.ledger import Stage, State, row
from qa.settings import Settings
from qa.states import Outcome, Reason
from qa.store.engine import Store
from qa.store.schema import Call, Night, NightFile, Recording, Tag
from qa.store.transcripts import corrected_by_person, retire_current
from speech.audio import content_hash

COMMIT_EVERY = 50  # files a transaction: small commits let reviewers write in between


@dataclass(frozen=True, slots=True)
class Received:
    """A file that this night has to do with. `path` is its name in the summary."""

    path: str
    call_id: str | None
    outcome: Outcome
    reason: str | None = None


def receive(store: Store, night_id: int, intake: Intake, settings: Settings) -> list[Received]:
    """Register every file of an intake; returns them with their outcome so far (pending: to be worked on).

    A file whose content is known under another call id is a duplicate of it. A file that is still being written is
    left for the next night. Errors of the manifest are files too: they were received and must be accounted for.
    """
    settled_before = time.time() - settings.intake.settle_seconds
    received: list[Received] = []
    entries = list(intake.entries)
    for first in range(0, len(entries), COMMIT_EVERY):
        looked_at = [(entry, *_look(entry.path, settled_before)) for entry in entries[first : first + COMMIT_EVERY]]
        with store.write() as session:
            for entry, sha256, reason, message in looked_at:
                received.append(_register(session, night_id, entry, sha256, reason, message, settings))
    with store.write() as session:
        for error in intake.errors:
            _note(session, night_id, error.path, None, Outcome.FAILED, error.reason, error.message)
            received.append(Received(error.path, None, Outcome.FAILED, error.reason))
        for path in intake.unlisted:
            _note(session, night_id, str(path), None, Outcome.SKIPPED, Reason.NOT_LISTED, keep("not_listed"))
            received.append(Received(str(path), None, Outcome.SKIPPED, Reason.NOT_LISTED))
    return received


def _look(path: Path, settled_before: float) -> tuple[str | None, Reason | None, str | None]:
    """A file's content hash, or the reason why it is not to be touched tonight."""
    try:
        before = os.stat(path)
        if before.st_mtime > settled_before:
            return None, Reason.STILL_COPYING, keep("still_copying", name=path.name)
        sha256 = content_hash(path)
        after = os.stat(path)
    except OSError as error:
        return None, Reason.MISSING_FILE, keep("missing_file", path=str(path), system=error.strerror or "")
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return None, Reason.STILL_COPYING, keep("still_copying", name=path.name)
    return sha256, None, None


def _register(
    session: Session,
    night_id: int,
    entry: Entry,
    sha256: str | None,
    reason: Reason | None,
    message: str | None,
    settings: Settings,
) -> Received:
    path = str(entry.path)
    if sha256 is None:
        outcome = Outcome.FAILED if reason is Reason.MISSING_FILE else Outcome.SKIPPED
        _note(session, night_id, path, None, outcome, reason, message)
        return Received(path, None, outcome, reason)
    twin = session.scalar(
        select(Call.id)
        .join(Recording, Call.recording_id == Recording.id)
        .where(Recording.sha256 == sha256, Call.id != entry.call_id)
        .order_by(Call.created_at)
    )
    known = session.get(Call, entry.call_id)
    if twin is not None and known is None and entry.path.stat().st_size > 0:
        message = keep("duplicate", twin=twin)
        _note(session, night_id, path, None, Outcome.SKIPPED, Reason.DUPLICATE, message)
        return Received(path, None, Outcome.SKIPPED, Reason.DUPLICATE)
    recording = session.scalar(select(Recording).where(Recording.path == path, Recording.sha256 == sha256))
    if recording is None:
        recording = Recording(path=path, sha256=sha256, size=entry.path.stat().st_size)
        session.add(recording)
        session.flush()
    call = known or Call(id=entry.call_id)
    before = None if known is None else known.recording
    _describe(call, entry, recording, settings)
    if known is None:
        session.add(call)
    session.flush()
    hear = row(session, call.id, Stage.HEAR)
    if before is not None and before.sha256 != sha256:
        hear.state, hear.fingerprint = State.PENDING, None  # the same call id, new sound: hear it again
        if corrected_by_person(session, call.id):
            retire_current(session, call.id)  # a correction of other sound does not hold what comes
    if hear.state == State.QUARANTINED:
        _note(session, night_id, path, call.id, Outcome.SKIPPED, Reason.ALREADY_QUARANTINED, hear.message)
        return Received(path, call.id, Outcome.SKIPPED, Reason.ALREADY_QUARANTINED)
    if hear.state == State.SKIPPED:
        _note(session, night_id, path, call.id, Outcome.SKIPPED, hear.reason, hear.message)
        return Received(path, call.id, Outcome.SKIPPED, hear.reason)
    return _note_pending(session, night_id, path, call.id)


def _note_pending(session: Session, night_id: int, path: str, call_id: str) -> Received:
    """To be worked on, unless this very night, before it was cut off, has brought the file to its end."""
    outcome = _note(session, night_id, path, call_id, Outcome.PENDING, None, None)
    return Received(path, call_id, outcome)


def _describe(call: Call, entry: Entry, recording: Recording, settings: Settings) -> None:
    """What the metadata says of a call; an empty field never wipes out what is known."""
    call.recording_id = recording.id
    call.time_zone = settings.site.time_zone
    for name in ("agent", "team", "queue", "direction", "started_at", "customer_key", "agent_channel"):
        value = getattr(entry, name)
        if value is not None:
            setattr(call, name, value)
    if entry.kind:
        call.kind, call.kind_source, call.kind_confidence = entry.kind, "metadata", None
    call.attributes = {**(call.attributes or {}), **entry.attributes}
    have = {tag.tag for tag in call.tags}
    call.tags.extend(Tag(tag=tag) for tag in dict.fromkeys(entry.tags) if tag not in have)


def _note(
    session: Session,
    night_id: int,
    path: str,
    call_id: str | None,
    outcome: Outcome,
    reason: str | None,
    message: str | None,
) -> Outcome:
    """The file's line in the night's account. On a resumed night it is already there, and an outcome stands."""
    line = session.scalar(select(NightFile).where(NightFile.night_id == night_id, NightFile.path == path))
    if line is None:
        line = NightFile(night_id=night_id, path=path)
        session.add(line)
    elif line.outcome not in (Outcome.PENDING, Outcome.SKIPPED):
        return Outcome(line.outcome)
    line.call_id, line.outcome, line.reason, line.message = call_id, outcome, reason, message
    session.flush()
    return outcome


def set_outcome(
    session: Session, night_id: int, call_id: str, outcome: Outcome, reason: str | None = None, message: str | None = None
) -> None:
    """Close a call's line in the night's account."""
    for line in session.scalars(select(NightFile).where(NightFile.night_id == night_id, NightFile.call_id == call_id)):
        line.outcome, line.reason, line.message = outcome, reason, message


def counts(session: Session, night: Night) -> dict[str, int]:
    """How many files ended how; `received` is their sum by construction of the account."""
    outcomes = list(session.scalars(select(NightFile.outcome).where(NightFile.night_id == night.id)))
    return {"received": len(outcomes), **{outcome.value: outcomes.count(outcome) for outcome in Outcome}}
