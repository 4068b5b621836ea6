"""The vocoder of nano, from zero: mels of real speech to its waves.

It learns in two phases. First only how a spectrogram looks, which is cheap and gets it near; then
against discriminators, which teach it what spectrograms do not show: periods that hold, noise that
hisses. Near the end some mels are blurred and noisy, for those that the flow predicts are, too.

``B`` is samples of a batch, ``M`` mel bands, ``T`` mel frames, ``N`` samples at 22 050 Hz.

Source:
    Kong et al. 2020, "HiFi-GAN", section 2.4; Yamamoto et al. 2020, "Parallel WaveGAN", section
    2.2 (spectrograms of several resolutions); Lee et al. 2023, "BigVGAN".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from idiolect.audio.dims import MelDims
from idiolect.audio.mel import LogMel
from idiolect.base.errors import CheckpointError, DataError
from idiolect.models.checkpoint import load_tensors, save_tensors
from idiolect.models.config import VocoderDims
from idiolect.models.vocoder import BigVgan
from idiolect.nano.clips import Clips, open_clips
from idiolect.nano.discriminators import (
    Critics,
    CriticSizes,
    critic_loss,
    feature_loss,
    fooling_loss,
    magnitudes,
)
from idiolect.nano.fast_snake import speed_up
from idiolect.nano.sizes import VOCODER_CONFIG
from idiolect.nano.stage import (
    Pace,
    Part,
    Scores,
    averaged_weights,
    device_at_hand,
    halved,
    run_stage,
    running_average,
    step_generator,
    weights_to_begin_with,
)

GENERATOR_FILE = "generator.pth"
BETAS = (0.8, 0.99)
CONTEXT_FRAMES = 2
"""On either side of a piece: wider than half of an FFT, so that its mel is that of the clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderConfig:
    """How the vocoder learns."""

    pace: Pace = field(
        default_factory=lambda: Pace(total_steps=8000, learning_rate=8e-4, warmup_steps=200)
    )
    dims: VocoderDims = field(default_factory=lambda: VocoderDims.of(VOCODER_CONFIG))
    critics: CriticSizes = field(default_factory=CriticSizes)
    batch_size: int = 8
    frames: int = 32
    """Of a piece: 8192 samples."""
    duel_from: int = 3000
    """First step with discriminators."""
    blur_from: int = 6500
    """First step in which some mels are as those that the flow predicts."""
    blurred_share: float = 0.3
    noise: float = 0.15
    """The most that is added to a blurred mel, as a standard deviation."""
    mel_weight: float = 5.0
    spectrum_weight: float = 1.0
    feature_weight: float = 20.0
    critic_rate: float = 0.5
    """Learning rate of the discriminators, as a share of the generator's."""
    resolutions: tuple[int, ...] = (256, 512, 1024, 2048)
    """FFT sizes of the spectrograms that are compared."""
    average_decay: float = 0.999
    grad_clip: float = 20.0


class Pieces(NamedTuple):
    """A batch."""

    mel: Tensor
    """``[B, M, T]``, as inference computes it of whole clips."""
    wave: Tensor
    """``[B, N]``."""


def train_vocoder(corpus_manifest: Path, folder: Path, config: VocoderConfig) -> None:
    """Train on the clips of ``corpus_manifest``; write ``folder/generator.pth``.

    It goes on where it stopped. The corpus may have grown meanwhile.

    Raises:
        DataError: The manifest or a clip cannot be read, or no clip is long enough.
        TrainingError: A loss is not finite.
    """
    clips = open_clips(corpus_manifest, folder / "clips")
    lesson = Lesson(PieceSource(clips, config), config)
    if weights_to_begin_with(folder, GENERATOR_FILE):
        lesson.begin_with(load_generator(folder, config.dims))
    with _denormals_flushed():
        run_stage("vocoder", folder, lesson.parts, lesson.step, config.pace)
    export_generator(folder)


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Take numbers too small for full precision as zero: a processor is slow with them.

    That is a state of the whole process, and others compute in it afterwards.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def export_generator(folder: Path) -> None:
    """Write the running average of the weights, as it was last saved, to ``generator.pth``."""
    save_tensors(folder / GENERATOR_FILE, {"generator": averaged_weights(folder, "average")})


