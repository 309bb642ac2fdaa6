"""A site for the tests of the call page: the small site of appsite.py, a real two-channel recording, and an hour's call of
3,000 turns; and a server on it that can be killed and started again.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import wave
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from appsite import MONDAY, PASSWORD, A, AppSite, C, _evaluator, build

from qa import accounts, scorecard
from qa.access import Role
from qa.accounts import NewAccount
from qa.scoring import attributes
from qa.store.schema import Call, Recording
from qa.store.scorecards import save_scorecard
from qa.store.transcripts import save_transcript
from speech.acoustics import measure_turns
from speech.audio import content_hash
from speech.types import Emotion, Span, Transcript, Turn, Word

PROJECT = Path(__file__).resolve().parent.parent
START_SECONDS = 120  # a busy machine
REAL = "d02"  # an angry customer, two channels, MP3
LONG = "hour"
LONG_TURNS, TURN_SECONDS = 3_000, 1.2
RATE = 8_000  # Hz, of the hour's recording
BURST_AT, BURST_SECONDS = 29 * 60.0, 0.5  # where the hour's second channel sounds, and nowhere else


def build_site(folder: Path) -> AppSite:
    site = build(folder)
    with site.store.write() as session:
        _store(session, site, real_transcript(), PROJECT / "demo/audio/d02_parcel_angry.mp3", agent="A1", kind="投诉")
        _store(session, site, long_transcript(), write_hour(folder / "hour.wav"), agent="A2", kind="咨询")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(accounts, "SCRYPT_N", 2**8)
            second = NewAccount("second", Role.INSPECTOR, name="second", agent=None, teams=[], password=PASSWORD)
            accounts.add_account(session, "test", second)
    return site


def _store(session, site: AppSite, heard: Transcript, recording: Path, agent: str, kind: str) -> None:
    call = Call(id=heard.id, agent=agent, team="north", kind=kind, started_at=MONDAY + timedelta(hours=1))
    call.recording = Recording(
        path=str(recording), sha256=content_hash(recording), size=recording.stat().st_size
    )
    session.add(call)
    session.flush()
    transcript_id = save_transcript(session, call.id, heard)
    session.refresh(call)
    evaluator = _evaluator()
    conversation = replace(heard, attributes=attributes(call))
    save_scorecard(
        session, call.id, scorecard.build(evaluator.pack, evaluator.run(conversation), conversation), transcript_id
    )


def real_transcript() -> Transcript:
    """What is said in the demo's recording, word for word, with an overlap and a doubtful word as a night would tell."""
    data = json.loads((PROJECT / f"demo/reference/{REAL}.json").read_text("utf-8"))
    turns = []
    for one in data["turns"]:
        step = (one["end"] - one["start"]) / len(one["text"])
        words = tuple(
            Word(c, one["start"] + n * step, one["start"] + (n + 1) * step, 0.3 if c == "昨" else 0.95)
            for n, c in enumerate(one["text"])
        )
        role = A if one["role"] == "agent" else C
        felt = Emotion("angry" if any(c in one["text"] for c in "骗投欺") else "neutral", 0.9) if role is C else None
        turns.append(Turn(one["speaker"], one["text"], one["start"], one["end"], words, role, felt))
    measured = measure_turns(turns, data["duration"])
    return Transcript(REAL, "zh", tuple(turns), duration=data["duration"], acoustics=measured)


def long_transcript() -> Transcript:
    """An hour of short turns, alternating, with a forbidden phrase now and then."""
    said = {A: ["好的您请说", "这边给您登记", "稍等一下", "已经登记好了"], C: ["嗯嗯对", "就是上个礼拜的", "颜色不太对", "那怎么换呢"]}
    turns = []
    for number in range(LONG_TURNS):
        role = A if number % 2 == 0 else C
        text = "这个我没办法" if number % 300 == 150 else said[role][number // 2 % 4]
        start = number * TURN_SECONDS
        step = 1.0 / len(text)
        words = tuple(Word(c, start + n * step, start + (n + 1) * step, 0.4 if number % 50 == 0 else 0.95) for n, c in enumerate(text))
        turns.append(Turn("A" if role is A else "B", text, start, start + 1.0, words, role))
    return Transcript(LONG, "zh", tuple(turns), duration=LONG_TURNS * TURN_SECONDS, acoustics=measure_turns(turns))


def write_hour(path: Path) -> Path:
    """The first channel hums throughout; the second is still but for one burst."""
    count = int(LONG_TURNS * TURN_SECONDS * RATE)
    sound = np.full((count, 2), 128, np.uint8)
    hum = (128 + 12 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)).astype(np.uint8)
    sound[:, 0] = np.tile(hum, count // RATE + 1)[:count]
    first, last = int(BURST_AT * RATE), int((BURST_AT + BURST_SECONDS) * RATE)
    sound[first:last, 1] = (128 + 120 * np.sin(2 * np.pi * 700 * np.arange(last - first) / RATE)).astype(np.uint8)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(1)
        file.setframerate(RATE)
        file.writeframes(sound.tobytes())
    return path


def burst() -> Span:
    return Span(BURST_AT, BURST_AT + BURST_SECONDS)


class Server:
    """`huiting app` on a site, on a free port that stays its own."""

    def __init__(self, site: AppSite) -> None:
        self.site = site
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        log = self.site.folder / "app.log"
        environment = {**os.environ, "HUITING_SETTINGS": str(self.site.settings_file), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "qa.cli", "app", "--port", str(self.port)]
        with log.open("a") as out:
            self._process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=PROJECT)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self._process.poll() is None, log.read_text("utf-8")
            try:
                urllib.request.urlopen(f"{self.base}/_stcore/health", timeout=2)
                return
            except OSError:
                time.sleep(0.5)
        pytest.fail(f"the app did not start in {START_SECONDS} s:\n{log.read_text('utf-8')}")

    def kill(self) -> None:
        """As a crash or a pulled plug would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)
