import pytest
import torch

from idiolect.base.errors import CheckpointError
from idiolect.base.guard import is_base_dir
from idiolect.base.snapshot import BaseSnapshot
from idiolect.models.loading import (
    load_codec,
    load_gpt,
    load_s2mel,
    load_semantic_encoder,
    load_vocoder,
)
from idiolect.models.memory import REQUEST_BEAMS, REQUEST_CODES
from idiolect.models.nano import synthetic_clips, write_nano
from idiolect.models.published import locate_base
from idiolect.synthesis.sampling import SamplingSettings, generate_codes
from idiolect.text.tokenizer import Tokenizer

MAX_BYTES = 25 << 20


@pytest.fixture(scope="module")
def files(nano_base):
    return locate_base(nano_base)


def test_a_nano_base_has_the_published_names_and_is_small(nano_base):
    files = [path for path in nano_base.rglob("*") if path.is_file()]
    names = {str(path.relative_to(nano_base)) for path in files}

    assert names == {
        "README.md",
        "bpe.model",
        "config.yaml",
        "feat1.pt",
        "feat2.pt",
        "gpt.pth",
        "hf_cache/bigvgan/bigvgan_generator.pt",
        "hf_cache/bigvgan/config.json",
        "hf_cache/campplus_cn_common.bin",
        "hf_cache/semantic_codec_model.safetensors",
        "hf_cache/w2v-bert-2.0/config.json",
        "hf_cache/w2v-bert-2.0/model.safetensors",
        "hf_cache/w2v-bert-2.0/preprocessor_config.json",
        "s2mel.pth",
        "wav2vec2bert_stats.pt",
    }
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    assert is_base_dir(nano_base)


def test_equal_seeds_make_equal_bases_and_leave_the_generator_alone(nano_base, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)

    torch.manual_seed(5)
    write_nano(tmp_path / "again", seed=0)

    assert torch.rand(1) == expected
    assert BaseSnapshot.take(tmp_path / "again").hashes == BaseSnapshot.take(nano_base).hashes


def test_a_base_is_never_overwritten(nano_base):
    before = BaseSnapshot.take(nano_base)

    with pytest.raises(CheckpointError, match="not empty"):
        write_nano(nano_base, seed=1)

    assert before.verify()


def test_the_tokenizer_is_real(files):
    tokenizer = Tokenizer.load(files.tokenizer)

    assert tokenizer.vocab_size == files.config.gpt.vocab_size
    for text, language in (("The old bell.", "en"), ("El mar y el río.", "es")):
        assert tokenizer.unk_id not in tokenizer.encode(text, language)


def test_different_sounds_get_different_codes(files):
    encoder, codec = load_semantic_encoder(files), load_codec(files)
    size = files.config.codec.codebook_size
    noise = torch.randn(1, 16_000 * 6, generator=torch.Generator().manual_seed(1))[0]

    with torch.inference_mode():
        of_noise = codec.quantize(encoder([0.1 * noise])[0])[0].unique()
        of_clips = codec.quantize(encoder(synthetic_clips(99))[0])[0].unique()

    assert len(of_noise) >= size / 2
    assert len(of_clips) >= size / 2


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(SamplingSettings(do_sample=False, num_beams=1), id="greedy"),
        pytest.param(SamplingSettings(), id="the published defaults"),
    ],
)
def test_decoding_ends_by_itself_and_the_sound_can_be_heard(files, settings):
    gpt, codec, s2mel = load_gpt(files.gpt, files.config.gpt), load_codec(files), load_s2mel(files)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 60, files.config.gpt.feature_dim, generator=generator)
    text_ids = torch.tensor([[5, 9, 20, 31]])

    with torch.inference_mode():
        prefix = gpt.prefix(gpt.speaker_latents(features), gpt.emotion_vector(features))
        codes = generate_codes(gpt, prefix, text_ids, settings, generator).reshape(1, -1)
        codes = codes[codes < files.config.codec.codebook_size][None]
        semantic = codec.embed(codes) + s2mel.gpt_layer(gpt.code_latents(prefix, text_ids, codes))
        condition = s2mel.regulate(semantic, 40)
        style = torch.randn(1, files.config.speaker.embedding_dim, generator=generator)
        mel = s2mel.sample(condition, torch.zeros(1, 80, 10), style, generator=generator)
        audio = load_vocoder(files)(mel[..., 10:])

    assert 25 < codes.shape[1] < 250
    assert audio.isfinite().all()
    assert audio.square().mean().sqrt() > 0.01


def test_the_estimate_of_memory_is_for_the_default_settings():
    settings = SamplingSettings()

    assert (settings.num_beams, settings.max_codes) == (REQUEST_BEAMS, REQUEST_CODES)
