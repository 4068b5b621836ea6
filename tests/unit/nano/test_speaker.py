"""The speaker encoder of nano: what it is taught with, and that it learns to tell voices apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from idiolect.base.errors import DataError
from idiolect.data.formants import CATALAN_SENTENCES
from idiolect.models.checkpoint import load_tensors
from idiolect.models.config import SpeakerDims
from idiolect.models.speaker import CampPlus
from idiolect.nano import speaker
from idiolect.nano.clips import Clips
from idiolect.nano.speaker import (
    MarginHead,
    SpeakerConfig,
    VoicePool,
    embed_clips,
    likeness_of_voices,
    train_speaker,
    voice_scores,
)
from idiolect.nano.stage import Pace
from nano_kit import VOICES, formant_clips, utterance_of

DIMS = SpeakerDims(
    embedding_dim=16, head_channels=4, growth=8, init_channels=16, block_layers=(1, 1, 1)
)


def config(steps: int, **changes) -> SpeakerConfig:
    pace = Pace(total_steps=steps, learning_rate=1e-2, warmup_steps=5)
    return replace(SpeakerConfig(pace=pace, batch_crops=12, crop_sec=(0.6, 0.8)), **changes)


@pytest.fixture(scope="module")
def clips() -> Clips:
    return formant_clips(CATALAN_SENTENCES[:4])


def tone(hz: float, seconds: float = 1.0) -> Clips:
    wave = np.sin(2 * np.pi * hz * np.arange(int(22_050 * seconds)) / 22_050)
    utterances = [utterance_of(voice, CATALAN_SENTENCES[0], seconds, None) for voice in VOICES[:2]]
    pcm = np.tile((wave * 30_000).astype(np.int16), 2)
    return Clips(utterances, pcm, [len(wave), 2 * len(wave)])


class MeanBands(torch.nn.Module):
    """A teacher that knows loud bands from soft ones."""

    def forward(self, fbank):
        return fbank.abs().mean(1)


@pytest.mark.parametrize(("factor", "heard_hz"), [(0.8, 400), (1.0, 500), (1.2, 600)])
def test_a_voice_that_is_played_faster_is_higher(factor, heard_hz):
    pool = VoicePool.of(tone(500), [factor])

    crop = pool.crop(0, 8000, np.random.default_rng(0)).numpy()

    assert len(crop) == 8000
    assert np.abs(np.fft.rfft(crop)).argmax() * 2 == heard_hz


def test_a_clip_shorter_than_a_crop_is_repeated():
    pool = VoicePool.of(tone(500, seconds=0.1), [1.0])

    crop = pool.crop(0, 16_000, np.random.default_rng(0))

    assert crop.shape == (16_000,)
    assert crop[-4000:].square().mean() > 0.1


def test_each_speaker_is_as_many_voices_as_there_are_factors(clips):
    pool = VoicePool.of(clips, [0.9, 1.0, 1.1])

    assert len(pool.voices) == 9
    assert pool.voices[0] == ("high", 0.9)


def test_one_speaker_is_nothing_to_tell_apart():
    with pytest.raises(DataError, match="nothing to tell apart"):
        VoicePool.of(formant_clips(CATALAN_SENTENCES[:2], VOICES[:1]), [1.0])


def test_the_margin_is_taken_from_the_own_voice_alone():
    head = MarginHead(3, 4)
    embeddings = F.normalize(torch.randn(2, 4), dim=1)
    voices = torch.tensor([2, 0])

    plain, farther = head(embeddings, voices, 0.0), head(embeddings, voices, 0.3)

    own = voices[:, None]
    angles = plain.gather(1, own).acos() + 0.3
    torch.testing.assert_close(farther.gather(1, own), angles.clamp(max=torch.pi).cos())
    others = torch.ones_like(plain, dtype=torch.bool).scatter(1, own, value=False)
    torch.testing.assert_close(plain[others], farther[others])


def test_directions_begin_where_the_teacher_hears_the_voices():
    points = F.normalize(torch.randn(6, 5), dim=1)
    head = MarginHead(6, 8)

    head.place(points @ points.T)

    directions = F.normalize(head.directions, dim=1)
    torch.testing.assert_close(directions @ directions.T, points @ points.T, atol=1e-4, rtol=0)


def test_scores_are_best_for_voices_apart_and_chance_for_voices_alike():
    speakers = ["a", "b"] * 6
    apart = torch.eye(2).repeat(6, 1)
    alike = F.normalize(torch.randn(12, 2, generator=torch.Generator().manual_seed(1)), dim=1)

    best, worst = voice_scores(apart, speakers), voice_scores(alike, speakers)

    assert (best.same, best.other, best.top1, best.equal_error) == (1.0, 0.0, 1.0, 0.0)
    assert best.voices == 2
    assert worst.equal_error > 0.3


def test_a_teacher_hears_a_voice_nearest_to_itself(clips):
    pool = VoicePool.of(clips, [0.8, 1.0, 1.25])

    likeness = likeness_of_voices(MeanBands(), pool, config(1))

    assert likeness.shape == (9, 9)
    torch.testing.assert_close(likeness.diag(), torch.ones(9))
    torch.testing.assert_close(likeness, likeness.T)
    assert (likeness - torch.eye(9)).max() < 1


def test_it_learns_to_tell_voices_apart_in_sentences_it_never_heard(clips, tmp_path):
    clean = config(60, factors=(1.0,), noise_db=(20.0, 40.0))
    path = train_speaker(clips, DIMS, tmp_path, clean)

    encoder = CampPlus(DIMS)
    encoder.load_state_dict(load_tensors(path))
    unseen = formant_clips(CATALAN_SENTENCES[4:10])
    speakers = [utterance.speaker for utterance in unseen.utterances]
    scores = voice_scores(embed_clips(encoder.eval(), unseen), speakers)
    assert scores.top1 > 0.9
    assert scores.same > scores.other + 0.3


def test_a_stage_that_was_stopped_goes_on_to_the_same_weights(clips, tmp_path, monkeypatch):
    whole = train_speaker(clips, DIMS, tmp_path / "whole", config(4), MeanBands())
    learn, calls = speaker._learn, []

    def stop_at_third(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return learn(*args)

    monkeypatch.setattr(speaker, "_learn", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        train_speaker(clips, DIMS, tmp_path / "stopped", config(4), MeanBands())
    parts = train_speaker(clips, DIMS, tmp_path / "stopped", config(4), MeanBands())

    first, second = load_tensors(whole), load_tensors(parts)
    assert len(calls) == 5
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_names_of_one_voice_are_not_pushed_apart():
    likeness = torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])

    doubles = speaker._doubles(likeness, torch.tensor([0, 2]), 0.8)

    assert doubles.tolist() == [[False, True, False], [False, False, False]]
