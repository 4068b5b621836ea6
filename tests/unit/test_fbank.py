"""Filter banks: as the published extractor's, clip by clip, whatever stands beside a clip."""

import numpy as np
import pytest
import torch

from idiolect.audio.fbank import MIN_SAMPLES, semantic_input, speaker_fbank
from idiolect.base.errors import DataError


def noise(num_samples, seed=0):
    return 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_samples", [MIN_SAMPLES, 16_000, 16_161])
def test_the_input_equals_that_of_the_library_bit_for_bit(num_samples):
    from transformers import SeamlessM4TFeatureExtractor

    library = SeamlessM4TFeatureExtractor(
        feature_size=80, num_mel_bins=80, padding_value=1, stride=2, sampling_rate=16_000
    )
    audio = noise(num_samples)
    want = library(audio.numpy(), sampling_rate=16_000, return_tensors="np")

    features, mask, lens = semantic_input([audio])

    np.testing.assert_array_equal(features.numpy(), want["input_features"])
    np.testing.assert_array_equal(mask.numpy(), want["attention_mask"].astype(bool))
    assert lens.tolist() == [want["input_features"].shape[1]]


def test_neighbours_change_no_row_of_a_clip():
    clips = [noise(9000, seed=1), noise(MIN_SAMPLES, seed=2), noise(16_161, seed=3)]
    features, mask, lens = semantic_input(clips)
    for row, clip in enumerate(clips):
        alone, alone_mask, alone_lens = semantic_input([clip])
        n = int(alone_lens)
        assert lens[row] == n
        assert torch.equal(features[row, :n], alone[0])
        assert torch.equal(mask[row, :n], alone_mask[0])
        assert not mask[row, n:].any()


def test_silence_is_finite():
    silence = torch.zeros(16_000)
    assert torch.isfinite(semantic_input([silence])[0]).all()
    torch.testing.assert_close(speaker_fbank(silence), torch.zeros(98, 80), rtol=0, atol=1e-5)


def test_the_speaker_features_have_no_mean():
    bands = speaker_fbank(noise(16_000))
    assert bands.shape == (98, 80)
    torch.testing.assert_close(bands.mean(dim=0), torch.zeros(80), rtol=0, atol=1e-5)


@pytest.mark.parametrize("analyse", [speaker_fbank, lambda audio: semantic_input([audio])])
def test_a_clip_too_short_for_the_networks_is_refused(analyse):
    with pytest.raises(DataError, match="too short to analyse") as caught:
        analyse(noise(MIN_SAMPLES - 1))
    assert "65 ms or longer" in caught.value.fix
