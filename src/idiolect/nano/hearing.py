"""The recogniser of nano goes on learning behind the features, which stay as they are.

Once the codec is there, what the encoder's lower layers hear is fixed: codes and voices are made
of it. The layers behind and the head only spell, and learn to spell better from the features that
are on disk: clean ones, those of noisy speech, those that the codec rebuilds from codes, and those
of nano's own sound, which is what the recogniser is for. That takes a third of the work of a step
of the whole encoder.

``B`` is batch, ``T`` code frames, ``F`` the feature width, ``A`` the rows of the head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from idiolect.base.files import copy_file
from idiolect.data.manifest import read_manifest
from idiolect.listening.recogniser import ALPHABET_FILE, HEAD_FILE, WEIGHTS_FILE
from idiolect.listening.spelling import spelling, to_rows
from idiolect.models.codec import SemanticCodec
from idiolect.models.published import SEMANTIC_DIR
from idiolect.nano.codec import CodecConfig, Ear, Features, decode, open_features
from idiolect.nano.encoder import CLIP_NORM, ctc_loss, write_safetensors
from idiolect.nano.flow_data import Ragged
from idiolect.nano.frozen import frozen_codec
from idiolect.nano.sounds import Batches
from idiolect.nano.stage import (
    Ahead,
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

Drawn = tuple[Sequence[int], Tensor, Tensor]
"""Clips, their features ``[B, T, F]`` and the lengths ``[B]``."""
Draw = Callable[[int], Drawn]
"""By the number of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HearingConfig:
    """How the recogniser goes on."""

    pace: Pace = field(
        default_factory=lambda: Pace(total_steps=6000, learning_rate=8e-4, warmup_steps=100)
    )
    batch_sec: float = 40.0
    noise: float = 0.3
    """The most that is added to features, whose own deviation is 1."""
    masks: int = 3
    masked_frames: int = 8
    average_decay: float = 0.999
    """Of the running average of the weights, which is what is kept at the end."""


def train_hearing(
    manifest: Path,
    encoder_folder: Path,
    codec_folder: Path,
    folder: Path,
    config: HearingConfig,
    codec_config: CodecConfig,
    copies: Ragged | None = None,
) -> None:
    """Train the layers behind the features and the head; go on where it stopped.

    Args:
        manifest: The clips that the codec learnt from.
        encoder_folder: Of the encoder's stage.
        codec_folder: Of the codec's stage.
        folder: Of this stage; gains ``w2v-bert-2.0``, whose lower layers are the encoder's.
        config: Length.
        codec_config: Of the codec's stage: its size, and the layer that is read.
        copies: Features of nano's sound of some of the clips, see :mod:`idiolect.nano.copies`.

    Raises:
        DataError: The manifest cannot be read.
        TrainingError: The loss is not finite.
    """
    features = open_features(manifest, encoder_folder, codec_folder, codec_config)
    begun = weights_to_begin_with(folder, f"{SEMANTIC_DIR}/{WEIGHTS_FILE}")
    semantic = begun.parent if begun else encoder_folder / SEMANTIC_DIR
    read_layer = codec_config.read_layer
    ear = Ear(semantic, read_layer, features.stats)
    ear.to(device_at_hand()).requires_grad_(requires_grad=True)
    texts = [spelling(u.text, u.language) for u in read_manifest(manifest)]
    optimizer = torch.optim.AdamW(
        ear.parameters(), betas=(0.9, 0.98), weight_decay=0.03, fused=True
    )
    codec = frozen_codec(codec_folder, codec_config.dims).to(device_at_hand())
    average = running_average(ear, config.average_decay)
    learn = hearing_step(features, texts, codec, ear, optimizer, config, copies)

    def step(number: int) -> Scores:
        scores = learn(number)
        average.update_parameters(ear)
        return scores

    parts: dict[str, Part] = {"ear": ear, "average": average, "optimizer": optimizer}
    run_stage("hearing", folder, parts, step, config.pace)
    ear.load_state_dict(averaged_weights(folder, "average"))
    _write(encoder_folder / SEMANTIC_DIR, folder / SEMANTIC_DIR, ear, read_layer)


