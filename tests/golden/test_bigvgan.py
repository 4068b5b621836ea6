"""The vocoder against the published code's numbers."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from golden.fixtures import Fixture, load_fixture
from idiolect.models.config import VocoderDims
from idiolect.models.vocoder import BigVgan
from idiolect.models.weight_norm import fold_weight_norm


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return load_fixture("bigvgan")


@pytest.fixture(scope="module")
def vocoder(fixture) -> BigVgan:
    network = BigVgan(VocoderDims.of(fixture.config["bigvgan"]))
    network.load_state_dict(fixture.state)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("name", ["b1", "b2"])
def test_a_mel_has_the_wave_of_the_published_code(fixture, vocoder, name):
    fixture.check(f"wav_{name}", vocoder(fixture.ins[f"mel_{name}"]))


def test_the_inner_activations_are_those_of_the_published_code(fixture, vocoder):
    x = vocoder.conv_pre(fixture.ins["mel_b1"])
    fixture.check("conv_pre_b1", x)
    x = vocoder.ups[0](x)
    fixture.check("ups0_b1", x)
    fixture.check("res0_act0_b1", vocoder.resblocks[0].activations[0](x))
    fixture.check("res0_b1", vocoder.resblocks[0](x))
    fixture.check("pre_clamp_b1", vocoder.unclamped(fixture.ins["mel_b1"]))


def test_folding_the_weight_norm_changes_no_sample(fixture, vocoder):
    folded = deepcopy(vocoder)
    fold_weight_norm(folded)
    fixture.check("wav_b1_folded", folded(fixture.ins["mel_b1"]))
    assert not [name for name in folded.state_dict() if name.endswith(("weight_g", "weight_v"))]


def test_a_folded_state_loads_into_a_folded_vocoder(fixture, vocoder):
    folded, empty = deepcopy(vocoder), BigVgan(VocoderDims.of(fixture.config["bigvgan"]))
    fold_weight_norm(folded)
    fold_weight_norm(empty)
    empty.load_state_dict(folded.state_dict())
    mel = fixture.ins["mel_b1"]
    assert torch.equal(empty(mel), folded(mel))


def test_the_filters_are_computed_as_the_file_has_them(fixture):
    state = BigVgan(VocoderDims.of(fixture.config["bigvgan"])).state_dict()
    for name in (name for name in state if name.endswith("filter")):
        torch.testing.assert_close(state[name], fixture.state[name], rtol=0, atol=1e-7)
