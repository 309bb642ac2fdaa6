"""Exports: the same calls in every form, masked unless asked, safe to open, complete or not there."""

from __future__ import annotations

import csv
import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from openpyxl import load_workbook
from pyarrow import parquet

from qa import export as export_module
from qa.export import TABLES, Exported, ExportError, export
from qa.messages import catalogue, in_language
from qa.scorecard import CardFinding, Item, Scorecard
from qa.store import Store, open_store
from qa.store.schema import AuditEvent, Call, Recording, Tag
from qa.store.scorecards import save_scorecard
from qa.store.transcripts import save_transcript
from qa.transcripts import read_transcripts
from scoring_rules.evaluate import Evidence, Finding
from scoring_rules.model import FindingStatus, Outcome
from speech.types import Acoustics, Role, Silence, Span, Transcript, Turn, Word

SHANGHAI = ZoneInfo("Asia/Shanghai")
NUMBER = "一三八零零零零一二三四"
TURNS = (
    Turn("A", "您好，请问您的手机号码是？", 0.0, 3.0, role=Role.AGENT),
    Turn(
        "B",
        f"{NUMBER}，麻烦了",
        3.2,
        7.5,
        words=tuple(Word(c, 3.2, 3.4, 0.9) for c in NUMBER),
        role=Role.CUSTOMER,
    ),
    Turn("A", "这个我不能给您办。", 7.9, 10.0, role=Role.AGENT),
)
CANNOT = Item(
    "neg.cannot",
    {"zh": "说“我不能”", "en": 'Says "I can\'t"'},
    "language",
    "non-fatal",
    Outcome.FAIL,
    (CardFinding(Finding(FindingStatus.CONFIRMED, "phrase", (Evidence(2, 2, 5, 7.9, 10.0),))),),
    cost=5.0,
)
READOUT = Item(
    "compliance.privacy_readout",
    {"zh": "读出个人信息", "en": "Reads out personal data"},
    "compliance",
    "compliance-critical",
    Outcome.PASS,
    (
        CardFinding(
            Finding(
                FindingStatus.SUSPECTED,
                "entity",
                (Evidence(1, 0, 11, 3.2, 7.5), Evidence(start=3.2, end=7.5, turns=(0, 1))),
                note="phone 13800001234",
            )
        ),
    ),
    fatal=True,
)


@pytest.fixture
def filled(store: Store) -> Store:
    with store.write() as session:
        session.add(
            Call(
                id="c1",
                agent="=cmd|'/c calc'!A0",
                team="T1",
                started_at=datetime(2026, 11, 20, 1, 4, 12, tzinfo=UTC),
                kind="投诉",
                customer_key="13800001234",
                attributes={"来电号码": "13800001234", "fee": 3},
                tags=[Tag(tag="回访"), Tag(tag="+86")],
                recording=Recording(path="/calls/13800001234_a.wav", sha256="0" * 64, size=1),
            )
        )
        session.add(Call(id="c2", agent="A2"))  # quarantined: never heard
        session.flush()
        acoustics = Acoustics(silences=(Silence(Span(3.0, 3.2)),), silence_share=0.02)
        transcript_id = save_transcript(
            session, "c1", Transcript("c1", "zh", TURNS, 10.5, acoustics=acoustics)
        )
        card = Scorecard(
            "c1",
            95.0,
            False,
            True,
            {"zh": "良好", "en": "good"},
            (CANNOT, READOUT),
            (),
            100.0,
            5.0,
            0.0,
            "f" * 16,
            {},
        )
        save_scorecard(session, "c1", card, transcript_id)
    return store


