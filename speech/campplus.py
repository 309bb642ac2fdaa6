"""CAM++ speaker embedding (Wang et al., Interspeech 2023: densely connected TDNN with context-aware masking).

Written to load 3D-Speaker's zh-en "common" checkpoint: 80 log-mel bins in, 192 dimensions out. The names of the
modules are those of the checkpoint's tensors.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speech.audio import SAMPLE_RATE
from speech.types import ModelError

FRAME = 0.01  # s a filter-bank frame
BLOCK = 60  # s of filter bank computed at once: memory stays flat for an hour's call
MEL_BINS = 80
DIMENSION = 192
GROWTH = 32  # channels that each dense layer adds
BOTTLENECK = 128
DENSE_BLOCKS = ((12, 1), (24, 2), (16, 2))  # (layers, dilation)
SEGMENT = 100  # frames (2 s after the stride) that share one local context


def load(path: Path) -> CamPlusPlus:
    """The network with its weights, in evaluation mode. ModelError where the file holds something else."""
    network = CamPlusPlus()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise ModelError(f"{path} holds no CAM++ weights (192-d, 80 mel bins): {error}", "huiting models check") from error
    return network.eval().requires_grad_(False)


def filter_bank(waveform: Tensor) -> Tensor:
    """Kaldi log-mel filter bank as CAM++ was trained on: # (1, samples) 16 kHz → (frames, 80), 10 ms a frame"""
    from torchaudio.compliance import kaldi

    return kaldi.fbank(waveform, num_mel_bins=MEL_BINS, sample_frequency=SAMPLE_RATE, dither=0.0)


def embed_features(network: nn.Module, mel: Tensor) -> Tensor:
    """One embedding of a stretch of filter bank, its mean taken off: # (frames, 80) → (192,)"""
    with torch.inference_mode():
        return network((mel - mel.mean(dim=0))[None])[0]


class Features:
    """Filter-bank frames of a recording, computed block by block where they are wanted."""

    def __init__(self, samples: np.ndarray) -> None:
        self._samples = samples
        self._blocks: dict[int, Tensor] = {}

    def between(self, start: float, end: float) -> Tensor:
        """# (frames, 80): the frames that lie in [start, end)"""
        first, last = round(start / FRAME), round(end / FRAME) - 1  # a frame looks 25 ms ahead
        per_block = round(BLOCK / FRAME)
        parts: list[Tensor] = []
        for number in range(first // per_block, last // per_block + 1):
            block = self._block(number)
            parts.append(block[max(0, first - number * per_block) : max(0, last - number * per_block)])
        return torch.cat(parts) if parts else torch.empty(0, 80)

    def _block(self, number: int) -> Tensor:
        if number not in self._blocks:
            start = number * BLOCK * SAMPLE_RATE
            piece = self._samples[start : start + BLOCK * SAMPLE_RATE + round(0.015 * SAMPLE_RATE)]
            long_enough = len(piece) >= round(0.025 * SAMPLE_RATE)
            self._blocks[number] = filter_bank(torch.from_numpy(piece)[None]) if long_enough else torch.empty(0, 80)
            for old in [key for key in self._blocks if key < number - 1]:
                del self._blocks[old]
        return self._blocks[number]


class CamPlusPlus(nn.Module):
    """# (batch, frames, 80) mean-normalised log-mel → # (batch, 192)"""

    def __init__(self) -> None:
        super().__init__()
        self.head = _Head()
        channels = 128
        layers: dict[str, nn.Module] = {"tdnn": _NormedConvolution(self.head.out_channels, channels, 5, stride=2)}
        for number, (depth, dilation) in enumerate(DENSE_BLOCKS, 1):
            layers[f"block{number}"] = _DenseBlock(channels, depth, dilation)
            channels += depth * GROWTH
            layers[f"transit{number}"] = _Transition(channels, channels // 2)
            channels //= 2
        layers["out_nonlinear"] = _norm_relu(channels)
        layers["stats"] = _Statistics()
        layers["dense"] = _Dense(2 * channels, DIMENSION)
        self.xvector = nn.Sequential()
        for name, layer in layers.items():
            self.xvector.add_module(name, layer)

    def forward(self, features: Tensor) -> Tensor:
        return self.xvector(self.head(features.transpose(1, 2)))


class _Head(nn.Module):
    """Two-dimensional residual front end: # (batch, 80, frames) → (batch, 320, frames)"""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(_Residual(width, 2), _Residual(width, 1))
        self.layer2 = nn.Sequential(_Residual(width, 2), _Residual(width, 1))
        self.conv2 = nn.Conv2d(width, width, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.out_channels = width * (MEL_BINS // 8)

    def forward(self, mel: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(mel[:, None])))
        hidden = self.layer2(self.layer1(hidden))
        hidden = functional.relu(self.bn2(self.conv2(hidden)))
        return hidden.flatten(1, 2)


class _Residual(nn.Module):
    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.Conv2d(width, width, 1, stride=(stride, 1), bias=False))
            self.shortcut.append(nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(hidden)) + self.shortcut(x))


def _norm_relu(channels: int) -> nn.Sequential:
    layers = nn.Sequential()
    layers.add_module("batchnorm", nn.BatchNorm1d(channels))
    layers.add_module("relu", nn.ReLU())
    return layers


class _NormedConvolution(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.nonlinear = _norm_relu(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlinear(self.linear(x))


class _Transition(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.nonlinear = _norm_relu(channels)
        self.linear = nn.Conv1d(channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.nonlinear(x))


class _DenseBlock(nn.Module):
    def __init__(self, channels: int, depth: int, dilation: int) -> None:
        super().__init__()
        for number in range(depth):
            self.add_module(f"tdnnd{number + 1}", _DenseLayer(channels + number * GROWTH, dilation))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class _DenseLayer(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _norm_relu(channels)
        self.linear1 = nn.Conv1d(channels, BOTTLENECK, 1, bias=False)
        self.nonlinear2 = _norm_relu(BOTTLENECK)
        self.cam_layer = _ContextMask(dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))


class _ContextMask(nn.Module):
    """A convolution gated by the utterance's and the segment's mean."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(BOTTLENECK, GROWTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(BOTTLENECK, BOTTLENECK // 2, 1)
        self.linear2 = nn.Conv1d(BOTTLENECK // 2, GROWTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[-1]
        local = functional.avg_pool1d(x, SEGMENT, SEGMENT, ceil_mode=True).repeat_interleave(SEGMENT, dim=-1)
        context = x.mean(-1, keepdim=True) + local[..., :frames]
        gate = torch.sigmoid(self.linear2(functional.relu(self.linear1(context))))
        return self.linear_local(x) * gate


class _Statistics(nn.Module):
    """Mean and unbiased standard deviation over time: # (batch, channels, frames) → (batch, 2·channels)"""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(-1), x.std(-1)], dim=-1)


class _Dense(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, out, 1, bias=False)
        self.nonlinear = nn.Sequential()
        self.nonlinear.add_module("batchnorm", nn.BatchNorm1d(out, affine=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlinear(self.linear(x[..., None])[..., 0])
