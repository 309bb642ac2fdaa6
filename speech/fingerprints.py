"""What a folder of weights is, told by its bytes.

    fingerprint = sha256 of the lines "SHA256  NAME\\n" of its files, sorted by name

which is what `sha256sum` prints, so it can be checked by hand. Hashing gigabytes at every start would be slow: the
sums are remembered in the models folder with each file's size and time of change, and read again when either differs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

CACHE = ".fingerprints"
CHUNK = 1 << 20  # bytes read at a time
NOT_WEIGHTS = (".md", ".gitattributes", ".gitignore")


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint(sums: Mapping[str, str]) -> str:
    """One sum over files: `sums` maps names to sha256."""
    return hashlib.sha256("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()).hexdigest()


def weight_files(path: Path) -> dict[str, Path]:
    """Names (relative, with /) of the files that count: all but hidden files and read-me's. A file stands for itself."""
    if path.is_file():
        return {path.name: path}
    found = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
    return {
        name: p
        for name, p in sorted(found.items())
        if not name.endswith(NOT_WEIGHTS) and not any(part.startswith(".") for part in name.split("/"))
    }


def sums(path: Path, models_folder: Path, *, recompute: bool = False) -> dict[str, str]:
    """sha256 of every weight file under `path`, from memory where size and time of change are as they were."""
    cache = models_folder / CACHE / (hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16] + ".json")
    known = {} if recompute else _read(cache)
    now: dict[str, tuple[int, int, str]] = {}
    for name, file in weight_files(path).items():
        stat = file.stat()
        size, changed, digest = known.get(name, (-1, -1, ""))
        if (size, changed) != (stat.st_size, stat.st_mtime_ns):
            digest = file_sha256(file)
        now[name] = (stat.st_size, stat.st_mtime_ns, digest)
    if now != known:
        _write(cache, path, now)
    return {name: digest for name, (_, _, digest) in now.items()}


def _read(cache: Path) -> dict[str, tuple[int, int, str]]:
    try:
        return {name: (f[0], f[1], f[2]) for name, f in json.loads(cache.read_text())["files"].items()}
    except (FileNotFoundError, ValueError, KeyError, IndexError, AttributeError):
        return {}  # a memory, not a truth: what it lacks is read again


def _write(cache: Path, path: Path, files: dict[str, tuple[int, int, str]]) -> None:
    if not os.access(cache.parent if cache.parent.exists() else cache.parent.parent, os.W_OK):
        return  # a models folder that is mounted read-only: every start reads the files
    cache.parent.mkdir(parents=True, exist_ok=True)
    mine = cache.with_suffix(f".{os.getpid()}")  # several workers may write at once
    mine.write_text(
        json.dumps({"path": str(path), "files": files}, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    os.replace(mine, cache)
