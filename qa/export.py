"""Stored calls as files for other programs: XLSX, CSV, Parquet (three tables), JSON Lines (docs/formats.md).

Personal data is masked unless it is asked for, and every export is written down in the audit log before its first
line. Calls are read in small batches and leave at once, so memory does not grow with their number. Files appear under
their name only when they are complete.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, selectinload

from qa.messages import current_language, text
from qa.redact import mask, mask_identifier, mask_transcript, mask_turns, mask_value
from qa.store.engine import Store
from qa.store.queries import audit
from qa.store.schema import (
    Call,
    FindingRow,
    Fingerprint,
    ItemRow,
    Measures,
    Recording,
    ScorecardRow,
    TranscriptRow,
    TurnRow,
)

BATCH_CALLS = 200
PARQUET_ROWS = 20_000  # a row group
XLSX_ROWS = 1_048_576  # a sheet, header included
XLSX_CELL_CHARACTERS = 32_767
FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")  # what a spreadsheet takes for a formula in a CSV file

# Table → column → kind. The names are the format: they do not change with the language.
TABLES: dict[str, dict[str, type]] = {
    "calls": {
        "call_id": str,
        "started_at": datetime,
        "agent": str,
        "team": str,
        "queue": str,
        "direction": str,
        "kind": str,
        "kind_source": str,
        "kind_confidence": float,
        "customer_key": str,
        "language": str,
        "duration": float,
        "score": float,
        "passed": bool,
        "fatal": bool,
        "suspected": int,
        "band": str,
        "failed": str,
        "end_emotion": str,
        "silence_share": float,
        "overlap_share": float,
        "longest_silence": float,
        "interruptions": int,
        "agent_rate": float,
        "customer_rate": float,
        "agent_latency": float,
        "recogniser_confidence": float,
        "signs": str,
        "tags": str,
        "attributes": str,
        "recording": str,
        "fingerprint": str,
    },
    "items": {
        "call_id": str,
        "rule": str,
        "name": str,
        "dimension": str,
        "class": str,
        "outcome": str,
        "reason": str,
        "points": float,
        "draft": bool,
    },
    "findings": {
        "call_id": str,
        "rule": str,
        "event": int,
        "status": str,
        "how": str,
        "turn": int,
        "role": str,
        "start_char": int,
        "end_char": int,
        "start": float,
        "end": float,
        "quote": str,
        "note": str,
        "covered_by": str,
    },
}

Row = Mapping[str, Any]


class ExportError(ValueError):
    """An export that cannot be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Exported:
    files: tuple[Path, ...]
    calls: int


def export(
    store: Store,
    out: Path,
    *,
    who: str,
    zone: ZoneInfo,
    where: Sequence[ColumnElement[bool]] = (),
    unmasked: bool = False,
    on_call: Callable[[str], None] = lambda call_id: None,
) -> Exported:
    """Write stored calls to a file whose suffix names the form: .xlsx, .csv, .parquet or .jsonl.

    CSV and Parquet hold one table a file: `out` is the calls, `NAME.items.*` and `NAME.findings.*` lie beside it. JSON
    Lines: `out` holds scorecards, `NAME.transcripts.jsonl` the transcripts. `where` are conditions on `Call`; `who` goes
    into the audit log. Raises ExportError.
    """
    write = _WRITERS.get(out.suffix.lower())
    if write is None:
        raise ExportError(text("export.unknown_form", path=out, suffixes=" ".join(_WRITERS)))
    if not who:
        raise ExportError(text("export.nobody"))
    files = _files(out)
    with store.write() as session:
        audit(
            session,
            who,
            "export",
            files=[str(file) for file in files],
            unmasked=unmasked,
            filter=_told(where),
        )
    with store.read() as session, _complete_or_not(files) as parts:
        source = _Source(session, where, unmasked, on_call)
        write(parts, source, zone)
        return Exported(files, source.calls)


def _told(where: Sequence[ColumnElement[bool]]) -> list[str]:
    return [str(condition.compile(compile_kwargs={"literal_binds": True})) for condition in where]


def _files(out: Path) -> tuple[Path, ...]:
    beside = {".csv": ("items", "findings"), ".parquet": ("items", "findings"), ".jsonl": ("transcripts",)}
    names = beside.get(out.suffix.lower(), ())
    return (out, *(out.with_name(f"{out.stem}.{name}{out.suffix}") for name in names))


