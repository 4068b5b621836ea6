"""The speaker encoder of nano: CAMPPlus at small width, taught to tell voices apart.

A recording played faster or slower is another voice, so a corpus of few voices becomes several
times as many. A larger encoder may teach how near any two of them are, for a voice nobody
learnt is placed by its likeness to those that were.

``B`` is crops of a batch, ``C`` voices, ``E`` the embedding width, ``N`` samples at 16 000 Hz,
``T`` frames of 10 ms, ``M`` bands.

Source:
    Deng et al. 2019, "ArcFace", equation 3, for the margin.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from idiolect.audio.fbank import FRAME_HOP, FRAME_LENGTH, log_bands, speaker_fbank
from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.errors import DataError
from idiolect.base.progress import track
from idiolect.base.units import SAMPLE_RATE, SEMANTIC_SAMPLE_RATE
from idiolect.models.checkpoint import load_tensors, load_weights, save_tensors
from idiolect.models.config import SpeakerDims
from idiolect.models.published import SPEAKER_FILE
from idiolect.models.speaker import CampPlus
from idiolect.nano.clips import Clips
from idiolect.nano.stage import (
    Pace,
    Part,
    Scores,
    device_at_hand,
    halved,
    run_stage,
    step_generator,
)

LIKENESS_FILE = "likeness.pth"
NOISE_SEC = 30
NOISE_TILTS = (0.0, 0.5, 1.0)
"""Power of the frequency by which the amplitude of a noise falls: white, pink, brown."""
MIN_VOICES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerConfig:
    """How the speaker encoder learns."""

    pace: Pace = field(
        default_factory=lambda: Pace(total_steps=500, learning_rate=3e-3, warmup_steps=30)
    )
    batch_crops: int = 48
    crop_sec: tuple[float, float] = (1.0, 2.2)
    factors: tuple[float, ...] = (0.84, 1.0, 1.19)
    """How much faster each voice is played; each makes a voice of its own."""
    tempo: float = 0.15
    """Crops are slowed and hurried by up to so much, at their pitch: pace is not the voice."""
    noise_db: tuple[float, float] = (8.0, 45.0)
    """Noise is so far below the speech."""
    level_db: float = 20.0
    """Crops are made quieter by up to so much."""
    margin: float = 0.1
    """Angle that a crop must be nearer to its voice than to the others, in radians."""
    scale: float = 24.0
    """Of the cosines, as logits."""
    likeness_weight: float = 20.0
    """Of the squared error against the teacher's cosines."""
    one_voice: float = 0.8
    """From this likeness on the teacher hears one voice: two such are not pushed apart."""
    teacher_crops: int = 4
    """Crops of each voice that the teacher hears."""
    weight_decay: float = 0.05
    grad_clip: float = 5.0


@dataclass(frozen=True, slots=True)
class VoicePool:
    """The voices of some clips, each also played faster and slower, to take crops from."""

    clips: Clips
    voices: list[tuple[str, float]]
    """Speaker and factor of each voice."""
    by_speaker: dict[str, list[int]]
    noise: NDArray[np.float32]
    """Of every tilt, one behind the other; of power 1."""

    @classmethod
    def of(cls, clips: Clips, factors: Sequence[float]) -> VoicePool:
        """Sort ``clips`` by who speaks.

        Raises:
            DataError: There are no two speakers to tell apart.
        """
        by_speaker: defaultdict[str, list[int]] = defaultdict(list)
        for place, utterance in enumerate(clips.utterances):
            by_speaker[utterance.speaker].append(place)
        if len(by_speaker) < MIN_VOICES:
            raise DataError(
                f"{len(by_speaker)} speaker in the corpus: there is nothing to tell apart",
                fix="make the corpus with two voices or more",
            )
        voices = list(product(sorted(by_speaker), factors))
        return cls(clips, voices, dict(by_speaker), _noises())

    def crop(self, voice: int, num_samples: int, chance: np.random.Generator) -> Tensor:
        """Return a piece of a clip of ``voice``, ``[N]`` at 16 000 Hz; short clips are repeated."""
        speaker, factor = self.voices[voice]
        place = int(chance.choice(self.by_speaker[speaker]))
        source_hz = SAMPLE_RATE * factor
        wanted = int(np.ceil(num_samples * source_hz / SEMANTIC_SAMPLE_RATE)) + 1
        wave = self.clips.wave(place).numpy()
        start = int(chance.integers(max(1, len(wave) - wanted + 1)))
        piece = np.resize(wave[start : start + wanted], wanted)
        heard = soxr.resample(piece, source_hz, SEMANTIC_SAMPLE_RATE, quality="MQ")
        return torch.from_numpy(np.resize(heard, num_samples))


