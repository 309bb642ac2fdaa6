"""The committed demo: sizes, formats, and that scripts, manifest, reference and planted facts agree."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

DEMO = Path(__file__).resolve().parent.parent / "demo"
MOST_BYTES = 8_000_000
SPEAKERS = {"agent": "A", "agent2": "A2", "ivr": "I", "customer": "B"}
KINDS = {"咨询", "查询", "投诉", "建议", "办理"}
STATES = {
    "truncated", "not_audio", "empty", "no_speech", "duplicate", "dead_channel", "dual_mono", "clipped", "too_short",
    "swapped_channels",
}  # fmt: skip
PARTS = {"ivr", "music", "second_agent"}
CALL_KINDS = {"fault", "trap", "pass", "not_applicable", "state"}
NEGATIVE = (
    "neg.cannot", "neg.unable", "neg.not_my_job", "neg.unwilling", "neg.but_after_concession",
    "neg.refusal_without_reason", "lang.vague", "conduct.ordering_about_blame", "conduct.overpromise",
    "conduct.interruption", "conduct.silence", "compliance.privacy_readout",
)  # fmt: skip
ROUNDING = 0.02  # s


@pytest.fixture(scope="module")
def manifest() -> dict[str, dict[str, str]]:
    with (DEMO / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["call_id"] for row in rows}) == len(rows)
    return {row["call_id"]: row for row in rows}


@pytest.fixture(scope="module")
def planted() -> list[dict]:
    return [json.loads(line) for line in (DEMO / "planted.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def references() -> dict[str, dict]:
    files = (DEMO / "reference").glob("*.json")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


@pytest.fixture(scope="module")
def scripts() -> dict[str, dict]:
    yaml = YAML(typ="safe")
    loaded = [yaml.load(path.read_text(encoding="utf-8")) for path in (DEMO / "scripts").glob("*.yaml")]
    return {script["call"]: script for script in loaded if "turns" in script}


@pytest.fixture(scope="module")
def good(references) -> list[str]:
    return sorted(call for call in references if call.startswith("d"))


def test_the_sound_is_small_enough_to_commit():
    assert sum(path.stat().st_size for path in (DEMO / "audio").iterdir()) <= MOST_BYTES


def test_manifest_lists_every_file_once(manifest):
    listed = [row["file"] for row in manifest.values()]
    assert sorted(listed) == sorted(f"audio/{path.name}" for path in (DEMO / "audio").iterdir())


def test_manifest_fields(manifest):
    for row in manifest.values():
        started = datetime.fromisoformat(row["started_at"])
        assert started.utcoffset() == timedelta(hours=8)
        assert row["agent"]
        assert row["team"]
        assert row["queue"]
        assert row["customer_key"]
        assert row["region"]
        assert row["direction"] in {"inbound", "outbound"}
        assert row["kind"] in KINDS | {""}
        assert row["agent_channel"] in {"0", ""}
        assert row["ended_by"] in {"agent", "customer", "line", ""}
    assert sum(row["kind"] == "" for row in manifest.values()) == 4
    assert len({row["agent"] for row in manifest.values()}) >= 6
    assert len({row["team"] for row in manifest.values()}) >= 3


def test_enough_good_calls_of_the_right_length(good, references):
    assert len(good) >= 18
    for call in good:
        assert 45 <= references[call]["duration"] <= 150, call
    assert {references[call]["attributes"]["kind"] for call in good} == KINDS


def test_files_decode_to_the_length_of_their_reference(good, references, manifest, scripts):
    av = pytest.importorskip("av")
    containers: Counter[str] = Counter()
    for call in good:
        with av.open(str(DEMO / manifest[call]["file"])) as container:
            stream = container.streams.audio[0]
            containers[f"{container.format.name.split(',')[0]} {stream.codec.name}"] += 1
            samples = 0
            for packet in container.demux(stream):
                try:
                    samples += sum(frame.samples for frame in packet.decode())
                except av.error.InvalidDataError:
                    assert packet.size < 2, call  # the padding byte that RIFF asks for after odd data
            assert samples / stream.rate == pytest.approx(references[call]["duration"], abs=0.2), call
            assert stream.channels == (1 if scripts[call].get("mono") else 2), call
    assert {name.split()[1] for name in containers} >= {
        "pcm_alaw",
        "pcm_mulaw",
        "pcm_s16le",
        "mp3float",
        "opus",
    }
    assert {"wav gsm_ms", "gsm gsm"} <= set(containers)


def test_scripts_and_references_say_the_same(references, scripts):
    assert set(scripts) == set(references)
    for call, script in scripts.items():
        said = [(role, text) for entry in script["turns"] for role, text in entry.items() if role in SPEAKERS]
        heard = references[call]["turns"]
        assert [(SPEAKERS[role], text) for role, text in said] == [(t["speaker"], t["text"]) for t in heard]
        assert all(0 <= t["start"] < t["end"] <= references[call]["duration"] for t in heard)


def test_four_mono_calls_with_rttm(references, scripts):
    mono = {call for call, script in scripts.items() if script.get("mono") and call.startswith("d")}
    assert len(mono) == 4
    for call in mono:
        rows = [
            line.split()
            for line in (DEMO / f"reference/{call}.rttm").read_text(encoding="utf-8").splitlines()
        ]
        turns = references[call]["turns"]
        for row in rows:
            start, end, speaker = float(row[3]), float(row[3]) + float(row[4]), row[7]
            assert any(
                t["speaker"] == speaker and t["start"] - ROUNDING <= start and end <= t["end"] + ROUNDING
                for t in turns
            ), (call, row)
        assert {row[7] for row in rows} == {t["speaker"] for t in turns}


def test_planted_facts_point_at_what_is_said(planted, references, manifest):
    for fact in planted:
        assert fact["kind"] in CALL_KINDS
        assert fact["call"] in manifest
        if fact["kind"] == "state":
            assert fact["rule"] in STATES | PARTS
        if fact["turn"] is not None:
            turn = references[fact["call"]]["turns"][fact["turn"]]
            assert fact["text"]
            assert fact["text"] in turn["text"]
            assert turn["start"] - ROUNDING <= fact["start"] < fact["end"] <= turn["end"] + ROUNDING
        elif fact["start"] is not None:
            assert fact["end"] - fact["start"] >= 5


def test_planted_outcomes_are_whole_and_without_contradiction(planted, good):
    for call in good:
        facts = [fact for fact in planted if fact["call"] == call]
        outcomes = Counter(f["rule"] for f in facts if f["kind"] in {"pass", "not_applicable"})
        assert max(outcomes.values()) == 1
        assert not set(outcomes) & {f["rule"] for f in facts if f["kind"] == "fault"}, call
        judged = set(outcomes) | {f["rule"] for f in facts if f["kind"] == "fault"}
        assert judged >= {"opening.greeting", "neg.cannot", "lang.vague", "conduct.silence", "closing.order"}


def test_model_call_has_no_fault(planted):
    kinds = Counter(fact["kind"] for fact in planted if fact["call"] == "d01")
    assert kinds["fault"] == 0
    assert kinds["pass"] >= 25


@pytest.mark.parametrize("rule", NEGATIVE)
def test_each_forbidden_family_has_a_fault_and_a_trap(planted, rule):
    assert {"fault", "trap"} <= {fact["kind"] for fact in planted if fact["rule"] == rule}


def test_each_state_and_part_occurs(planted):
    assert {fact["rule"] for fact in planted if fact["kind"] == "state"} == STATES | PARTS


def test_interruptions_are_long_and_late_enough(planted, references):
    faults = [fact for fact in planted if fact["rule"] == "conduct.interruption" and fact["kind"] == "fault"]
    assert len(faults) >= 2
    for fact in faults:
        before = references[fact["call"]]["turns"][fact["turn"] - 1]
        assert before["role"] == "customer"
        assert fact["end"] - fact["start"] >= 1.5
        assert fact["start"] - before["start"] >= 1


def test_silences_are_where_nobody_speaks(planted, references):
    for fact in planted:
        if fact["rule"] == "conduct.silence" and fact["start"] is not None:
            for turn in references[fact["call"]]["turns"]:
                assert turn["end"] <= fact["start"] + ROUNDING or turn["start"] >= fact["end"] - ROUNDING


def test_no_silence_but_the_planted(planted, references, good):
    for call in good:
        turns = references[call]["turns"]
        known = [f for f in planted if f["call"] == call and f["start"] is not None and f["turn"] is None]
        ended = 0.0
        for turn in turns:
            if turn["start"] - ended >= 5:
                assert any(f["start"] <= ended + 1 and f["end"] >= turn["start"] - 1 for f in known), (
                    call,
                    ended,
                )
            ended = max(ended, turn["end"])


def test_elderly_paces_lie_on_the_right_side_of_240_a_minute(planted, references):
    for fact in planted:
        if fact["rule"] == "elderly.pace" and fact["kind"] in {"pass", "fault"}:
            assert (references[fact["call"]]["agent_rate"] > 240) == (fact["kind"] == "fault")


def test_the_card_number_read_out_is_a_real_shape(planted):
    text = next(
        f["text"] for f in planted if f["call"] == "d08" and f["rule"] == "compliance.privacy_readout"
    )
    digits = ["零一二三四五六七八九".index(c) for c in re.findall("[零一二三四五六七八九]", text)]
    assert len(digits) == 16
    doubled = [d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(reversed(digits))]
    assert sum(doubled) % 10 == 0


def test_bad_files_are_bad_in_their_way(manifest):
    audio = {call: DEMO / row["file"] for call, row in manifest.items()}
    assert audio["b04"].stat().st_size == 0
    assert audio["b03"].read_bytes().decode("utf-8")
    assert (
        hashlib.sha256(audio["b06"].read_bytes()).digest()
        == hashlib.sha256(audio["d02"].read_bytes()).digest()
    )
    assert b"moov" not in audio["b01"].read_bytes()
    header = audio["b02"].read_bytes()
    promised = int.from_bytes(header[header.index(b"data") + 4 :][:4], "little")
    assert promised > 10 * len(header)