@contextmanager
def _complete_or_not(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Names to write to; they become the files when the block ends well, and vanish when it does not."""
    parts = [file.with_name(f".{file.name}.part") for file in files]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    try:
        yield parts
        for part, file in zip(parts, files, strict=True):
            os.replace(part, file)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


# --- what is written --------------------------------------------------------------------------------------------


class _Source:
    """Reads the calls of an export, batch by batch, masked as asked."""

    def __init__(
        self,
        session: Session,
        where: Sequence[ColumnElement[bool]],
        unmasked: bool,
        on_call: Callable[[str], None],
    ) -> None:
        self.session = session
        self.calls = 0
        self._where = where
        self._unmasked = unmasked
        self._on_call = on_call
        self._names: dict[str, Mapping[str, Any]] = {}

    def ids(self) -> Iterator[list[str]]:
        """Call ids in order, in batches."""
        last = None
        while True:
            after = () if last is None else (Call.id > last,)
            query = select(Call.id).where(*self._where, *after).order_by(Call.id).limit(BATCH_CALLS)
            batch = list(self.session.scalars(query))
            if not batch:
                return
            yield batch
            self.session.expunge_all()
            last = batch[-1]

    def told(self, call_id: str) -> None:
        self.calls += 1
        self._on_call(call_id)

    def lines(self) -> Iterator[tuple[str | None, str | None]]:
        """(scorecard line, transcript line) of each call, None for what it does not have."""
        from qa.scorecard import to_json
        from qa.store.scorecards import load_scorecard
        from qa.store.transcripts import load_transcript
        from qa.transcripts import to_line

        for batch in self.ids():
            scored = set(self._with_current(ScorecardRow, batch))
            heard = set(self._with_current(TranscriptRow, batch))
            for call_id in batch:
                if call_id in heard:
                    transcript = load_transcript(self.session, call_id)
                    line = None
                    if call_id in scored:
                        card = to_json(load_scorecard(self.session, call_id), transcript)
                        line = json.dumps(card if self._unmasked else mask_value(card), ensure_ascii=False)
                    yield line, to_line(transcript if self._unmasked else mask_transcript(transcript))
                self.told(call_id)

    def _with_current(self, kind: Any, batch: Sequence[str]) -> Sequence[str]:
        return self.session.scalars(select(kind.call_id).where(kind.current, kind.call_id.in_(batch))).all()

    def tables(self) -> Iterator[dict[str, list[Row]]]:
        """The rows of every table, a batch of calls at a time."""
        for batch in self.ids():
            cards = self._current(ScorecardRow, batch)
            items = self._by_card(ItemRow, ItemRow.number, cards)
            findings = self._by_card(FindingRow, FindingRow.id, cards)
            heard = self._current(TranscriptRow, batch)
            turns = self._turns(
                [heard[call_id] for call_id in batch if findings.get(call_id) and call_id in heard]
            )
            rows: dict[str, list[Row]] = {table: [] for table in TABLES}
            for call, recording, measures in self._calls(batch):
                card, transcript = cards.get(call.id), heard.get(call.id)
                rows["calls"].append(
                    self._call(call, recording, measures, card, transcript, items.get(call.id, ()))
                )
                rows["items"] += [self._item(call.id, item, card) for item in items.get(call.id, ()) if card]
                for finding in self._numbered(findings.get(call.id, ())):
                    rows["findings"] += self._finding(
                        call.id, *finding, turns.get(transcript.id, []) if transcript else []
                    )
                self.told(call.id)
            yield rows

    def _calls(self, batch: Sequence[str]) -> Sequence[Any]:
        query = (
            select(Call, Recording, Measures)
            .outerjoin(Recording, Recording.id == Call.recording_id)
            .outerjoin(TranscriptRow, (TranscriptRow.call_id == Call.id) & TranscriptRow.current)
            .outerjoin(Measures, Measures.transcript_id == TranscriptRow.id)
            .where(Call.id.in_(batch))
            .options(selectinload(Call.tags))
            .order_by(Call.id)
        )
        return self.session.execute(query).all()

    def _current(self, kind: Any, batch: Sequence[str]) -> dict[str, Any]:
        rows = self.session.scalars(select(kind).where(kind.current, kind.call_id.in_(batch)))
        return {row.call_id: row for row in rows}

    def _by_card(self, kind: Any, order: Any, cards: Mapping[str, ScorecardRow]) -> dict[str, list[Any]]:
        calls = {card.id: call_id for call_id, card in cards.items()}
        query = (
            select(*kind.__table__.columns)
            .where(kind.scorecard_id.in_(calls))
            .order_by(kind.scorecard_id, order)
        )
        rows = self.session.execute(query)
        return {calls[card_id]: list(group) for card_id, group in groupby(rows, lambda row: row.scorecard_id)}

    def _turns(self, transcripts: Sequence[TranscriptRow]) -> dict[int, list[tuple[str, str | None]]]:
        """(text, role) of each turn of the transcripts; masked call by call, for a number may run over turns."""
        query = (
            select(TurnRow.transcript_id, TurnRow.text, TurnRow.role)
            .where(TurnRow.transcript_id.in_([transcript.id for transcript in transcripts]))
            .order_by(TurnRow.transcript_id, TurnRow.number)
        )
        found = {}
        for transcript_id, group in groupby(self.session.execute(query), lambda row: row.transcript_id):
            rows = list(group)
            texts = [row.text for row in rows]
            shown = texts if self._unmasked else mask_turns(texts)
            found[transcript_id] = list(zip(shown, (row.role for row in rows), strict=True))
        return found

    def _call(
        self,
        call: Call,
        recording: Recording | None,
        measures: Measures | None,
        card: ScorecardRow | None,
        transcript: TranscriptRow | None,
        items: Sequence[Any],
    ) -> Row:
        failed = [
            item.rule for item in items if item.outcome == "fail" and not (item.detail or {}).get("draft")
        ]
        row = {
            "call_id": self._identifier(call.id),
            "started_at": call.started_at,
            **{
                name: getattr(call, name)
                for name in ("agent", "team", "queue", "direction", "kind", "kind_source")
            },
            "kind_confidence": call.kind_confidence,
            "customer_key": self._text(call.customer_key),
            "language": call.language,
            "duration": call.duration,
            "score": call.score,
            "passed": card and card.card["passed"],
            "fatal": call.fatal,
            "suspected": call.suspected,
            "band": _pick(card.card["band"]) if card else None,
            "failed": ";".join(failed) if card else None,
            "end_emotion": call.end_emotion,
            "recogniser_confidence": transcript and transcript.mean_probability,
            "signs": ";".join(transcript.signs) if transcript else None,
            "tags": self._text(";".join(tag.tag for tag in call.tags)),
            "attributes": self._json(call.attributes),
            "recording": self._identifier(recording.path) if recording else None,
            "fingerprint": card and card.fingerprint,
        }
        measured = TABLES["calls"].keys() & Measures.__table__.columns.keys()
        return row | {name: measures and getattr(measures, name) for name in measured}

    def _item(self, call_id: str, item: Any, card: ScorecardRow) -> Row:
        return {
            "call_id": self._identifier(call_id),
            "rule": item.rule,
            "name": _pick(self._rule_names(card)[item.rule]),
            "dimension": item.dimension,
            "class": item.fault_class,
            "outcome": item.outcome,
            "reason": item.reason,
            "points": item.points,
            "draft": bool((item.detail or {}).get("draft")),
        }

    def _rule_names(self, card: ScorecardRow) -> Mapping[str, Mapping[str, str]]:
        from qa.store.scorecards import NAMES_STAGE

        fingerprint = card.card["names"]
        if fingerprint not in self._names:
            self._names[fingerprint] = self.session.get_one(Fingerprint, (fingerprint, NAMES_STAGE)).meaning
        return self._names[fingerprint]["rules"]

    def _numbered(self, findings: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Findings with their number within their rule."""
        seen: dict[str, int] = {}
        for finding in findings:
            number = seen.get(finding.rule, 0)
            seen[finding.rule] = number + 1
            yield number, finding

    def _finding(
        self, call_id: str, event: int, row: Any, turns: Sequence[tuple[str, str | None]]
    ) -> list[Row]:
        """One row for each place of a finding."""
        detail = row.detail or {}
        first = (row.turn, row.start_char, row.end_char, row.start, row.end)
        places = [first, *(place[:5] for place in detail.get("further", ()))]
        common = {
            "call_id": self._identifier(call_id),
            "rule": row.rule,
            "event": event,
            "status": row.status,
            "how": row.how,
            "note": self._text(detail.get("note")),
            "covered_by": detail.get("covered_by"),
        }
        rows = []
        for turn, start_char, end_char, start, end in places:
            said, role = turns[turn] if turn is not None and turn < len(turns) else (None, None)
            quote = said if said is None or start_char is None else said[start_char:end_char]
            place = {
                "turn": turn,
                "role": role,
                "start_char": start_char,
                "end_char": end_char,
                "start": start,
                "end": end,
            }
            rows.append(common | place | {"quote": quote})
        return rows

    def _text(self, value: str | None) -> str | None:
        return value if value is None or self._unmasked else mask(value)

    def _identifier(self, value: str) -> str:
        return value if self._unmasked else mask_identifier(value)

    def _json(self, value: Mapping[str, Any]) -> str | None:
        if not value:
            return None
        return json.dumps(value if self._unmasked else mask_value(dict(value)), ensure_ascii=False)


def _pick(names: Mapping[str, str]) -> str | None:
    return names.get(current_language()) or next(iter(names.values()), None)


# --- how it is written -------------------------------------------------------------------------------------------


class _Write(Protocol):
    def __call__(self, parts: Sequence[Path], source: _Source, zone: ZoneInfo) -> None: ...


def _write_jsonl(parts: Sequence[Path], source: _Source, zone: ZoneInfo) -> None:
    with parts[0].open("w", encoding="utf-8") as cards, parts[1].open("w", encoding="utf-8") as transcripts:
        for card, transcript in source.lines():
            if card is not None:
                cards.write(card + "\n")
            if transcript is not None:
                transcripts.write(transcript + "\n")


def _write_csv(parts: Sequence[Path], source: _Source, zone: ZoneInfo) -> None:
    with ExitStack() as stack:
        writers = {}
        for part, (table, columns) in zip(parts, TABLES.items(), strict=True):
            # The mark tells spreadsheets that this is UTF-8.
            file = stack.enter_context(part.open("w", encoding="utf-8-sig", newline=""))
            writers[table] = csv.writer(file)
            writers[table].writerow(columns)
        for rows in source.tables():
            for table, columns in TABLES.items():
                writers[table].writerows(
                    [_csv_cell(row.get(name), zone) for name in columns] for row in rows[table]
                )


def _csv_cell(value: Any, zone: ZoneInfo) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return "'" + value
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _write_xlsx(parts: Sequence[Path], source: _Source, zone: ZoneInfo) -> None:
    import xlsxwriter

    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "default_date_format": "yyyy-mm-dd hh:mm:ss",
    }
    with xlsxwriter.Workbook(str(parts[0]), options) as book:
        sheets = {table: _Sheets(book, table) for table in TABLES}
        for rows in source.tables():
            for table, written in sheets.items():
                for row in rows[table]:
                    written.add(row, zone)