def load_generator(folder: Path, dims: VocoderDims | None = None) -> BigVgan:
    """Return the vocoder that was trained in ``folder``, ready to be used.

    Raises:
        CheckpointError: There is none, or it has other sizes.
    """
    path = folder / GENERATOR_FILE
    generator = BigVgan(dims or VocoderDims.of(VOCODER_CONFIG))
    try:
        generator.load_state_dict(load_tensors(path)["generator"])
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            "not a vocoder of these sizes", where=str(path), fix="train this stage again"
        ) from error
    return generator.eval().requires_grad_(requires_grad=False)


class PieceSource:
    """Random pieces of clips with their mels; every speaker is heard equally often."""

    def __init__(self, clips: Clips, config: VocoderConfig) -> None:
        self._clips, self._config = clips, config
        self._device = device_at_hand()
        self._to_mel = LogMel(MelDims()).to(self._device)
        self._hop = self._to_mel.dims.hop_length
        by_speaker: dict[str, list[int]] = defaultdict(list)
        for index, utterance in enumerate(clips.utterances):
            if clips.num_samples(index) >= config.frames * self._hop:
                by_speaker[utterance.speaker].append(index)
        self._by_speaker = [by_speaker[speaker] for speaker in sorted(by_speaker)]
        if not self._by_speaker:
            raise DataError(
                f"no clip is as long as a piece: {config.frames} frames",
                fix="make clips of a second or more",
            )

    def draw(self, generator: torch.Generator) -> Pieces:
        """Return a batch."""
        return self.pieces([self._place(generator) for _ in range(self._config.batch_size)])

    def _place(self, generator: torch.Generator) -> tuple[int, int]:
        indices = self._by_speaker[_below(len(self._by_speaker), generator)]
        index = indices[_below(len(indices), generator)]
        frames = self._clips.num_samples(index) // self._hop
        return index, _below(frames - self._config.frames + 1, generator)

    def pieces(self, places: Sequence[tuple[int, int]]) -> Pieces:
        """Return the pieces of clips at ``places``: each a clip and its first mel frame."""
        around = torch.stack([self._around(*place) for place in places]).to(self._device)
        context, frames = CONTEXT_FRAMES, self._config.frames
        mel = self._to_mel(around)[..., context : context + frames]
        return Pieces(mel, around[:, context * self._hop :][:, : frames * self._hop])

    def _around(self, index: int, first: int) -> Tensor:
        """Return a piece and its context, ``[N]``; clips go on mirrored, as analysis has it."""
        margin = CONTEXT_FRAMES * self._hop
        wave = F.pad(self._clips.wave(index)[None], (margin, margin), mode="reflect")[0]
        end = first + self._config.frames + 2 * CONTEXT_FRAMES
        return wave[first * self._hop : end * self._hop]


def blur(mel: Tensor, config: VocoderConfig, generator: torch.Generator) -> Tensor:
    """Return ``mel`` ``[B, M, T]`` with some of its samples noisy and smooth in time.

    ``generator`` is on the device of ``mel``.
    """
    shape, device = (len(mel), 1, 1), mel.device
    chosen = torch.rand(shape, generator=generator, device=device) < config.blurred_share
    side = 0.3 * torch.rand(shape, generator=generator, device=device)
    level = config.noise * torch.rand(shape, generator=generator, device=device)
    noise = level * torch.randn(mel.shape, generator=generator, device=device)
    wide = F.pad(mel, (1, 1), mode="replicate")
    smooth = (1 - 2 * side) * mel + side * (wide[..., :-2] + wide[..., 2:])
    return torch.where(chosen, smooth + noise, mel)


