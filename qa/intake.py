"""Which calls there are to hear: from a folder, a manifest, sidecar files and the names of the recordings.

For one field the manifest wins, then the sidecar (`x.wav` + `x.json` or `x.wav.json`), then `intake.file_pattern`.
A manifest is named, or lies in the folder as manifest.csv, manifest.xlsx or manifest.jsonl. A call without an id is
called after its path in the folder, without suffix.

Nothing is lost silently: a row that cannot be used is an error with file, row and column; a recording that the
manifest does not name is `unlisted`; any other file is `ignored`, with why.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import re2

from qa.manifest import SUFFIXES, IntakeError, Row, fields_and_attributes, read_manifest
from qa.messages import text
from qa.metadata import Fault, read_fields
from qa.settings import Settings
from qa.states import Reason

__all__ = ["Entry", "Ignored", "Intake", "IntakeError", "Problem", "Why", "discover"]

AUDIO_SUFFIXES = frozenset(
    [
        ".wav",
        ".mp3",
        ".opus",
        ".ogg",
        ".oga",
        ".gsm",
        ".amr",
        ".awb",
        ".m4a",
        ".mp4",
        ".aac",
        ".flac",
        ".wma",
        ".au",
        ".snd",
        ".aif",
        ".aiff",
        ".caf",
        ".3gp",
        ".webm",
        ".mka",
        ".spx",
        ".vox",
    ]
)
TEMPORARY_SUFFIXES = frozenset(
    [".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".swp"]
)
SIDECAR_SUFFIX = ".json"
MAGIC_BYTES = 16
MANIFEST_NAMES = tuple(f"manifest{suffix}" for suffix in SUFFIXES)


@dataclass(frozen=True, slots=True)
class Entry:
    """One call to hear."""

    call_id: str
    path: Path
    agent: str | None = None
    team: str | None = None
    queue: str | None = None
    direction: str | None = None  # inbound | outbound
    started_at: datetime | None = None  # aware
    kind: str | None = None  # 咨询 | 查询 | 投诉 | 建议 | 办理
    customer_key: str | None = None
    agent_channel: int | None = None  # 0-based
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """A received call that cannot be taken in. `path` names it in the night's account."""

    path: str
    reason: Reason
    message: str  # file, row, columns, what was expected
    row: int | None = None
    faults: tuple[Fault, ...] = ()


class Why(StrEnum):
    """Why a file of the folder is no recording to hear."""

    HIDDEN = "hidden"
    TEMPORARY = "temporary"
    SIDECAR = "sidecar"
    MANIFEST = "manifest"
    NOT_A_RECORDING = "not_a_recording"


@dataclass(frozen=True, slots=True)
class Ignored:
    path: Path
    why: Why


@dataclass(frozen=True, slots=True)
class Intake:
    entries: tuple[Entry, ...] = ()
    errors: tuple[Problem, ...] = ()
    unlisted: tuple[Path, ...] = ()  # recordings in the folder that the manifest does not name
    ignored: tuple[Ignored, ...] = ()


def discover(source: Path, settings: Settings, manifest: Path | None = None) -> Intake:
    """What a source holds: a folder, a manifest, or one recording.

    Raises IntakeError when the source as a whole cannot be used.
    """
    source = source.absolute()
    manifest = manifest or settings.intake.manifest
    if source.is_dir():
        manifest = manifest or _manifest_in(source)
        return (
            _from_manifest(manifest.absolute(), source, settings)
            if manifest
            else _from_folder(source, settings)
        )
    if not source.exists():
        raise IntakeError(text("intake.no_source", path=source))
    if source.suffix.lower() in SUFFIXES:
        return _from_manifest(source, source.parent, settings)
    collected = _Collector(source.parent, settings)
    collected.add(source, Row(0, {}), "")
    return collected.intake()


def _manifest_in(folder: Path) -> Path | None:
    found = [path for name in MANIFEST_NAMES if (path := folder / name).is_file()]
    if len(found) > 1:
        raise IntakeError(text("intake.two_manifests", paths=" ".join(path.name for path in found)))
    return found[0] if found else None


def _from_folder(folder: Path, settings: Settings) -> Intake:
    collected = _Collector(folder, settings)
    recordings = _scan(collected)
    stems = Counter(path.with_suffix("") for path in recordings)
    for path in recordings:
        collected.add(path, Row(0, {}), "", same_stem=stems[path.with_suffix("")] > 1)
    return collected.intake()