class _Sheets:
    """One table of a workbook, over as many sheets as its rows need."""

    def __init__(self, book: Any, table: str) -> None:
        self.book = book
        self.table = table
        self.header = book.add_format({"bold": True})
        self.count = 0
        self._begin()

    def _begin(self) -> None:
        self.count += 1
        title = text(f"export.table_{self.table}")
        self.sheet = self.book.add_worksheet(title if self.count == 1 else f"{title} {self.count}")
        self.sheet.freeze_panes(1, 1)
        for column, name in enumerate(TABLES[self.table]):
            self.sheet.write_string(0, column, text(f"export.column_{name}"), self.header)
        self.row = 1

    def add(self, row: Row, zone: ZoneInfo) -> None:
        if self.row == XLSX_ROWS:
            self._begin()
        for column, name in enumerate(TABLES[self.table]):
            value = row.get(name)
            if value is None:
                continue
            if isinstance(value, str) and len(value) > XLSX_CELL_CHARACTERS:
                raise ExportError(
                    text("export.long_cell", call=row["call_id"], column=name, limit=XLSX_CELL_CHARACTERS)
                )
            if isinstance(value, datetime):
                value = value.astimezone(zone).replace(tzinfo=None)  # a spreadsheet knows no time zones
            self.sheet.write(self.row, column, value)
        self.row += 1


def _write_parquet(parts: Sequence[Path], source: _Source, zone: ZoneInfo) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {
        str: pa.string(),
        float: pa.float64(),
        int: pa.int64(),
        bool: pa.bool_(),
        datetime: pa.timestamp("us", "UTC"),
    }
    schemas = {
        table: pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
        for table, columns in TABLES.items()
    }
    waiting: dict[str, list[Row]] = {table: [] for table in TABLES}
    with ExitStack() as stack:
        writers = {
            table: stack.enter_context(parquet.ParquetWriter(part, schemas[table]))
            for part, table in zip(parts, TABLES, strict=True)
        }

        def flush(at_least: int) -> None:
            for table, rows in waiting.items():
                if len(rows) >= at_least:
                    writers[table].write_table(pa.Table.from_pylist(rows, schema=schemas[table]))
                    waiting[table] = []

        for rows in source.tables():
            for table, more in rows.items():
                waiting[table] += more
            flush(PARQUET_ROWS)
        flush(1)


_WRITERS: dict[str, _Write] = {
    ".xlsx": _write_xlsx,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
}
