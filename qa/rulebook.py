"""The rules in force and the sentence model behind them, ready to judge."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import structlog

from qa.rule_versions import Layer, newest_version, written_out
from qa.scoring import Scoring
from qa.settings import Settings
from qa.store.engine import Store
from scoring_rules.evaluate import Evaluator
from scoring_rules.load import load_pack
from scoring_rules.model import Pack
from speech.types import ModelError

log = structlog.get_logger("huiting.rules")


def packs_in_force(settings: Settings, store: Store | None = None) -> Pack:
    """The rules that calls are judged by: the shipped packs and the newest published version of the site's own.

    Without a database, and where nothing was ever published, the folders of the settings as they stand. Raises
    PackError with every fault.
    """
    return load_pack(settings.rules.languages, overlays_in_force(settings, store)[0], slots=settings.rules.slots)


def overlays_in_force(settings: Settings, store: Store | None) -> tuple[tuple[Path, ...], int | None]:
    """The folders of the site's own rules that are in force, and the number of their version (None: unpublished)."""
    if store is None:
        return settings.rules.overlays, None
    with store.read() as session:
        newest = newest_version(session)
    if newest is None:
        return settings.rules.overlays, None
    return written_out(newest.layers, settings.data.folder), newest.number


def pack_of(settings: Settings, layers: Sequence[Layer], *, collect: bool = False) -> Pack:
    """The rules with these layers over the shipped ones. Raises PackError, unless they are to be collected."""
    folders = written_out(layers, settings.data.folder)
    return load_pack(settings.rules.languages, folders, slots=settings.rules.slots, collect=collect)


def encoder_in_force(settings: Settings):
    """The sentence model of the settings, or None where it is not installed: conditions of meaning are then
    `not evaluated`, and the log says so.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        log.warning("no sentence model, since the speech extra is not installed: heads judge by words alone, conditions of meaning are not evaluated")
        return None
    from speech.devices import find
    from speech.embed import SentenceEncoder
    from speech.models import locate

    options = settings.speech_options()
    try:
        weights = locate(options.models.sentence, options.models_folder)
        return SentenceEncoder(weights, find(options.device, options.compute_type)[0])
    except ModelError as error:
        log.warning("no sentence model: heads judge by words alone, conditions of meaning are not evaluated", error=str(error))
        return None


def scoring_in_force(settings: Settings, store: Store | None = None) -> Scoring:
    """Everything that turns a stored transcript into a scorecard."""
    overlays, version = overlays_in_force(settings, store)
    pack = load_pack(settings.rules.languages, overlays, slots=settings.rules.slots)
    encoder = encoder_in_force(settings)
    return Scoring(pack, Evaluator(pack, encoder), encoder.fingerprint if encoder is not None else "", version)
