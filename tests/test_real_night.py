"""The real night: demo recordings through real models, once; everything that needs real results reads what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from qa.states import Outcome
from qa.store import open_store
from qa.store.schema import Call, LedgerRow, NightFile
from qa.store.scorecards import load_scorecard
from qa.store.transcripts import load_transcript
from speech.types import Role, Sign

pytestmark = pytest.mark.models

DEMO = Path(__file__).parents[1] / "demo"


@pytest.fixture(scope="module")
def store(real_night):
    store = open_store(real_night.settings.store_url)
    yield store
    store.close()


def facts(call_id: str, kind: str) -> list[dict]:
    lines = (DEMO / "planted.jsonl").read_text("utf-8").splitlines()
    return [fact for fact in map(json.loads, lines) if fact["call"] == call_id and fact["kind"] == kind]


def test_the_night_ends_well_and_accounts_for_every_file(real_night, store):
    assert real_night.returncode == 0, real_night.output
    with store.read() as session:
        lines = list(session.scalars(select(NightFile)))
    assert len(lines) == real_night.files
    assert {line.outcome for line in lines} <= {str(o) for o in Outcome} - {"pending", "failed"}
    assert "收到" in real_night.output or "received" in real_night.output


def test_every_bad_file_is_in_its_state(real_night, store):
    with store.read() as session:
        reasons = {Path(line.path).name.split("_")[0]: line.reason for line in session.scalars(select(NightFile))}
        for call_id in real_night.bad:
            (state,) = facts(call_id, "state")
            names = {state["rule"], *state.get("also", ())}
            signs = set()
            if session.get(LedgerRow, (call_id, "score")) is not None:
                signs = {str(sign) for sign in load_transcript(session, call_id).signs}
            assert names & ({reasons[call_id]} | signs), (call_id, reasons[call_id], signs)


def test_roles_are_right(real_night, store):
    with store.read() as session:
        for call_id in real_night.good:
            transcript = load_transcript(session, call_id)
            reference = json.loads((DEMO / f"reference/{call_id}.json").read_text("utf-8"))["turns"]
            said = {role: {c for t in reference if t["role"] == role for c in t["text"]} for role in ("agent", "customer")}
            for role, other in ((Role.AGENT, "customer"), (Role.CUSTOMER, "agent")):
                text = [c for turn in transcript.turns if turn.role == role for c in turn.text]
                assert text, (call_id, role)
                own = sum(c in said[str(role)] for c in text) / len(text)
                assert own >= sum(c in said[other] for c in text) / len(text), (call_id, role)


def test_the_model_call_has_no_fault(store):
    with store.read() as session:
        card = load_scorecard(session, "d01")
    assert not card.fatal
    wrong = [item.rule for item in card.items if item.outcome == "fail" and not item.draft and item.rule.startswith(("neg.", "conduct.", "compliance."))]
    assert wrong == []
    assert card.score is not None
    assert card.score >= 85


def test_words_have_times_within_their_call(store, real_night):
    with store.read() as session:
        for call_id in real_night.good:
            transcript = load_transcript(session, call_id)
            assert transcript.duration
            for turn in transcript.turns:
                assert "".join(word.text for word in turn.words) == turn.text
                for word in turn.words:
                    assert 0 <= word.start <= word.end <= transcript.duration + 0.1
                    assert 0 <= word.probability <= 1


def test_results_say_what_made_them(store, real_night):
    with store.read() as session:
        transcript = load_transcript(session, real_night.good[0])
        assert {"decode", "recognise", "diarize", "measure", "emotion"} <= set(transcript.fingerprints)
        assert session.get_one(Call, real_night.good[0]).kind


def test_a_second_run_has_nothing_to_do(real_night):
    again = real_night.huiting("run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert real_night.transcribed() == real_night.transcribed_once


def test_transcribe_and_score_work_on_files_alone(real_night, tmp_path):
    audio = [str(DEMO / "audio" / name) for name in ("b10_too_short.wav", "b03_not_audio.wav")]
    told = real_night.huiting("transcribe", *audio, "--out", str(tmp_path), "--rttm", HUITING_LANG="en")
    assert told.returncode == 3
    assert "b03_not_audio" in told.stderr
    written = tmp_path / "b10_too_short.jsonl"
    line = json.loads(written.read_text("utf-8"))
    assert line["format"] == 1
    assert line["id"] == "b10_too_short"
    assert Sign.TOO_SHORT in line.get("signs", [Sign.TOO_SHORT])
    assert (tmp_path / "b10_too_short.rttm").exists()
    scored = real_night.huiting("score", str(written), "--out", str(tmp_path / "out.jsonl"))
    assert scored.returncode == 0, scored.stderr
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8"))["id"] == "b10_too_short"


def test_show_masks_unless_asked_and_audits_the_asking(real_night, store):
    from qa.store.schema import AuditEvent

    masked = real_night.huiting("show", "d01", "--transcript", COLUMNS="200")
    assert masked.returncode == 0, masked.stderr
    assert real_night.huiting("show", "d01", "--unmasked").returncode == 0
    with store.read() as session:
        assert "unmask" in set(session.scalars(select(AuditEvent.action)))
    assert real_night.huiting("show", "nobody").returncode == 2
