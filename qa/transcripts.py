"""Transcripts as JSON lines, in and out: the format of docs/formats.md, checked field by field."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from qa.messages import text
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
    Word,
)

FORMAT = 1
EMOTIONS = ("angry", "anxious", "sad", "neutral", "happy")
KINDS = ("咨询", "查询", "投诉", "建议", "办理")
ENDERS = ("agent", "customer", "line")


class TranscriptError(Exception):
    """A line that is not a transcript; the message says file, line, field, what was expected and what to do."""

    def __init__(self, name: str, line: int, field: str, message: str) -> None:
        super().__init__(f"{name}:{line}: {field}: {message}" if field else f"{name}:{line}: {message}")
        self.name, self.line, self.field = name, line, field


def read_transcripts(lines: Iterable[str | bytes], name: str) -> Iterator[Transcript]:
    """One transcript a line as it stands, nothing inferred; empty lines are passed over.

    Raises TranscriptError at the first line that does not hold to the format.
    """
    for number, line in enumerate(lines, start=1):
        if isinstance(line, bytes):
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise TranscriptError(name, number, "", text("transcript.not_utf8", byte=error.start)) from error
        if line.strip():
            yield read_transcript(line.removeprefix("\ufeff"), name, number)


def read_transcript(line: str, name: str = "", number: int = 1) -> Transcript:
    """The transcript of one line. Raises TranscriptError."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TranscriptError(name, number, "", text("transcript.not_json", reason=error)) from error
    return Reader(name, number).transcript(data)


