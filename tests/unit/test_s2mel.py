"""What a base may say of its sampling, and what holds where it says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from idiolect.models.config import S2MelDims
from idiolect.models.nano_config import CONFIG
from idiolect.models.s2mel import S2Mel

SECTION = CONFIG["s2mel"]


def sample(network: S2Mel, **how: float | torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    condition = torch.randn(1, 9, network.dims.content_dim, generator=generator)
    prompt = torch.randn(1, network.dims.n_mels, 4, generator=generator)
    style = torch.randn(1, network.dims.style_dim, generator=generator)
    with torch.inference_mode():
        return network.sample(condition, prompt, style, generator=generator, num_steps=2, **how)


@pytest.fixture(scope="module")
def network() -> S2Mel:
    torch.manual_seed(0)
    return S2Mel(S2MelDims.of({**SECTION, "gpt_layer_dims": (4, 4)})).eval()


def test_a_base_that_says_nothing_samples_as_published(network: S2Mel):
    dims = S2MelDims.of(SECTION)
    assert (dims.guidance, dims.temperature) == (0.7, 1.0)
    assert torch.equal(sample(network), sample(network, guidance=0.7))


@pytest.mark.parametrize(("key", "value"), [("guidance", 1.5), ("temperature", 0.5)])
def test_what_a_base_says_of_sampling_counts(network: S2Mel, key: str, value: float):
    published = sample(network)
    dims = network.dims
    network.dims = replace(dims, **{key: getattr(S2MelDims.of({**SECTION, key: value}), key)})
    try:
        changed = sample(network)
    finally:
        network.dims = dims
    assert not torch.allclose(changed, published)


def test_a_cooler_base_begins_with_less_noise(network: S2Mel):
    noise = torch.zeros(1, network.dims.n_mels, 9)
    dims = network.dims
    network.dims = replace(dims, temperature=1e-6)
    try:
        cold = sample(network)
    finally:
        network.dims = dims
    assert torch.allclose(cold, sample(network, noise=noise), atol=1e-4)
