"""The log-mel spectrogram that s2mel fills and the vocoder reads.

``B`` is batch, ``N`` samples, ``K`` FFT bins, ``T_mel`` mel frames.

Source:
    Spec 1.5; golden/test_features.py. The mel scale is that of Slaney's Auditory Toolbox: linear
    below 1 kHz, logarithmic above, and triangles of equal area.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from idiolect.audio.dims import MelDims

POWER_FLOOR = 1e-9
"""Added to the squared magnitude before its root."""
MEL_FLOOR = 1e-5
"""Smaller mel values are raised to this before the logarithm."""

HZ_PER_MEL = 200 / 3
"""Below :data:`LOG_START_HZ`, where the scale is linear."""
LOG_START_HZ = 1000.0
LOG_START_MEL = LOG_START_HZ / HZ_PER_MEL
LOG_STEP = math.log(6.4) / 27
"""Above it, how much the logarithm of the frequency grows with each mel."""


class LogMel(nn.Module):
    """Waveforms ``[B, N]`` to log-mel spectrograms ``[B, n_mels, T_mel]``, natural logarithm."""

    window: Tensor
    basis: Tensor

    def __init__(self, dims: MelDims) -> None:
        super().__init__()
        self.dims = dims
        window = torch.hann_window(dims.win_length)
        self.register_buffer("window", window, persistent=False)
        basis = torch.from_numpy(mel_basis(dims))
        self.register_buffer("basis", basis, persistent=False)  # [n_mels, K]

    def forward(self, audio: Tensor) -> Tensor:
        """Return the spectrogram of ``audio``: one frame for each whole hop of samples."""
        dims = self.dims
        margin = (dims.n_fft - dims.hop_length) // 2
        padded = F.pad(audio[:, None], (margin, margin), mode="reflect")[:, 0]
        spectrum = torch.stft(
            padded,
            dims.n_fft,
            dims.hop_length,
            dims.win_length,
            window=self.window,
            center=False,
            return_complex=True,
        )  # [B, K, T_mel]
        magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + POWER_FLOOR)
        return torch.log((self.basis @ magnitude).clamp(min=MEL_FLOOR))


def mel_basis(dims: MelDims) -> NDArray[np.float32]:
    """Return the triangles ``[n_mels, K]`` that sum FFT bins into mel bands, each of area 1."""
    fmax_hz = dims.sample_rate / 2 if dims.fmax_hz is None else dims.fmax_hz
    edges_mel = np.linspace(_hz_to_mel(dims.fmin_hz), _hz_to_mel(fmax_hz), dims.n_mels + 2)
    edges_hz = _mel_to_hz(edges_mel)
    bins_hz = np.fft.rfftfreq(dims.n_fft, 1 / dims.sample_rate)  # [K]
    width_hz = np.diff(edges_hz)[:, None]
    distance_hz = edges_hz[:, None] - bins_hz  # [n_mels + 2, K]
    rising = -distance_hz[:-2] / width_hz[:-1]
    falling = distance_hz[2:] / width_hz[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    area = (edges_hz[2:] - edges_hz[:-2])[:, None] / 2
    return (triangles / area).astype(np.float32)


def _hz_to_mel(frequency_hz: float) -> float:
    if frequency_hz < LOG_START_HZ:
        return frequency_hz / HZ_PER_MEL
    return LOG_START_MEL + math.log(frequency_hz / LOG_START_HZ) / LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = LOG_START_HZ * np.exp(LOG_STEP * (mel - LOG_START_MEL))
    return np.where(mel < LOG_START_MEL, mel * HZ_PER_MEL, above)
