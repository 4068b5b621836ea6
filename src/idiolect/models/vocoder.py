"""BigVGAN v2: mel spectrograms to waveforms at 22 050 Hz.

``B`` is batch, ``C`` channels, ``M`` mel bands, ``T`` mel frames, ``N`` samples at some rate
between those of the mel and of the wave.

Source:
    Lee et al. 2023, "BigVGAN", section 3; spec 2.10; golden/test_bigvgan.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.models.config import VocoderDims
from idiolect.models.weight_norm import NormedConv1d, NormedConvTranspose1d

EDGE_KERNEL = 7
"""Of the first and the last convolution."""
SNAKE_FLOOR = 1e-9
"""Keeps the snake from dividing by zero."""

FILTER_TAPS = 12
FILTER_CUTOFF = 0.25
"""In cycles a sample."""
KAISER_BETA = 4.663800127934911
"""For a transition band of 0.6 cycles a sample over 12 taps."""
RATIO = 2
"""How much finer the rate is at which a snake acts."""


class BigVgan(nn.Module):
    """Log-mel spectrograms ``[B, M, T]`` to waveforms ``[B, 1, 256 * T]`` in -1 ... 1."""

    def __init__(self, dims: VocoderDims) -> None:
        super().__init__()
        channels = dims.initial_channels
        self.num_blocks = len(dims.block_kernels)
        self.conv_pre = _same_conv(dims.n_mels, channels, EDGE_KERNEL)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel_size in zip(dims.upsample_rates, dims.upsample_kernels, strict=True):
            self.ups.append(_upsampler(channels, kernel_size, rate))
            channels //= 2
            self.resblocks.extend(
                ResidualBlock(channels, size, dilations)
                for size, dilations in zip(dims.block_kernels, dims.block_dilations, strict=True)
            )
        self.activation_post = AntiAliasedSnake(channels)
        self.conv_post = _same_conv(channels, 1, EDGE_KERNEL, bias=False)

    def forward(self, mel: Tensor) -> Tensor:
        """Return the waveform of ``mel``."""
        return self.unclamped(mel).clamp(-1.0, 1.0)

    def unclamped(self, mel: Tensor) -> Tensor:
        """Return ``[B, 1, 256 * T]`` as it leaves the last convolution."""
        x = self.conv_pre(mel)
        for stage, upsample in enumerate(self.ups):
            x = upsample(x)
            first = stage * self.num_blocks
            blocks = self.resblocks[first : first + self.num_blocks]
            x = sum(block(x) for block in blocks) / self.num_blocks
        wave: Tensor = self.conv_post(self.activation_post(x))
        return wave


class ResidualBlock(nn.Module):
    """Pairs of convolutions, the first of each pair dilated; ``[B, C, N]`` in and out."""

    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            _same_conv(channels, channels, kernel_size, dilation=d) for d in dilations
        )
        self.convs2 = nn.ModuleList(_same_conv(channels, channels, kernel_size) for _ in dilations)
        self.activations = nn.ModuleList(AntiAliasedSnake(channels) for _ in 2 * dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus what each pair in turn adds to it."""
        befores, betweens = self.activations[::2], self.activations[1::2]
        for before, dilated, between, plain in zip(
            befores, self.convs1, betweens, self.convs2, strict=True
        ):
            x = x + plain(between(dilated(before(x))))
        return x


class AntiAliasedSnake(nn.Module):
    """A snake at twice the rate, so that the overtones that it makes do not fold back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.act = Snake(channels)
        self.upsample = Upsampler()
        self.downsample = Downsampler()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, N]`` for ``x`` ``[B, C, N]``."""
        y: Tensor = self.downsample(self.act(self.upsample(x)))
        return y


class Snake(nn.Module):
    """``x + sin(a * x)^2 / b`` with an ``a`` and a ``b`` for each channel, kept as logarithms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, N]`` for ``x`` ``[B, C, N]``."""
        a, b = self.alpha.exp()[:, None], self.beta.exp()[:, None]
        return x + torch.sin(x * a).square() / (b + SNAKE_FLOOR)


class Filtering(nn.Module):
    """What holds the filter; the published file has a copy at every place."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", low_pass_filter())


class Upsampler(Filtering):
    """``[B, C, N]`` to twice the rate."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, 2 * N]``."""
        channels = x.shape[1]
        margin = FILTER_TAPS // RATIO - 1
        crop = margin * RATIO + (FILTER_TAPS - RATIO) // 2
        padded = F.pad(x, (margin, margin), mode="replicate")
        weight = self.filter.expand(channels, -1, -1)
        y = F.conv_transpose1d(padded, weight, stride=RATIO, groups=channels)
        return RATIO * y[..., crop:-crop]


class Downsampler(nn.Module):
    """``[B, C, 2 * N]`` to half the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.lowpass = LowPass()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, N]``."""
        y: Tensor = self.lowpass(x)
        return y


class LowPass(Filtering):
    """The filter, and every other sample of what it passes."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, N]`` for ``x`` ``[B, C, 2 * N]``."""
        channels = x.shape[1]
        margin = FILTER_TAPS // 2
        padded = F.pad(x, (margin - 1, margin), mode="replicate")
        return F.conv1d(padded, self.filter.expand(channels, -1, -1), stride=RATIO, groups=channels)


def low_pass_filter() -> Tensor:
    """Return the windowed sinc ``[1, 1, FILTER_TAPS]``, which sums to 1."""
    window = torch.kaiser_window(FILTER_TAPS, periodic=False, beta=KAISER_BETA)
    tap = torch.arange(FILTER_TAPS) - (FILTER_TAPS - 1) / 2
    taps = 2 * FILTER_CUTOFF * window * torch.sinc(2 * FILTER_CUTOFF * tap)
    return (taps / taps.sum()).view(1, 1, -1)


def _upsampler(in_channels: int, kernel_size: int, rate: int) -> nn.Sequential:
    padding = (kernel_size - rate) // 2
    conv = NormedConvTranspose1d(
        in_channels, in_channels // 2, kernel_size, stride=rate, padding=padding
    )
    return nn.Sequential(conv)


def _same_conv(
    in_channels: int, out_channels: int, kernel_size: int, *, dilation: int = 1, bias: bool = True
) -> NormedConv1d:
    """Return a convolution that keeps the number of samples."""
    padding = dilation * (kernel_size - 1) // 2
    return NormedConv1d(
        in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=bias
    )
