"""Clips: stretches of calls that show how it is done, or how not. What is read and heard of them is always masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from qa.access import AccessDenied, Identity, Right, may, require, within_reach
from qa.clips_sound import cut_sound
from qa.marks import Kind
from qa.media import personal_spans
from qa.redact import mask_turns
from qa.review import SAME_SIGHT, Conflict, audit_look, reached
from qa.store.coaching import Clip, ClipPackEntry, ClipPlay, ClipTag, CoachingAssignment
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.schema import Call, Recording, now
from qa.store.transcripts import load_transcript
from speech.types import Role, Span, Transcript, Turn

PAGE_SIZE = 20
SHORTEST, LONGEST = 0.5, 300.0  # seconds of a clip
MAX_TITLE, MAX_TEXT = 100, 2_000  # characters
MAX_TAGS, MAX_TAG = 10, 30
CUT = "…"  # stands for what was said before and after in the same turn


class Fault(StrEnum):
    TITLE = "title"  # none, or too long
    TEXT_LONG = "text_long"
    TAGS = "tags"
    SPAN = "span"  # ends before it begins, too short, too long, or outside the call
    NO_RECORDING = "no_recording"
    EMPTY_PACK = "empty_pack"
    CLIP_GONE = "clip_gone"
    NO_AGENT = "no_agent"
    GOAL = "goal"
    DUE = "due"  # in the past


class CoachingError(ValueError):
    """What was asked for cannot be done; nothing was saved. The pages tell `fault` in the reader's language."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class ClipLine:
    """What one speaker says within a clip, masked; cut where the clip begins or ends amid a turn."""

    role: Role | None
    start: float | None  # seconds of the call
    text: str


@dataclass(frozen=True, slots=True)
class ClipDraft:
    """A clip to be saved. Seconds are the call's."""

    call_id: str
    start: float
    end: float
    kind: Kind
    title: str
    rule: str = ""
    note: str = ""
    say_instead: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClipFilter:
    """Empty fields do not filter."""

    kind: str = ""
    rule: str = ""
    tag: str = ""
    words: str = ""  # in title, note or the sentence to say instead
    retired: bool = False
    page: int = 1


@dataclass(frozen=True, slots=True)
class ClipRow:
    """A clip. The call and its agent are None for those who only had it assigned."""

    id: int
    version: int
    at: datetime
    who: str
    kind: str
    rule: str | None
    title: str
    note: str
    say_instead: str
    tags: tuple[str, ...]
    start: float
    end: float
    retired: bool
    call_id: str | None
    agent: str | None
    team: str | None
    started_at: datetime | None
    call_kind: str | None

    @property
    def seconds(self) -> float:
        return self.end - self.start


# --- making ------------------------------------------------------------------------------------------------------


def save_clip(
    store: Store, identity: Identity, given: ClipDraft, clip_id: int | None = None, version: int | None = None
) -> int:
    """Make a clip, or change the one that was seen in `version`. Returns its id.

    Raises AccessDenied, CoachingError; Conflict where somebody changed it first.
    """
    try:
        with store.write() as session:
            call = reached(session, identity, Right.COACH, given.call_id)
            _check(given, call)
            if clip_id is None:
                clip = Clip(who=identity.login, call_id=given.call_id)
                session.add(clip)
            else:
                clip = coached(session, identity, clip_id)
                if clip.call_id != given.call_id or clip.version != version:
                    raise Conflict(given.call_id)
            clip.start, clip.end, clip.kind = given.start, given.end, given.kind.value
            clip.rule, clip.title = given.rule or None, given.title.strip()
            clip.note, clip.say_instead = given.note.strip(), given.say_instead.strip()
            clip.tags = [ClipTag(tag=tag) for tag in given.tags] if clip_id is None else _retagged(clip, given.tags)
            session.flush()
            action = "clip made" if clip_id is None else "clip changed"
            audit(session, identity.login, action, given.call_id, clip=clip.id, start=given.start, end=given.end)
            return clip.id
    except StaleDataError as error:
        raise Conflict(given.call_id) from error


def read_tags(source: str) -> tuple[str, ...]:
    """Tags as a person writes them, apart by spaces or commas."""
    for mark in "，、,;；":
        source = source.replace(mark, " ")
    return tuple(dict.fromkeys(source.split()))


def retire_clip(store: Store, identity: Identity, clip_id: int, *, back: bool = False) -> None:
    """Take a clip out of the library, or put it back. Packs that hold it keep it. Raises AccessDenied."""
    with store.write() as session:
        clip = coached(session, identity, clip_id)
        clip.retired_at = None if back else now()
        audit(session, identity.login, "clip put back" if back else "clip retired", clip.call_id, clip=clip.id)


def _retagged(clip: Clip, tags: Sequence[str]) -> list[ClipTag]:
    known = {tag.tag: tag for tag in clip.tags}
    return [known.get(tag) or ClipTag(tag=tag) for tag in tags]


