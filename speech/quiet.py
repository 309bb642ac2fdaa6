"""What must be so before torch-side libraries are imported: no telemetry, no hub, an importable torchaudio.

Recordings are confidential, so nothing that runs here may call out. Several libraries read these switches once, at
import; call `prepare()` first in any function that imports torch, transformers or pyannote, `hush()` where only
CTranslate2 or huggingface_hub follow.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from types import ModuleType
from typing import Any

from speech.types import ModelError

NEVER_CALL_OUT = {
    "PYANNOTE_METRICS_ENABLED": "0",  # pyannote.audio 4 sends usage metrics unless it is off before import
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # worker processes fork after a tokenizer was used
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def hush(*, offline: bool = True) -> None:
    """Set the environment that keeps libraries from calling out; `offline=False` lets huggingface_hub download."""
    os.environ.update(NEVER_CALL_OUT)
    for name, value in OFFLINE.items():
        os.environ[name] = value if offline else "0"
    constants: Any = sys.modules.get("huggingface_hub.constants")
    if constants is not None:  # imported earlier: it has read the variable already
        constants.HF_HUB_OFFLINE = offline


def prepare(*, offline: bool = True) -> None:
    """`hush`, and see to it that `import torchaudio` works. Raises ModelError where torch is not installed."""
    hush(offline=offline)
    # pyannote warns at length that files cannot be decoded without torchcodec; it gets waveforms, never files.
    warnings.filterwarnings("ignore", message=r"\s*torchcodec is not installed correctly")
    if importlib.util.find_spec("torch") is None:
        raise ModelError("torch and what needs it are not installed", "pip install 'huiting[speech]'")
    if importlib.util.find_spec("torchaudio"):
        mend_torchaudio()


def mend_torchaudio() -> bool:
    """Import torchaudio; where its compiled part does not fit this torch, import its Python part alone.

    The torchaudio wheels are linked against CUDA and fail to load under a CPU build of torch. What pyannote.audio
    and transformers use of it (resampling, Kaldi filter banks) is Python. Returns True where it had to be mended.
    """
    if "torchaudio" in sys.modules:
        return getattr(sys.modules.get("torchaudio._extension"), "mended", False)
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        for name in [n for n in sys.modules if n.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _extension_without_library()
        importlib.import_module("torchaudio")
        return True
    return False


def _extension_without_library() -> ModuleType:
    """The names that torchaudio takes from `torchaudio._extension`, all saying "no compiled part"."""

    def missing(function: Any) -> Any:
        def call(*_: Any, **__: Any) -> Any:
            raise RuntimeError(
                f"torchaudio.{function.__name__} needs torchaudio's compiled part, which does not fit this torch"
            )

        return call

    module = ModuleType("torchaudio._extension")
    module.__dict__.update(
        mended=True,
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_RIR_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        fail_if_no_align=missing,
        fail_if_no_rir=missing,
        _check_cuda_version=lambda: None,
    )
    return module
