"""Whatever volume is asked for, nothing clips; and presets keep the order of the emotions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.base.errors import SynthesisError
from idiolect.models.emotion import EMOTIONS, MAX_SLIDER_SUM, normalize_weights
from idiolect.studio.loudness import CEILING, gain_for, set_volume, true_peak
from idiolect.studio.presets import PRESETS, mix

volumes = st.floats(0.5, 2.0)
levels = st.floats(0.0, 1.0)


def noise(seed: int, level: float, size: int = 2000) -> np.ndarray:
    return (level * np.random.default_rng(seed).uniform(-1, 1, size)).astype(np.float32)


@given(st.integers(0, 10_000), levels, volumes)
def test_no_volume_clips(seed, level, volume):
    wave, loudness = set_volume(noise(seed, level), volume)

    assert true_peak(wave) <= CEILING * (1 + 1e-4)
    assert loudness.gain <= volume


@given(st.integers(0, 10_000), st.floats(0.0, 0.2), volumes)
def test_a_quiet_sound_becomes_exactly_as_loud_as_asked_for(seed, level, volume):
    quiet = noise(seed, level)
    wave, loudness = set_volume(quiet, volume)

    np.testing.assert_allclose(wave, quiet * np.float32(volume), rtol=1e-6)
    assert loudness.lowered_db == 0


@given(st.floats(0.5, 3.0), volumes)
def test_what_was_lowered_is_told(peak, volume):
    loudness = gain_for(peak, volume)

    assert volume * 10 ** (-loudness.lowered_db / 20) == pytest.approx(loudness.gain)
    assert loudness.gain * peak <= CEILING * (1 + 1e-9)


def test_the_curve_between_the_samples_counts():
    # A quarter of the rate, half a sample off: every sample is at 0.707 of the crest.
    wave = np.sin(np.pi * np.arange(4000) / 2 + np.pi / 4).astype(np.float32)

    assert np.abs(wave).max() < 0.71
    assert true_peak(wave) > 0.98


@pytest.mark.parametrize("volume", [0.4, 2.1, float("nan")])
def test_a_volume_out_of_range_is_refused(volume):
    with pytest.raises(SynthesisError, match="out of range"):
        gain_for(0.5, volume)


@given(st.sampled_from(sorted(PRESETS)), st.sampled_from(sorted(PRESETS)), st.floats(0, 1))
def test_a_mix_lies_between_and_leaves_the_voice_its_own_emotion(first, second, share):
    mixed = mix(PRESETS[first], PRESETS[second], share)

    for weight, one, other in zip(mixed, PRESETS[first], PRESETS[second], strict=True):
        assert min(one, other) - 1e-9 <= weight <= max(one, other) + 1e-9
    assert sum(normalize_weights(mixed)) <= MAX_SLIDER_SUM + 1e-9


@pytest.mark.parametrize(
    ("preset", "emotion"),
    [
        ("surprised", "surprised"),
        ("fearful", "afraid"),
        ("calm", "calm"),
        ("disgusted", "disgusted"),
    ],
)
def test_a_preset_drives_the_emotion_that_it_is_called_after(preset, emotion):
    weights = PRESETS[preset]

    assert EMOTIONS[weights.index(max(weights))] == emotion
    assert not any(PRESETS["neutral"])
