"""The emotion matrices of nano: eight groups of voices, each changed in its own way."""

import pytest
import torch

from idiolect.data.formants import CATALAN_SENTENCES
from idiolect.models.emotion import EMOTIONS, EmotionMatrices
from idiolect.models.loading import load_gpt, load_semantic_encoder, load_speaker_encoder
from idiolect.models.published import locate_base
from idiolect.nano.emotions import MANNERS, Manner, changed, emotion_matrices
from nano_kit import formant_clips


@pytest.fixture(scope="module")
def matrices(nano_base):
    files = locate_base(nano_base)
    gpt = load_gpt(files.gpt, files.config.gpt)
    listeners = load_semantic_encoder(files), load_speaker_encoder(files)
    clips = formant_clips(CATALAN_SENTENCES[:2])
    return emotion_matrices(gpt, *listeners, clips, num_voices=2), files.config


def test_every_emotion_of_the_base_has_a_manner():
    assert tuple(MANNERS) == EMOTIONS
    assert len({repr(manner) for manner in MANNERS.values()}) == len(EMOTIONS)


def test_there_is_a_row_for_each_voice_in_each_group(matrices):
    (styles, emotions), config = matrices

    EmotionMatrices(speaker=styles, emotion=emotions, groups=(2,) * 8)
    assert styles.shape == (16, config.speaker.embedding_dim)
    assert emotions.shape == (16, config.gpt.dim)
    assert torch.isfinite(emotions).all()


def test_a_voice_has_one_style_in_all_groups_and_an_emotion_of_its_own_in_each(matrices):
    (styles, emotions), _ = matrices

    by_group = styles.view(8, 2, -1)
    assert (by_group == by_group[0]).all()
    assert not torch.equal(by_group[0, 0], by_group[0, 1])
    assert len(emotions[::2].unique(dim=0)) == 8


def test_voices_come_again_when_the_corpus_has_fewer(nano_base):
    files = locate_base(nano_base)
    gpt = load_gpt(files.gpt, files.config.gpt)
    clips = formant_clips(CATALAN_SENTENCES[:1])

    styles, _ = emotion_matrices(
        gpt, load_semantic_encoder(files), load_speaker_encoder(files), clips, num_voices=4
    )

    assert torch.equal(styles[3], styles[0])
    assert len(styles[:3].unique(dim=0)) == 3


def test_a_manner_is_heard():
    time_sec = torch.arange(22_050) / 22_050
    wave = 0.5 * torch.sin(2 * torch.pi * 300 * time_sec)

    faster = changed(wave, Manner(speed=1.2))
    trembling = changed(wave, Manner(tremor=0.6))
    strained = changed(wave, Manner(strain=4.0))

    plain = changed(wave, Manner())
    assert len(plain) == 16_000
    assert len(faster) == pytest.approx(16_000 / 1.2, abs=2)
    assert trembling.abs().unflatten(0, (100, -1)).amax(1).std() > 0.05
    assert strained.square().mean() > 1.3 * plain.square().mean()
    assert strained.abs().max() == pytest.approx(float(plain.abs().max()), rel=0.02)