def _from_manifest(manifest: Path, folder: Path, settings: Settings) -> Intake:
    collected = _Collector(folder, settings)
    for row in read_manifest(manifest):
        where = f"{manifest.name}:{row.number}"
        path, fault = collected.locate(row)
        if fault is not None:
            unread = row.faults and not row.fields  # not a row at all: that it names no file goes without saying
            collected.reject(where, Reason.BAD_ROW, where, row, row.faults if unread else (*row.faults, fault))
            continue
        if row.faults:
            collected.reject(str(path), Reason.BAD_ROW, where, row, row.faults)
        elif path in collected.taken:
            column = row.fields["file"][0]
            fault = Fault(column, text("intake.same_file", other=collected.taken[path]))
            collected.reject(where, Reason.BAD_ROW, where, row, (fault,))
        elif not path.is_file():
            fault = Fault(row.fields["file"][0], text("intake.missing_file", path=path))
            known = {name: given for name, given in row.fields.items() if name != "file"}
            misread = read_fields(known, settings.time_zone)[1]  # all that is wrong with the row, at once
            collected.reject(str(path), Reason.MISSING_FILE, where, row, (fault, *misread))
        else:
            collected.add(path, row, where)
        collected.taken.setdefault(path, where)
    named = {path.resolve() for path in collected.taken}
    collected.unlisted = [path for path in _scan(collected, manifest) if path.resolve() not in named]
    return collected.intake()