def run(store: Store, out: Path, **options: Any) -> Exported:
    return export(store, out, who="li", zone=SHANGHAI, **options)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_holds_three_tables_for_people_and_programs(filled: Store, tmp_path: Path):
    exported = run(filled, tmp_path / "night.csv")
    assert exported.calls == 2
    assert [path.name for path in exported.files] == ["night.csv", "night.items.csv", "night.findings.csv"]
    first, second = read_csv(exported.files[0])
    assert list(first) == list(TABLES["calls"])
    assert first["started_at"] == "2026-11-20T09:04:12+08:00"
    assert (first["score"], first["passed"], first["fatal"], first["failed"]) == (
        "95.0",
        "true",
        "false",
        "neg.cannot",
    )
    assert (first["band"], first["suspected"], first["silence_share"]) == ("良好", "1", "0.02")
    assert (second["call_id"], second["score"], second["passed"]) == ("c2", "", "")
    items = read_csv(exported.files[1])
    assert [(item["rule"], item["name"], item["outcome"], item["points"]) for item in items] == [
        ("neg.cannot", "说“我不能”", "fail", "5.0"),
        ("compliance.privacy_readout", "读出个人信息", "pass", "0.0"),
    ]
    findings = read_csv(exported.files[2])
    assert [(f["rule"], f["event"], f["turn"], f["role"], f["quote"]) for f in findings] == [
        ("neg.cannot", "0", "2", "agent", "我不能"),
        ("compliance.privacy_readout", "0", "1", "customer", "***********"),
        ("compliance.privacy_readout", "0", "", "", ""),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet", ".jsonl"])
def test_no_form_shows_personal_data_unless_asked(filled: Store, tmp_path: Path, suffix: str):
    def shown(name: str, **options: Any) -> str:
        files = run(filled, tmp_path / f"{name}{suffix}", **options).files
        if suffix == ".xlsx":
            return str(
                [
                    [cell.value for cell in row]
                    for sheet in load_workbook(files[0])
                    for row in sheet.iter_rows()
                ]
            )
        if suffix == ".parquet":
            return str([parquet.read_table(path).to_pylist() for path in files])
        return "".join(path.read_text("utf-8-sig") for path in files)

    masked, whole = shown("masked"), shown("whole", unmasked=True)
    assert "13800001234" not in masked
    assert NUMBER not in masked
    assert "13800001234" in whole
    assert NUMBER in whole


def test_a_spreadsheet_finds_no_formula(filled: Store, tmp_path: Path):
    first = read_csv(run(filled, tmp_path / "a.csv").files[0])[0]
    assert first["agent"] == "'=cmd|'/c calc'!A0"
    assert first["tags"] == "'+86;回访"
    book = load_workbook(run(filled, tmp_path / "a.xlsx").files[0])
    cell = book.worksheets[0].cell(2, list(TABLES["calls"]).index("agent") + 1)
    assert (cell.value, cell.data_type) == ("=cmd|'/c calc'!A0", "s")


def test_xlsx_has_a_sheet_a_table_in_the_language_of_the_reader(filled: Store, tmp_path: Path):
    book = load_workbook(run(filled, tmp_path / "a.xlsx").files[0])
    assert book.sheetnames == ["通话", "评分项", "发现"]
    header, first, second = book.worksheets[0].iter_rows(values_only=True)
    assert header[:3] == ("通话编号", "开始时间", "坐席")
    row = dict(zip(TABLES["calls"], first, strict=True))
    assert row["started_at"] == datetime(2026, 11, 20, 9, 4, 12)
    assert (row["score"], row["passed"], row["suspected"]) == (95, True, 1)
    assert second[0] == "c2"
    with in_language("en"):
        book = load_workbook(run(filled, tmp_path / "b.xlsx").files[0])
    assert book.sheetnames == ["Calls", "Items", "Findings"]
    assert book.worksheets[1].cell(2, 3).value == 'Says "I can\'t"'


def test_every_column_has_a_heading_in_both_languages():
    for language in ("zh", "en"):
        for table, columns in TABLES.items():
            assert f"export.table_{table}" in catalogue(language)
            assert {name for name in columns if f"export.column_{name}" not in catalogue(language)} == set()


def test_a_table_longer_than_a_sheet_goes_on_in_the_next(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export_module, "XLSX_ROWS", 2)
    book = load_workbook(run(filled, tmp_path / "a.xlsx").files[0])
    assert [name for name in book.sheetnames if name.startswith("通话")] == ["通话", "通话 2"]
    assert book["通话 2"].cell(1, 1).value == "通话编号"
    assert book["通话 2"].cell(2, 1).value == "c2"


def test_parquet_keeps_types(filled: Store, tmp_path: Path):
    calls, items, findings = (parquet.read_table(path) for path in run(filled, tmp_path / "a.parquet").files)
    row = calls.to_pylist()[0]
    assert row["started_at"] == datetime(2026, 11, 20, 1, 4, 12, tzinfo=UTC)
    assert (row["fatal"], row["suspected"], row["duration"]) == (False, 1, 10.5)
    assert json.loads(row["attributes"]) == {"来电号码": "***********", "fee": 3}
    assert (items.num_rows, findings.num_rows) == (2, 3)


def test_json_lines_are_the_documented_formats(filled: Store, tmp_path: Path):
    cards, transcripts = run(filled, tmp_path / "a.jsonl").files
    (card,) = map(json.loads, cards.read_text("utf-8").splitlines())
    assert (card["format"], card["id"], card["score"], card["fingerprint"]) == (1, "c1", 95.0, "f" * 16)
    assert card["items"][0]["findings"][0]["start_char"] == 2
    (transcript,) = read_transcripts(transcripts.read_text("utf-8").splitlines(), transcripts.name)
    assert transcript.turns[2] == TURNS[2]
    assert transcript.turns[1].text == "***********，麻烦了"
    assert len(transcript.turns[1].words) == 11


def test_conditions_choose_the_calls(filled: Store, tmp_path: Path):
    assert run(filled, tmp_path / "a.csv", where=[Call.agent == "A2"]).calls == 1
    assert [row["call_id"] for row in read_csv(tmp_path / "a.csv")] == ["c2"]


def test_every_export_is_written_down_before_it_begins(filled: Store, tmp_path: Path):
    run(filled, tmp_path / "a.csv", unmasked=True, where=[Call.team == "T1"])
    with filled.read() as session:
        event = session.scalars(sa.select(AuditEvent)).one()
    assert (event.who, event.action, event.detail["unmasked"]) == ("li", "export", True)
    assert event.detail["files"][0] == str(tmp_path / "a.csv")
    assert "T1" in event.detail["filter"][0]


@pytest.mark.parametrize(("name", "who", "told"), [("a.pdf", "li", r"\.xlsx"), ("a.csv", "", "审计")])
def test_what_cannot_be_exported_says_why(filled: Store, tmp_path: Path, name: str, who: str, told: str):
    with pytest.raises(ExportError, match=told):
        export(filled, tmp_path / name, who=who, zone=SHANGHAI)


def test_a_failed_export_leaves_what_was_there_before(filled: Store, tmp_path: Path):
    out = tmp_path / "a.xlsx"
    run(filled, out)
    before = out.read_bytes()
    with filled.write() as session:
        session.get_one(Call, "c2").attributes = {"note": "长" * 40_000}
    with pytest.raises(ExportError, match="attributes"):
        run(filled, out)
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_memory_does_not_grow_with_the_number_of_calls(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(export_module, "BATCH_CALLS", 20)
    path = tmp_path / "many.db"
    path.write_bytes(sqlite_template.read_bytes())
    store = open_store(f"sqlite:///{path}")
    filler = {"note": "x" * 2_000}
    with store.write() as session:
        rows = [{"id": f"c{n:06d}", "attributes": filler, "version": 1} for n in range(1_000)]
        session.execute(sa.insert(Call), rows)

    def peak(count: int) -> int:
        tracemalloc.start()
        assert run(store, tmp_path / "many.csv", where=[Call.id < f"c{count:06d}"]).calls == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(20)  # what is loaded once
    assert peak(1_000) < 1.3 * peak(200)
    store.close()
