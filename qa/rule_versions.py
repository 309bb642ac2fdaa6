"""The published versions of a site's rules, and what is being changed: the working copy.

The working copy is the folders that the settings name, in order, and one more layer a language for what was changed in
the app. Publishing keeps a copy of it in the database; from then on nights judge by the newest version, and a change of
the folders is a draft until it is published. A site that never published is judged by its folders as they stand.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import unified_diff
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from qa.ledger import Stage
from qa.store.rules import RuleDraft, RuleVersion
from qa.store.schema import Fingerprint
from scoring_rules.problems import Problem

DRAFT_LAYER = "app-"  # and the language: the layer of what was changed in the app
KEPT_FOLDER = "rules"  # under the data folder: layers written out for the loader


@dataclass(frozen=True, slots=True)
class Layer:
    """One overlay folder: its name, and its YAML files as text."""

    name: str
    files: Mapping[str, str]
    home: Path | None = field(default=None, compare=False)  # where its author keeps it


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    at: datetime
    who: str
    note: str
    because: str | None
    fingerprint: str  # of the whole pack when it was published
    layers: tuple[Layer, ...]
    replayed: Mapping[str, Any]


def newest_version(session: Session) -> Version | None:
    """The version in force; None where nothing was ever published."""
    row = session.scalar(select(RuleVersion).order_by(RuleVersion.number.desc()).limit(1))
    return None if row is None else _version(row)


def version(session: Session, number: int) -> Version:
    """Raises KeyError for a number that there is not."""
    row = session.get(RuleVersion, number)
    if row is None:
        raise KeyError(number)
    return _version(row)


def versions(session: Session) -> list[Version]:
    """All, the newest first."""
    return [_version(row) for row in session.scalars(select(RuleVersion).order_by(RuleVersion.number.desc()))]


def version_of(session: Session, pack: str) -> int | None:
    """The version by which a pack of that fingerprint judged (`Scorecard.pack`); None for an unpublished one.

    A version that met newer shipped rules has another fingerprint than when it was published: nights write down both.
    """
    number = session.scalar(
        select(RuleVersion.number).where(RuleVersion.fingerprint == pack).order_by(RuleVersion.number.desc()).limit(1)
    )
    if number is None:
        known = session.get(Fingerprint, (pack, Stage.SCORE))
        number = None if known is None else known.meaning.get("version")
    return number


def _version(row: RuleVersion) -> Version:
    layers = tuple(Layer(layer["name"], layer["files"]) for layer in row.layers)
    return Version(row.number, row.at, row.who, row.note, row.because, row.fingerprint, layers, row.replayed)


# --- the working copy -----------------------------------------------------------------------------------------


def working_copy(session: Session, folders: Sequence[Path]) -> tuple[Layer, ...]:
    """The folders as they stand, and what was changed in the app."""
    layers = [read_layer(folder) for folder in folders]
    for row in session.scalars(select(RuleDraft).order_by(RuleDraft.language)):
        if row.changes:
            layers.append(draft_layer(row.language, row.changes))
    return tuple(layers)


def read_layer(folder: Path) -> Layer:
    """A folder's YAML files. A folder that is not there is an empty layer: the loader tells what is missing."""
    files = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.yaml"))}
    return Layer(folder.resolve().name, files, folder)


def draft_layer(language: str, changes: Mapping[str, Any]) -> Layer:
    """What was changed in the app as an overlay (JSON is YAML)."""
    head = {"id": f"{DRAFT_LAYER}{language}", "extends": language, "version": "1", "rules": changes}
    return Layer(f"{DRAFT_LAYER}{language}", {"pack.yaml": json.dumps(head, ensure_ascii=False, indent=2) + "\n"})


def with_drafts(layers: Sequence[Layer], drafts: Sequence[Layer]) -> tuple[Layer, ...]:
    """Draft folders laid over a version: one of the same pack id takes its place, any other comes last."""
    found = list(layers)
    for draft in drafts:
        place = next((n for n, layer in enumerate(found) if pack_id(layer) == pack_id(draft)), None)
        if place is None:
            found.append(draft)
        else:
            found[place] = draft
    return tuple(found)


def pack_id(layer: Layer) -> str:
    """The id in a layer's pack.yaml, else its folder's name."""
    from scoring_rules.problems import Problems
    from scoring_rules.source import read_text

    root = read_text(layer.files.get("pack.yaml", ""), "pack.yaml", Problems())
    head = root.mapping() if root is not None and root.kind == "mapping" else {}
    return head["id"].text() if "id" in head else layer.name


def written_out(layers: Sequence[Layer], data: Path) -> tuple[Path, ...]:
    """The layers as folders for the loader, in order: written once, found by their content."""
    folders = []
    for layer in layers:
        folder = data / KEPT_FOLDER / _digest(layer) / layer.name
        if not folder.is_dir():
            _write(layer, folder)
        folders.append(folder)
    return tuple(folders)


def at_home(problem: Problem, layers: Sequence[Layer], data: Path) -> Problem:
    """A problem of a written-out layer, told at the place where its author will mend it."""
    for layer, folder in zip(layers, written_out(layers, data), strict=True):
        if layer.home is not None and Path(problem.origin.file).resolve().parent == folder.resolve():
            file = str(layer.home / Path(problem.origin.file).name)
            return replace(problem, origin=replace(problem.origin, file=file))
    return problem


def _digest(layer: Layer) -> str:
    content = json.dumps([layer.name, dict(sorted(layer.files.items()))], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _write(layer: Layer, folder: Path) -> None:
    """Whole or not at all: a folder that a stopped process left half would be taken for the version."""
    home = folder.parent.parent
    home.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=home))
    try:
        (made / layer.name).mkdir()
        for name, text in layer.files.items():
            (made / layer.name / name).write_text(text, "utf-8")
        try:
            made.rename(folder.parent)
        except OSError:
            if not folder.is_dir():  # another process was not first: the disk is the reason
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def difference(old: Sequence[Layer], new: Sequence[Layer]) -> list[str]:
    """What changed between two versions: a unified diff, file by file."""
    before = {f"{layer.name}/{name}": text for layer in old for name, text in layer.files.items()}
    after = {f"{layer.name}/{name}": text for layer in new for name, text in layer.files.items()}
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        lines += unified_diff(
            before.get(name, "").splitlines(), after.get(name, "").splitlines(), name, name, lineterm="", n=2
        )
    return lines
