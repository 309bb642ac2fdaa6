"""× real time and peak memory of a night over 1, 10 and 50 calls: the demo's calls repeated under other hashes.

    python bench/throughput.py [1 10 50]

Each night runs in a process of its own; memory is the most that it and its workers held together (PSS). Writes
bench/results/throughput.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from itertools import cycle, islice
from pathlib import Path

from speech.audio import decode

PROJECT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results/throughput.json"
SAMPLE_SECONDS = 0.5
MEGABYTE = 1 << 20


def prepare(folder: Path, count: int) -> float:
    """`count` calls, each with bytes of its own; returns their seconds of audio."""
    sources = sorted((PROJECT / "demo/audio").glob("d*.wav")) + sorted((PROJECT / "demo/audio").glob("d*.opus"))
    seconds = 0.0
    for number, source in enumerate(islice(cycle(sources), count)):
        target = folder / f"{number:03d}{source.suffix}"
        target.write_bytes(source.read_bytes() + b"\0" * (number + 1))
        seconds += decode(target).duration
    return seconds


def held(root: int) -> int:
    """Proportional set size in bytes of a process and all it started."""
    total, todo = 0, [root]
    while todo:
        process = todo.pop()
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            todo += [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def night(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        calls = Path(folder) / "calls"
        calls.mkdir()
        seconds = prepare(calls, count)
        environment = {**os.environ, "HUITING_DATA__FOLDER": f"{folder}/data", "HUITING_INTAKE__SETTLE_SECONDS": "0"}
        began, peak = time.perf_counter(), 0
        process = subprocess.Popen(
            [sys.executable, "-m", "qa.cli", "run", str(calls)], env=environment, stdout=subprocess.DEVNULL, cwd=PROJECT
        )
        waiter = threading.Thread(target=process.wait)
        waiter.start()
        while waiter.is_alive():
            peak = max(peak, held(process.pid))
            waiter.join(SAMPLE_SECONDS)
        took = time.perf_counter() - began
    return {
        "calls": count,
        "audio_seconds": round(seconds, 1),
        "wall_seconds": round(took, 1),
        "times_real_time": round(seconds / took, 2),
        "peak_megabytes": round(peak / MEGABYTE),
        "exit_code": process.returncode,
    }


def main(counts: list[int]) -> None:
    rows = []
    for count in counts:
        rows.append(night(count))
        print(json.dumps(rows[-1]), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"cores": os.cpu_count(), "nights": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [1, 10, 50])