def train_speaker(
    clips: Clips,
    dims: SpeakerDims,
    folder: Path,
    config: SpeakerConfig,
    teacher: nn.Module | None = None,
) -> Path:
    """Train the encoder, or go on; return the file in ``folder`` under its published name.

    Args:
        clips: At 22 050 Hz, of two speakers or more.
        dims: Of the encoder.
        folder: Of the stage.
        config: How it learns.
        teacher: Filter banks ``[B, T, M]`` to embeddings; see :func:`load_teacher`.

    Raises:
        DataError: There are no two speakers.
        TrainingError: The loss is not finite.
    """
    torch.manual_seed(config.pace.seed)
    device = device_at_hand()
    pool = VoicePool.of(clips, config.factors)
    encoder = CampPlus(dims).train()
    head = MarginHead(len(pool.voices), dims.embedding_dim)
    likeness = None if teacher is None else _kept_likeness(teacher, pool, config, folder)
    if likeness is not None:
        head.place(likeness)
        likeness = likeness.to(device)
    encoder, head = encoder.to(device), head.to(device)
    learnt = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(learnt, lr=0.0, weight_decay=config.weight_decay)

    def step(number: int) -> Scores:
        chance = _chance(config.pace.seed, number)
        voices = chance.integers(len(pool.voices), size=config.batch_crops)
        fbank = _heard(pool, voices, config, chance).to(device)
        margin = config.margin * min(1.0, 3 * number / config.pace.total_steps)
        labels = torch.from_numpy(voices).to(device)
        scores = _learn(encoder, head, fbank, labels, likeness, margin, config)
        nn.utils.clip_grad_norm_(learnt, config.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        return scores

    parts: dict[str, Part] = {"encoder": encoder, "head": head, "optimizer": optimizer}
    run_stage("speaker", folder, parts, step, config.pace)
    save_tensors(folder / SPEAKER_FILE, encoder.state_dict())
    return folder / SPEAKER_FILE


def load_teacher(path: Path) -> CampPlus:
    """Return the published CAMPPlus in ``path``, or another file of its size (Apache-2.0).

    Raises:
        CheckpointError: The file is missing, or of another network.
    """
    teacher = CampPlus(SpeakerDims())
    load_weights(teacher, load_tensors(path), where=path)
    return teacher.eval()


class MarginHead(nn.Module):
    """A direction for each voice; crops learn to lie nearer to their own by a margin."""

    def __init__(self, num_voices: int, dim: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(num_voices, dim))

    @torch.no_grad()
    def place(self, likeness: Tensor) -> None:
        """Set the directions so that their cosines come near to ``likeness`` ``[C, C]``."""
        values, vectors = torch.linalg.eigh(likeness)  # rising
        width = min(self.directions.shape[1], len(likeness))
        self.directions.zero_()
        self.directions[:, :width] = vectors[:, -width:] * values[-width:].clamp(min=0).sqrt()

    def forward(self, embeddings: Tensor, voices: Tensor, margin: float) -> Tensor:
        """Return cosines ``[B, C]``, that of the own voice as if ``margin`` radians farther.

        Args:
            embeddings: ``[B, E]``, of length 1.
            voices: Whose each is, ``[B]`` int64.
            margin: In radians.
        """
        cosines = (embeddings @ F.normalize(self.directions, dim=1).T).clamp(-1 + 1e-6, 1 - 1e-6)
        own = cosines.gather(1, voices[:, None])
        # Beyond pi the cosine would rise again: an angle stops there.
        farther = torch.cos((own.acos() + margin).clamp(max=torch.pi))
        return cosines.scatter(1, voices[:, None], farther)


@torch.inference_mode()
def embed_clips(encoder: nn.Module, clips: Clips, places: Sequence[int] | None = None) -> Tensor:
    """Return the embedding of each clip, or of those at ``places``, of length 1, ``[n, E]``."""
    chosen = range(len(clips)) if places is None else places
    waves = (resample_22k_to_16k(clips.wave(place)[None])[0] for place in chosen)
    return F.normalize(torch.cat([encoder(speaker_fbank(wave)[None]) for wave in waves]), dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceScores:
    """How well embeddings tell voices apart."""

    same: float
    """Mean cosine of two clips of one voice."""
    other: float
    """Mean cosine of clips of two voices."""
    equal_error: float
    """Share of pairs that are taken wrongly where both kinds of error are equal."""
    top1: float
    """Share of clips that are nearest to their own voice, heard in the other half of its clips."""
    voices: int


def voice_scores(embeddings: Tensor, speakers: Sequence[str]) -> VoiceScores:
    """Return how well ``embeddings`` ``[n, E]`` (of length 1) tell ``speakers`` ``[n]`` apart."""
    names = sorted(set(speakers))
    labels = torch.tensor([names.index(speaker) for speaker in speakers])
    cosines = embeddings @ embeddings.T
    pairs = torch.ones_like(cosines, dtype=torch.bool).triu(1)
    is_same = labels[:, None] == labels
    same, other = cosines[pairs & is_same], cosines[pairs & ~is_same]
    return VoiceScores(
        same=float(same.mean()),
        other=float(other.mean()),
        equal_error=_equal_error(same, other),
        top1=_top1(embeddings, labels, len(names)),
        voices=len(names),
    )


def _equal_error(same: Tensor, other: Tensor) -> float:
    limits = torch.cat([same, other]).sort().values
    missed = torch.searchsorted(same.sort().values, limits) / len(same)
    taken = 1 - torch.searchsorted(other.sort().values, limits) / len(other)
    return float(torch.maximum(missed, taken).min())


def _top1(embeddings: Tensor, labels: Tensor, num_voices: int) -> float:
    """Return how often a clip is nearest to its voice, as the other half of the clips has it."""
    order = torch.zeros_like(labels)
    for label in range(num_voices):
        mine = labels == label
        order[mine] = torch.arange(int(mine.sum()))
    right = 0
    for half in (0, 1):
        known = order % 2 == half
        centres = [embeddings[known & (labels == label)].mean(0) for label in range(num_voices)]
        nearest = (embeddings[~known] @ F.normalize(torch.stack(centres), dim=1).T).argmax(1)
        right += int((nearest == labels[~known]).sum())
    return right / len(labels)


def _learn(
    encoder: CampPlus,
    head: MarginHead,
    fbank: Tensor,
    voices: Tensor,
    likeness: Tensor | None,
    margin: float,
    config: SpeakerConfig,
) -> dict[str, float]:
    """Add the gradients of a batch; return its losses."""
    with halved(fbank.device):
        raw = encoder(fbank)
    embeddings = F.normalize(raw.float(), dim=1)
    cosines = head(embeddings, voices, margin)
    if likeness is not None:
        cosines = cosines.masked_fill(_doubles(likeness, voices, config.one_voice), -1.0)
    loss = told_apart = F.cross_entropy(config.scale * cosines, voices)
    scores = {"told_apart": float(told_apart.detach())}
    if likeness is not None:
        error = _likeness_error(embeddings, likeness[voices][:, voices], voices)
        scores["unlike"] = float(error.detach())
        loss = loss + config.likeness_weight * error
    loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    return scores | {"right": float((cosines.argmax(1) == voices).float().mean())}


def _doubles(likeness: Tensor, voices: Tensor, limit: float) -> Tensor:
    """Return ``[B, C]``, True where another voice is the own one by another name."""
    is_other = voices[:, None] != torch.arange(len(likeness), device=voices.device)
    return is_other & (likeness[voices] > limit)


def _likeness_error(embeddings: Tensor, wanted: Tensor, voices: Tensor) -> Tensor:
    """Return the mean squared error of the cosines between crops of different voices."""
    differ = voices[:, None] != voices
    errors = (embeddings @ embeddings.T - wanted).square()
    return errors[differ].mean()


def _heard(
    pool: VoicePool, voices: NDArray[np.int64], config: SpeakerConfig, chance: np.random.Generator
) -> Tensor:
    """Return the filter banks ``[B, T, M]`` of a crop of each voice, changed by chance."""
    num_frames = round(chance.uniform(*config.crop_sec) * SEMANTIC_SAMPLE_RATE / FRAME_HOP)
    crops = [pool.crop(voice, num_frames * FRAME_HOP, chance) for voice in voices.tolist()]
    noisy = [_disturbed(crop, pool.noise, config, chance) for crop in crops]
    bands = _bands_of(torch.stack(noisy))
    tempo = chance.uniform(1 - config.tempo, 1 + config.tempo)
    paced = F.interpolate(bands.mT, size=round(bands.shape[1] * tempo), mode="linear").mT
    return paced - paced.mean(dim=1, keepdim=True)


def _bands_of(waves: Tensor) -> Tensor:
    """Return the log bands ``[B, T, M]`` of ``waves`` ``[B, N]``, all in one analysis.

    ``N`` is a multiple of the hop, so each row's frames lie on the grid of the long wave; those
    that reach into the next row are dropped.
    """
    B, N = waves.shape
    frames_of_row = N // FRAME_HOP
    whole = (N - FRAME_LENGTH) // FRAME_HOP + 1
    bands = log_bands(F.pad(waves.flatten(), (0, FRAME_LENGTH)))
    return bands[: B * frames_of_row].view(B, frames_of_row, -1)[:, :whole]


def _disturbed(
    wave: Tensor, noise: NDArray[np.float32], config: SpeakerConfig, chance: np.random.Generator
) -> Tensor:
    """Return ``wave`` ``[N]`` quieter, in noise."""
    level = 10 ** (-chance.uniform(0, config.level_db) / 20)
    below = 10 ** (-chance.uniform(*config.noise_db) / 20)
    start = int(chance.integers(len(noise) - len(wave)))
    power = wave.square().mean().sqrt()
    return level * (wave + below * power * torch.from_numpy(noise[start : start + len(wave)]))


def _noises() -> NDArray[np.float32]:
    chance = np.random.default_rng(0)
    return np.concatenate([_noise(tilt, chance) for tilt in NOISE_TILTS])


def _noise(tilt: float, chance: np.random.Generator) -> NDArray[np.float32]:
    """Return noise of power 1 whose amplitude falls with the frequency to the power ``tilt``."""
    size = NOISE_SEC * SEMANTIC_SAMPLE_RATE
    spectrum = np.fft.rfft(chance.standard_normal(size))
    spectrum *= np.maximum(np.arange(len(spectrum)) / NOISE_SEC, 50.0) ** -tilt
    wave = np.fft.irfft(spectrum, size)
    scaled: NDArray[np.float32] = (wave / wave.std()).astype(np.float32)
    return scaled


def _kept_likeness(
    teacher: nn.Module, pool: VoicePool, config: SpeakerConfig, folder: Path
) -> Tensor:
    """Return :func:`likeness_of_voices`, kept in ``folder`` for when the stage goes on."""
    path = folder / LIKENESS_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(path, {"likeness": likeness_of_voices(teacher, pool, config)})
    kept: Tensor = load_tensors(path, mmap=False)["likeness"]
    return kept if len(kept) == len(pool.voices) else likeness_of_voices(teacher, pool, config)


@torch.inference_mode()
def likeness_of_voices(teacher: nn.Module, pool: VoicePool, config: SpeakerConfig) -> Tensor:
    """Return the cosine between what ``teacher`` hears in any two voices, ``[C, C]``."""
    num_samples = round(config.crop_sec[1] * SEMANTIC_SAMPLE_RATE / FRAME_HOP) * FRAME_HOP
    centres = []
    for voice in track(range(len(pool.voices)), "asking the teacher", unit="voices"):
        chance = _chance(config.pace.seed, -1 - voice)
        crops = [pool.crop(voice, num_samples, chance) for _ in range(config.teacher_crops)]
        bands = _bands_of(torch.stack(crops))
        with halved(bands.device):
            heard = teacher(bands - bands.mean(dim=1, keepdim=True)).float()
        centres.append(F.normalize(heard, dim=1).mean(0))
    directions = F.normalize(torch.stack(centres), dim=1)
    return (directions @ directions.T).clone()


def _chance(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng(step_generator(seed, number).initial_seed() % 2**63)
