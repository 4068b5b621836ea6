"""The vocoder of nano: its fast parts are equal to the plain ones, and it learns and goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from idiolect.audio.dims import MelDims
from idiolect.audio.mel import LogMel
from idiolect.base.errors import CheckpointError, DataError
from idiolect.base.units import SAMPLE_RATE
from idiolect.models.checkpoint import load_tensors
from idiolect.models.config import VocoderDims
from idiolect.models.vocoder import AntiAliasedSnake, BigVgan
from idiolect.nano import fast_snake
from idiolect.nano.clips import open_clips
from idiolect.nano.discriminators import Critics, CriticSizes, critic_loss
from idiolect.nano.fast_snake import FastSnake, speed_up
from idiolect.nano.sizes import VOCODER_CONFIG
from idiolect.nano.stage import Pace, run_stage, step_generator
from idiolect.nano.vocoder import (
    Lesson,
    PieceSource,
    VocoderConfig,
    blur,
    load_generator,
    train_vocoder,
)

HOP = MelDims().hop_length
SMALL_CRITICS = CriticSizes(
    periods=(2, 3), period_channels=(4, 8), resolutions=(256,), spectrum_channels=4
)
TINY = VocoderConfig(
    pace=Pace(total_steps=4, learning_rate=1e-3, warmup_steps=2),
    dims=VocoderDims(
        initial_channels=32,
        upsample_rates=(4, 4, 4, 4),
        upsample_kernels=(8, 8, 8, 8),
        block_kernels=(3,),
        block_dilations=((1,),),
    ),
    critics=SMALL_CRITICS,
    batch_size=2,
    frames=8,
    duel_from=2,
    blur_from=3,
)

needs_compiler = pytest.mark.skipif(
    fast_snake.snake_library() is None, reason="this machine has no C compiler"
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Return the manifest of six clips: five of one speaker, one of another."""
    folder = tmp_path_factory.mktemp("corpus")
    numbers = np.random.default_rng(0)
    lines = []
    for index in range(6):
        samples = 3000 + 700 * index
        pitch_hz = 100 + 30 * index
        phase = 2 * np.pi * pitch_hz * np.arange(samples) / SAMPLE_RATE
        wave = sum(np.sin(k * phase) / k for k in range(1, 9)) / 6
        audio = folder / f"{index}.wav"
        sf.write(audio, wave + 0.01 * numbers.standard_normal(samples), SAMPLE_RATE)
        speaker = "first" if index else "second"
        line = {"id": str(index), "audio": str(audio), "text": "a", "speaker": speaker}
        lines.append({**line, "language": "en", "duration": samples / SAMPLE_RATE})
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def source(manifest, tmp_path) -> PieceSource:
    return PieceSource(open_clips(manifest, tmp_path), TINY)


@pytest.fixture
def snake() -> AntiAliasedSnake:
    torch.manual_seed(0)
    snake = AntiAliasedSnake(6)
    torch.nn.init.normal_(snake.act.alpha, std=0.5)
    torch.nn.init.normal_(snake.act.beta, std=0.5)
    return snake


@needs_compiler
@pytest.mark.parametrize("num_samples", [1, 2, 5, 12, 999])
def test_the_fast_snake_is_the_plain_one(snake, num_samples):
    x = torch.randn(3, 6, num_samples)
    torch.testing.assert_close(FastSnake(snake)(x), snake(x), rtol=1e-6, atol=2e-6)


@needs_compiler
def test_far_from_zero_the_fast_snake_is_the_plain_one(snake):
    x = 30 * torch.randn(3, 6, 500)
    torch.testing.assert_close(FastSnake(snake)(x), snake(x), rtol=1e-5, atol=2e-5)


@needs_compiler
@pytest.mark.parametrize("num_samples", [1, 2, 5, 12, 999])
def test_the_gradients_of_the_fast_snake_are_those_of_the_plain_one(snake, num_samples):
    x = torch.randn(3, 6, num_samples, requires_grad=True)
    g = torch.randn(3, 6, num_samples)
    learned = (x, snake.act.alpha, snake.act.beta)
    wanted = torch.autograd.grad(snake(x), learned, g)
    found = torch.autograd.grad(FastSnake(snake)(x), learned, g)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * num_samples**0.5)


@needs_compiler
def test_under_autocast_the_fast_snake_reads_and_writes_bfloat16(snake):
    x = torch.randn(3, 6, 200).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = FastSnake(snake)(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), snake(x.float()), rtol=1e-2, atol=1e-2)
    y.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


@needs_compiler
def test_a_network_that_is_sped_up_has_the_same_weights_and_the_same_waves():
    torch.manual_seed(0)
    network = BigVgan(TINY.dims)
    mel = torch.randn(2, 80, 8)
    names, wave = list(network.state_dict()), network(mel)
    assert speed_up(network)
    assert list(network.state_dict()) == names
    assert any(isinstance(module, FastSnake) for module in network.modules())
    torch.testing.assert_close(network(mel), wave, rtol=1e-5, atol=1e-6)


def test_without_a_compiler_a_network_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(fast_snake, "COMPILERS", ("no-such-compiler",))
    fast_snake.snake_library.cache_clear()
    network = BigVgan(TINY.dims)
    assert not speed_up(network)
    assert not any(isinstance(module, FastSnake) for module in network.modules())
    fast_snake.snake_library.cache_clear()


