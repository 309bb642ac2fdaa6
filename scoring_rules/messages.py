"""Texts for people, by key and locale, from data/messages.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

LOCALES = ("zh", "en")


@cache
def _catalogue() -> Mapping[str, Mapping[str, str]]:
    import yaml

    text = resources.files("scoring_rules").joinpath("data/messages.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def message(key: str, locale: str, /, **values: object) -> str:
    """The text of `key` in `locale`, filled in. Raises KeyError for an unknown key."""
    text = pick(_catalogue()[key], locale)
    return text.format(**values) if values else text


def has_message(key: str) -> bool:
    return key in _catalogue()


def pick(texts: Mapping[str, str], locale: str) -> str:
    """The text in `locale`, or in another language where it is missing; empty where there is none."""
    return texts.get(locale) or next((texts[other] for other in LOCALES if texts.get(other)), "")
