"""CAMPPlus: filter banks of a clip to one vector that says who speaks.

``B`` is batch, ``C`` channels, ``M`` bands, ``T`` frames of 10 ms, ``T2`` of 20 ms.

Source:
    Wang et al. 2023, "CAM++", figure 1; spec 2.9; golden/test_campplus.py.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.models.config import SpeakerDims

BLOCK_DILATIONS = (1, 2, 2)
BLOCK_KERNEL = 3
SEGMENT_FRAMES = 100
"""Frames over which the context of a gate is averaged."""
HEAD_STRIDE = 8
"""How much narrower the bands are behind the two-dimensional head."""


class CampPlus(nn.Module):
    """Filter banks ``[B, T, M]`` to speaker embeddings ``[B, embedding_dim]``; a fixed network."""

    def __init__(self, dims: SpeakerDims) -> None:
        super().__init__()
        self.head = Head(dims.head_channels)
        self.xvector = _xvector(dims)

    def forward(self, fbank: Tensor) -> Tensor:
        """Return the embedding of ``fbank``, from which the mean over time has been taken."""
        embedding: Tensor = self.xvector(self.head(fbank))
        return embedding


class Head(nn.Module):
    """Convolutions over bands and time, ``[B, T, M]`` to ``[B, C * M / 8, T]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv2d(1, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(HeadBlock(channels, stride=2), HeadBlock(channels, stride=1))
        self.layer2 = nn.Sequential(HeadBlock(channels, stride=2), HeadBlock(channels, stride=1))
        self.conv2 = _conv2d(channels, channels, stride=2)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, fbank: Tensor) -> Tensor:
        """Return the channels and bands of ``fbank`` as one axis, over time."""
        x = F.relu(self.bn1(self.conv1(fbank.mT[:, None])))  # [B, C, M, T]
        x = self.layer2(self.layer1(x))  # [B, C, M / 4, T]
        return F.relu(self.bn2(self.conv2(x))).flatten(1, 2)


class HeadBlock(nn.Module):
    """A residual block of two convolutions; ``stride`` is over the bands."""

    def __init__(self, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv2d(channels, channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv2d(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1:
            narrow = nn.Conv2d(channels, channels, 1, stride=(stride, 1), bias=False)
            self.shortcut = nn.Sequential(narrow, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, M / stride, T]`` for ``x`` ``[B, C, M, T]``."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class InputLayer(nn.Module):
    """The convolution that halves the rate."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(in_channels, out_channels, 5, stride=2, padding=2, bias=False)
        self.nonlinear = _norm_relu(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out_channels, T2]`` for ``x`` ``[B, in_channels, T]``."""
        y: Tensor = self.nonlinear(self.linear(x))
        return y


class DenseLayer(nn.Module):
    """A layer of a block; ``growth`` channels come out."""

    def __init__(self, in_channels: int, dims: SpeakerDims, dilation: int) -> None:
        super().__init__()
        width = dims.bottleneck * dims.growth
        self.nonlinear1 = _norm_relu(in_channels)
        self.linear1 = nn.Conv1d(in_channels, width, 1, bias=False)
        self.nonlinear2 = _norm_relu(width)
        self.cam_layer = ContextGate(width, dims.growth, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, growth, T2]`` for ``x`` ``[B, in_channels, T2]``."""
        y: Tensor = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))
        return y


class ContextGate(nn.Module):
    """A convolution whose output is gated by what the clip, and the second around, hold."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(
            in_channels, out_channels, BLOCK_KERNEL, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(in_channels, in_channels // 2, 1)
        self.linear2 = nn.Conv1d(in_channels // 2, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out_channels, T2]`` for ``x`` ``[B, in_channels, T2]``."""
        context = x.mean(dim=-1, keepdim=True) + _segment_means(x)
        gate = torch.sigmoid(self.linear2(F.relu(self.linear1(context))))
        local: Tensor = self.linear_local(x)
        return local * gate


class DenseBlock(nn.ModuleDict):
    """Layers that each see the input and the output of all layers before them."""

    def __init__(self, in_channels: int, num_layers: int, dims: SpeakerDims, dilation: int) -> None:
        super().__init__()
        for i in range(num_layers):
            self[f"tdnnd{i + 1}"] = DenseLayer(in_channels + i * dims.growth, dims, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``[B, C, T2]`` with ``growth`` more channels for each layer."""
        for layer in self.values():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Transit(nn.Module):
    """The map behind a block, to half its channels."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.nonlinear = _norm_relu(in_channels)
        self.linear = nn.Conv1d(in_channels, in_channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C / 2, T2]`` for ``x`` ``[B, C, T2]``."""
        y: Tensor = self.linear(self.nonlinear(x))
        return y


class Statistics(nn.Module):
    """Mean and standard deviation over time, ``[B, C, T2]`` to ``[B, 2 * C]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of ``x``, then its deviations."""
        return torch.cat([x.mean(dim=-1), x.std(dim=-1)], dim=1)


class OutputLayer(nn.Module):
    """The map from statistics to an embedding."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(in_dim, out_dim, 1, bias=False)
        norm = nn.BatchNorm1d(out_dim, affine=False)
        self.nonlinear = nn.Sequential(OrderedDict(batchnorm=norm))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out_dim]`` for ``x`` ``[B, in_dim]``."""
        y: Tensor = self.nonlinear(self.linear(x[..., None])[..., 0])
        return y


def _xvector(dims: SpeakerDims) -> nn.Sequential:
    """Return the network behind the head: three dense blocks, statistics, embedding."""
    in_channels = dims.head_channels * ceil(dims.n_mels / HEAD_STRIDE)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["tdnn"] = InputLayer(in_channels, dims.init_channels)
    channels = dims.init_channels
    for i, (num_layers, dilation) in enumerate(
        zip(dims.block_layers, BLOCK_DILATIONS, strict=True), start=1
    ):
        layers[f"block{i}"] = DenseBlock(channels, num_layers, dims, dilation)
        channels += num_layers * dims.growth
        layers[f"transit{i}"] = Transit(channels)
        channels //= 2
    layers["out_nonlinear"] = _norm_relu(channels)
    layers["stats"] = Statistics()
    layers["dense"] = OutputLayer(2 * channels, dims.embedding_dim)
    return nn.Sequential(layers)


def _segment_means(x: Tensor) -> Tensor:
    """Return ``x`` ``[B, C, T2]`` with each frame replaced by the mean of its segment."""
    means = F.avg_pool1d(x, SEGMENT_FRAMES, SEGMENT_FRAMES, ceil_mode=True)
    return means.repeat_interleave(SEGMENT_FRAMES, dim=-1)[..., : x.shape[-1]]


def _conv2d(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=(stride, 1), padding=1, bias=False)


def _norm_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(channels), relu=nn.ReLU()))
