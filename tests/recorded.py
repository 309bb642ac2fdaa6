"""A worker process that has no models: it reads each recording's transcript from the file beside it.

Everything around it is the real thing, so that a night of many calls takes a second. Each call it is given is
written down in heard.log: what a recogniser call would have been.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from speech.batch import Failed, Refused
from speech.types import Sign, Transcript, Turn

STAGES: dict[str, str] = {stage: stage * 4 for stage in ("decode", "recognise", "diarize", "measure", "emotion")}


def heard(folder: Path) -> list[str]:
    """Ids of all calls ever given to a recogniser, in order."""
    log = folder / "heard.log"
    return log.read_text().split() if log.exists() else []


def write_call(folder: Path, name: str, **wish: object) -> Path:
    """A recording (its bytes are only ever hashed) and what its worker is to answer."""
    path = folder / f"{name}.wav"
    path.write_bytes(b"RIFF....WAVE" + name.encode() + bytes(str(wish), "utf-8"))
    os.utime(path, (time.time() - 3600,) * 2)
    (folder / f"{name}.answer").write_text(json.dumps(wish))
    return path


def worker(pipe, options, device) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _work(pipe)
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent was killed


def _work(pipe) -> None:
    pipe.send(("ready", STAGES))
    held = []
    while True:
        while pipe.poll() or not held:
            try:
                job = pipe.recv()
            except EOFError:
                return
            if job is None:
                return
            held.append(job)
        job = held.pop(0)
        wish = json.loads(job.path.with_suffix(".answer").read_text())
        with (job.path.parent / "heard.log").open("a") as log:
            log.write(f"{job.id}\n")
        time.sleep(wish.get("seconds", 0))
        if wish.get("kills"):
            os.kill(os.getpid(), signal.SIGKILL)
        if wish.get("fails"):
            pipe.send(("result", Failed(job.id, wish["fails"], "trace")))
        elif wish.get("refused"):
            pipe.send(("result", Refused(job.id, (Sign(wish["refused"]),), "why", 12.0)))
        else:
            pipe.send(("result", _transcript(job, wish)))


def _transcript(job, wish: dict) -> Transcript:
    said = wish.get("said") or [["agent", "您好，感谢您的来电，请问有什么可以帮您？"], ["customer", "我查一下话费。"]]
    turns = tuple(
        Turn("A" if role == "agent" else "B", text, 3.0 * i, 3.0 * i + 2.5, role=role) for i, (role, text) in enumerate(said)
    )
    return Transcript(
        id=job.id,
        language="zh",
        turns=turns,
        duration=3.0 * len(turns),
        attributes={"kind": "查询", "kind_confidence": 0.8, **job.attributes},
        signs=tuple(Sign(sign) for sign in wish.get("signs", ())),
        fingerprints={stage: STAGES[stage] for stage in STAGES if stage not in wish.get('without', ())},
    )
