"""Character error rate of the recogniser in force on clips with reference text, and roles on the call recordings.

    python bench/recognition.py ../shared/fixtures

The folder holds audio/manifest.jsonl. Writes bench/results/recognition.json.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from cer import error_rate, plain

from qa.settings import Settings
from speech.batch import Job
from speech.devices import describe, find
from speech.engine import Engine
from speech.types import Role, Transcript

NAMES = {"agent": Role.AGENT, "caller": Role.CUSTOMER}  # of speakers in an RTTM
RESULTS = Path(__file__).parent / "results/recognition.json"


def main(folder: Path) -> None:
    options = Settings.load().speech_options()
    devices = find(options.device, options.compute_type)
    engine = Engine(options, devices[0])
    clips = [json.loads(line) for line in (folder / "audio/manifest.jsonl").read_text("utf-8").splitlines()]
    wanted = {Path(c["file"]).stem: c for c in clips if c["text"] or "call" in c["file"]}
    began = time.perf_counter()
    rows, edits, characters, seconds = [], 0.0, 0, 0.0
    jobs = [Job(name, folder / "audio" / clip["file"], {}, 0) for name, clip in wanted.items()]
    for result in engine.run(jobs):
        if not isinstance(result, Transcript):
            print(f"{result.id}: {result.message}")
            continue
        clip, seconds = wanted[result.id], seconds + (result.duration or 0)
        row = {"clip": result.id, "language": result.language, "seconds": result.duration}
        row["roles"] = {speaker: [guess.role, round(guess.confidence, 2), guess.why] for speaker, guess in result.roles.items()}
        if clip["rttm"] and (share := right_roles(result, folder / "audio" / clip["rttm"])) is not None:
            row["roles_right"] = round(share, 3)
        if clip["text"]:
            heard = "".join(turn.text for turn in result.turns)
            row["cer"] = round(error_rate(clip["text"], heard), 4)
            length = len(plain(clip["text"]))
            if clip["language"] == "zh":
                edits, characters = edits + row["cer"] * length, characters + length
        rows.append(row)
        print(json.dumps(row, ensure_ascii=False))
    took = time.perf_counter() - began
    pooled = edits / max(1, characters)
    print(f"CER over the Mandarin clips with text: {pooled:.1%} of {characters} characters; {seconds / took:.1f} × real time")
    told = {"machine": describe(devices), "models": options.models.recogniser, "cer": pooled, "clips": rows}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")


def right_roles(heard: Transcript, rttm: Path) -> float | None:
    """Share of the seconds of turns, as far as somebody speaks in them by the RTTM, that are in the right role.

    None where the RTTM does not name its speakers agent and caller.
    """
    truth = [(span, NAMES.get(speaker)) for span, speaker in read_rttm(rttm)]
    if {role for _, role in truth} != set(NAMES.values()):
        return None
    right = total = 0.0
    for turn in heard.turns:
        for span, role in truth:
            shared = max(0.0, min(turn.end or 0.0, span[1]) - max(turn.start or 0.0, span[0]))
            total += shared
            right += shared * (turn.role == role)
    return right / total if total else None


def read_rttm(path: Path) -> list[tuple[tuple[float, float], str]]:
    fields = [line.split() for line in path.read_text("utf-8").splitlines() if line.startswith("SPEAKER")]
    return [((float(f[3]), float(f[3]) + float(f[4])), f[7]) for f in fields]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
