"""Devices and compute types; the quiet environment that heavy libraries are imported in."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from speech import quiet
from speech.devices import (
    CPU_PREFERENCE,
    Device,
    Gpu,
    choose,
    cores,
    describe,
    find,
    gpus,
    preference_of,
    torch_device,
)
from speech.types import ModelError

# What CTranslate2 says each generation supports (its documentation, "Quantization on GPU").
PASCAL = {"float32", "int8", "int8_float32"}  # compute capability 6.1
AMPERE = {"float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16"}


@pytest.mark.parametrize(
    ("gpu", "supported", "expected"),
    [
        (Gpu("NVIDIA A10", 24 * 10**9, "8.6"), AMPERE, "float16"),
        (Gpu("NVIDIA RTX A2000", 6 * 10**9, "8.6"), AMPERE, "int8_float16"),
        (Gpu("Tesla P40", 24 * 10**9, "6.1"), PASCAL, "int8"),
        (None, AMPERE, "int8_float16"),
    ],
)
def test_compute_type_by_card(gpu: Gpu | None, supported: set[str], expected: str) -> None:
    assert choose("auto", supported, preference_of(gpu), "cuda:0") == expected


def test_a_compute_type_that_is_asked_for_is_kept_or_refused() -> None:
    assert choose("float32", PASCAL, CPU_PREFERENCE, "cuda:0") == "float32"
    with pytest.raises(ModelError, match="cannot compute in float16") as refused:
        choose("float16", PASCAL, CPU_PREFERENCE, "cuda:0")
    assert "int8_float32" in refused.value.remedy


def test_the_cpu_computes_in_int8() -> None:
    (device,) = find("cpu")
    assert (device.name, device.compute_type, device.is_cuda) == ("cpu", "int8", False)
    assert device.label
    assert torch_device(device) == "cpu"


def test_auto_takes_every_gpu_or_the_cpu() -> None:
    import ctranslate2

    count = ctranslate2.get_cuda_device_count()
    names = [device.name for device in find("auto")]
    assert names == ([f"cuda:{i}" for i in range(count)] or ["cpu"])
    assert len(gpus()) >= count


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match="cuda:99"):
        find("cuda:99")


@pytest.mark.parametrize("wrong", ["gpu", "cuda:x", "cpu:1", ""])
def test_a_device_nobody_knows_is_refused(wrong: str) -> None:
    with pytest.raises(ModelError, match="none of auto, cpu, cuda"):
        find(wrong)


def test_description_is_plain_data() -> None:
    told = describe((Device("cuda:0", "float16", "NVIDIA A10", 24 * 10**9, "8.6"), *find("cpu")))
    assert json.loads(json.dumps(told)) == told
    assert told["devices"][0]["memory"] == 24 * 10**9
    assert "memory" not in told["devices"][1]
    assert told["cores"] == cores() >= 1
    assert told["ctranslate2"]


def test_nothing_calls_out() -> None:
    quiet.hush()
    assert os.environ["PYANNOTE_METRICS_ENABLED"] == "0"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    quiet.hush(offline=False)
    assert os.environ["HF_HUB_OFFLINE"] == "0"
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    quiet.hush()


def run(code: str) -> str:
    """In a process of its own: these libraries read the environment once."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PYANNOTE", "TRANSFORMERS"))
    }
    environment["PYANNOTE_METRICS_ENABLED"] = "1"  # a site's own profile must not win
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_torchaudio_is_importable_and_offline_holds() -> None:
    said = run(
        "from speech import quiet; quiet.prepare()\n"
        "import torch, torchaudio.functional as F, torchaudio.compliance.kaldi as K\n"
        "print(F.resample(torch.ones(1, 800), 8000, 16000).shape[1], K.fbank(torch.zeros(1, 16000)).shape[1])\n"
        "import huggingface_hub.constants as c; print(c.HF_HUB_OFFLINE, c.HF_HUB_DISABLE_TELEMETRY)\n"
        "quiet.prepare(offline=False); print(c.HF_HUB_OFFLINE)"
    )
    assert said.split() == ["1600", "23", "True", "True", "False"]


def test_torchaudio_that_works_is_left_alone() -> None:
    said = run(
        "import sys, types\n"
        "good = types.ModuleType('torchaudio'); good.__path__ = []; sys.modules['torchaudio'] = good\n"
        "from speech import quiet; print(quiet.mend_torchaudio(), sys.modules['torchaudio'] is good)"
    )
    assert said.split() == ["False", "True"]


def test_looking_for_devices_imports_no_torch() -> None:
    assert (
        run("import sys; from speech.devices import find; find(); print('torch' in sys.modules)") == "False"
    )
