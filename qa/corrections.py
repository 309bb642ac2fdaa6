"""Transcripts put right by people: words, who speaks, channels the wrong way round.

A correction is a new version of the transcript with its maker's name, and becomes current; what the machine heard stays,
and what it hears later never takes its place (qa/store/transcripts.py). Scoring is its own step, `score_again`: a
server that dies between the two leaves a call that the next night scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.access import AccessDenied, Identity, Right
from qa.redact import Found, find_in_turns, mask_turns
from qa.review import Conflict, reached
from qa.scoring import Scoring, attributes
from qa.store.annotations import Correction
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.schema import Call, ScorecardRow
from qa.store.transcripts import current_transcript_id, load_transcript, make_current, save_transcript
from speech.acoustics import channel_of, measure_turns, owes, rate_of_words
from speech.types import Role, RoleGuess, Sign, Transcript, Turn, Word

MAX_TEXT = 5_000  # characters of a turn
STAGE = "correct"  # of a transcript's fingerprints
BY_PERSON = "person"  # why a role is what it is
OTHER_SIDE = {Role.AGENT: Role.CUSTOMER, Role.CUSTOMER: Role.AGENT}


class NothingChanged(ValueError):
    """The correction says what is there already."""


class Masked(ValueError):
    """The correction touches personal data that the person sees masked: they unmask it first."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """A correction that stands."""

    id: int
    at: datetime
    who: str
    role: str
    kind: str
    turn: int | None
    before: str
    after: str
    last: bool  # made the current transcript, so that it can be undone


def correct_words(
    store: Store, identity: Identity, call_id: str, transcript_id: int, turn: int, text: str, *, unmasked: bool = False
) -> int:
    """Put right what a turn says; `text` is the whole turn as it should read. Returns the correction's id.

    Raises AccessDenied; Conflict when `transcript_id` is not the current one by now; NothingChanged; Masked; KeyError
    for no such turn.
    """

    def change(heard: Transcript) -> tuple[Transcript, dict]:
        old, texts = _turn(heard, turn), [one.text for one in heard.turns]
        seen = old.text if unmasked else mask_turns(texts)[turn]  # as long as the text, place by place
        start, end, piece = difference(seen, text.strip()[:MAX_TEXT])
        if (not piece and start == end) or not (old.text[:start] + piece + old.text[end:]).strip():
            raise NothingChanged(f"turn {turn}")
        if not unmasked and any(_touches(start, end, found) for found in find_in_turns(texts)[turn]):
            raise Masked(f"turn {turn}, characters {start}–{end}")
        turns = _with(heard.turns, turn, with_words(old, start, end, piece))
        new = _measured(heard, turns)
        if new.acoustics is not None:
            rate = rate_of_words(new.acoustics.rate, heard.turns, turns, turn)
            new = replace(new, acoustics=replace(new.acoustics, rate=rate))
        return new, {"before": old.text[start:end], "after": piece, "at": start}

    return _correct(store, identity, call_id, transcript_id, "words", turn, change)


def _touches(start: int, end: int, hidden: Found) -> bool:
    return hidden.start < start < hidden.end if start == end else start < hidden.end and hidden.start < end


def correct_role(
    store: Store, identity: Identity, call_id: str, transcript_id: int, turn: int, role: Role
) -> int:
    """Put right who speaks a turn. Raises as `correct_words` does."""

    def change(heard: Transcript) -> tuple[Transcript, dict]:
        old = _turn(heard, turn)
        if old.role == role:
            raise NothingChanged(f"turn {turn}")
        known = next((one.speaker for one in heard.turns if one.role == role), None)
        speaker = known or f"{channel_of(old.speaker)}#{role.value}"
        roles = {speaker: RoleGuess(role, 1.0, BY_PERSON), **heard.roles}
        turns = _with(heard.turns, turn, replace(old, role=role, speaker=speaker))
        new = _measured(replace(heard, roles=roles), turns, voices=True)
        return new, {"before": str(old.role or old.speaker), "after": role.value}

    return _correct(store, identity, call_id, transcript_id, "role", turn, change)


def swap_channels(store: Store, identity: Identity, call_id: str, transcript_id: int) -> int:
    """Agent and customer are the other way round, in the whole call. Raises as `correct_words` does."""

    def change(heard: Transcript) -> tuple[Transcript, dict]:
        turns = tuple(replace(turn, role=turn.role and OTHER_SIDE.get(turn.role, turn.role)) for turn in heard.turns)
        roles = {
            speaker: RoleGuess(OTHER_SIDE.get(guess.role, guess.role), 1.0, BY_PERSON)
            for speaker, guess in heard.roles.items()
        }
        signs = tuple(sign for sign in heard.signs if sign is not Sign.SWAPPED_CHANNELS)
        if turns == heard.turns:
            raise NothingChanged(call_id)
        return _measured(replace(heard, roles=roles, signs=signs), turns), {"before": "", "after": ""}

    return _correct(store, identity, call_id, transcript_id, "channels", None, change)


def undo_correction(store: Store, identity: Identity, correction_id: int) -> int:
    """Make the version before a correction current again; both stay. Returns the id of the event.

    Raises AccessDenied; Conflict when the call was corrected again since.
    """
    with store.write() as session:
        row = session.get(Correction, correction_id)
        if row is None:
            raise AccessDenied(identity.login, Right.VERDICT)
        reached(session, identity, Right.VERDICT, row.call_id)
        if current_transcript_id(session, row.call_id) != row.to_transcript:
            raise Conflict(row.call_id)
        make_current(session, row.call_id, row.from_transcript)
        undone = Correction(
            who=identity.login, role=identity.role.value, call_id=row.call_id, kind="undo", turn=row.turn, detail={},
            from_transcript=row.to_transcript, to_transcript=row.from_transcript, withdraws=row.id,
        )  # fmt: skip
        session.add(undone)
        audit(session, identity.login, "correction undone", row.call_id, correction=row.id)
        session.flush()
        return undone.id


def corrections_of(session: Session, call_id: str) -> list[Corrected]:
    """The corrections that stand on a call, oldest first; their texts are as heard and may hold personal data."""
    rows = session.scalars(select(Correction).where(Correction.call_id == call_id).order_by(Correction.id)).all()
    gone = {row.withdraws for row in rows}
    current = current_transcript_id(session, call_id)
    return [
        Corrected(
            row.id, row.at, row.who, row.role, row.kind, row.turn,
            row.detail.get("before", ""), row.detail.get("after", ""), row.to_transcript == current,
        )
        for row in rows
        if row.kind != "undo" and row.id not in gone
    ]  # fmt: skip


def score_again(store: Store, scoring: Scoring, call_id: str) -> bool:
    """Score a call whose transcript is newer than its scorecard; False where there was nothing to do.

    Rules are run outside of any transaction: a long call takes seconds.
    """
    with store.read() as session:
        transcript_id = current_transcript_id(session, call_id)
        if transcript_id is None or not awaits_score(session, call_id):
            return False
        transcript, known = load_transcript(session, call_id), attributes(session.get_one(Call, call_id))
    card = scoring.card(transcript, known)
    with store.write() as session:
        if current_transcript_id(session, call_id) != transcript_id:
            return False  # corrected once more meanwhile: that one's scoring comes
        scoring.keep(session, card, transcript, transcript_id)
    return True


def awaits_score(session: Session, call_id: str) -> bool:
    """Whether the scorecard in force was made of another transcript than the current one."""
    scored = session.scalar(
        select(ScorecardRow.transcript_id).where(ScorecardRow.call_id == call_id, ScorecardRow.current)
    )
    return scored is not None and scored != current_transcript_id(session, call_id)


# --- changing a transcript -------------------------------------------------------------------------------------


def difference(old: str, new: str) -> tuple[int, int, str]:
    """The least stretch of `old` that differs, and what `new` has there: `old[:start] + piece + old[end:] == new`."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    tail = 0
    while tail < min(len(old), len(new)) - start and old[len(old) - 1 - tail] == new[len(new) - 1 - tail]:
        tail += 1
    return start, len(old) - tail, new[start : len(new) - tail]


