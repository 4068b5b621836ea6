"""What tells real speech from the vocoder's, while both learn: small, for one core.

One half folds the waveform at a period and looks along each phase; the other looks at magnitudes
of spectrograms of several resolutions. ``B`` is batch, ``N`` samples, ``C`` channels, ``K`` FFT
bins, ``T`` frames.

Source:
    Kong et al. 2020, "HiFi-GAN", sections 2.3 and 2.4 (periods; least squares, feature matching);
    Jang et al. 2021, "UnivNet", section 2.2 (spectrograms of several resolutions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

LEAK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticSizes:
    """How wide the discriminators are."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (16, 32, 64, 128)
    resolutions: tuple[int, ...] = (512, 1024, 2048)
    """FFT sizes; the hop is a quarter of each."""
    spectrum_channels: int = 16
    spectrum_layers: int = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one discriminator says of a batch."""

    score: Tensor
    """``[B, ...]``: towards 1 where it takes the wave for real, 0 where not."""
    features: list[Tensor]
    """What its layers found, one tensor each."""


class Critics(nn.Module):
    """All discriminators together."""

    def __init__(self, sizes: CriticSizes) -> None:
        super().__init__()
        self.periods = nn.ModuleList(
            PeriodCritic(period, sizes.period_channels) for period in sizes.periods
        )
        self.spectra = nn.ModuleList(
            SpectrumCritic(n_fft, sizes.spectrum_channels, sizes.spectrum_layers)
            for n_fft in sizes.resolutions
        )

    def forward(self, wave: Tensor) -> list[Verdict]:
        """Return the verdict of each on ``wave`` ``[B, N]``."""
        return [critic(wave) for critic in (*self.periods, *self.spectra)]


class PeriodCritic(nn.Module):
    """Looks at every ``period``-th sample, each phase alone."""

    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        sizes = zip((1, *channels[:-1]), channels, strict=True)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv1d(before, after, 5, stride=3, padding=2)) for before, after in sizes
        )
        self.last = weight_norm(nn.Conv1d(channels[-1], 1, 3, padding=1))

    def forward(self, wave: Tensor) -> Verdict:
        """Return the verdict on ``wave`` ``[B, N]``."""
        x = F.pad(wave[:, None], (0, -wave.shape[1] % self.period), mode="reflect")[:, 0]
        folded = x.view(len(x), -1, self.period).transpose(1, 2)  # [B, period, N / period]
        return _verdict(folded.flatten(0, 1)[:, None], self.layers, self.last)


class SpectrumCritic(nn.Module):
    """Looks at the magnitudes of a spectrogram."""

    window: Tensor

    def __init__(self, n_fft: int, channels: int, num_layers: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, channels, (3, 9), stride=(1, stride), padding=(1, 4)))
            for before, stride in ((1, 4), *[(channels, 2)] * (num_layers - 1))
        )
        self.last = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> Verdict:
        """Return the verdict on ``wave`` ``[B, N]``."""
        x = magnitudes(wave, self.n_fft, self.window).transpose(1, 2)  # [B, T, K]
        return _verdict(x[:, None], self.layers, self.last)


def magnitudes(wave: Tensor, n_fft: int, window: Tensor) -> Tensor:
    """Return the magnitudes ``[B, K, T]`` of ``wave`` ``[B, N]``, of frames a quarter apart."""
    spectrum = torch.stft(
        wave.float(), n_fft, n_fft // 4, window=window, center=True, return_complex=True
    )
    # abs() has no gradient where there is no sound.
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-7)


def critic_loss(real: Sequence[Verdict], fake: Sequence[Verdict]) -> Tensor:
    """Return how far the verdicts are from 1 on real waves and 0 on fake ones: least squares."""
    terms = [
        (1 - one.score.float()).square().mean() + other.score.float().square().mean()
        for one, other in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def fooling_loss(fake: Sequence[Verdict]) -> Tensor:
    """Return how far the verdicts on fake waves are from 1."""
    terms = [(1 - verdict.score.float()).square().mean() for verdict in fake]
    return torch.stack(terms).mean()


def feature_loss(real: Sequence[Verdict], fake: Sequence[Verdict]) -> Tensor:
    """Return how far apart the features of a wave and its copy are, the mean over all layers."""
    terms = [
        F.l1_loss(copied, feature.detach()).float()
        for one, other in zip(real, fake, strict=True)
        for feature, copied in zip(one.features, other.features, strict=True)
    ]
    return torch.stack(terms).mean()


def _verdict(x: Tensor, layers: nn.ModuleList, last: nn.Module) -> Verdict:
    features = []
    for layer in layers:
        x = F.leaky_relu(layer(x), LEAK, inplace=True)
        features.append(x)
    return Verdict(last(x), features)
