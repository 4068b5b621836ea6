"""Log-mel, filter banks, resampling and semantic features against the published code's numbers."""

from __future__ import annotations

import pytest

from golden.fixtures import Fixture, load_fixture
from idiolect.audio.dims import MelDims
from idiolect.audio.fbank import semantic_input
from idiolect.audio.mel import LogMel
from idiolect.audio.resample import resample_22k_to_16k


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return load_fixture("features")


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
