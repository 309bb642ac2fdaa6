"""Whole transcripts in and out of the database. What was saved comes back equal, words at stored precision."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from qa.store.schema import Call, Measures, TranscriptRow, TurnRow
from qa.store.search import index_turns, unindex_turns
from qa.store.words import pack_words, unpack_words
from speech.types import (
    Acoustics,
    Emotion,
    Latency,
    Mark,
    Overlap,
    Role,
    RoleGuess,
    Sign,
    Silence,
    Span,
    Transcript,
    Turn,
    Voice,
)

LEANINGS = {"angry": "negative", "anxious": "negative", "sad": "negative", "happy": "positive"}


def save_transcript(session: Session, call_id: str, transcript: Transcript, made_by: str | None = None) -> int:
    """Store a transcript as the current one of a call; older ones stay. Returns its id.

    `made_by` is the person who corrected it. What a person put right stays current: a later transcript of the machine
    is kept beside it. Raises ValueError for a text that holds a NUL character (PostgreSQL keeps none).
    """
    for number, turn in enumerate(transcript.turns):
        if "\0" in turn.text:
            raise ValueError(f"call {call_id}, turn {number}: the text holds a NUL character")
    current = made_by is not None or not corrected_by_person(session, call_id)
    if current:
        retire_current(session, call_id)
    probabilities = [word.probability for turn in transcript.turns for word in turn.words]
    row = TranscriptRow(
        call_id=call_id,
        current=current,
        made_by=made_by,
        language=transcript.language,
        duration=transcript.duration,
        signs=list(transcript.signs),
        roles={
            speaker: [guess.role, guess.confidence, guess.why] for speaker, guess in transcript.roles.items()
        },
        attributes=dict(transcript.attributes),
        fingerprints=dict(transcript.fingerprints),
        turn_count=len(transcript.turns),
        mean_probability=statistics.fmean(probabilities) if probabilities else None,
    )
    session.add(row)
    session.flush()
    if transcript.turns:
        values = [_turn_values(row.id, number, turn) for number, turn in enumerate(transcript.turns)]
        ids = session.scalars(
            insert(TurnRow).returning(TurnRow.id, sort_by_parameter_order=True), values
        ).all()
        if current:
            index_turns(session, zip(ids, (turn.text for turn in transcript.turns), strict=True))
    if transcript.acoustics is not None:
        session.add(_measures(row.id, transcript, transcript.acoustics))
    if current:
        _copy_to_call(session, call_id, transcript)
    session.flush()
    return row.id


def load_transcript(session: Session, call_id: str, transcript_id: int | None = None) -> Transcript:
    """The current transcript of a call, or an older one by its id. Raises KeyError when there is none."""
    chosen = TranscriptRow.current if transcript_id is None else TranscriptRow.id == transcript_id
    row = session.scalar(select(TranscriptRow).where(TranscriptRow.call_id == call_id, chosen))
    if row is None:
        raise KeyError(f"call {call_id} has no transcript" + (f" {transcript_id}" if transcript_id else ""))
    turns = session.execute(
        select(*TurnRow.__table__.columns).where(TurnRow.transcript_id == row.id).order_by(TurnRow.number)
    )
    measures = session.get(Measures, row.id)
    return Transcript(
        id=call_id,
        language=row.language,
        turns=tuple(_turn(turn) for turn in turns),
        duration=row.duration,
        attributes=row.attributes,
        roles={
            speaker: RoleGuess(Role(role), confidence, why)
            for speaker, (role, confidence, why) in row.roles.items()
        },
        acoustics=None if measures is None else _acoustics(measures),
        signs=tuple(Sign(sign) for sign in row.signs),
        fingerprints=row.fingerprints,
    )


def current_transcript_id(session: Session, call_id: str) -> int | None:
    return session.scalar(
        select(TranscriptRow.id).where(TranscriptRow.call_id == call_id, TranscriptRow.current)
    )


def corrected_by_person(session: Session, call_id: str) -> str | None:
    """Who made the call's current transcript; None where the machine did."""
    return session.scalar(
        select(TranscriptRow.made_by).where(TranscriptRow.call_id == call_id, TranscriptRow.current)
    )


def make_current(session: Session, call_id: str, transcript_id: int) -> None:
    """Make an older transcript the current one again. Raises KeyError where the call has no such transcript."""
    transcript = load_transcript(session, call_id, transcript_id)
    retire_current(session, call_id)
    session.execute(update(TranscriptRow).where(TranscriptRow.id == transcript_id).values(current=True))
    turns = session.execute(select(TurnRow.id, TurnRow.text).where(TurnRow.transcript_id == transcript_id)).all()
    index_turns(session, [(turn.id, turn.text) for turn in turns])
    _copy_to_call(session, call_id, transcript)


def _copy_to_call(session: Session, call_id: str, transcript: Transcript) -> None:
    """What lists ask of a call's current transcript, kept on the call."""
    values = {
        "duration": transcript.duration,
        "language": transcript.language,
        "end_emotion": _end_emotion(transcript),
        "longest_silence": None if transcript.acoustics is None else _longest_silence(transcript.acoustics),
    }
    session.execute(update(Call).where(Call.id == call_id).values(values))


