"""The picture of the morning summary in the README, from the demo's results: HUITING_SETTINGS=demo/huiting.toml."""

from __future__ import annotations

import io
from pathlib import Path

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
        console.save_svg(str(Path(__file__).with_name(name)), title="huiting run")
    store.close()


if __name__ == "__main__":
    main()
