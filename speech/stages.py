"""What makes a stage's result: its weights, its settings and the revision of its code, summed up in a fingerprint.

A stage is done again only when its own fingerprint changes. Raise a revision when a change of code changes results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from speech.models import locate
from speech.options import SpeechOptions

REVISIONS = {"decode": 1, "recognise": 2, "diarize": 3, "measure": 2, "emotion": 1}
HEARING = ("decode", "recognise", "diarize", "measure")  # the stages that need the sound, done together


def meanings(options: SpeechOptions, compute_type: str) -> dict[str, dict[str, Any]]:
    """What each stage's fingerprint stands for, as plain data.

    Raises ModelError when weights are not here.
    """

    def weights(name: str) -> dict[str, str]:
        found = locate(name, options.models_folder, offline=options.offline)
        return {"name": name, "sha256": found.fingerprint}

    stages: dict[str, dict[str, Any]] = {
        "decode": {"av": version("av")},
        "recognise": {
            "weights": weights(options.models.recogniser),
            "compute_type": compute_type,
            "ctranslate2": version("ctranslate2"),
            "faster_whisper": version("faster-whisper"),
            "language": options.language,
            "languages": list(options.languages),
            "beam_size": options.beam_size,
            "hotwords": list(options.hotwords),
            "seed": options.seed,
        },
        "diarize": {"weights": weights(options.models.diarizer), "pyannote": version("pyannote.audio")},
        "measure": {},
    }
    if options.emotion:
        stages["emotion"] = {
            "text": weights(options.models.text_emotion),
            "sentence": weights(options.models.sentence),
            "voice": weights(options.models.voice_emotion) if options.models.voice_emotion else None,
        }
    return {stage: {"revision": REVISIONS[stage], **meaning} for stage, meaning in stages.items()}


def fingerprint(meaning: Mapping[str, Any]) -> str:
    """sha256 (hex) over a meaning's canonical JSON."""
    canonical = json.dumps(meaning, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def fingerprints(options: SpeechOptions, compute_type: str) -> dict[str, str]:
    """Stage → fingerprint, for every stage that these options switch on."""
    return {stage: fingerprint(meaning) for stage, meaning in meanings(options, compute_type).items()}