def retire_current(session: Session, call_id: str) -> None:
    """The current transcript stays, and is current no more."""
    old = current_transcript_id(session, call_id)
    if old is None:
        return
    turns = session.execute(select(TurnRow.id, TurnRow.text).where(TurnRow.transcript_id == old)).all()
    unindex_turns(session, [(turn.id, turn.text) for turn in turns])
    session.execute(update(TranscriptRow).where(TranscriptRow.id == old).values(current=False))


def _turn_values(transcript_id: int, number: int, turn: Turn) -> dict[str, Any]:
    return {
        "transcript_id": transcript_id,
        "number": number,
        "speaker": turn.speaker,
        "role": turn.role,
        "start": turn.start,
        "end": turn.end,
        "text": turn.text,
        "marks": list(turn.marks) or None,
        "emotion_label": turn.emotion and turn.emotion.label,
        "emotion_score": turn.emotion and turn.emotion.score,
        "loudness_db": turn.voice and turn.voice.loudness_db,
        "pitch_hz": turn.voice and turn.voice.pitch_hz,
        "words": pack_words(turn.words, turn.text),
    }


def _turn(row: Any) -> Turn:
    return Turn(
        speaker=row.speaker,
        text=row.text,
        start=row.start,
        end=row.end,
        words=unpack_words(row.words, row.text),
        role=None if row.role is None else Role(row.role),
        emotion=None if row.emotion_label is None else Emotion(row.emotion_label, row.emotion_score),
        voice=None if row.loudness_db is None else Voice(row.loudness_db, row.pitch_hz),
        marks=tuple(Mark(mark) for mark in row.marks or ()),
    )


def _measures(transcript_id: int, transcript: Transcript, acoustics: Acoustics) -> Measures:
    roles = {turn.speaker: turn.role for turn in transcript.turns if turn.role is not None}
    roles |= {speaker: guess.role for speaker, guess in transcript.roles.items()}

    def role_of(turn: int) -> Role | None:
        return transcript.turns[turn].role if 0 <= turn < len(transcript.turns) else None

    latencies = [latency.seconds for latency in acoustics.latencies if role_of(latency.turn) == Role.AGENT]
    return Measures(
        transcript_id=transcript_id,
        silence_share=acoustics.silence_share,
        overlap_share=acoustics.overlap_share,
        longest_silence=_longest_silence(acoustics),
        interruptions=sum(o.interruption and role_of(o.turn) == Role.AGENT for o in acoustics.overlaps),
        agent_rate=_rate(acoustics, roles, Role.AGENT),
        customer_rate=_rate(acoustics, roles, Role.CUSTOMER),
        agent_latency=statistics.median(latencies) if latencies else None,
        detail={
            "silences": [
                [s.span.start, s.span.end, s.before, s.after, s.owed_by, s.music] for s in acoustics.silences
            ],
            "overlaps": [
                [o.span.start, o.span.end, o.turn, o.against, o.interruption] for o in acoustics.overlaps
            ],
            "latencies": [[latency.turn, latency.seconds] for latency in acoustics.latencies],
            "music": [[span.start, span.end] for span in acoustics.music],
            "talk_seconds": dict(acoustics.talk_seconds),
            "rate": dict(acoustics.rate),
        },
    )


def _longest_silence(acoustics: Acoustics) -> float:
    return max((silence.span.duration for silence in acoustics.silences if not silence.music), default=0.0)


def _end_emotion(transcript: Transcript) -> str | None:
    """The customer's last emotion as a leaning."""
    felt = [turn.emotion.label for turn in transcript.turns if turn.emotion and turn.role == Role.CUSTOMER]
    return LEANINGS.get(felt[-1], "neutral") if felt else None


def _rate(acoustics: Acoustics, roles: Mapping[str, Role | None], role: Role) -> float | None:
    """Characters a minute of all speakers of a role together, weighted by how long each talked."""
    speakers = [speaker for speaker in acoustics.rate if roles.get(speaker) == role]
    seconds = sum(acoustics.talk_seconds.get(speaker, 0.0) for speaker in speakers)
    if seconds <= 0:
        return None
    return (
        sum(acoustics.rate[speaker] * acoustics.talk_seconds.get(speaker, 0.0) for speaker in speakers)
        / seconds
    )


def _acoustics(row: Measures) -> Acoustics:
    detail = row.detail
    return Acoustics(
        silences=tuple(
            Silence(Span(start, end), before, after, None if owed_by is None else Role(owed_by), music)
            for start, end, before, after, owed_by, music in detail["silences"]
        ),
        overlaps=tuple(
            Overlap(Span(start, end), turn, against, interruption)
            for start, end, turn, against, interruption in detail["overlaps"]
        ),
        latencies=tuple(Latency(turn, seconds) for turn, seconds in detail["latencies"]),
        music=tuple(Span(start, end) for start, end in detail["music"]),
        talk_seconds=detail["talk_seconds"],
        rate=detail["rate"],
        silence_share=row.silence_share,
        overlap_share=row.overlap_share,
    )