def test_the_mel_of_a_piece_is_a_cut_of_the_mel_of_the_clip(source, manifest, tmp_path):
    clips = open_clips(manifest, tmp_path)
    for index in (0, 5):
        whole = LogMel(MelDims())(clips.wave(index)[None])[0]
        for first in (0, 1, whole.shape[1] // 3, whole.shape[1] - TINY.frames):
            mel, wave = (rows[0].cpu() for rows in source.pieces([(index, first)]))
            torch.testing.assert_close(mel, whole[:, first : first + TINY.frames])
            begin = first * HOP
            assert torch.equal(wave, clips.wave(index)[begin : begin + TINY.frames * HOP])


def test_speakers_are_heard_equally_often_however_much_they_said(manifest, tmp_path):
    clips = open_clips(manifest, tmp_path)
    source = PieceSource(clips, replace(TINY, batch_size=100))
    waves = source.draw(torch.Generator().manual_seed(0)).wave
    of_second = clips.wave(0).unfold(0, TINY.frames * HOP, 1)
    share = sum(bool((of_second == wave).all(1).any()) for wave in waves) / len(waves)
    assert 0.4 < share < 0.6


def test_clips_that_are_all_too_short_are_told_of(manifest, tmp_path):
    with pytest.raises(DataError, match="no clip is as long as a piece"):
        PieceSource(open_clips(manifest, tmp_path), replace(TINY, frames=100))


def test_blur_changes_some_mels_and_the_same_ones_each_time():
    mel = torch.randn(40, 80, 8)
    blurred = blur(mel, TINY, step_generator(0, 7))
    assert torch.equal(blurred, blur(mel, TINY, step_generator(0, 7)))
    changed = (blurred != mel).flatten(1).any(1).float().mean()
    assert 0.1 < changed < 0.5
    assert not torch.equal(blurred, blur(mel, TINY, step_generator(0, 8)))


@pytest.mark.parametrize("num_samples", [2048, 2049])
def test_each_discriminator_gives_scores_and_features_of_every_layer(num_samples):
    verdicts = Critics(SMALL_CRITICS)(torch.randn(3, num_samples))
    assert len(verdicts) == 3
    for verdict, period, layers in zip(verdicts, (2, 3, 1), (2, 2, 4), strict=True):
        assert verdict.score.shape[:2] == (3 * period, 1)
        assert len(verdict.features) == layers


def test_discriminators_learn_to_tell_a_tone_from_noise():
    torch.manual_seed(0)
    critics = Critics(SMALL_CRITICS)
    optimizer = torch.optim.AdamW(critics.parameters(), lr=3e-3)
    tone = 0.3 * torch.sin(torch.arange(2048) * 0.1) + torch.zeros(4, 1)
    losses = []
    for _ in range(30):
        loss = critic_loss(critics(tone), critics(0.2 * torch.randn(4, 2048)))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_what_fools_the_discriminators_moves_the_generator_not_them(source):
    """Weights of the discriminators change by their own loss alone: that of the same batch."""
    lesson = Lesson(source, TINY)
    _, real = source.draw(step_generator(0, 1))
    fake = torch.zeros_like(real).requires_grad_()
    lesson._duel(fake, real)
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in lesson.critics.parameters())


def test_it_learns_to_copy_a_piece(source):
    one = source.draw(step_generator(0, 1))
    source.draw = lambda generator: one  # type: ignore[method-assign]
    lesson = Lesson(source, replace(TINY, duel_from=1000, blur_from=1000))
    for group in lesson._optimizer.param_groups:
        group["lr"] = 1e-2
    losses = [lesson.step(number)["mel"] for number in range(1, 41)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_that_was_cut_ends_with_the_same_weights(manifest, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_vocoder(manifest, whole, TINY)
    lesson = Lesson(PieceSource(open_clips(manifest, cut / "clips"), TINY), TINY)
    _stop_behind(2, lesson, cut)
    train_vocoder(manifest, cut, TINY)
    state, again = (load_tensors(folder / "state.pth")["parts"] for folder in (whole, cut))
    for part in ("generator", "average", "critics"):
        for name, tensor in state[part].items():
            assert torch.equal(tensor, again[part][name]), (part, name)


def test_numbers_of_the_process_are_afterwards_what_they_were(manifest, tmp_path):
    train_vocoder(manifest, tmp_path, TINY)

    assert float(np.finfo(np.float64).tiny) / 4 > 0


def test_the_trained_vocoder_loads_and_speaks(manifest, tmp_path):
    train_vocoder(manifest, tmp_path, TINY)
    generator = load_generator(tmp_path, TINY.dims)
    wave = generator(torch.randn(1, 80, 9))
    assert wave.shape == (1, 1, 9 * HOP)
    assert not wave.requires_grad
    with pytest.raises(CheckpointError, match="not a vocoder of these sizes"):
        load_generator(tmp_path)


def test_the_vocoder_of_nano_is_small_and_keeps_the_hop():
    dims = VocoderDims.of(VOCODER_CONFIG)
    assert np.prod(dims.upsample_rates) == HOP == VOCODER_CONFIG["hop_size"]
    network = BigVgan(dims)
    assert sum(parameter.numel() for parameter in network.parameters()) < 1_000_000
    assert VOCODER_CONFIG["resblock"] == "1"
    assert VOCODER_CONFIG["activation"] == "snakebeta"


def _stop_behind(step: int, lesson: Lesson, folder: Path) -> None:
    def interrupted(number: int) -> dict[str, float]:
        if number > step:
            raise KeyboardInterrupt
        return dict(lesson.step(number))

    with pytest.raises(KeyboardInterrupt):
        run_stage("vocoder", folder, lesson.parts, interrupted, TINY.pace)
