"""A clip's codes are the same alone and padded in a batch."""

import pytest
import torch

from idiolect.models.codec import SemanticCodec
from idiolect.models.config import CodecDims


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    dims = CodecDims(codebook_size=512, feature_dim=32, code_dim=8, dim=24, ff_dim=48, num_layers=3)
    network = SemanticCodec(dims).eval().requires_grad_(False)
    for block in network.encoder[0].convnext:
        block.gamma.fill_(1.0)  # so that every block reaches as far as it can
    return network


def clips_of(lens, feature_dim=32):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, feature_dim, generator=generator) for n in lens]


@pytest.mark.parametrize("padding", [0.0, 1.0, 1e3])
def test_a_batch_of_eight_has_the_codes_of_eight_clips_alone(codec, padding):
    lens = [40, 1, 7, 39, 25, 13, 2, 31]
    clips = clips_of(lens)
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=padding)

    codes, embeddings = codec.quantize(batch, torch.tensor(lens))

    for row, clip in enumerate(clips):
        alone, alone_embeddings = codec.quantize(clip[None])
        assert torch.equal(codes[row, : len(clip)], alone[0])
        torch.testing.assert_close(embeddings[row, : len(clip)], alone_embeddings[0])


def test_without_lens_padding_would_change_codes(codec):
    """The test above sees what it is about."""
    (clip,) = clips_of([20])
    padded = torch.nn.functional.pad(clip, (0, 0, 0, 20), value=1e3)[None]
    assert not torch.equal(codec.quantize(padded)[0][0, :20], codec.quantize(clip[None])[0][0])


def test_codes_stand_for_the_embeddings_that_they_came_with(codec):
    features = clips_of([12])[0][None]
    codes, embeddings = codec.quantize(features)
    assert codes.dtype == torch.int64
    assert torch.equal(codec.embed(codes), embeddings)
