"""Log-mel, filter banks, resampling and semantic features against the published code's numbers."""

from __future__ import annotations

import pytest
import torch

from golden.fixtures import Fixture, load_fixture
from idiolect.audio.dims import MelDims
from idiolect.audio.fbank import semantic_input
from idiolect.audio.mel import LogMel
from idiolect.audio.resample import resample_22k_to_16k
from idiolect.models.semantic import SemanticEncoder, semantic_state


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return load_fixture("features")


def encoder_of(fixture: Fixture, layer: int) -> SemanticEncoder:
    encoder = SemanticEncoder(fixture.config["w2v_bert"], layer)
    stats = fixture.state_of("wav2vec2bert_stats/")
    encoder.load_state_dict(semantic_state(fixture.state_of("w2v_bert/"), stats, layer))
    return encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def encoder(fixture) -> SemanticEncoder:
    return encoder_of(fixture, fixture.config["hidden_state_index"])


def test_the_log_mel_is_that_of_the_published_code(fixture):
    dims = MelDims.of(fixture.config["s2mel"]["preprocess_params"])
    fixture.check("mel", LogMel(dims)(fixture.ins["wav22k"]))


def test_the_prompt_resampler_is_that_of_the_published_code(fixture):
    fixture.check("resample_16k", resample_22k_to_16k(fixture.ins["resample_in"]))


@pytest.mark.parametrize("name", ["even", "odd"])
def test_the_input_of_the_semantic_encoder_is_that_of_the_published_code(fixture, name):
    features, mask, lens = semantic_input([fixture.ins[f"wav16k_{name}"][0]])
    fixture.check(f"w2v_in_{name}", features)
    fixture.check(f"w2v_mask_{name}", mask)
    assert lens.tolist() == [features.shape[1]]


def test_a_batch_is_padded_as_in_the_published_code(fixture):
    audios = [fixture.ins[f"wav16k_{name}"][0] for name in ("even", "odd")]
    features, mask, _ = semantic_input(audios)
    fixture.check("w2v_in_batch", features)
    fixture.check("w2v_mask_batch", mask)


@pytest.mark.parametrize("name", ["even", "odd"])
def test_a_clip_has_the_features_of_the_published_code(fixture, encoder, name):
    features, lens = encoder([fixture.ins[f"wav16k_{name}"][0]])
    fixture.check(f"semantic_{name}", features)
    assert lens.tolist() == [features.shape[1]]


def test_a_batch_has_the_features_of_the_published_code(fixture, encoder):
    features, lens = encoder([fixture.ins[f"wav16k_{name}"][0] for name in ("even", "odd")])
    fixture.check("semantic_batch", features)
    assert lens.tolist() == [fixture.outs[f"semantic_{n}"].shape[1] for n in ("even", "odd")]


def test_hidden_state_0_is_the_input_of_the_first_layer(fixture):
    encoder = encoder_of(fixture, layer=0)
    inputs, mask = fixture.outs["w2v_in_even"], fixture.outs["w2v_mask_even"].bool()
    states = encoder.features_of(inputs, mask) * encoder.var.sqrt() + encoder.mean
    fixture.check("hidden_state_0_even", states)


def test_neighbours_in_a_batch_change_no_row_of_a_clip(fixture, encoder):
    audio = fixture.ins["wav16k_even"][0]
    clips = [audio, fixture.ins["wav16k_odd"][0], audio[: len(audio) // 3], audio[:1234]]
    batch, lens = encoder(clips)
    for row, clip in enumerate(clips):
        alone, _ = encoder([clip])
        assert lens[row] == alone.shape[1]
        torch.testing.assert_close(batch[row, : lens[row]], alone[0], rtol=1e-4, atol=1e-5)
