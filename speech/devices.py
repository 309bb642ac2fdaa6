"""What there is to compute on: CUDA devices and their compute types, or the CPU. Nothing here imports torch.

GPUs are read from the CUDA driver (libcuda), which honours CUDA_VISIBLE_DEVICES and numbers devices as CTranslate2 and
torch do. Whether they can be used is CTranslate2's word.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
from collections.abc import Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from speech.types import ModelError

DRIVER = "libcuda.so.1"
# faster-whisper's benchmark (its README, RTX 3070 Ti): large-v2, beam 5, batches of 8 windows take 6.1 GB in float16 and
# 4.5 GB in int8; the diarizer, the embedding and the driver want some too.
ROOMY_GPU = 8e9  # bytes
CPU_PREFERENCE = ("int8", "int8_float32", "float32")
ROOMY_PREFERENCE = ("float16", "int8_float16", "int8", "float32")
SMALL_PREFERENCE = ("int8_float16", "int8", "float16", "float32")
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True, slots=True)
class Gpu:
    """A CUDA device as its driver tells. `memory` in bytes."""

    label: str
    memory: int
    capability: str  # e.g. 8.6


@dataclass(frozen=True, slots=True)
class Device:
    """One device for one worker process. `name` is what CTranslate2 and torch call it: cpu, cuda:0, cuda:1 …"""

    name: str
    compute_type: str
    label: str
    memory: int | None = None  # bytes; None: the machine's own
    capability: str = ""

    @property
    def is_cuda(self) -> bool:
        return self.name.startswith("cuda")


def find(device: str = "auto", compute_type: str = "auto") -> tuple[Device, ...]:
    """The devices that `device` (auto | cpu | cuda | cuda:N) stands for; several GPUs give several.

    Raises ModelError when what is asked for is not there, or cannot compute in `compute_type`.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and not index.isdigit()) or (index and kind != "cuda"):
        raise ModelError(
            f"device {device!r} is none of auto, cpu, cuda, cuda:N", "Correct the setting speech.device."
        )
    count = 0 if kind == "cpu" else _usable()
    if kind == "cuda" and count <= int(index or 0):
        raise ModelError(
            f"device {device}: {_why_no_cuda(count)}", "Set speech.device to auto or cpu, or mend the driver."
        )
    if count == 0:
        return (cpu(compute_type),)
    known = gpus()
    wanted = [int(index)] if index else list(range(count))
    return tuple(cuda(i, known[i] if i < len(known) else None, compute_type) for i in wanted)


def cpu(compute_type: str = "auto") -> Device:
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types("cpu")
    return Device("cpu", choose(compute_type, supported, CPU_PREFERENCE, "cpu"), _cpu_label())


def cuda(index: int, gpu: Gpu | None, compute_type: str = "auto") -> Device:
    import ctranslate2

    name = f"cuda:{index}"
    supported = ctranslate2.get_supported_compute_types("cuda", index)
    preference = preference_of(gpu)
    chosen = choose(compute_type, supported, preference, name)
    if gpu is None:
        return Device(name, chosen, "CUDA device")
    return Device(name, chosen, gpu.label, gpu.memory, gpu.capability)


def preference_of(gpu: Gpu | None) -> tuple[str, ...]:
    """Compute types, best first: half precision where memory allows, 8-bit weights where it is short or unknown."""
    return ROOMY_PREFERENCE if gpu is not None and gpu.memory >= ROOMY_GPU else SMALL_PREFERENCE


def choose(wanted: str, supported: Set[str], preference: tuple[str, ...], device: str) -> str:
    """`wanted`, or for auto the first of `preference` that the device supports; ModelError if it supports it not."""
    if wanted == "auto":
        return next((c for c in preference if c in supported), "default")
    if wanted not in supported:
        raise ModelError(
            f"{device} cannot compute in {wanted}",
            f"Set speech.compute_type to auto or one of {', '.join(sorted(supported))}.",
        )
    return wanted


def gpus() -> tuple[Gpu, ...]:
    """The GPUs that the CUDA driver shows this process; none where there is no driver."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(_gpu(driver, i) for i in range(count.value))


def _gpu(driver: ctypes.CDLL, index: int) -> Gpu:
    handle, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    memory = ctypes.c_size_t()
    label = ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(handle), index)
    driver.cuDeviceGetName(label, len(label), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    driver.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, handle)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, handle)
    return Gpu(label.value.decode(errors="replace"), memory.value, f"{major.value}.{minor.value}")


def _usable() -> int:
    import ctranslate2

    return ctranslate2.get_cuda_device_count()


def _why_no_cuda(usable: int) -> str:
    seen = len(gpus())
    if usable:
        return f"there are {usable}, numbered from 0"
    if seen:
        return f"the driver shows {seen}, but CTranslate2 cannot use them (its CUDA libraries are missing or too new for the driver)"
    return "the CUDA driver shows none"


def torch_device(device: Device) -> str:
    """The same device for torch. A CPU build of torch beside a GPU computes on the CPU; `describe` tells so."""
    import torch

    return device.name if device.is_cuda and torch.cuda.is_available() else "cpu"


def describe(devices: tuple[Device, ...]) -> dict[str, Any]:
    """Plain data for doctor and for every result: devices, libraries, cores."""
    return {
        "devices": [
            {key: value for key, value in asdict(d).items() if value not in ("", None)} for d in devices
        ],
        "cores": cores(),
        "ctranslate2": _version("ctranslate2"),
        "torch": _version("torch"),
    }


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(library: str) -> str:
    """Installed version, with its build (2.8.0+cpu, 2.8.0+cu128); empty if it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_label() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
