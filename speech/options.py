"""One frozen object with every setting of the speech stages. `qa.settings` fills it from TOML and environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelNames:
    """Which weights to use. `package:NAME` (see speech/weights.toml), a hub id `org/name`, or a folder's path."""

    recogniser: str = "package:whisper-base"
    diarizer: str = "package:segmentation-3.0+campplus"  # or a pyannote pipeline: hub id or folder
    sentence: str = "package:multilingual-e5-small"  # sentence embedding, a transformers encoder
    text_emotion: str = "package:emotion-zh"  # the embedded head over `sentence`, or a transformers text-classification model
    voice_emotion: str = ""  # a transformers audio-classification model; empty: none


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    models_folder: Path = Path("var/models")
    models: ModelNames = field(default_factory=ModelNames)
    offline: bool = True  # never ask a hub; `huiting models pull` is the one place that does
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    compute_type: str = "auto"  # auto: int8 on CPU, float16 or int8_float16 on CUDA
    cpu_threads: int = 0  # 0: all cores
    language: str = "auto"  # a code, or "auto": per call, the likeliest of `languages`
    languages: tuple[str, ...] = ("zh", "en")  # what this site speaks; anything else is the sign `wrong_language`
    beam_size: int = 5
    batch_windows: int = 0  # recogniser windows a batch; 0: chosen by device
    hotwords: tuple[str, ...] = ()
    agent_channel: int = 0  # 0-based channel on which the site records its agents; -1: unknown
    emotion: bool = True
    emotion_labels: tuple[str, ...] = ()  # "THEIRS=ours": labels of another emotion model, see docs/models.md
    min_seconds: float = 0.0  # shorter recordings carry the sign `too_short`
    max_seconds: float = 7200.0  # longer ones are refused: a call is decoded as a whole, 0.5 GB an hour of stereo
    min_speech_seconds: float = 1.5  # less speech than this in all: the sign `no_speech`
    seed: int = 0