class _Collector:
    """Gathers entries and errors of one source."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.pattern = re2.compile(settings.intake.file_pattern) if settings.intake.file_pattern else None
        self.entries: list[Entry] = []
        self.errors: list[Problem] = []
        self.ignored: list[Ignored] = []
        self.unlisted: list[Path] = []
        self.taken: dict[Path, str] = {}  # recording → the row that names it
        self.call_ids: dict[str, str] = {}  # call id → where it was given

    def intake(self) -> Intake:
        return Intake(tuple(self.entries), tuple(self.errors), tuple(self.unlisted), tuple(self.ignored))

    def reject(self, path: str, reason: Reason, where: str, row: Row, faults: tuple[Fault, ...]) -> None:
        told = "; ".join(
            f"{fault.column}: {fault.message}" if fault.column else fault.message for fault in faults
        )
        self.errors.append(
            Problem(path, reason, f"{where}: {told}" if where else told, row.number or None, faults)
        )

    def locate(self, row: Row) -> tuple[Path, Fault | None]:
        """The recording that a row names; refused outside the folder unless settings allow it."""
        column, value = row.fields.get("file", ("", None))
        if value is None or not str(value).strip():
            return self.folder, Fault(column or "file", text("intake.no_file"))
        if "\0" in str(value):
            return self.folder, Fault(column, text("intake.nul"))
        named = str(value).strip()
        path = self.folder / named
        if "\\" in named and not path.exists():  # written on Windows
            path = self.folder / named.replace("\\", "/")
        path = Path(os.path.normpath(path))
        if not self._is_inside(path) and not self.settings.intake.allow_absolute_paths:
            return path, Fault(column, text("intake.outside_folder", path=named, folder=self.folder))
        return path, None

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.folder.resolve())

    def add(self, path: Path, row: Row, where: str, same_stem: bool = False) -> None:
        """Take a recording in, with what its row, its sidecar and its name say."""
        if not self._is_inside(path) and not self.settings.intake.allow_absolute_paths:
            fault = Fault("", text("intake.outside_folder", path=path, folder=self.folder))
            self.reject(str(path), Reason.BAD_ROW, where, row, (fault,))
            return
        raw: dict[str, tuple[str, Any]] = {}
        attributes: dict[str, Any] = {}
        faults: list[Fault] = []
        for fields, further, broken in (
            self._from_name(path, row),
            self._from_sidecar(path),
            (row.fields, row.attributes, []),
        ):
            raw |= {name: given for name, given in fields.items() if not _is_blank(given[1])}
            attributes |= further
            faults += broken
        raw.pop("file", None)
        values, misread = read_fields(raw, self.settings.time_zone)
        faults += misread
        call_id = values.pop("call_id", None) or self._call_id(path, same_stem)
        if call_id in self.call_ids and not faults:
            column = raw.get("call_id", ("call_id", None))[0]
            faults.append(
                Fault(column, text("intake.same_call_id", call_id=call_id, other=self.call_ids[call_id]))
            )
        if faults:
            self.reject(str(path), Reason.BAD_ROW, where or path.name, row, tuple(faults))
            return
        self.call_ids[call_id] = where or str(path)
        attributes |= {name: values.pop(name) for name in ("elderly", "ended_by") if name in values}
        self.entries.append(Entry(call_id, path, attributes=attributes, **values))

    def _call_id(self, path: Path, same_stem: bool) -> str:
        try:
            relative = path.relative_to(self.folder)
        except ValueError:
            relative = Path(path.name)
        return (relative if same_stem else relative.with_suffix("")).as_posix()

    def _from_name(
        self, path: Path, row: Row
    ) -> tuple[dict[str, tuple[str, Any]], dict[str, Any], list[Fault]]:
        if self.pattern is None:
            return {}, {}, []
        name = os.path.relpath(path, self.folder).replace(os.sep, "/")
        match = self.pattern.search(name)
        if match is None:
            # A row or a sidecar tells what the name does not.
            known = row.fields or _sidecar_of(path)
            message = text("intake.no_match", name=name, pattern=self.settings.intake.file_pattern)
            return {}, {}, [] if known else [Fault("", message)]
        return fields_and_attributes([(group, value) for group, value in match.groupdict().items() if value])

    def _from_sidecar(self, path: Path) -> tuple[dict[str, tuple[str, Any]], dict[str, Any], list[Fault]]:
        sidecar = _sidecar_of(path)
        if sidecar is None:
            return {}, {}, []
        try:
            content = json.loads(sidecar.read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            return {}, {}, [Fault(sidecar.name, text("intake.broken_json", detail=error))]
        if not isinstance(content, dict):
            return {}, {}, [Fault(sidecar.name, text("intake.expected_object"))]
        fields, attributes, faults = fields_and_attributes(list(content.items()))
        named = {name: (f"{sidecar.name}: {column}", value) for name, (column, value) in fields.items()}
        return (
            named,
            attributes,
            [Fault(f"{sidecar.name}: {fault.column}", fault.message) for fault in faults],
        )


def _is_blank(value: Any) -> bool:
    return value is None or value == "" or value == []


def _sidecar_of(path: Path) -> Path | None:
    for sidecar in (path.with_name(path.name + SIDECAR_SUFFIX), path.with_suffix(SIDECAR_SUFFIX)):
        if sidecar != path and sidecar.is_file():
            return sidecar
    return None


def _scan(collected: _Collector, manifest: Path | None = None) -> list[Path]:
    """Recordings under the folder, sorted; every other file goes to `ignored`."""
    recordings: list[Path] = []
    for path in _files(collected):
        if path == manifest:
            collected.ignored.append(Ignored(path, Why.MANIFEST))
        elif any(
            part.startswith((".", "~$", "__MACOSX", "@eaDir"))
            for part in path.relative_to(collected.folder).parts
        ):
            collected.ignored.append(Ignored(path, Why.HIDDEN))
        elif path.suffix.lower() in TEMPORARY_SUFFIXES or path.name.endswith("~"):
            collected.ignored.append(Ignored(path, Why.TEMPORARY))
        elif path.suffix.lower() in AUDIO_SUFFIXES or _sounds_like_audio(path):
            recordings.append(path)
        elif path.suffix.lower() == SIDECAR_SUFFIX and _has_recording(path):
            collected.ignored.append(Ignored(path, Why.SIDECAR))
        else:
            collected.ignored.append(Ignored(path, Why.NOT_A_RECORDING))
    return recordings


def _files(collected: _Collector) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        message = text("intake.unreadable", path=error.filename, detail=error.strerror)
        collected.errors.append(Problem(str(error.filename), Reason.ERROR, message))

    for folder, folders, files in os.walk(collected.folder, onerror=refuse):
        folders.sort()
        for name in sorted(files):
            yield Path(folder) / name


def _has_recording(sidecar: Path) -> bool:
    base = sidecar.with_suffix("")
    return base.is_file() or any(base.with_suffix(suffix).is_file() for suffix in AUDIO_SUFFIXES)


def _sounds_like_audio(path: Path) -> bool:
    """By the first bytes: containers that recorders write, whatever the file is called."""
    try:
        with path.open("rb") as file:
            head = file.read(MAGIC_BYTES)
    except OSError:
        return False
    return (
        (head[:4] == b"RIFF" and head[8:12] == b"WAVE")
        or head[:4] in (b"OggS", b"fLaC", b".snd", b"caff", b"RF64", b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75")
        or head[:3] == b"ID3"
        or head[:5] == b"#!AMR"
        or head[4:8] == b"ftyp"
        or (head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"))
        or (
            len(head) > 2
            and head[0] == 0xFF
            and head[1] & 0xE6 in (0xE2, 0xE4)
            and head[2] & 0xF0 not in (0x00, 0xF0)
        )
    )