def _check(given: ClipDraft, call: Call) -> None:
    if not 0 < len(given.title.strip()) <= MAX_TITLE:
        raise CoachingError(Fault.TITLE)
    if max(len(given.note), len(given.say_instead)) > MAX_TEXT:
        raise CoachingError(Fault.TEXT_LONG)
    if len(given.tags) > MAX_TAGS or any(len(tag) > MAX_TAG for tag in given.tags):
        raise CoachingError(Fault.TAGS)
    inside = given.start >= 0 and (call.duration is None or given.end <= call.duration + SHORTEST)
    if not inside or not SHORTEST <= given.end - given.start <= LONGEST:
        raise CoachingError(Fault.SPAN)
    if call.recording_id is None:
        raise CoachingError(Fault.NO_RECORDING)


@dataclass(frozen=True, slots=True)
class ClipSource:
    """A call to cut clips from: what is said on it, masked, by number of the turn."""

    call_id: str
    agent: str | None
    team: str | None
    started_at: datetime | None
    kind: str | None
    duration: float | None  # seconds
    language: str
    lines: tuple[tuple[Role | None, float, float, str], ...]  # role, start, end, text


def source_of(store: Store, identity: Identity, call_id: str) -> ClipSource:
    """The call that clips are to be cut from; the look is audited. Raises AccessDenied; KeyError without transcript."""
    with store.read() as session:
        call = reached(session, identity, Right.COACH, call_id)
        transcript = load_transcript(session, call_id)
    masked = mask_turns([turn.text for turn in transcript.turns])
    audit_look(store, identity, "see", call_id)
    return ClipSource(
        call_id=call_id,
        agent=call.agent,
        team=call.team,
        started_at=call.started_at,
        kind=call.kind,
        duration=transcript.duration,
        language=transcript.language,
        lines=tuple(
            (turn.role, turn.start, turn.end, text)
            for turn, text in zip(transcript.turns, masked, strict=True)
            if turn.start is not None and turn.end is not None
        ),
    )


def open_clip(store: Store, identity: Identity, clip_id: int) -> tuple[ClipRow, tuple[ClipLine, ...]]:
    """A clip to look at or to change, with what is said in it. Raises AccessDenied."""
    with store.read() as session:
        clip = coached(session, identity, clip_id)
        return clip_row(clip, session.get_one(Call, clip.call_id)), lines_of_clip(session, clip)


# --- the way to a clip -------------------------------------------------------------------------------------------


def coached(session: Session, identity: Identity, clip_id: int) -> Clip:
    """A clip of a call that the person coaches on. Raises AccessDenied, the same for a clip that there is not."""
    require(identity, Right.COACH)
    clip = session.get(Clip, clip_id)
    if clip is None:
        raise AccessDenied(identity.login, Right.COACH)
    reached(session, identity, Right.COACH, clip.call_id)
    return clip


def opened(session: Session, identity: Identity, clip_id: int) -> tuple[Clip, bool]:
    """A clip that the person coaches on, or that is assigned to them; and whether it is the former.

    Raises AccessDenied, the same for a clip that there is not.
    """
    clip = session.get(Clip, clip_id)
    if clip is not None:
        call = session.get_one(Call, clip.call_id)
        if may(identity, Right.COACH, call):
            return clip, True
        if may(identity, Right.ACKNOWLEDGE) and identity.agent and _assigned(session, identity.agent, clip_id):
            return clip, False
    raise AccessDenied(identity.login, Right.COACH)


def _assigned(session: Session, agent: str, clip_id: int) -> bool:
    return bool(
        session.scalar(
            select(
                exists()
                .where(CoachingAssignment.agent == agent, CoachingAssignment.withdrawn_at.is_(None))
                .where(ClipPackEntry.pack_id == CoachingAssignment.pack_id, ClipPackEntry.clip_id == clip_id)
            )
        )
    )


# --- the library -------------------------------------------------------------------------------------------------


def list_clips(store: Store, identity: Identity, wanted: ClipFilter) -> tuple[list[ClipRow], int]:
    """A page of the clips that the person coaches on, the newest first, and how many there are. Raises AccessDenied."""
    require(identity, Right.COACH)
    condition = and_(within_reach(identity, Right.COACH), _wanted(wanted))
    of_calls = select(Clip, Call).join(Call, Call.id == Clip.call_id).where(condition)
    with store.read() as session:
        total = session.scalar(select(func.count()).select_from(of_calls.subquery())) or 0
        page = of_calls.order_by(Clip.id.desc()).limit(PAGE_SIZE).offset((wanted.page - 1) * PAGE_SIZE)
        return [clip_row(clip, call) for clip, call in session.execute(page)], total


def known_tags(store: Store, identity: Identity) -> list[str]:
    """The tags of the clips within reach. Raises AccessDenied."""
    require(identity, Right.COACH)
    query = (
        select(ClipTag.tag)
        .join(Clip, Clip.id == ClipTag.clip_id)
        .join(Call, Call.id == Clip.call_id)
        .where(within_reach(identity, Right.COACH), Clip.retired_at.is_(None))
        .distinct()
        .order_by(ClipTag.tag)
    )
    with store.read() as session:
        return list(session.scalars(query))


