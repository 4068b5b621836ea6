"""Log-mel spectrograms: frames, bands, floors."""

import math

import numpy as np
import pytest
import torch

from idiolect.audio.dims import MelDims
from idiolect.audio.mel import MEL_FLOOR, LogMel, mel_basis


@pytest.mark.parametrize("num_samples", [2560, 2561, 2815, 2816])
def test_there_is_a_frame_for_each_whole_hop(num_samples):
    mel = LogMel(MelDims())(torch.zeros(2, num_samples))
    assert mel.shape == (2, 80, num_samples // 256)


def test_silence_is_the_floor():
    mel = LogMel(MelDims())(torch.zeros(1, 4096))
    # Not the mel floor itself: a little is added to the power of every bin.
    assert mel.min() >= math.log(MEL_FLOOR)
    assert mel.max() < -9


def test_a_louder_tone_is_louder_in_its_band_only():
    time = torch.arange(22_050) / 22_050
    tone = torch.sin(2 * torch.pi * 1000 * time)[None]
    band = LogMel(MelDims())(tone).mean(dim=-1)[0].argmax()
    edges_hz = band_edges_hz(MelDims())
    assert edges_hz[band] < 1000 < edges_hz[band + 2]


def band_edges_hz(dims):
    bins_hz = np.fft.rfftfreq(dims.n_fft, 1 / dims.sample_rate)
    basis = mel_basis(dims)
    low = [bins_hz[max(0, np.flatnonzero(row)[0] - 1)] for row in basis]
    high = [bins_hz[np.flatnonzero(row)[-1] + 1] for row in basis[-2:]]
    return [*low, *high]


def test_the_bands_are_triangles_of_equal_area():
    dims = MelDims(n_fft=65_536)  # fine enough for sums to be areas
    bin_hz = dims.sample_rate / dims.n_fft
    np.testing.assert_allclose(mel_basis(dims).sum(axis=1) * bin_hz, 1.0, rtol=1e-3)


def test_the_highest_frequency_is_half_the_rate_unless_given():
    bins_hz = np.fft.rfftfreq(1024, 1 / 22_050)
    for fmax_hz, limit_hz in ((None, 11_025.0), (8000.0, 8000.0)):
        used = bins_hz[mel_basis(MelDims(fmax_hz=fmax_hz)).any(axis=0)]
        assert limit_hz - 60 < used.max() <= limit_hz
