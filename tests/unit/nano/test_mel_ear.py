"""What the shipped nano hears in mels, on clips of the corpus that comes with the program."""

from __future__ import annotations

import pytest
import torch

from idiolect.audio.io import read_audio
from idiolect.audio.mel import LogMel
from idiolect.base.places import SHIPPED_DIR
from idiolect.data.manifest import read_manifest, write_manifest
from idiolect.listening.recogniser import Recogniser, heard_errors
from idiolect.listening.scores import LetterErrors
from idiolect.models.published import CACHE_DIR, SEMANTIC_DIR
from idiolect.nano.clips import open_clips
from idiolect.nano.demo_corpus import CORPUS_DIR
from idiolect.nano.flow_data import Ragged, keep_ragged
from idiolect.nano.mel_ear import MelEar, fit_bands, normalized, num_frames_read, read_at
from idiolect.nano.sizes import base_config
from idiolect.nano.sounds import Sounds, open_sounds

FIRST = torch.tensor([0])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sounds, Ragged]:
    """Return filter banks and mels of the sentences of the shipped corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    manifest = folder / "clips.jsonl"
    write_manifest(manifest, list(read_manifest(CORPUS_DIR / "sentences/sentences.jsonl")))
    clips, log_mel = open_clips(manifest, folder), LogMel(base_config().mel)
    mels = (log_mel(clips.wave(i)[None])[0].T.half().numpy() for i in range(len(clips)))
    return open_sounds(manifest, folder), keep_ragged(folder / "mels", "", lambda: mels, total=14)


@pytest.fixture(scope="module")
def ear(corpus: tuple[Sounds, Ragged]) -> MelEar:
    sounds, mels = corpus
    return MelEar(SHIPPED_DIR / CACHE_DIR, SHIPPED_DIR, fit_bands(mels, sounds))


def mel_of(mels: Ragged, index: int) -> torch.Tensor:
    return torch.from_numpy(mels[index].copy()).float().T[None]


def test_a_mel_is_read_where_the_encoder_listens():
    frame = torch.arange(100.0)[None, :, None]

    read = read_at(frame, torch.tensor([10]), torch.tensor([60]), 50)[0, :, 0]

    # Mel frames are 256 / 22050 s apart, and the first has its middle at half of that.
    middle_sec = 0.0125 + 0.01 * torch.arange(50)
    wanted = 10 + middle_sec * 22_050 / 256 - 0.5
    assert torch.allclose(read, wanted.clamp(max=69), atol=1e-3)


def test_as_many_frames_are_read_as_the_encoder_has_of_the_clip(corpus):
    sounds, mels = corpus

    read = num_frames_read(torch.from_numpy(mels.lens)) // 2

    assert (read - torch.tensor([len(sounds.clip(i)) for i in range(len(sounds))])).abs().max() <= 1


def test_bands_have_no_mean_and_one_variance_where_a_clip_is():
    bands = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0)) * 3 + 7
    mask = torch.arange(30) < torch.tensor([[30], [11]])

    short = normalized(bands, mask)[1]

    assert torch.allclose(short[:11].mean(0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(short[:11].var(0), torch.ones(4), atol=1e-5)
    assert not short[11:].any()


def test_the_recogniser_reads_a_mel_as_well_as_the_sound(corpus, ear):
    sounds, mels = corpus
    recogniser = Recogniser(SHIPPED_DIR / CACHE_DIR / SEMANTIC_DIR)
    of_mel, of_sound = [], []

    for index, clip in enumerate(sounds.utterances):
        features, mask = ear(mel_of(mels, index), FIRST, torch.tensor([mels.lens[index]]))
        heard = recogniser.spell(ear.behind(features, mask), mask.sum(dim=1))[0]
        audio = torch.from_numpy(read_audio(clip.audio_path, 16_000)[0])
        of_mel.append(heard_errors(clip.text, heard, clip.language))
        of_sound.append(heard_errors(clip.text, recogniser.transcribe([audio])[0], clip.language))

    assert LetterErrors.total(of_mel).rate < LetterErrors.total(of_sound).rate + 0.03


def test_what_surrounds_a_clip_is_not_heard(corpus, ear):
    _, mels = corpus
    mel, length = mel_of(mels, 0), int(mels.lens[0])
    alone, _ = ear(mel, FIRST, torch.tensor([length]))
    noise = torch.randn(1, 80, 70, generator=torch.Generator().manual_seed(1))

    within, mask = ear(
        torch.cat([noise, mel, noise], dim=-1), torch.tensor([70]), torch.tensor([length])
    )

    assert mask.all()
    assert torch.allclose(within, alone, atol=1e-4)


def test_only_what_is_judged_is_drawn_to_what_was_said(corpus, ear):
    _, mels = corpus
    mel = mel_of(mels, 0)
    start, length = torch.tensor([40]), torch.tensor([int(mels.lens[0]) - 40])
    blurred = torch.nn.functional.avg_pool1d(mel, 9, 1, 4).requires_grad_()

    loss = ear.loss(blurred, mel, start, length)
    loss.backward()

    assert loss > 10 * ear.loss(mel, mel, start, length).abs()
    assert blurred.grad is not None
    assert not blurred.grad[..., :40].any()
    assert blurred.grad[..., 60:-20].abs().sum(dim=1).all()
    assert all(parameter.grad is None for parameter in ear.parameters())
