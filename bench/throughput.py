"""× real time and peak memory of a night over 1, 10 and 50 calls: the demo's calls repeated under other hashes.

    python bench/throughput.py [1 10 50] [--cut SECONDS]

Each night runs in a process of its own; memory is the most that it and its workers held together (PSS). Processor seconds
stand beside wall seconds: other work on the machine disturbs them least. With --cut only the first seconds of each
call are taken (as 8 kHz PCM), for machines on which the whole calls take too long. Writes bench/results/throughput.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import wave
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from speech.audio import SAMPLE_RATE, decode

PROJECT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results/throughput.json"
SAMPLE_SECONDS = 0.5
MEGABYTE = 1 << 20


def prepare(folder: Path, count: int, cut: float | None) -> float:
    """`count` calls, each with bytes of its own; returns their seconds of audio."""
    sources = sorted((PROJECT / "demo/audio").glob("d*.wav")) + sorted((PROJECT / "demo/audio").glob("d*.opus"))
    seconds = 0.0
    for number, source in enumerate(islice(cycle(sources), count)):
        if cut is None:
            target = folder / f"{number:03d}{source.suffix}"
            target.write_bytes(source.read_bytes() + b"\0" * (number + 1))
        else:
            target = folder / f"{number:03d}.wav"
            write_beginning(source, target, cut)
            target.write_bytes(target.read_bytes() + b"\0" * (number + 1))
        seconds += decode(target).duration
    return seconds


def write_beginning(source: Path, target: Path, seconds: float) -> None:
    """The first seconds of a recording as 8 kHz PCM."""
    samples = decode(source).samples[:, : int(seconds * SAMPLE_RATE) : SAMPLE_RATE // 8000]  # (channels, samples)
    with wave.open(str(target), "wb") as file:
        file.setnchannels(samples.shape[0])
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((samples.T * 32767).astype(np.int16).tobytes())


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


def computed() -> float:
    """Processor seconds of all processes that this one has started and that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def night(count: int, cut: float | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        calls = Path(folder) / "calls"
        calls.mkdir()
        seconds = prepare(calls, count, cut)
        environment = {**os.environ, "HUITING_DATA__FOLDER": f"{folder}/data", "HUITING_INTAKE__SETTLE_SECONDS": "0"}
        began, before, peak = time.perf_counter(), computed(), 0
        process = subprocess.Popen(
            [sys.executable, "-m", "qa.cli", "run", str(calls)], env=environment, stdout=subprocess.DEVNULL, cwd=PROJECT
        )
        waiter = threading.Thread(target=process.wait)
        waiter.start()
        while waiter.is_alive():
            peak = max(peak, held(process.pid))
            waiter.join(SAMPLE_SECONDS)
        took, cost = time.perf_counter() - began, computed() - before
    return {
        "calls": count,
        "audio_seconds": round(seconds, 1),
        "wall_seconds": round(took, 1),
        "times_real_time": round(seconds / took, 2),
        "processor_seconds": round(cost, 1),
        "peak_megabytes": round(peak / MEGABYTE),
        "exit_code": process.returncode,
    }


def main(counts: list[int], cut: float | None) -> None:
    rows = []
    for count in counts:
        rows.append(night(count, cut))
        print(json.dumps(rows[-1]), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    told = {"cores": os.cpu_count(), "load": os.getloadavg(), "cut": cut, "nights": rows}
    RESULTS.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("counts", type=int, nargs="*", default=[1, 10, 50])
    parser.add_argument("--cut", type=float)
    arguments = parser.parse_args()
    main(arguments.counts, arguments.cut)
