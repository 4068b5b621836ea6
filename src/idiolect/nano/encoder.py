"""The semantic encoder of nano: a small w2v-bert that learns to spell what it hears.

The published encoder heard 4.5 million hours; this one hears a few, so it is told what is said.
Its middle layer then holds the sounds of speech, which is what features are taken for, and the
whole of it with its head is a recogniser, by which the voice of nano is judged.

Spelling alone does not say when a sound is heard: the convolutions look back only, and a letter
may come a tenth of a second late. So the middle layer must also sketch what sounds right now; what
it knows of letters may still come late beside it.

``B`` is batch, ``T`` code frames of 20 ms, ``F`` the width, ``A`` the rows of the head, ``S`` the
bands of the sketch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from idiolect.audio.fbank import N_BANDS, STACK
from idiolect.base.files import atomic_path, write_json
from idiolect.listening.recogniser import ALPHABET_FILE, HEAD_FILE, WEIGHTS_FILE
from idiolect.listening.spelling import ALPHABET, spelling, to_rows
from idiolect.listening.swift import hidden_states
from idiolect.models.checkpoint import Weights, load_weights
from idiolect.models.published import SEMANTIC_DIR
from idiolect.nano.sizes import PREPROCESSOR_CONFIG, READ_LAYER, SEMANTIC_CONFIG
from idiolect.nano.sounds import Batches, Sounds, open_sounds
from idiolect.nano.stage import (
    Ahead,
    Pace,
    Scores,
    device_at_hand,
    halved,
    run_stage,
    step_generator,
    weights_to_begin_with,
)

CLIP_NORM = 1.0
SKETCH_BANDS = 16
"""Few: the shape of a sound, and little of the voice that makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Size and training of the encoder."""

    pace: Pace = field(
        default_factory=lambda: Pace(total_steps=7500, learning_rate=1.5e-3, warmup_steps=200)
    )
    batch_sec: float = 30.0
    semantic: Mapping[str, Any] = field(default_factory=lambda: SEMANTIC_CONFIG)
    read_layer: int = READ_LAYER
    side_weight: float = 0.3
    """Of the loss at the layer that is read, so that it surely holds what is said."""
    sketch_weight: float = 0.5
    """Of the squared error of the sketch, whose bands vary by about 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """By how much a clip is changed, so that unseen voices are not unheard of."""

    warp: float = 0.18
    """Stretches the bands, as a longer or shorter vocal tract does."""
    shift_bands: float = 4.0
    pace: float = 0.18
    """Stretches time."""
    noise: float = 0.3
    masks: int = 2
    masked_frames: int = 8
    masked_bands: int = 12