def hearing_step(
    features: Features,
    texts: Sequence[str],
    codec: SemanticCodec,
    ear: Ear,
    optimizer: torch.optim.Optimizer,
    config: HearingConfig,
    copies: Ragged | None = None,
) -> Callable[[int], Scores]:
    """Return what takes one step."""
    targets = [torch.tensor(to_rows(text)) for text in texts]
    draws = _draws(features, copies, config)
    device = ear.mean.device

    def draw(number: int) -> tuple[str, Drawn]:
        chance = step_generator(config.pace.seed, number)
        kind = list(draws)[int(torch.randint(len(draws), (), generator=chance))]
        return kind, draws[kind](number)

    drawn_ahead = Ahead(draw, device)

    def step(number: int) -> Scores:
        kind, (indices, rows, row_lens) = drawn_ahead.of_step(number)
        x, lens = rows.to(device), row_lens.to(device)
        mask = torch.arange(x.shape[1], device=device) < lens[:, None]
        noise = step_generator(config.pace.seed, number, device)
        with halved(device):
            if kind == "rebuilt":
                x = _rebuilt(codec, x, lens, mask)
            logits = ear(disturbed(x, lens, config, noise), mask)
        loss = ctc_loss(logits, lens, [targets[index] for index in indices])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        norm = nn.utils.clip_grad_norm_(ear.parameters(), CLIP_NORM)
        optimizer.step()
        return {"loss": loss.item(), "norm": norm.item()}

    return step


def _draws(features: Features, copies: Ragged | None, config: HearingConfig) -> dict[str, Draw]:
    """Return by kind what draws the batch of a step."""
    lengths = np.diff(features.ends, prepend=0).tolist()
    batches = Batches(lengths, config.batch_sec, config.pace.seed)

    def of_clips(number: int, *, noisy: bool) -> Drawn:
        indices = batches.of_step(number)
        return indices, *features.batch(indices, noisy=noisy)

    kinds: dict[str, Draw] = {
        kind: partial(of_clips, noisy=kind == "noisy") for kind in ("clean", "noisy", "rebuilt")
    }
    if copies is None:
        return kinds
    copied = np.flatnonzero(copies.lens)
    of_copies = Batches(copies.lens[copied].tolist(), config.batch_sec, config.pace.seed)

    def of_copied(number: int) -> Drawn:
        indices = copied[of_copies.of_step(number)].tolist()
        pieces = [torch.from_numpy(copies[index].astype(np.float32)) for index in indices]
        lens = torch.tensor([len(piece) for piece in pieces])
        return indices, pad_sequence(pieces, batch_first=True), lens

    return {**kinds, "copied": of_copied}


def disturbed(x: Tensor, lens: Tensor, config: HearingConfig, chance: torch.Generator) -> Tensor:
    """Return features ``[B, T, F]`` with noise, and some spans of frames at their mean, 0."""
    B, T, _ = x.shape
    level = config.noise * torch.rand(B, 1, 1, generator=chance, device=x.device)
    x = x + level * torch.randn(x.shape, generator=chance, device=x.device)
    frame = torch.arange(T, device=x.device)
    for _ in range(config.masks):
        width, start = torch.rand(2, B, 1, generator=chance, device=x.device)
        first = start * lens[:, None]
        masked = (frame >= first) & (frame < first + width * config.masked_frames)
        x = x * ~masked[..., None]
    return x


@torch.no_grad()
def _rebuilt(codec: SemanticCodec, x: Tensor, lens: Tensor, mask: Tensor) -> Tensor:
    """Return what the codec makes of ``x`` ``[B, T, F]``."""
    codes, _ = codec.quantize(x, lens)
    return decode(codec, codec.embed(codes), mask).float()


def _write(source: Path, folder: Path, ear: Ear, read_layer: int) -> None:
    """Write the encoder of ``source`` to ``folder`` with what ``ear`` learnt in its place."""
    for name in ("config.json", "preprocessor_config.json", ALPHABET_FILE):
        copy_file(source / name, folder / name)
    weights = load_file(source / WEIGHTS_FILE)
    for place, layer in enumerate(ear.layers, start=read_layer):
        for name, tensor in layer.state_dict().items():
            weights[f"encoder.layers.{place}.{name}"] = tensor
    write_safetensors(folder / WEIGHTS_FILE, weights)
    write_safetensors(folder / HEAD_FILE, ear.head.state_dict())
