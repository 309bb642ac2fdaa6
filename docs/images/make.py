"""The picture of the morning summary in the README, from the demo's results: HUITING_SETTINGS=demo/huiting.toml."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from sqlalchemy import select

from qa.messages import in_language
from qa.settings import Settings
from qa.states import Outcome
from qa.store import open_store
from qa.store.schema import NightFile
from qa.summary import print_summary

WIDTH = 118  # characters


def main() -> None:
    settings = Settings.load()
    store = open_store(settings.store_url)
    with store.read() as session:
        # the night that scored, not the second run that found nothing to do
        night = session.scalar(select(NightFile.night_id).where(NightFile.outcome == Outcome.SCORED).limit(1))
    assert night is not None, "no night has scored anything yet"
    for language, name in (("zh", "summary.svg"), ("en", "summary.en.svg")):
        console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
        with in_language(language):
            print_summary(console, store, night, settings)
        svg = console.export_svg(title="huiting run")
        Path(__file__).with_name(name).write_text(_with_wide_characters(svg), "utf-8")
    store.close()


def _with_wide_characters(svg: str) -> str:
    """Rich squeezes each piece of text into one cell a character; a Chinese character takes two."""

    def stretch(match: re.Match[str]) -> str:
        said = html.unescape(match[3])
        if not said.strip() or cell_len(said) == len(said):
            return match[0]
        return f"{match[1]}{float(match[2]) * cell_len(said) / len(said):g}{match[0][match.end(2) - match.start() :]}"

    svg = re.sub(r"@font-face {.*?}", "", svg, flags=re.S)  # a picture that calls nobody
    return re.sub(r'(<text [^>]*textLength=")([0-9.]+)"[^>]*>([^<]*)</text>', stretch, svg)


if __name__ == "__main__":
    main()
