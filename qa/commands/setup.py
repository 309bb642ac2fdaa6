"""What every command that touches data begins with: settings, log, database."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from qa.messages import set_language
from qa.redact import mask_event
from qa.settings import Settings
from qa.store.engine import Store, open_store


def load_settings(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    log_to_console()
    settings = Settings.load(path, overrides=overrides)
    set_language(settings.site.language)
    return settings


def log_to_console() -> None:
    """Warnings as lines on standard error: standard output belongs to results."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, mask_event, structlog.dev.ConsoleRenderer(colors=False)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """The database of the settings, closed at the end."""
    store = open_store(settings.store_url)
    try:
        yield store
    finally:
        store.close()


def log_to_file(settings: Settings, name: str) -> Path:
    """JSON lines into the log folder, one file a day and kind; personal data masked unless settings say otherwise."""
    folder = settings.log_folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{datetime.now(settings.time_zone):%Y%m%d}.jsonl"
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if settings.privacy.mask_logs:
        processors.append(mask_event)
    structlog.configure(
        processors=[*processors, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log.level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=path.open("a", encoding="utf-8", buffering=1)),
        cache_logger_on_first_use=False,
    )
    return path
