"""`huiting transcribe`: recordings in, transcript files out; no database."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from qa.commands.setup import load_settings
from qa.exit_codes import Exit
from qa.messages import text
from speech.batch import Job
from speech.types import Transcript

PATH_HASH = 8  # hex characters that tell two recordings of one name apart


def transcribe_command(
    path: Path | None, recordings: Sequence[Path], out: Path, rttm: bool, agent_channel: int | None, language: str
) -> Exit:
    """Every recording is tried; those that cannot be used are named with their reason, and the exit code tells."""
    from qa.transcripts import write_transcript
    from speech.devices import find
    from speech.engine import Engine

    settings = load_settings(path)
    options = settings.speech_options()
    if language:
        options = replace(options, language=language)
    console = Console(stderr=True)
    names = output_names(recordings)
    absent = [recording for recording in names if not recording.is_file()]
    for recording in absent:
        console.print(text("intake.no_source", path=recording), style="red")
    out.mkdir(parents=True, exist_ok=True)
    jobs = [Job(names[recording], recording, {}, agent_channel) for recording in names if recording not in absent]
    if not jobs:
        return Exit.FAILED_CALLS
    unusable = len(absent)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(text("run.loading_models"), total=len(jobs))
        engine = Engine(options, find(options.device, options.compute_type)[0])
        bar.update(task, description=text("run.hearing"))
        for result in engine.run(jobs):
            bar.advance(task)
            if isinstance(result, Transcript):
                write_transcript(out / f"{result.id}.jsonl", result)
                if rttm:
                    (out / f"{result.id}.rttm").write_text(to_rttm(result), encoding="utf-8")
                if result.signs:
                    told = ", ".join(text(f"reason.{sign}") for sign in result.signs)
                    console.print(f"{result.id}: {told}", style="yellow")
            else:
                unusable += 1
                console.print(f"{result.id}: {result.message}", style="red")
    console.print(text("transcribe.done", count=len(names) - unusable, folder=out))
    return Exit.FAILED_CALLS if unusable else Exit.OK


def output_names(recordings: Sequence[Path]) -> dict[Path, str]:
    """Recording → name of its output: its own name, and a hash of its path where two share one."""
    unique = list(dict.fromkeys(path.absolute() for path in recordings))
    stems = Counter(path.stem for path in unique)
    return {
        path: path.stem
        if stems[path.stem] == 1
        else f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:PATH_HASH]}"
        for path in unique
    }


def to_rttm(transcript: Transcript) -> str:
    """Turns as RTTM lines: NIST's Rich Transcription Time Marked format, one SPEAKER line a turn."""
    name = transcript.id.replace(" ", "_")
    return "".join(
        f"SPEAKER {name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in transcript.turns
        if turn.start is not None and turn.end is not None
    )
