"""The prompt resampler keeps tones, lengths and rows."""

from math import ceil

import pytest
import torch

from idiolect.audio.resample import resample_22k_to_16k


def tone(rate, num_samples, frequency_hz):
    return torch.sin(2 * torch.pi * frequency_hz * torch.arange(num_samples).double() / rate)


@pytest.mark.parametrize("num_samples", [1, 440, 441, 442, 22_050, 22_051])
def test_the_length_is_rounded_up(num_samples):
    audio = torch.zeros(1, num_samples)
    assert resample_22k_to_16k(audio).shape == (1, ceil(num_samples * 16_000 / 22_050))


@pytest.mark.parametrize("frequency_hz", [100, 1000, 6000])
def test_a_tone_below_the_new_limit_stays(frequency_hz):
    got = resample_22k_to_16k(tone(22_050, 22_050, frequency_hz)[None])[0]
    want = tone(16_000, 16_000, frequency_hz).float()
    torch.testing.assert_close(got[1000:-1000], want[1000:-1000], rtol=0, atol=0.02)


def test_a_tone_above_the_new_limit_goes():
    got = resample_22k_to_16k(tone(22_050, 22_050, 10_000)[None])[0]
    assert got[1000:-1000].abs().max() < 0.01


def test_rows_do_not_mix():
    audio = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    together = resample_22k_to_16k(audio)
    for row in range(3):
        torch.testing.assert_close(together[row], resample_22k_to_16k(audio[row : row + 1])[0])
