"""The semantic codec against the published code's numbers."""

from __future__ import annotations

import pytest
import torch

from golden.fixtures import Fixture, load_fixture
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import CodecDims


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    return load_fixture("codec")


@pytest.fixture(scope="module")
def codec(fixture) -> SemanticCodec:
    network = SemanticCodec(CodecDims.of(fixture.config["semantic_codec"]))
    network.load_state_dict(fixture.state)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("name", ["x_b1", "x_b2"])
def test_features_get_the_codes_of_the_published_code(fixture, codec, name):
    codes, embeddings = codec.quantize(fixture.ins[name])
    fixture.check(f"codes_{name}", codes)
    fixture.check(f"emb_{name}", embeddings)


def test_the_way_to_the_codebook_is_that_of_the_published_code(fixture, codec):
    encoded = codec.encode(fixture.ins["x_b1"])
    fixture.check("encoder_x_b1", encoded)
    fixture.check("projected_x_b1", codec.quantizer.only.project(encoded))


@pytest.mark.parametrize("name", ["b1", "b2"])
def test_codes_get_the_embeddings_of_the_published_code(fixture, codec, name):
    fixture.check(f"vq2emb_{name}", codec.embed(fixture.ins[f"codes_{name}"]).mT)


def test_padding_changes_no_code_of_any_clip(fixture, codec):
    x = fixture.ins["x_b2"]
    lens = torch.tensor([x.shape[1] - 9, x.shape[1]])
    padded, _ = codec.quantize(x, lens)
    for row, num_frames in enumerate(lens.tolist()):
        alone, _ = codec.quantize(x[row : row + 1, :num_frames])
        assert torch.equal(padded[row, :num_frames], alone[0])
