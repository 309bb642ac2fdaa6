"""Diarization error rate and speed: ours, pyannote's own pipeline on the same weights, and that pipeline in one pass.

    python bench/diarization.py ../shared/fixtures [--threads 1]

DER is pyannote.metrics' with no collar, overlaps counted. Clips: every mono recording with an RTTM under FOLDER/audio,
and the demo's mono calls. Timed is the diarization call alone, weights loaded and one clip warmed up before; the factor
is processor seconds ÷ seconds of sound, which other work on the machine disturbs least (wall seconds are in the file).
Writes bench/results/diarization.json.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qa.settings import Settings
from speech import quiet
from speech.audio import SAMPLE_RATE, decode
from speech.devices import cpu, describe
from speech.models import locate

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench/results/diarization.json"
EMBEDDED = "package:segmentation-3.0+campplus"
Reference = list[tuple[float, float, str]]


def main(folder: Path, threads: int) -> None:
    quiet.prepare()
    warnings.filterwarnings("ignore", module="pyannote")
    import torch

    from speech.diarize import Diarizer
    from speech.pipelines import embedded_pipeline, one_pass

    torch.set_num_threads(threads)
    weights = locate(EMBEDDED, Settings.load().speech_options().models_folder)
    diarizer = Diarizer(weights)
    stock = embedded_pipeline(weights.path)
    once = embedded_pipeline(weights.path)
    one_pass(once)

    def ours(samples: np.ndarray) -> Reference:
        return [(span.start, span.end, speaker) for span, speaker in diarizer.diarize(samples).turns]

    def by(pipeline: Any) -> Callable[[np.ndarray], Reference]:
        def run(samples: np.ndarray) -> Reference:
            file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE, "uri": "clip"}
            found = pipeline.apply(file).speaker_diarization
            return [(s.start, s.end, str(label)) for s, _, label in found.itertracks(yield_label=True)]

        return run

    ways = {"ours": ours, "pyannote": by(stock), "pyannote, one pass": by(once)}
    rows: list[dict[str, Any]] = []
    print(f"{'clip':34}{'s':>6}{'speakers':>9}" + "".join(f"{name:>30}" for name in ways))
    for name, samples, reference in _clips(folder):
        seconds = len(samples) / SAMPLE_RATE
        row: dict[str, Any] = {"clip": name, "seconds": round(seconds, 1), "speakers": len({r[2] for r in reference})}
        cells = []
        for way, run in ways.items():
            if not rows:
                run(samples[: 15 * SAMPLE_RATE])
            began, computed = time.perf_counter(), time.process_time()
            found = run(samples)
            took, computed = time.perf_counter() - began, time.process_time() - computed
            rate = error_rate(reference, found)
            row[way] = {"der": round(rate, 4), "cpu_rtf": round(computed / seconds, 4), "wall_rtf": round(took / seconds, 4), "speakers": len({r[2] for r in found})}
            cells.append(f"{rate:14.1%} {row[way]['cpu_rtf']:6.3f} × ({row[way]['speakers']})")
        rows.append(row)
        print(f"{name:34}{seconds:6.0f}{row['speakers']:9}" + "".join(f"{cell:>30}" for cell in cells), flush=True)
    told = {"machine": describe((cpu(),)), "threads": threads, "weights": weights.name, "clips": rows}
    for way in ways:
        told[way] = {
            "mean_der": round(float(np.mean([row[way]["der"] for row in rows])), 4),
            "cpu_rtf": round(sum(row[way]["cpu_rtf"] * row["seconds"] for row in rows) / sum(row["seconds"] for row in rows), 4),
        }
        print(f"{way}: mean DER {told[way]['mean_der']:.1%}, {told[way]['cpu_rtf']:.3f} processor seconds a second")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _clips(folder: Path) -> Iterator[tuple[str, np.ndarray, Reference]]:
    for rttm in sorted((folder / "audio").glob("*.rttm")):
        audio = decode(rttm.with_suffix(".flac"))
        if audio.channels == 1:
            yield rttm.stem, audio.samples[0], read_rttm(rttm)
    for rttm in sorted((ROOT / "demo/reference").glob("*.rttm")):
        [path] = (ROOT / "demo/audio").glob(f"{rttm.stem}_*")
        audio = decode(path)
        if audio.channels == 1:
            yield f"demo {path.stem}", audio.samples[0], read_rttm(rttm)


def read_rttm(path: Path) -> Reference:
    fields = [line.split() for line in path.read_text("utf-8").splitlines() if line.startswith("SPEAKER")]
    return [(float(f[3]), float(f[3]) + float(f[4]), f[7]) for f in fields]


def error_rate(reference: Reference, found: Reference) -> float:
    """Diarization error rate over the whole recording: missed, false alarm and confused ÷ reference speech."""
    from pyannote.core import Annotation, Segment
    from pyannote.metrics.diarization import DiarizationErrorRate

    truth, guess = Annotation(), Annotation()
    for annotation, turns in ((truth, reference), (guess, found)):
        for index, (start, end, speaker) in enumerate(turns):
            annotation[Segment(start, end), index] = speaker
    return float(DiarizationErrorRate(collar=0.0, skip_overlap=False)(truth, guess))  # type: ignore[arg-type]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    main(arguments.folder, arguments.threads)