class Speller(nn.Module):
    """w2v-bert with a head that spells; at the layer that is read, one more, and one that draws."""

    def __init__(self, config: Mapping[str, Any], read_layer: int) -> None:
        super().__init__()
        from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

        self.network = Wav2Vec2BertModel(Wav2Vec2BertConfig(**config))
        self.head = nn.Linear(config["hidden_size"], len(ALPHABET) + 1)
        self.side_head = nn.Linear(config["hidden_size"], len(ALPHABET) + 1)
        self.sketch_head = nn.Linear(config["hidden_size"], SKETCH_BANDS)
        self._read_layer = read_layer

    def forward(self, inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits ``[B, T, A]`` of the head and of the side head; the sketch."""
        states = hidden_states(self.network, inputs, mask)
        read = states[self._read_layer]
        return self.head(states[-1]), self.side_head(read), self.sketch_head(read)


def train_encoder(manifest: Path, folder: Path, config: EncoderConfig) -> Path:
    """Train the encoder on the clips of ``manifest``; go on where it stopped.

    Args:
        manifest: Clips of every language that is to be heard.
        folder: Of the stage.
        config: Size and length.

    Returns:
        ``folder / "w2v-bert-2.0"``: the published files, and the recogniser's head beside them.

    Raises:
        DataError: The manifest or a clip cannot be read.
        TrainingError: The loss is not finite.
    """
    sounds = open_sounds(manifest, folder / "cache")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.pace.seed)
        speller = Speller(config.semantic, config.read_layer)
    if begun := weights_to_begin_with(folder, f"{SEMANTIC_DIR}/{WEIGHTS_FILE}"):
        load_weights(speller.network, load_file(begun), where=begun)
        load_weights(speller.head, load_file(begun.with_name(HEAD_FILE)), where=begun)
    speller.to(device_at_hand())
    optimizer = torch.optim.AdamW(
        speller.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    step = spelling_step(sounds, speller, optimizer, config)
    run_stage("encoder", folder, {"speller": speller, "optimizer": optimizer}, step, config.pace)
    write_encoder(folder / SEMANTIC_DIR, speller, config.semantic)
    return folder / SEMANTIC_DIR


def spelling_step(
    sounds: Sounds, speller: Speller, optimizer: torch.optim.Optimizer, config: EncoderConfig
) -> Callable[[int], Scores]:
    """Return what takes one step."""
    targets = [torch.tensor(to_rows(spelling(u.text, u.language))) for u in sounds.utterances]
    lengths = [sounds.num_frames(index) for index in range(len(sounds))]
    batches = Batches(lengths, config.batch_sec, config.pace.seed)
    device = next(speller.parameters()).device

    def draw(number: int) -> tuple[list[int], Tensor, Tensor]:
        indices = batches.of_step(number)
        return indices, *sounds.batch(indices)

    drawn_ahead = Ahead(draw, device)

    def step(number: int) -> Scores:
        indices, inputs, lens = drawn_ahead.of_step(number)
        chance = step_generator(config.pace.seed, number, device)
        clean, lens = in_another_voice(inputs.to(device), lens.to(device), chance)
        mask = torch.arange(clean.shape[1], device=device) < lens[:, None]
        torch.manual_seed(chance.initial_seed())  # of the dropout, which takes no generator
        with halved(device):
            final, side, drawn = speller(disturbed(clean, lens, chance).bfloat16(), mask)
        wanted = [targets[index] for index in indices]
        loss, side_loss = ctc_loss(final, lens, wanted), ctc_loss(side, lens, wanted)
        sketch_loss = F.mse_loss(drawn[mask].float(), sketch(clean)[mask])
        optimizer.zero_grad()
        total = loss + config.side_weight * side_loss + config.sketch_weight * sketch_loss
        total.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        norm = nn.utils.clip_grad_norm_(speller.parameters(), CLIP_NORM)
        optimizer.step()
        scores = {"loss": loss, "side": side_loss, "sketch": sketch_loss, "norm": norm}
        return {name: score.item() for name, score in scores.items()}

    return step


def ctc_loss(logits: Tensor, lens: Tensor, targets: list[Tensor]) -> Tensor:
    """Return the mean loss a letter of ``logits`` ``[B, T, A]``; clips too short for theirs: 0."""
    target_lens = torch.tensor([len(target) for target in targets])
    log_probs = logits.float().log_softmax(dim=-1).transpose(0, 1)
    letters = torch.cat(targets).to(logits.device)
    losses = F.ctc_loss(
        log_probs, letters, lens.cpu(), target_lens, reduction="none", zero_infinity=True
    )
    return losses.sum() / int(target_lens.sum())


def sketch(inputs: Tensor) -> Tensor:
    """Return how loud each part of the bands of ``inputs`` ``[B, T, 160]`` is: ``[B, T, S]``."""
    B, T, _ = inputs.shape
    return inputs.view(B, T, STACK, SKETCH_BANDS, -1).mean(dim=(2, 4))


def in_another_voice(
    inputs: Tensor, lens: Tensor, chance: torch.Generator, by: Variation | None = None
) -> tuple[Tensor, Tensor]:
    """Return ``inputs`` ``[B, T, 160]`` as other voices might say them, and their lengths.

    All are on the device of ``chance``.
    """
    by = by or Variation()
    B = len(inputs)
    bands = torch.bmm(inputs.view(B, -1, N_BANDS), _warps(B, chance, by))  # [B, 2 * T, 80]
    bands, lens = _stretch(bands, lens, 1 + by.pace * _spread((1,), chance).item())
    return bands.reshape(B, -1, inputs.shape[-1]), lens


def disturbed(
    inputs: Tensor, lens: Tensor, chance: torch.Generator, by: Variation | None = None
) -> Tensor:
    """Return ``inputs`` ``[B, T, 160]`` with noise, and holes in time and in the bands.

    All are on the device of ``chance``.
    """
    by = by or Variation()
    B = len(inputs)
    level = by.noise * torch.rand(B, 1, 1, generator=chance, device=chance.device)
    noise = torch.randn(inputs.shape, generator=chance, device=chance.device)
    bands = (inputs + level * noise).view(B, -1, N_BANDS)
    return _mask(bands, lens, chance, by).reshape(inputs.shape)


def _spread(shape: tuple[int, ...], chance: torch.Generator) -> Tensor:
    """Return numbers in -1 ... 1."""
    return 2 * torch.rand(shape, generator=chance, device=chance.device) - 1


def _warps(B: int, chance: torch.Generator, by: Variation) -> Tensor:
    """Return one matrix ``[80, 80]`` a clip that stretches and shifts its bands."""
    band = torch.arange(N_BANDS, dtype=torch.float, device=chance.device)
    scale = 1 + by.warp * _spread((B, 1), chance)
    middle = N_BANDS / 2
    place = middle + (band - middle) * scale + by.shift_bands * _spread((B, 1), chance)
    place = place.clamp(0, N_BANDS - 1)  # [B, 80]: the band that each new one is read from
    return (1 - (band[None, :, None] - place[:, None]).abs()).clamp(min=0)


def _stretch(bands: Tensor, lens: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Return ``bands`` ``[B, 2 * T, 80]``, ``factor`` times as long, and lengths in pairs."""
    stretched = (lens * factor).long().clamp(min=1)
    pairs = int(stretched.max())
    place = torch.arange(2 * pairs, device=bands.device) / factor
    left = place.long().clamp(max=bands.shape[1] - 1)
    right = (left + 1).clamp(max=bands.shape[1] - 1)
    share = (place - left)[:, None].clamp(0, 1)
    return torch.lerp(bands[:, left], bands[:, right], share), stretched


def _mask(bands: Tensor, lens: Tensor, chance: torch.Generator, by: Variation) -> Tensor:
    """Return ``bands`` with spans of time and of bands at their mean, which is 0."""
    B, T, M = bands.shape
    device = bands.device
    keep_time = torch.ones(B, T, dtype=torch.bool, device=device)
    keep_band = torch.ones(B, M, dtype=torch.bool, device=device)
    frame, band = torch.arange(T, device=device), torch.arange(M, device=device)
    for _ in range(by.masks):
        width, start = torch.rand(2, B, 2, 1, generator=chance, device=device)
        first = start[:, 0] * 2 * lens[:, None]
        keep_time &= ~((frame >= first) & (frame < first + width[:, 0] * 2 * by.masked_frames))
        first = start[:, 1] * M
        keep_band &= ~((band >= first) & (band < first + width[:, 1] * by.masked_bands))
    return bands * keep_time[..., None] * keep_band[:, None]


def write_encoder(folder: Path, speller: Speller, config: Mapping[str, Any]) -> None:
    """Write the published files, the head of the recogniser and its alphabet to ``folder``."""
    write_json(folder / "config.json", config)
    write_json(folder / "preprocessor_config.json", PREPROCESSOR_CONFIG)
    write_safetensors(folder / WEIGHTS_FILE, speller.network.state_dict())
    write_safetensors(folder / HEAD_FILE, speller.head.state_dict())
    write_json(folder / ALPHABET_FILE, list(ALPHABET))


def write_safetensors(path: Path, weights: Weights) -> None:
    """Write ``weights`` to ``path``, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_bytes(save({name: tensor.contiguous() for name, tensor in weights.items()}))