def _wanted(wanted: ClipFilter) -> ColumnElement[bool]:
    found: list[ColumnElement[bool]] = [Clip.retired_at.is_not(None) if wanted.retired else Clip.retired_at.is_(None)]
    if wanted.kind:
        found.append(Clip.kind == wanted.kind)
    if wanted.rule:
        found.append(Clip.rule == wanted.rule)
    if wanted.tag:
        found.append(exists().where(ClipTag.clip_id == Clip.id, ClipTag.tag == wanted.tag))
    for word in wanted.words.split():
        found.append(
            or_(*(c.icontains(word, autoescape=True) for c in (Clip.title, Clip.note, Clip.say_instead)))
        )
    return and_(*found)


def clip_row(clip: Clip, call: Call | None) -> ClipRow:
    """`call` is None for those who must not know whose call it is."""
    return ClipRow(
        id=clip.id, version=clip.version, at=clip.at, who=clip.who, kind=clip.kind, rule=clip.rule, title=clip.title,
        note=clip.note, say_instead=clip.say_instead, tags=tuple(tag.tag for tag in clip.tags), start=clip.start,
        end=clip.end, retired=clip.retired_at is not None, call_id=call and call.id, agent=call and call.agent,
        team=call and call.team, started_at=call and call.started_at, call_kind=call and call.kind,
    )  # fmt: skip


# --- what is said and heard --------------------------------------------------------------------------------------


def lines_of_clip(session: Session, clip: Clip) -> tuple[ClipLine, ...]:
    """What is said in a clip, by the call's current transcript, masked. Ask for the right before."""
    return lines_between(load_transcript(session, clip.call_id), clip.start, clip.end)


def lines_between(transcript: Transcript, start: float, end: float) -> tuple[ClipLine, ...]:
    """What is said from one second to another, masked."""
    masked = mask_turns([turn.text for turn in transcript.turns])
    lines = []
    for turn, shown in zip(transcript.turns, masked, strict=True):
        if turn.start is None or turn.end is None or turn.end <= start or end <= turn.start:
            continue
        text = shown if start <= turn.start and turn.end <= end else _part(turn, shown, start, end)
        if text:
            lines.append(ClipLine(turn.role, turn.start, text))
    return tuple(lines)


def _part(turn: Turn, shown: str, start: float, end: float) -> str:
    """The words of a turn whose middle lies within the seconds, out of its masked text."""
    places, done = [], 0
    for word in turn.words:
        wanted = word.text.strip()
        at = turn.text.find(wanted, done) if wanted else -1
        if at < 0:
            continue
        done = at + len(wanted)
        places.append((at, done, start <= (word.start + word.end) / 2 < end))
    if not places:  # without times of words, a turn belongs where its middle is
        assert turn.start is not None
        assert turn.end is not None
        return shown if start <= (turn.start + turn.end) / 2 < end else ""
    inside = [number for number, place in enumerate(places) if place[2]]
    if not inside:
        return ""
    first = places[inside[0]][0] if inside[0] else 0
    last = places[inside[-1] + 1][0] if inside[-1] + 1 < len(places) else len(shown)
    return (CUT if first else "") + shown[first:last].strip() + (CUT if last < len(shown) else "")


def clip_sound(store: Store, identity: Identity, folder: Path, clip_id: int) -> Path:
    """The file with a clip's masked sound. Raises AccessDenied, RecordingGone; KeyError without recording."""
    with store.read() as session:
        clip, _ = opened(session, identity, clip_id)
        return sound_of(session, folder, clip)


def sound_of(session: Session, folder: Path, clip: Clip) -> Path:
    """As `clip_sound`, for a clip whose right was asked for."""
    call = session.get_one(Call, clip.call_id)
    recording = None if call.recording_id is None else session.get(Recording, call.recording_id)
    if recording is None:
        raise KeyError(clip.call_id)
    beeps = personal_spans(load_transcript(session, clip.call_id))
    return cut_sound(folder, Path(recording.path), recording.sha256, beeps, Span(clip.start, clip.end))


def note_play(store: Store, identity: Identity, clip_id: int) -> None:
    """Write down that somebody listens to a clip, once for all pieces that the browser fetches."""
    recent = select(ClipPlay.id).where(
        ClipPlay.clip_id == clip_id, ClipPlay.who == identity.login, ClipPlay.at > now() - SAME_SIGHT
    )
    with store.read() as session:
        if session.scalar(recent.limit(1)) is not None:
            return
    with store.write() as session:
        clip, _ = opened(session, identity, clip_id)
        session.add(ClipPlay(who=identity.login, clip_id=clip_id))
        audit(session, identity.login, "play clip", clip.call_id, clip=clip_id)


def heard(session: Session, clip_ids: Sequence[int], who: Sequence[str]) -> Mapping[str, set[int]]:
    """Which of some clips each of some people has listened to."""
    found: dict[str, set[int]] = {login: set() for login in who}
    rows = session.execute(
        select(ClipPlay.who, ClipPlay.clip_id)
        .where(ClipPlay.clip_id.in_(clip_ids), ClipPlay.who.in_(who))
        .distinct()
    )
    for login, clip_id in rows:
        found[login].add(clip_id)
    return found
