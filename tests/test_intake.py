"""Which calls a source holds: folders, manifests, sidecars, names of files; and what is wrong with them."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from qa.intake import Intake, IntakeError, Why, discover
from qa.messages import in_language
from qa.metadata import NAMES, FieldError, field_of, read_time
from qa.settings import Settings
from qa.states import Reason

DOCS = Path(__file__).parents[1] / "docs"
SHANGHAI = ZoneInfo("Asia/Shanghai")
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def put(folder: Path, name: str, content: bytes | str = WAV) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def look(source: Path, manifest: Path | None = None, **intake: Any) -> Intake:
    settings = Settings.load(env={}, overrides={f"intake.{key}": value for key, value in intake.items()})
    return discover(source, settings, manifest)


def ids(intake: Intake) -> list[str]:
    return [entry.call_id for entry in intake.entries]


# Folders


def test_a_folder_is_searched_in_depth_and_by_content(folder: Path):
    put(folder, "b.wav")
    put(folder, "2026-11-20/a.MP3", b"")
    put(folder, "noext", WAV)
    put(folder, "recorder.dat", b"#!AMR\n....")
    put(folder, "说明.txt", "不是录音")
    put(folder, ".hidden.wav")
    put(folder, ".trash/c.wav")
    put(folder, "d.wav.part")
    put(folder, "b.json", "{}")
    put(folder, "utf16.log", "text".encode("utf-16"))
    intake = look(folder)
    assert ids(intake) == ["b", "noext", "recorder", "2026-11-20/a"]
    assert intake.errors == ()
    assert {ignored.path.name: ignored.why for ignored in intake.ignored} == {
        "说明.txt": Why.NOT_A_RECORDING,
        ".hidden.wav": Why.HIDDEN,
        "c.wav": Why.HIDDEN,
        "d.wav.part": Why.TEMPORARY,
        "b.json": Why.SIDECAR,
        "utf16.log": Why.NOT_A_RECORDING,
    }


def test_recordings_that_differ_in_suffix_alone_keep_it(folder: Path):
    put(folder, "a.wav")
    put(folder, "a.mp3")
    put(folder, "b.wav")
    assert ids(look(folder)) == ["a.mp3", "a.wav", "b"]


def test_one_recording_is_a_source(folder: Path):
    assert ids(look(put(folder, "x.wav"))) == ["x"]


def test_a_source_that_is_not_there_is_named(folder: Path):
    with pytest.raises(IntakeError, match="nowhere"):
        look(folder / "nowhere")


def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path, tmp_path: Path):
    (folder / "link.wav").symlink_to(put(tmp_path, "secret.wav"))
    intake = look(folder)
    assert intake.entries == ()
    assert intake.errors[0].reason is Reason.BAD_ROW
    assert ids(look(folder, allow_absolute_paths=True)) == ["link"]


# Sidecars and names of files


def test_a_sidecar_tells_of_its_recording(folder: Path):
    put(folder, "x.wav")
    put(
        folder,
        "x.json",
        json.dumps({"通话编号": "C7", "坐席": "A1", "地区": "华东", "attributes": {"vip": True}}),
    )
    put(folder, "y.wav")
    put(folder, "y.wav.json", json.dumps({"agent": 1027, "tags": ["回访", "VIP"]}))
    x, y = look(folder).entries
    assert (x.call_id, x.agent, x.attributes) == ("C7", "A1", {"地区": "华东", "vip": True})
    assert (y.call_id, y.agent, y.tags) == ("y", "1027", ("回访", "VIP"))


@pytest.mark.parametrize("content", ["{", "[1]", '{"方向": "横向"}', '{"开始时间": "20/11/2026"}'])
def test_a_bad_sidecar_is_named_and_stops_only_its_own_call(folder: Path, content: str):
    put(folder, "x.wav")
    put(folder, "x.json", content)
    put(folder, "y.wav")
    intake = look(folder)
    assert ids(intake) == ["y"]
    assert intake.errors[0].path == str(folder / "x.wav")
    assert "x.json" in intake.errors[0].message


def test_the_name_of_a_file_tells_what_the_pattern_says(folder: Path):
    put(folder, "20261120/A1027_20261120090412_in.wav")
    put(folder, "20261120/unnamed.wav")
    pattern = r"(?P<agent>A\d+)_(?P<started_at>\d{14})_(?P<direction>in|out)\.(?P<format>\w+)$"
    intake = look(folder, file_pattern=pattern)
    (entry,) = intake.entries
    assert (entry.agent, entry.direction, entry.attributes) == ("A1027", "inbound", {"format": "wav"})
    assert entry.started_at == datetime(2026, 11, 20, 9, 4, 12, tzinfo=SHANGHAI)
    assert "unnamed.wav" in intake.errors[0].message


def test_manifest_wins_over_sidecar_wins_over_name(folder: Path):
    put(folder, "A1-T1-Q1.wav")
    put(folder, "A1-T1-Q1.json", json.dumps({"agent": "A2", "team": "T2", "note": "sidecar"}))
    put(folder, "manifest.csv", "file,agent,team\nA1-T1-Q1.wav,A3,\n")
    (entry,) = look(folder, file_pattern="(?P<agent>A.)-(?P<team>T.)-(?P<queue>Q.)").entries
    assert (entry.agent, entry.team, entry.queue, entry.attributes) == ("A3", "T2", "Q1", {"note": "sidecar"})


# Manifests

CHINESE = "通话编号,文件,工号,班组,技能组,方向,开始时间,类型,客户,坐席声道,标签,老年客户,挂断方,地区\n"
CHINESE_ROW = "c1,a.wav,A1027,T1,家电售后,呼入,2026/11/20 9:04,业务办理,C50031,右,冰箱；上门,是,客户,华东\n"
ENGLISH = "Call ID,File Name,agent,team,queue,direction,Start_Time,kind,customer_key,channel roles,tags,elderly,ended_by,地区\n"
ENGLISH_ROW = 'c1,a.wav,A1027,T1,家电售后,in,2026-11-20T01:04:00Z,transaction,C50031,"customer,agent",冰箱|上门,yes,customer,华东\n'


@pytest.mark.parametrize(
    "content",
    [
        (CHINESE + CHINESE_ROW).encode(),
        (CHINESE + CHINESE_ROW).encode("utf-8-sig"),
        (CHINESE + CHINESE_ROW).encode("gb18030"),
        (CHINESE + CHINESE_ROW).replace(",", "\t").encode("utf-16"),
        (CHINESE + CHINESE_ROW).replace(",", ";").replace("\n", "\r\n").encode("gbk"),
        (ENGLISH + ENGLISH_ROW).encode(),
    ],
    ids=["utf-8", "utf-8 with mark", "gb18030", "utf-16 tabs", "gbk semicolons", "english"],
)
def test_a_csv_manifest_is_read_in_both_languages_and_any_usual_encoding(folder: Path, content: bytes):
    put(folder, "a.wav")
    (entry,) = look(put(folder, "calls.csv", content)).entries
    assert entry.call_id == "c1"
    assert entry.path == folder / "a.wav"
    assert (entry.agent, entry.team, entry.queue, entry.direction) == ("A1027", "T1", "家电售后", "inbound")
    assert entry.started_at == datetime(2026, 11, 20, 1, 4, tzinfo=UTC)
    assert (entry.kind, entry.customer_key, entry.agent_channel, entry.tags) == (
        "办理",
        "C50031",
        1,
        ("冰箱", "上门"),
    )
    assert entry.attributes == {"地区": "华东", "elderly": True, "ended_by": "customer"}


def test_an_xlsx_manifest_is_read_as_excel_writes_it(folder: Path):
    put(folder, "a.wav")
    put(folder, "b.wav")
    book = Workbook()
    sheet = book.active
    sheet.append([])
    sheet.append(["通话编号", "文件", "工号", "开始时间", "时长", "坐席声道"])
    sheet.append([10001, "a.wav", 1027, datetime(2026, 11, 20, 9, 4, 12), 63.5, 0])
    sheet.append([])
    sheet.append(["c2", "b.wav", "A1", 46346.5, None, "左"])
    book.save(folder / "manifest.xlsx")
    first, second = look(folder).entries
    assert (first.call_id, first.agent, first.agent_channel, first.attributes) == (
        "10001",
        "1027",
        0,
        {"时长": 63.5},
    )
    assert first.started_at == datetime(2026, 11, 20, 9, 4, 12, tzinfo=SHANGHAI)
    assert second.started_at == datetime(2026, 11, 20, 12, 0, tzinfo=SHANGHAI)


def test_a_jsonl_manifest_is_read(folder: Path):
    put(folder, "a.wav")
    line = {"id": "c1", "file": "a.wav", "tags": ["x", "y"], "attributes": {"层级": {"vip": 2}}, "score": 3.0}
    (entry,) = look(put(folder, "m.jsonl", json.dumps(line) + "\n\n")).entries
    assert (entry.call_id, entry.tags, entry.attributes) == (
        "c1",
        ("x", "y"),
        {"层级": {"vip": 2}, "score": 3},
    )


def test_errors_name_file_row_and_column_and_the_good_rows_still_load(folder: Path):
    for name in "abcdefgh":
        put(folder, f"{name}.wav")
    put(
        folder,
        "manifest.csv",
        "call_id,file,direction,started_at,agent_channel,kind\n"
        "c1,a.wav,in,2026-11-20 09:00,0,投诉\n"
        "c2,b.wav,sideways,20/11/2026,3,维修\n"
        "\n"
        "c1,c.wav,,,,\n"
        "c4,a.wav,,,,\n"
        "c5,,,,,\n"
        "c6,none.wav,,,,\n"
        '"c7","d.wav",in\n'
        "c8,../outside.wav,,,,\n"
        "1.23457E+17,e.wav,,,,\n"
        "c9,f.wav,out,,,\n",
    )
    put(folder.parent, "outside.wav")
    intake = look(folder)
    assert ids(intake) == ["c1", "c9"]
    assert [(error.row, [fault.column for fault in error.faults]) for error in intake.errors] == [
        (3, ["direction", "started_at", "agent_channel", "kind"]),
        (5, ["call_id"]),
        (6, ["file"]),
        (7, ["file"]),
        (8, ["file"]),
        (9, [""]),
        (10, ["file"]),
        (11, ["call_id"]),
    ]
    assert [error.reason for error in intake.errors].count(Reason.MISSING_FILE) == 1
    assert intake.errors[0].path == str(folder / "b.wav")
    assert intake.errors[0].message.startswith(
        "manifest.csv:3: direction: 应为 inbound | outbound 之一，实际是 sideways; "
    )
    assert intake.unlisted == (folder / "g.wav", folder / "h.wav")
    assert len({error.path for error in intake.errors}) == len(intake.errors)


def test_errors_are_told_in_english_too(folder: Path):
    put(folder, "manifest.csv", "file\nnone.wav\n")
    with in_language("en"):
        assert "there is no recording" in look(folder).errors[0].message


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("manifest.csv", "", "空的"),
        ("manifest.csv", "call_id,agent\n", "文件"),
        ("manifest.csv", "file,文件\n", "同一个字段"),
        ("manifest.csv", "file,,agent\n", "第 2 列"),
        ("manifest.csv", 'file,agent\na.wav,"A1\nb.wav,A2\n', "引号"),
        ("manifest.csv", b"file\n\x81\xff\xff.wav\n", "编码"),
        ("manifest.xlsx", "not a workbook", "XLSX"),
        ("manifest.txt", "file\n", "格式"),
    ],
)
def test_a_manifest_that_cannot_be_read_at_all_says_why(
    folder: Path, name: str, content: str | bytes, told: str
):
    with pytest.raises(IntakeError, match=told):
        look(folder, put(folder, name, content))


def test_lines_of_jsonl_that_are_no_objects_are_named(folder: Path):
    put(folder, "a.wav")
    intake = look(put(folder, "m.jsonl", '{"file": "a.wav"}\n[1]\n{"file": \n'))
    assert ids(intake) == ["a"]
    assert [error.path for error in intake.errors] == ["m.jsonl:2", "m.jsonl:3"]


def test_two_manifests_in_a_folder_are_not_guessed_between(folder: Path):
    put(folder, "manifest.csv", "file\n")
    put(folder, "manifest.jsonl", "")
    with pytest.raises(IntakeError, match=r"manifest\.csv manifest\.jsonl"):
        look(folder)


def test_a_manifest_may_lie_apart_from_the_recordings(folder: Path, tmp_path: Path):
    put(folder, "day/a.wav")
    manifest = put(tmp_path, "night.csv", "file,agent\nday\\a.wav,A1\n")  # written on Windows
    assert ids(look(folder, manifest)) == ["day/a"]
    absolute = put(tmp_path, "absolute.csv", f"file\n{folder / 'day' / 'a.wav'}\n{tmp_path / 'night.csv'}\n")
    intake = look(folder, absolute)
    assert ids(intake) == ["day/a"]
    assert "allow_absolute_paths" in intake.errors[0].message


def test_an_excel_number_that_lost_digits_is_refused(folder: Path):
    put(folder, "a.wav")
    book = Workbook()
    book.active.append(["通话编号", "文件"])
    book.active.append([20261120090412123456, "a.wav"])
    book.save(folder / "manifest.xlsx")
    assert "文本格式" in look(folder).errors[0].message


# Times


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-20T09:04:12+08:00", "2026-11-20T01:04:12"),
        ("2026-11-20T09:04:12.250+0800", "2026-11-20T01:04:12.250000"),
        ("2026-11-20 01:04:12Z", "2026-11-20T01:04:12"),
        ("2026-11-20 09:04:12", "2026-11-20T01:04:12"),
        ("2026/11/20 9:04", "2026-11-20T01:04:00"),
        ("2026.11.20 9:04", "2026-11-20T01:04:00"),
        ("2026年11月20日 9时4分12秒", "2026-11-20T01:04:12"),
        ("2026年11月20日9点", "2026-11-20T01:00:00"),
        ("２０２６-11-20 09:04", "2026-11-20T01:04:00"),
        ("20261120090412", "2026-11-20T01:04:12"),
        ("20261120_090412", "2026-11-20T01:04:12"),
        ("20261120", "2026-11-19T16:00:00"),
        ("2026-11-20", "2026-11-19T16:00:00"),
        (46346.5, "2026-11-20T04:00:00"),
        ("1795136652", "2026-11-20T01:04:12"),
        (1795136652000, "2026-11-20T01:04:12"),
    ],
)
def test_times_as_sites_write_them(value: Any, expected: str):
    assert read_time(value, SHANGHAI).astimezone(UTC).replace(tzinfo=None).isoformat() == expected


@pytest.mark.parametrize(
    "value", ["20/11/2026", "11-20-2026 09:04", "2026-13-01", "2026-02-30", "25:00", "soon", "123", 7, True]
)
def test_times_that_nobody_can_tell_are_refused(value: Any):
    with pytest.raises(FieldError, match="2026-11-20 09:04:12"):
        read_time(value, SHANGHAI)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from(["%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y年%m月%d日 %H时%M分%S秒", "%Y%m%d%H%M%S"]),
)
def test_written_times_are_read_back(moment: datetime, form: str):
    written = moment.strftime(form)
    assert read_time(written, ZoneInfo("UTC")) == moment.replace(microsecond=0, tzinfo=UTC)


@given(st.text(max_size=30) | st.text(string.digits + "-/: T年月日时", max_size=20))
def test_no_text_breaks_the_reading_of_times(value: str):
    with contextlib.suppress(FieldError):
        assert read_time(value, SHANGHAI).utcoffset() is not None


cells = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), max_size=5),
    st.sampled_from(["utf-8", "utf-8-sig", "gb18030"]),
)
def test_any_table_is_taken_in_or_told_of_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], encoding: str
):
    folder = tmp_path_factory.mktemp("table")
    manifest = folder / "m.csv"
    with manifest.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "agent", "direction"])
        writer.writerows(rows)
    intake = discover(manifest, Settings.load(env={}))
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    assert len(intake.entries) + len(intake.errors) == len(filled)


def test_the_time_zone_is_the_sites(folder: Path):
    put(folder, "a.wav")
    put(folder, "manifest.csv", "file,started_at\na.wav,2026-07-01 12:00\n")
    settings = Settings.load(env={"HUITING_SITE__TIME_ZONE": "Europe/Berlin"})
    (entry,) = discover(folder, settings).entries
    assert entry.started_at is not None
    assert entry.started_at.utcoffset() == timedelta(hours=2)


def test_every_field_is_documented_with_names_that_are_read():
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", (DOCS / "intake.md").read_text("utf-8"), re.MULTILINE)
    assert {field for field, _ in rows} == set(NAMES)
    for field, names in rows:
        for name in re.split(r"[,\s…]+", names.replace("`", "")):
            assert not name or field_of(name) == field
