"""Manifests: tables that name recordings and what is known of them. CSV, XLSX or JSON Lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from qa.messages import text
from qa.metadata import Fault, FieldError, as_attribute, field_of, is_empty

SUFFIXES = (".csv", ".xlsx", ".jsonl")
DELIMITERS = ",\t;"


class IntakeError(ValueError):
    """A source that cannot be read as a whole; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One call of a manifest, as written. `number` is the line or row that a person sees in the file."""

    number: int
    fields: dict[str, tuple[str, Any]]  # field → (column name, value)
    attributes: dict[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def read_manifest(path: Path) -> Iterator[Row]:
    """The rows of a manifest in order. Raises IntakeError when the file as a whole cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntakeError(text("intake.unreadable", path=path, detail=error.strerror)) from error
    match path.suffix.lower():
        case ".csv":
            return _rows_of_table(path, _read_csv(path, data))
        case ".xlsx":
            return _rows_of_table(path, _read_xlsx(path, data))
        case ".jsonl":
            return _read_jsonl(path, data)
    raise IntakeError(text("intake.unknown_manifest", path=path, suffixes=" ".join(SUFFIXES)))


def decode_text(path: Path, data: bytes) -> str:
    """UTF-8 (with or without a mark), UTF-16 with a mark, or GB18030 as Chinese spreadsheets write it."""
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise IntakeError(text("intake.unknown_encoding", path=path))


def fields_and_attributes(
    pairs: Sequence[tuple[str, Any]],
) -> tuple[dict[str, tuple[str, Any]], dict[str, Any], list[Fault]]:
    """(name, value) pairs of one call parted into known fields and further attributes."""
    fields: dict[str, tuple[str, Any]] = {}
    attributes: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in pairs:
        known = field_of(name)
        if known is not None:
            if known in fields and not is_empty(value) and not is_empty(fields[known][1]):
                faults.append(Fault(name, text("intake.same_field", other=fields[known][0])))
            elif known not in fields or not is_empty(value):
                fields[known] = (name, value)
        elif name == "attributes" and isinstance(value, dict):
            inner = fields_and_attributes(
                [(key, item) for key, item in value.items() if field_of(key) is None]
            )
            attributes |= inner[1]
            faults += inner[2]
        elif not is_empty(value):
            try:
                attributes[name] = as_attribute(value)
            except FieldError as error:
                faults.append(Fault(name, str(error)))
    return fields, attributes, faults


def _rows_of_table(path: Path, table: Iterator[tuple[int, Sequence[Any]]]) -> Iterator[Row]:
    header = next(table, None)
    if header is None:
        raise IntakeError(text("intake.empty_manifest", path=path))
    line, cells = header
    names = [str(cell).strip() if cell is not None else "" for cell in cells]
    while names and not names[-1]:
        names.pop()
    _check_header(path, line, names)
    for number, values in table:
        if all(is_empty(value) for value in values):
            continue
        extra = [value for value in values[len(names) :] if not is_empty(value)]
        if extra or len(values) < len(names):
            message = text("intake.cell_count", found=len(values), expected=len(names))
            yield Row(number, _file_only(names, values), faults=(Fault("", message),))
            continue
        fields, attributes, faults = fields_and_attributes(list(zip(names, values, strict=False)))
        yield Row(number, fields, attributes, tuple(faults))


def _file_only(names: Sequence[str], values: Sequence[Any]) -> dict[str, tuple[str, Any]]:
    """Of a row that does not fit its header, the file it names: it must be accounted for."""
    fields, _, _ = fields_and_attributes(list(zip(names, values, strict=False)))
    return {name: given for name, given in fields.items() if name == "file"}


def _check_header(path: Path, line: int, names: Sequence[str]) -> None:
    if "" in names:
        raise IntakeError(text("intake.nameless_column", path=path, line=line, number=names.index("") + 1))
    seen: dict[str, str] = {}
    for name in names:
        key = field_of(name) or f"={name}"
        if key in seen:
            raise IntakeError(text("intake.same_column", path=path, line=line, name=name, other=seen[key]))
        seen[key] = name
    if "file" not in seen:
        raise IntakeError(text("intake.no_file_column", path=path, line=line, names=", ".join(names)))


def _read_csv(path: Path, data: bytes) -> Iterator[tuple[int, list[str]]]:
    source = decode_text(path, data)
    first_line = source.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=first_line.count)
    reader = csv.reader(io.StringIO(source, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise IntakeError(text("intake.broken_csv", path=path, line=start, detail=error)) from error


def _read_xlsx(path: Path, data: bytes) -> Iterator[tuple[int, Sequence[Any]]]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except (InvalidFileException, BadZipFile, OSError, KeyError, ValueError) as error:
        raise IntakeError(text("intake.broken_xlsx", path=path, detail=error)) from error
    try:
        width = 0
        for number, cells in enumerate(book.worksheets[0].iter_rows(values_only=True), start=1):
            if width or any(not is_empty(cell) for cell in cells):
                width = width or len(cells)
                yield number, [*cells, *[None] * (width - len(cells))]
    finally:
        book.close()


def _read_jsonl(path: Path, data: bytes) -> Iterator[Row]:
    for number, line in enumerate(decode_text(path, data).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            yield Row(number, {}, faults=(Fault("", text("intake.broken_json", detail=error)),))
            continue
        if not isinstance(content, dict):
            yield Row(number, {}, faults=(Fault("", text("intake.expected_object")),))
            continue
        fields, attributes, faults = fields_and_attributes(list(content.items()))
        yield Row(number, fields, attributes, tuple(faults))
