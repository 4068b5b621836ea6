"""The semantic encoder: float32 always, and only as deep as is read."""

import pytest
import torch

from idiolect.base.errors import ConfigError
from idiolect.models.semantic import SemanticEncoder, semantic_state

CONFIG = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "output_hidden_size": 32,
}


def noise(num_samples, seed=0):
    return 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return SemanticEncoder(CONFIG, layer=2).eval().requires_grad_(False)


def test_the_layers_behind_the_one_that_is_read_are_not_built(encoder):
    assert len(encoder.network.encoder.layers) == 2


def test_a_layer_that_the_network_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="hidden state 17 is wanted"):
        SemanticEncoder(CONFIG, layer=17)


def test_features_are_float32_also_under_autocast(encoder):
    clip = noise(8000)
    want, _ = encoder([clip])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, _ = encoder([clip])
    assert got.dtype == torch.float32
    assert torch.equal(got, want)


def test_features_are_normalised_by_the_statistics(encoder):
    clip = noise(8000)
    plain, _ = encoder([clip])
    shifted = SemanticEncoder(CONFIG, layer=2).eval()
    shifted.load_state_dict({**encoder.state_dict(), "mean": torch.full((32,), 3.0)})
    torch.testing.assert_close(shifted([clip])[0], plain - 3.0)


def test_a_half_padded_last_row_is_kept(encoder):
    odd, lens = encoder([noise(400 + 160 * 10)])  # 11 frames: five pairs and a half
    assert odd.shape[1] == 6
    assert lens.tolist() == [6]


def test_only_the_tensors_that_are_read_are_taken():
    keys = ["masked_spec_embed", "feature_projection.x", "encoder.layers.1.x", "encoder.layers.2.x"]
    stats = {"mean": torch.zeros(1), "var": torch.ones(1)}
    state = semantic_state(dict.fromkeys(keys, torch.zeros(1)), stats, layer=2)
    assert set(state) == {
        "mean",
        "var",
        "network.feature_projection.x",
        "network.encoder.layers.1.x",
    }


def test_a_batch_of_eight_has_the_rows_of_eight_clips_alone(encoder):
    clips = [noise(n, seed=n) for n in (16_000, 1100, 3333, 9000, 12_345, 2000, 15_999, 5040)]
    batch, lens = encoder(clips)
    for row, clip in enumerate(clips):
        alone, alone_lens = encoder([clip])
        assert lens[row] == alone_lens[0]
        torch.testing.assert_close(batch[row, : lens[row]], alone[0], rtol=1e-4, atol=1e-5)
