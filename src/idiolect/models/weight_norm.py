"""Layers whose weight is a direction and a length: ``weight_v`` and ``weight_g``.

The published files hold this classic pair under these names. torch's own weight norm is deprecated
in one form and renames the pair in the other; these layers keep the names, on every torch.

Source:
    Salimans and Kingma 2016, equation 2; spec 3.4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WeightNormed(nn.Module):
    """A weight ``[R, ...]`` of which each row has a direction and a length of its own.

    :meth:`fold` replaces the pair by the plain ``weight``: the same function, computed once.
    """

    weight: Tensor | None
    weight_g: Tensor
    weight_v: Tensor

    def __init__(self, shape: tuple[int, ...], bias_size: int | None) -> None:
        super().__init__()
        self.bias = None if bias_size is None else nn.Parameter(torch.zeros(bias_size))
        direction = torch.empty(shape)
        nn.init.kaiming_uniform_(direction, a=5**0.5)
        self.weight_g = nn.Parameter(_row_norms(direction))
        self.weight_v = nn.Parameter(direction)
        self.register_parameter("weight", None)

    def normed_weight(self) -> Tensor:
        """Return the weight that the layer applies."""
        if self.weight is not None:
            return self.weight
        return self.weight_v * (self.weight_g / _row_norms(self.weight_v))

    def fold(self) -> None:
        """Replace the pair by the plain weight; the layer then loads and saves ``weight``."""
        if self.weight is None:
            self.weight = nn.Parameter(self.normed_weight().detach())
            del self.weight_g, self.weight_v


class NormedLinear(WeightNormed):
    """A linear map of ``[..., D]``."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__((out_dim, in_dim), out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., out_dim]`` for ``x`` ``[..., in_dim]``."""
        return F.linear(x, self.normed_weight(), self.bias)


class NormedConv1d(WeightNormed):
    """A convolution of ``[B, C, T]``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__((out_channels, in_channels, kernel_size), out_channels if bias else None)
        self.padding = padding
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out_channels, T']`` for ``x`` ``[B, in_channels, T]``."""
        weight = self.normed_weight()
        return F.conv1d(x, weight, self.bias, padding=self.padding, dilation=self.dilation)


class NormedConvTranspose1d(WeightNormed):
    """A transposed convolution of ``[B, C, T]``; a length for each *input* channel."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int, padding: int
    ) -> None:
        super().__init__((in_channels, out_channels, kernel_size), out_channels)
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out_channels, T * stride]`` for ``x`` ``[B, in_channels, T]``."""
        weight = self.normed_weight()
        return F.conv_transpose1d(x, weight, self.bias, stride=self.stride, padding=self.padding)


def fold_weight_norm(network: nn.Module) -> None:
    """Replace every ``weight_g``, ``weight_v`` pair in ``network`` by its plain weight."""
    for layer in network.modules():
        if isinstance(layer, WeightNormed):
            layer.fold()


def _row_norms(weight: Tensor) -> Tensor:
    """Return the length of each row, ``[R, 1, ...]``."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)
    return norms