def with_words(turn: Turn, start: int, end: int, piece: str) -> Turn:
    """The turn with `piece` in place of its characters [start, end), and its words to match.

    The words there give way to one, which a person vouches for, in the time that they had together.
    """
    text = turn.text[:start] + piece + turn.text[end:]
    if not turn.words:
        return replace(turn, text=text)
    places = _places(turn)
    touched = [n for n, (a, b) in enumerate(places) if a < end and start < b]
    if touched:
        first, last = touched[0], touched[-1]
        a, b = places[first][0], places[last][1]
        whole = turn.text[a:start] + piece + turn.text[end:b] if a <= start and end <= b else piece
        stretch = turn.words[first].start, turn.words[last].end
    else:  # between two words: the new one has no time of its own
        first = next((n for n, (a, _) in enumerate(places) if a >= start), len(turn.words))
        last, whole = first - 1, piece
        edge = turn.words[first].start if first < len(turn.words) else turn.words[-1].end
        stretch = edge, edge
    made = (Word(whole, *stretch, 1.0),) if whole.strip() else ()
    return replace(turn, text=text, words=(*turn.words[:first], *made, *turn.words[last + 1 :]))


def _places(turn: Turn) -> list[tuple[int, int]]:
    """Where each word stands in the turn's text; one that the text writes otherwise stands where it would begin."""
    places, done = [], 0
    for word in turn.words:
        wanted = word.text.strip()
        found = turn.text.find(wanted, done) if wanted else -1
        start = done if found < 0 else found
        done = start if found < 0 else start + len(wanted)
        places.append((start, done))
    return places


