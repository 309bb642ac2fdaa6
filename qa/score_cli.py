"""`huiting score`: transcripts in, scorecards out, line by line; no database."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from qa.exit_codes import Exit
from qa.messages import text

STREAM = "-"


def score(
    source: Annotated[str, typer.Argument(help=text("score.arg_source"))],
    out: Annotated[str, typer.Option("--out", "-o", help=text("score.option_out"))] = STREAM,
    pack: Annotated[list[Path] | None, typer.Option("--pack", help=text("score.option_pack"))] = None,
    words_only: Annotated[bool, typer.Option("--words-only", help=text("score.option_words_only"))] = False,
    settings: Annotated[Path | None, typer.Option("--settings", help=text("cli.option_settings"))] = None,
) -> None:
    """Each transcript is read, scored and written before the next: memory stays flat over any number of calls."""
    from qa.commands.setup import load_settings
    from qa.rulebook import encoder_in_force
    from scoring_rules.evaluate import Evaluator
    from scoring_rules.load import load_pack

    chosen = load_settings(settings)
    rules = load_pack(chosen.rules.languages, (*chosen.rules.overlays, *(pack or ())), slots=chosen.rules.slots)
    evaluator = Evaluator(rules, None if words_only else encoder_in_force(chosen))
    with _lines(source) as lines, _result(out) as result:
        count = 0
        for line in score_lines(lines, source, evaluator):
            result.write(line + "\n")
            count += 1
    if out != STREAM:
        typer.echo(text("score.done", count=count, path=out), err=True)


def score_lines(lines: Iterable[bytes], name: str, evaluator) -> Iterator[str]:
    """One line of JSON a transcript. Raises TranscriptError."""
    from qa.scorecard import build, to_json
    from qa.transcripts import completed, read_transcripts

    for transcript in read_transcripts(lines, name):
        conversation = completed(transcript)
        results = evaluator.run(conversation)
        if not results:
            typer.echo(text("score.no_rules", id=conversation.id, language=conversation.language), err=True)
        yield json.dumps(to_json(build(evaluator.pack, results, conversation), conversation), ensure_ascii=False)


@contextmanager
def _lines(source: str) -> Iterator[IO[bytes]]:
    if source == STREAM:
        yield sys.stdin.buffer
        return
    if not Path(source).is_file():
        typer.echo(text("score.no_file", path=source), err=True)
        raise typer.Exit(Exit.USAGE)
    with Path(source).open("rb") as file:
        yield file


@contextmanager
def _result(out: str) -> Iterator[IO[str]]:
    if out == STREAM:
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogatepass")  # type: ignore[union-attr]
        yield sys.stdout
        return
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with Path(out).open("w", encoding="utf-8", errors="surrogatepass") as file:
        yield file
