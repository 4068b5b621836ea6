import numpy as np
import pytest
import torch

from clips import warble
from idiolect.base.units import SEMANTIC_SAMPLE_RATE
from idiolect.data.extractor import Extractor, Listeners, fingerprint_of
from idiolect.models.checkpoint import load_checkpoint, save_checkpoint
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import CodecDims
from idiolect.models.published import locate_base
from idiolect.models.semantic import SemanticEncoder
from tiny_gpt import tiny_gpt

FEATURE_DIM = 16
ENCODER = {
    "hidden_size": FEATURE_DIM,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "position_embeddings_type": "relative_key",
}
CODEC = CodecDims(
    codebook_size=64, feature_dim=FEATURE_DIM, code_dim=4, dim=8, ff_dim=16, num_layers=2
)


def tiny_listeners():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        semantic = SemanticEncoder(ENCODER, 2)
        codec = SemanticCodec(CODEC)
        return Listeners(
            semantic=semantic.eval(), codec=codec.eval(), voice=tiny_gpt(feature_dim=FEATURE_DIM)
        )


@pytest.fixture(scope="module")
def extractor():
    listeners = tiny_listeners()
    return Extractor(fingerprint="f00d", load=lambda: listeners, device=torch.device("cpu"))


def test_a_clips_codes_do_not_depend_on_its_batch(extractor):
    durations_sec = [0.11, 0.5, 0.73, 1.2, 1.21, 2.0, 3.3, 16.0]
    clips = [warble(duration_sec, seed) for seed, duration_sec in enumerate(durations_sec)]

    together = extractor.extract(clips)

    for clip, found in zip(clips, together, strict=True):
        (alone,) = extractor.extract([clip])
        np.testing.assert_array_equal(found.codes, alone.codes)
        np.testing.assert_allclose(found.latents, alone.latents, atol=4e-3)
        np.testing.assert_allclose(found.emotion, alone.emotion, atol=4e-3)


def test_there_is_one_code_for_each_20_ms_of_the_clip_itself(extractor):
    short, _ = extractor.extract([warble(1.0), warble(4.0)])

    frames_of_10_ms = 1 + (SEMANTIC_SAMPLE_RATE - 400) // 160
    assert short.codes.shape == ((frames_of_10_ms + 1) // 2,)
    assert short.codes.dtype == np.uint16


def test_a_clip_whose_codes_are_nearly_equal_is_computed_again_alone(extractor, monkeypatch):
    clips = [warble(1.0, 1), warble(1.3, 2), warble(0.7, 3)]
    sizes = []
    listen = extractor.listeners.semantic.register_forward_hook(
        lambda _module, inputs, _output: sizes.append(len(inputs[0]))
    )

    monkeypatch.setattr("idiolect.data.extractor.SAFE_MARGIN", 3.0)
    extractor.extract(clips)
    monkeypatch.setattr("idiolect.data.extractor.SAFE_MARGIN", 0.0)
    extractor.extract(clips)

    listen.remove()
    assert sizes == [3, 1, 1, 1, 3]


def test_the_voice_is_taken_from_the_first_15_s_and_the_codes_from_all(extractor):
    long = warble(17.0)

    (whole,) = extractor.extract([long])
    (cut,) = extractor.extract([long[: 15 * SEMANTIC_SAMPLE_RATE]])

    np.testing.assert_array_equal(whole.latents, cut.latents)
    np.testing.assert_array_equal(whole.emotion, cut.emotion)
    assert len(whole.codes) > len(cut.codes)


def test_the_fingerprint_follows_the_conditioners_and_not_the_transformer(nano_base, tmp_path):
    files = locate_base(nano_base)
    weights, _ = load_checkpoint(files.gpt)

    def fingerprint_with(name):
        changed = {**weights, name: weights[name] + 1}
        save_checkpoint(tmp_path / "gpt.pth", changed)
        return fingerprint_of(locate_base(nano_base, gpt=tmp_path / "gpt.pth"))

    assert fingerprint_with("text_head.bias") == fingerprint_of(files)
    assert fingerprint_with("emo_layer.bias") != fingerprint_of(files)
