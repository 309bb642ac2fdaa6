"""The rules in force and the sentence model behind them, ready to judge."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import structlog

from qa.scoring import Scoring
from qa.settings import Settings
from scoring_rules.evaluate import Evaluator
from scoring_rules.load import load_pack
from scoring_rules.model import Pack
from speech.types import ModelError

log = structlog.get_logger("huiting.rules")


def packs_in_force(settings: Settings) -> Pack:
    """The packs that the settings name, with the site's overlays. Raises PackError with every fault."""
    return load_pack(settings.rules.languages, settings.rules.overlays, slots=settings.rules.slots)


def encoder_in_force(settings: Settings):
    """The sentence model of the settings, or None where it is not installed: conditions of meaning are then
    `not evaluated`, and the log says so.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        log.warning("no sentence model: the speech extra is not installed; conditions of meaning are not evaluated")
        return None
    from speech.devices import find
    from speech.embed import SentenceEncoder
    from speech.models import locate

    options = settings.speech_options()
    try:
        weights = locate(options.models.sentence, options.models_folder)
        return SentenceEncoder(weights, find(options.device, options.compute_type)[0])
    except ModelError as error:
        log.warning("no sentence model: conditions of meaning are not evaluated", error=str(error))
        return None


def scoring_in_force(settings: Settings, overlays: tuple[Path, ...] = ()) -> Scoring:
    """Everything that turns a stored transcript into a scorecard."""
    pack = load_pack(settings.rules.languages, (*settings.rules.overlays, *overlays), slots=settings.rules.slots)
    encoder = encoder_in_force(settings)
    return Scoring(pack, Evaluator(pack, encoder), encoder.fingerprint if encoder is not None else "")