def _turn(heard: Transcript, number: int) -> Turn:
    if not 0 <= number < len(heard.turns):
        raise KeyError(f"call {heard.id} has no turn {number}")
    return heard.turns[number]


def _with(turns: Sequence[Turn], number: int, turn: Turn) -> tuple[Turn, ...]:
    return (*turns[:number], turn, *turns[number + 1 :])


def _measured(heard: Transcript, turns: tuple[Turn, ...], *, voices: bool = False) -> Transcript:
    """The transcript with other turns, and of its measures those that follow from them.

    What was measured on the sound (silence, overlap, music, speaking time) stays; who owes a silence is told anew, and with `voices`
    also talking time, rate and latency of each speaker, from the words' times.
    """
    acoustics = heard.acoustics
    if acoustics is not None:
        silences = tuple(replace(one, owed_by=owes(turns, one.before)) for one in acoustics.silences)
        acoustics = replace(acoustics, silences=silences)
        told = measure_turns(turns, heard.duration) if voices else None
        if told is not None:
            acoustics = replace(
                acoustics, talk_seconds=told.talk_seconds, rate=told.rate, latencies=told.latencies
            )
    return replace(heard, turns=turns, acoustics=acoustics)


def _correct(
    store: Store,
    identity: Identity,
    call_id: str,
    transcript_id: int,
    kind: str,
    turn: int | None,
    change: Callable[[Transcript], tuple[Transcript, dict]],
) -> int:
    with store.write() as session:
        reached(session, identity, Right.VERDICT, call_id)
        if current_transcript_id(session, call_id) != transcript_id:
            raise Conflict(call_id)
        heard = load_transcript(session, call_id)
        new, detail = change(heard)
        made_of = f"{heard.fingerprints.get(STAGE, '')} {transcript_id} {kind} {turn} {detail}"
        print_ = hashlib.sha256(made_of.encode()).hexdigest()
        new = replace(new, fingerprints={**heard.fingerprints, STAGE: print_})
        row = Correction(
            who=identity.login, role=identity.role.value, call_id=call_id, kind=kind, turn=turn, detail=detail,
            from_transcript=transcript_id, to_transcript=save_transcript(session, call_id, new, identity.login),
        )  # fmt: skip
        session.add(row)
        audit(session, identity.login, "correction", call_id, kind=kind, turn=turn)
        session.flush()
        return row.id
