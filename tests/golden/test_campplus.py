"""The speaker encoder and its filter banks against the published code's numbers."""

from __future__ import annotations

import pytest
import torch

from golden.fixtures import Fixture, load_fixture
from idiolect.audio.fbank import MIN_SAMPLES, log_bands, speaker_fbank
from idiolect.models.config import SpeakerDims
from idiolect.models.speaker import CampPlus


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return load_fixture("campplus")


@pytest.fixture(scope="module")
def encoder(fixture) -> CampPlus:
    config = fixture.config["campplus"]
    dims = SpeakerDims(n_mels=config["feat_dim"], embedding_dim=config["embedding_size"])
    network = CampPlus(dims)
    network.load_state_dict(fixture.state, strict=False)
    return network.eval().requires_grad_(False)


def test_the_fixture_sets_every_weight(fixture, encoder):
    given = {name for name in encoder.state_dict() if not name.endswith("num_batches_tracked")}
    assert given <= fixture.state.keys()


@pytest.mark.parametrize("name", ["short", "b2"])
def test_filter_banks_get_the_embedding_of_the_published_code(fixture, encoder, name):
    fixture.check(f"style_{name}", encoder(fixture.ins[f"fbank_{name}"]))


def test_the_inner_activations_are_those_of_the_published_code(fixture, encoder):
    head = encoder.head(fixture.ins["fbank_short"])
    fixture.check("head_short", head)
    fixture.check("block1_short", encoder.xvector.block1(encoder.xvector.tdnn(head)))


def test_a_waveform_gets_the_embedding_of_the_published_code(fixture, encoder):
    audio = fixture.ins["wav16k"][0]
    centred = speaker_fbank(audio)
    fixture.check("fbank_wav", log_bands(audio))
    fixture.check("fbank_wav_centered", centred)
    fixture.check("style_wav", encoder(centred[None]))


def test_the_shortest_clip_that_is_taken_has_an_embedding(encoder):
    shortest = torch.sin(torch.arange(MIN_SAMPLES) / 3)
    assert torch.isfinite(encoder(speaker_fbank(shortest)[None])).all()