class Reader:
    """Reads fields with their path, so that every message can name it."""

    def __init__(self, name: str, line: int) -> None:
        self.name, self.line = name, line

    def wrong(self, path: str, expected: str, found: object) -> TranscriptError:
        shown = json.dumps(found, ensure_ascii=False, default=str)
        shown = shown if len(shown) <= 60 else shown[:60] + "…"
        return TranscriptError(self.name, self.line, path, text("transcript.expected", expected=text(f"transcript.{expected}"), found=shown))

    def get(self, data: Mapping[str, Any], key: str, path: str) -> Any:
        if key not in data:
            raise TranscriptError(self.name, self.line, f"{path}{key}", text("transcript.missing"))
        return data[key]

    def mapping(self, value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(path, "object", value)
        return value

    def items(self, value: object, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.wrong(path, "list", value)
        return value

    def string(self, value: object, path: str) -> str:
        if not isinstance(value, str):
            raise self.wrong(path, "string", value)
        return value

    def number(self, value: object, path: str, low: float = -math.inf, high: float = math.inf) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(path, "number", value)
        if not low <= value <= high:
            allowed = text("transcript.range", low=f"{low:g}", high=f"{high:g}", found=value)
            raise TranscriptError(self.name, self.line, path, allowed)
        return float(value)

    def choice(self, value: object, path: str, allowed: Iterable[str]) -> str:
        choices = tuple(allowed)
        if value not in choices:
            message = text("transcript.choice", allowed=", ".join(choices), found=json.dumps(value, ensure_ascii=False, default=str))
            raise TranscriptError(self.name, self.line, path, message)
        return str(value)

    def count(self, value: object, path: str, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < high:
            raise TranscriptError(self.name, self.line, path, text("transcript.index", high=high - 1, found=value))
        return value

    # --- the parts of a transcript

    def transcript(self, data: object) -> Transcript:
        if not isinstance(data, dict):
            raise TranscriptError(self.name, self.line, "", text("transcript.not_object"))
        version = self.get(data, "format", "")
        if version != FORMAT or isinstance(version, bool):
            raise TranscriptError(self.name, self.line, "format", text("transcript.format", found=version))
        call_id = self.get(data, "id", "")
        if isinstance(call_id, bool) or not isinstance(call_id, str | int) or call_id == "":
            raise self.wrong("id", "string", call_id)
        turns = tuple(
            self.turn(turn, f"turns[{index}]") for index, turn in enumerate(self.items(self.get(data, "turns", ""), "turns"))
        )
        attributes = dict(self.mapping(data.get("attributes") or {}, "attributes"))
        for key, allowed in (("kind", KINDS), ("ended_by", ENDERS)):
            if attributes.get(key) is not None:
                self.choice(attributes[key], f"attributes.{key}", allowed)
        duration = data.get("duration")
        acoustics = data.get("acoustics")
        return Transcript(
            id=str(call_id),
            language=self.string(data.get("language", "zh"), "language"),
            turns=turns,
            duration=None if duration is None else self.number(duration, "duration", 0),
            attributes=attributes,
            roles=self.roles(data.get("roles") or {}),
            acoustics=None if acoustics is None else self.acoustics(self.mapping(acoustics, "acoustics"), len(turns)),
            signs=tuple(
                Sign(self.choice(sign, f"signs[{n}]", [known.value for known in Sign]))
                for n, sign in enumerate(self.items(data.get("signs") or [], "signs"))
            ),
            fingerprints={
                key: self.string(value, f"fingerprints.{key}")
                for key, value in self.mapping(data.get("fingerprints") or {}, "fingerprints").items()
            },
        )

    def roles(self, value: object) -> dict[str, RoleGuess]:
        found = {}
        for speaker, guess in self.mapping(value, "roles").items():
            path = f"roles.{speaker}"
            parts = self.mapping(guess, path)
            role = self.choice(self.get(parts, "role", f"{path}."), f"{path}.role", [role.value for role in Role])
            found[speaker] = RoleGuess(
                Role(role),
                self.number(parts.get("confidence", 1.0), f"{path}.confidence", 0, 1),
                self.string(parts.get("why", ""), f"{path}.why"),
            )
        return found

    def turn(self, value: object, path: str) -> Turn:
        data = self.mapping(value, path)
        role = data.get("role")
        if role is not None:
            self.choice(role, f"{path}.role", [role.value for role in Role])
        speaker = data.get("speaker", role)
        if speaker is None:
            raise TranscriptError(self.name, self.line, f"{path}.speaker", text("transcript.missing"))
        start, end = self.times(data, path)
        marks = self.items(data.get("marks") or [], f"{path}.marks")
        return Turn(
            speaker=self.string(speaker, f"{path}.speaker"),
            text=self.string(self.get(data, "text", f"{path}."), f"{path}.text"),
            start=start,
            end=end,
            words=tuple(
                self.word(word, f"{path}.words[{index}]")
                for index, word in enumerate(self.items(data.get("words") or [], f"{path}.words"))
            ),
            role=None if role is None else Role(role),
            emotion=None if data.get("emotion") is None else self.emotion(data["emotion"], f"{path}.emotion"),
            voice=None if data.get("voice") is None else self.voice(data["voice"], f"{path}.voice"),
            marks=tuple(
                Mark(self.choice(mark, f"{path}.marks[{index}]", [mark.value for mark in Mark])) for index, mark in enumerate(marks)
            ),
        )

    def times(self, data: Mapping[str, Any], path: str) -> tuple[float | None, float | None]:
        if data.get("start") is None and data.get("end") is None:
            return None, None
        start = self.number(self.get(data, "start", f"{path}."), f"{path}.start", 0)
        end = self.number(self.get(data, "end", f"{path}."), f"{path}.end", 0)
        if end < start:
            raise TranscriptError(self.name, self.line, f"{path}.end", text("transcript.order", start=start, end=end))
        return start, end

    def word(self, value: object, path: str) -> Word:
        data = self.mapping(value, path)
        start, end = self.times(data, path)
        if start is None or end is None:
            raise TranscriptError(self.name, self.line, f"{path}.start", text("transcript.missing"))
        said = self.string(self.get(data, "text", f"{path}."), f"{path}.text")
        return Word(said, start, end, self.number(data.get("probability", 1.0), f"{path}.probability", 0, 1))

    def emotion(self, value: object, path: str) -> Emotion:
        data = self.mapping(value, path)
        label = self.choice(self.get(data, "label", f"{path}."), f"{path}.label", EMOTIONS)
        return Emotion(label, self.number(data.get("score", 1.0), f"{path}.score", 0, 1))

    def voice(self, value: object, path: str) -> Voice:
        data = self.mapping(value, path)
        pitch = data.get("pitch_hz")
        loudness = self.number(self.get(data, "loudness_db", f"{path}."), f"{path}.loudness_db")
        return Voice(loudness, None if pitch is None else self.number(pitch, f"{path}.pitch_hz", 0))

    def acoustics(self, data: Mapping[str, Any], turns: int) -> Acoustics:
        path = "acoustics"

        def spans(key: str) -> Iterator[tuple[str, dict[str, Any], Span]]:
            for index, value in enumerate(self.items(data.get(key) or [], f"{path}.{key}")):
                place = f"{path}.{key}[{index}]"
                parts = self.mapping(value, place)
                start, end = self.times(parts, place)
                if start is None or end is None:
                    raise TranscriptError(self.name, self.line, f"{place}.start", text("transcript.missing"))
                yield place, parts, Span(start, end)

        def beside(parts: Mapping[str, Any], key: str, place: str) -> int | None:
            return None if parts.get(key) is None else self.count(parts[key], f"{place}.{key}", turns)

        def table(key: str) -> dict[str, float]:
            found = self.mapping(data.get(key) or {}, f"{path}.{key}")
            return {name: self.number(value, f"{path}.{key}.{name}", 0) for name, value in found.items()}

        roles = [role.value for role in Role]
        return Acoustics(
            silences=tuple(
                Silence(
                    span,
                    beside(parts, "before", place),
                    beside(parts, "after", place),
                    None if parts.get("owed_by") is None else Role(self.choice(parts["owed_by"], f"{place}.owed_by", roles)),
                    parts.get("music") is True,
                )
                for place, parts, span in spans("silences")
            ),
            overlaps=tuple(
                Overlap(
                    span,
                    self.count(self.get(parts, "turn", f"{place}."), f"{place}.turn", turns),
                    self.count(self.get(parts, "against", f"{place}."), f"{place}.against", turns),
                    parts.get("interruption") is True,
                )
                for place, parts, span in spans("overlaps")
            ),
            latencies=tuple(
                Latency(
                    self.count(self.get(parts, "turn", f"{path}.latencies[{n}]."), f"{path}.latencies[{n}].turn", turns),
                    self.number(self.get(parts, "seconds", f"{path}.latencies[{n}]."), f"{path}.latencies[{n}].seconds", 0),
                )
                for n, parts in enumerate(
                    self.mapping(value, f"{path}.latencies[{i}]")
                    for i, value in enumerate(self.items(data.get("latencies") or [], f"{path}.latencies"))
                )
            ),
            music=tuple(span for _, _, span in spans("music")),
            talk_seconds=table("talk_seconds"),
            rate=table("rate"),
            silence_share=self.number(data.get("silence_share", 0.0), f"{path}.silence_share", 0, 1),
            overlap_share=self.number(data.get("overlap_share", 0.0), f"{path}.overlap_share", 0, 1),
        )


def completed(transcript: Transcript) -> Transcript:
    """With what the line left out: roles and kind from what is said, measures from the turns' times."""
    from speech.acoustics import measure_turns
    from speech.kind import infer_kind
    from speech.roles import infer_roles, with_roles

    turns, roles = transcript.turns, dict(transcript.roles)
    if any(turn.role is None for turn in turns):
        guesses = infer_roles(turns)
        turns = with_roles(turns, guesses)
        roles = {**guesses, **roles}
    attributes = dict(transcript.attributes)
    if attributes.get("kind") is None and turns:
        attributes["kind"], confidence = infer_kind(turns)
        attributes["kind_confidence"] = round(confidence, 3)
    return replace(
        transcript,
        turns=turns,
        roles=roles,
        attributes=attributes,
        acoustics=transcript.acoustics or measure_turns(turns, transcript.duration),
    )


def to_line(transcript: Transcript) -> str:
    """A transcript as one line of JSON; what is absent is left out."""
    data: dict[str, Any] = {
        "format": FORMAT,
        "id": transcript.id,
        "language": transcript.language,
        "duration": transcript.duration,
        "attributes": dict(transcript.attributes),
        "roles": {speaker: asdict(guess) for speaker, guess in transcript.roles.items()},
        "turns": [_turn(turn) for turn in transcript.turns],
        "acoustics": None if transcript.acoustics is None else _acoustics(transcript.acoustics),
        "signs": list(transcript.signs),
        "fingerprints": dict(transcript.fingerprints),
    }
    kept = {key: value for key, value in data.items() if value not in (None, [], {}) or key == "turns"}
    return json.dumps(kept, ensure_ascii=False, default=str)


def write_transcript(path: Path, transcript: Transcript) -> None:
    """One transcript as a file of one line."""
    path.write_text(to_line(transcript) + "\n", encoding="utf-8", errors="surrogatepass")


def _turn(turn: Turn) -> dict[str, Any]:
    data: dict[str, Any] = {
        "speaker": turn.speaker,
        "role": turn.role,
        "start": _seconds(turn.start),
        "end": _seconds(turn.end),
        "text": turn.text,
        "words": [
            {"text": w.text, "start": _seconds(w.start), "end": _seconds(w.end), "probability": round(w.probability, 4)}
            for w in turn.words
        ],
        "emotion": None if turn.emotion is None else {"label": turn.emotion.label, "score": round(turn.emotion.score, 4)},
        "voice": None if turn.voice is None else asdict(turn.voice),
        "marks": list(turn.marks),
    }
    return {key: value for key, value in data.items() if value is not None and value != []}


def _acoustics(acoustics: Acoustics) -> dict[str, Any]:
    def flat(item: Any) -> dict[str, Any]:
        fields = {key: value for key, value in asdict(item).items() if value is not None}
        return _span(fields.pop("span")) | fields if "span" in fields else fields

    return {
        "silences": [flat(item) for item in acoustics.silences],
        "overlaps": [flat(item) for item in acoustics.overlaps],
        "latencies": [flat(item) for item in acoustics.latencies],
        "music": [_span(asdict(span)) for span in acoustics.music],
        "talk_seconds": dict(acoustics.talk_seconds),
        "rate": dict(acoustics.rate),
        "silence_share": acoustics.silence_share,
        "overlap_share": acoustics.overlap_share,
    }


def _span(span: Mapping[str, float]) -> dict[str, float | None]:
    return {"start": _seconds(span["start"]), "end": _seconds(span["end"])}


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