class SpectrumLoss(torch.nn.Module):
    """How far apart two waves are as spectrograms of several resolutions."""

    def __init__(self, resolutions: Sequence[int]) -> None:
        super().__init__()
        self.windows = [torch.hann_window(n_fft) for n_fft in resolutions]

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return the mean over resolutions, for waves ``[B, N]``."""
        windows = [window.to(fake.device) for window in self.windows]
        return torch.stack([_distance(fake, real, window) for window in windows]).mean()


def _distance(fake: Tensor, real: Tensor, window: Tensor) -> Tensor:
    """Return the relative distance of the magnitudes plus the mean one of their logarithms."""
    copied, given = (magnitudes(wave, len(window), window) for wave in (fake, real))
    relative: Tensor = torch.linalg.vector_norm(given - copied) / torch.linalg.vector_norm(given)
    return relative + F.l1_loss(copied.log(), given.log())


class Lesson:
    """The vocoder, its discriminators, and what changes them."""

    def __init__(self, pieces: PieceSource, config: VocoderConfig) -> None:
        self._pieces, self._config = pieces, config
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(config.pace.seed)
            self.generator = BigVgan(config.dims)
            self.critics = Critics(config.critics)
        self._device = device_at_hand()
        self.generator.to(self._device)
        self.critics.to(self._device)
        if self._device.type == "cpu":
            speed_up(self.generator)
        self._average = running_average(self.generator, config.average_decay)
        self._optimizer = torch.optim.AdamW(self.generator.parameters(), betas=BETAS)
        self._critic_optimizer = torch.optim.AdamW(
            [{"params": list(self.critics.parameters()), "rate_scale": config.critic_rate}],
            betas=BETAS,
        )
        self._to_mel = LogMel(MelDims()).to(self._device)
        self._spectrum_loss = SpectrumLoss(config.resolutions)
        self.parts: dict[str, Part] = {
            "generator": self.generator,
            "average": self._average,
            "critics": self.critics,
            "optimizer": self._optimizer,
            "critic_optimizer": self._critic_optimizer,
        }

    def begin_with(self, generator: BigVgan) -> None:
        """Let the vocoder, and the average that follows it, begin as ``generator``."""
        for network in (self.generator, self._average.module):
            network.load_state_dict(generator.state_dict())

    def step(self, number: int) -> Scores:
        """Take one step; return its losses."""
        config, chance = self._config, step_generator(self._config.pace.seed, number)
        mel, real = self._pieces.draw(chance)
        if number >= config.blur_from:
            mel = blur(mel, config, step_generator(config.pace.seed, number, self._device))
        with halved(self._device):
            made = self.generator.unclamped(mel)[:, 0]
        # The losses stop here: each pays for its own way back to the wave once.
        fake = made.detach().float().requires_grad_()
        scores = self._compare(fake, real)
        if number >= config.duel_from:
            scores |= self._duel(fake, real)
        torch.autograd.backward(made, fake.grad)
        norm = clip_grad_norm_(self.generator.parameters(), config.grad_clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._average.update_parameters(self.generator)
        return {**scores, "norm": norm.item()}

    def _compare(self, fake: Tensor, real: Tensor) -> dict[str, float]:
        """Add the gradient of the spectral losses to ``fake``."""
        mel_loss = F.l1_loss(self._to_mel(fake), self._to_mel(real))
        spectrum_loss = self._spectrum_loss(fake, real)
        weights = self._config
        loss = weights.mel_weight * mel_loss + weights.spectrum_weight * spectrum_loss
        torch.autograd.backward(loss)
        return {"mel": mel_loss.item(), "stft": spectrum_loss.item()}

    def _duel(self, fake: Tensor, real: Tensor) -> dict[str, float]:
        """Teach the discriminators; add the gradient of what fools them to ``fake``.

        Both read the same verdicts, those before the discriminators learn of this batch: a forward
        pass less each.
        """
        parameters = list(self.critics.parameters())
        with halved(self._device):
            of_real, of_fake = self.critics(real), self.critics(fake)
        critic = critic_loss(of_real, of_fake)
        gradients = torch.autograd.grad(critic, parameters, retain_graph=True)
        fooling, features = fooling_loss(of_fake), feature_loss(of_real, of_fake)
        loss = fooling + self._config.feature_weight * features
        torch.autograd.backward(loss, inputs=[fake])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self._critic_optimizer.step()
        self._critic_optimizer.zero_grad()
        return {"critic": critic.item(), "fool": fooling.item(), "features": features.item()}


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
