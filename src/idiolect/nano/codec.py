"""The semantic codec of nano: few codes, each of which is a sound of speech.

As published, features are rebuilt from the codes. As there are few codes, a second loss says what
of a feature matters: the layers of the encoder behind the one that is read, and the recogniser's
head, must hear in the rebuilt features what they hear in the true ones.

``B`` is batch, ``T`` code frames, ``F`` the feature width, ``D`` the width of a code, ``K`` codes.

Source:
    Spec 2.8 for the published losses and their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from idiolect.base.files import atomic_path, read_json, write_json
from idiolect.base.hashes import sha256_file, sha256_text
from idiolect.base.progress import track
from idiolect.listening.recogniser import WEIGHTS_FILE, Recogniser
from idiolect.listening.swift import hidden_states, run_layer
from idiolect.models.checkpoint import Weights, load_tensors, load_weights, save_tensors
from idiolect.models.codec import SemanticCodec
from idiolect.models.config import CodecDims
from idiolect.models.published import BASE_ROLES, CODEC_FILE, SEMANTIC_DIR
from idiolect.nano.encoder import write_safetensors
from idiolect.nano.sizes import READ_LAYER, base_config
from idiolect.nano.sounds import Sounds, open_sounds
from idiolect.nano.stage import (
    Pace,
    Part,
    Scores,
    device_at_hand,
    halved,
    run_stage,
    step_generator,
    weights_to_begin_with,
)

STATS_FILE = BASE_ROLES["stats"]
REPORT_FILE = "report.json"
NOISE_DB = (-50.0, -30.0)
"""Of the noise under which a code should stay what it is, against the speech."""
COMMITMENT_WEIGHT = 0.15
CODEBOOK_WEIGHT = 1.0
USE_DECAY = 0.98
DEAD_USE = 0.05
"""A code that is used so much less than an equal share is put elsewhere."""
RESEED_EVERY = 20
RESEED_SHARE = 0.7
"""Of the steps: behind that, codes stay where they are."""
BATCH_CLIPS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecConfig:
    """Size and training of the codec."""

    pace: Pace = field(
        default_factory=lambda: Pace(total_steps=2400, learning_rate=2e-3, warmup_steps=50)
    )
    dims: CodecDims = field(default_factory=lambda: base_config().codec)
    read_layer: int = READ_LAYER
    batch_clips: int = 20
    crop_frames: int = 96
    heard_weight: float = 1.0
    """Of the loss by what the layers behind hear."""
    firm_weight: float = 0.15
    """Of the loss that draws noisy speech to the codes of the same speech without noise."""


class Ear(nn.Module):
    """The layers of the encoder behind the one that is read, and the head; frozen."""

    mean: Tensor
    std: Tensor

    def __init__(self, folder: Path, read_layer: int, stats: Weights) -> None:
        super().__init__()
        recogniser = Recogniser(folder)
        self.layers = recogniser.encoder.network.encoder.layers[read_layer:]
        self.head = recogniser.head
        self.register_buffer("mean", stats["mean"])
        self.register_buffer("std", stats["var"].sqrt())
        self.requires_grad_(requires_grad=False)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the logits ``[B, T, A]`` of what is heard in normalised ``features``."""
        x = features * self.std + self.mean
        for layer in self.layers:
            x = run_layer(layer, x, mask)
        logits: Tensor = self.head(x)
        return logits


class CodeUse(nn.Module):
    """How often each code was used lately, as a share of all."""

    share: Tensor

    def __init__(self, num_codes: int) -> None:
        super().__init__()
        self.register_buffer("share", torch.full((num_codes,), 1 / num_codes))

    def count(self, codes: Tensor) -> None:
        """Take in the codes of a step."""
        counts = torch.bincount(codes.flatten(), minlength=len(self.share)).float()
        self.share.lerp_(counts / counts.sum(), 1 - USE_DECAY)


@dataclass(frozen=True, slots=True)
class Features:
    """Normalised features of the clips of a manifest, and the statistics that they have."""

    frames: NDArray[np.float16]  # [2, sum of T, F]: without noise, and with
    ends: list[int]
    stats: Weights

    def batch(self, indices: Sequence[int], *, noisy: bool = False) -> tuple[Tensor, Tensor]:
        """Return the features of clips padded with zeros, ``[B, T, F]``, and their lengths."""
        spans = [slice(self.ends[i - 1] if i else 0, self.ends[i]) for i in indices]
        pieces = [torch.from_numpy(self.frames[int(noisy), s].astype(np.float32)) for s in spans]
        return pad_sequence(pieces, batch_first=True), torch.tensor([len(p) for p in pieces])

    def crops(self, config: CodecConfig, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return pieces of clips chosen by ``chance``.

        Returns:
            Features ``[2, B, T, F]``, without noise and with, and the lengths ``[B]``.
        """
        width = self.frames.shape[-1]
        pieces = torch.zeros(2, config.batch_clips, config.crop_frames, width)
        lens = torch.zeros(config.batch_clips, dtype=torch.long)
        for row in range(config.batch_clips):
            index = int(torch.randint(len(self.ends), (), generator=chance))
            start, end = self.ends[index - 1] if index else 0, self.ends[index]
            spare = end - start - config.crop_frames
            if spare > 0:
                start += int(torch.randint(spare + 1, (), generator=chance))
            end = min(end, start + config.crop_frames)
            piece = self.frames[:, start:end].astype(np.float32)
            pieces[:, row, : end - start] = torch.from_numpy(piece)
            lens[row] = end - start
        return pieces, lens


def train_codec(manifest: Path, encoder_folder: Path, folder: Path, config: CodecConfig) -> None:
    """Measure the statistics of the features and train the codec; go on where it stopped.

    Args:
        manifest: The clips.
        encoder_folder: Of the encoder's stage.
        folder: Of this stage; gains ``wav2vec2bert_stats.pt``, ``semantic_codec_model.safetensors``
            and ``report.json``.
        config: Size and length.

    Raises:
        TrainingError: The loss is not finite.
    """
    features = open_features(manifest, encoder_folder, folder, config)
    save_tensors(folder / STATS_FILE, features.stats)
    ear = Ear(encoder_folder / SEMANTIC_DIR, config.read_layer, features.stats)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.pace.seed)
        codec, use = SemanticCodec(config.dims), CodeUse(config.dims.codebook_size)
    begun = weights_to_begin_with(folder, CODEC_FILE)
    if begun is not None:
        load_weights(codec, load_file(begun), where=begun)
    for part in (ear, codec, use):
        part.to(device_at_hand())
    optimizer = torch.optim.AdamW(
        codec.parameters(), betas=(0.9, 0.98), weight_decay=1e-3, fused=True
    )
    step = codec_step(features, ear, codec, use, optimizer, config, is_new=begun is None)
    parts: dict[str, Part] = {"codec": codec, "use": use, "optimizer": optimizer}
    run_stage("codec", folder, parts, step, config.pace)
    write_safetensors(folder / CODEC_FILE, codec.state_dict())


def codec_step(
    features: Features,
    ear: Ear,
    codec: SemanticCodec,
    use: CodeUse,
    optimizer: torch.optim.Optimizer,
    config: CodecConfig,
    *,
    is_new: bool = True,
) -> Callable[[int], Scores]:
    """Return what takes one step; the first one places the codes of a new codec."""
    device = use.share.device

    def step(number: int) -> Scores:
        chance = step_generator(config.pace.seed, number)
        pieces, lens = features.crops(config, chance)
        (x, noisy), lens = pieces.to(device), lens.to(device)
        mask = torch.arange(x.shape[1], device=device) < lens[:, None]
        if number == 1 and is_new:
            _place_codes(codec, x, lens, mask, chance)
        with halved(device):
            rebuilt, points, codes = rebuild(codec, x, lens, mask)
            heard = heard_loss(ear, rebuilt, x, mask)
            noisy_points = codec.quantizer.only.project(codec.encode(noisy, lens)).mT.float()
        chosen = codec.quantizer.only.codebook(codes)
        near = F.mse_loss(chosen, points[mask].detach())
        commitment = F.mse_loss(points[mask], chosen.detach())
        firm = F.mse_loss(noisy_points[mask], chosen.detach())
        error = F.mse_loss(rebuilt[mask], x[mask])
        loss = error + COMMITMENT_WEIGHT * commitment + CODEBOOK_WEIGHT * near
        loss = loss + config.heard_weight * heard + config.firm_weight * firm
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        use.count(codes)
        if number % RESEED_EVERY == 0 and number < RESEED_SHARE * config.pace.total_steps:
            reseed(codec, use, points[mask].detach(), chance)
        used = (use.share > DEAD_USE / len(use.share)).float().mean()
        scores = {"error": error, "heard": heard, "commitment": commitment, "firm": firm}
        scores["used"] = used
        return {name: score.item() for name, score in scores.items()}

    return step


def rebuild(
    codec: SemanticCodec, features: Tensor, lens: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the features behind the codes, with a gradient to before them.

    Args:
        codec: In training.
        features: ``[B, T, F]``.
        lens: ``[B]``.
        mask: ``[B, T]``, True = real.

    Returns:
        Rebuilt features ``[B, T, F]``, the points ``[B, T, D]`` that were quantised, and the codes
        of the real frames, ``[n]``. All float32.
    """
    quantizer = codec.quantizer.only
    encoded = codec.encode(features, lens).float()
    with torch.autocast(features.device.type, enabled=False):
        points = quantizer.project(encoded).mT
        codes = quantizer.nearest(encoded)
        chosen = quantizer.codebook(codes)
        embeddings = quantizer.out_project((points + (chosen - points).detach()).mT).mT
    return decode(codec, embeddings, mask).float(), points, codes[mask]


def decode(codec: SemanticCodec, embeddings: Tensor, mask: Tensor) -> Tensor:
    """Return features ``[B, T, F]`` for ``embeddings`` ``[B, T, F]`` of codes."""
    backbone, project = codec.decoder
    features: Tensor = project(backbone(embeddings, mask[..., None]))
    return features


def heard_loss(ear: Ear, rebuilt: Tensor, features: Tensor, mask: Tensor) -> Tensor:
    """Return how far what is heard in ``rebuilt`` is from what is heard in ``features``."""
    with torch.no_grad():
        wanted = ear(features, mask).float().log_softmax(dim=-1)
    heard = ear(rebuilt, mask).float().log_softmax(dim=-1)
    return F.kl_div(heard[mask], wanted[mask], reduction="batchmean", log_target=True)


@torch.no_grad()
def _place_codes(
    codec: SemanticCodec, x: Tensor, lens: Tensor, mask: Tensor, chance: torch.Generator
) -> None:
    """Spread the points evenly around 0, and put the codes on some of them."""
    quantizer = codec.quantizer.only
    points = quantizer.project(codec.encode(x, lens)).mT[mask]
    mean, std = points.mean(0), points.std(0)
    assert quantizer.in_project.bias is not None
    quantizer.in_project.bias.sub_(mean).div_(std)
    quantizer.in_project.weight_g.div_(std[:, None, None])
    chosen = torch.randint(len(points), (len(quantizer.codebook.weight),), generator=chance)
    chosen = chosen.to(points.device)
    quantizer.codebook.weight.copy_(((points - mean) / std)[chosen])


@torch.no_grad()
def reseed(codec: SemanticCodec, use: CodeUse, points: Tensor, chance: torch.Generator) -> None:
    """Put every dead code on one of ``points`` ``[n, D]``."""
    equal = 1 / len(use.share)
    dead = (use.share < DEAD_USE * equal).nonzero()[:, 0]
    if len(dead):
        chosen = torch.randint(len(points), (len(dead),), generator=chance).to(points.device)
        codec.quantizer.only.codebook.weight[dead] = points[chosen]
        use.share[dead] = equal


def open_features(
    manifest: Path, encoder_folder: Path, folder: Path, config: CodecConfig
) -> Features:
    """Return the features of the clips of ``manifest``, computed once for it and the encoder.

    Args:
        manifest: The clips.
        encoder_folder: Of the encoder's stage.
        folder: Of the codec's stage.
        config: Of the codec.
    """
    encoder, cache = encoder_folder / SEMANTIC_DIR, folder / "cache"
    index_path, path, stats_path = (
        cache / "features.json",
        cache / "features.f16",
        cache / "stats.pt",
    )
    weights = sha256_file(encoder / WEIGHTS_FILE)
    made_of = sha256_text(f"{sha256_file(manifest)} {weights} {config.read_layer} {NOISE_DB}")
    if not (index_path.exists() and read_json(index_path).get("made_of") == made_of):
        clean = open_sounds(manifest, encoder_folder / "cache")
        noisy = open_sounds(manifest, encoder_folder / "cache", noise_db=NOISE_DB)
        stats = _write_features([clean, noisy], encoder, config.read_layer, path)
        save_tensors(stats_path, stats)
        write_json(index_path, {"made_of": made_of, "ends": clean.ends})
    stats = load_tensors(stats_path)
    frames = np.memmap(path, dtype=np.float16, mode="r").reshape(2, -1, len(stats["mean"]))
    return Features(frames, read_json(index_path)["ends"], stats)


def _write_features(
    sets: Sequence[Sounds], encoder: Path, read_layer: int, path: Path
) -> dict[str, Tensor]:
    """Write the features of every set, normalised as the first is; return how."""
    stats: dict[str, NDArray[np.float64]] = {}
    with atomic_path(path) as partial, partial.open("wb") as out:
        for sounds in sets:
            states = _states(sounds, encoder, read_layer)
            if not stats:
                stats["mean"] = states.mean(axis=0, dtype=np.float64)
                stats["var"] = states.var(axis=0, dtype=np.float64)
            states -= stats["mean"].astype(np.float32)
            states /= np.sqrt(stats["var"]).astype(np.float32)
            out.write(states.astype(np.float16).tobytes())
    return {name: torch.from_numpy(value).float() for name, value in stats.items()}


@torch.inference_mode()
def _states(sounds: Sounds, encoder: Path, read_layer: int) -> NDArray[np.float32]:
    """Return the hidden states ``[sum of T, F]`` of all clips."""
    device = device_at_hand()
    network: Any = Recogniser(encoder).encoder.network
    network.to(device)
    network.encoder.layers = network.encoder.layers[:read_layer]
    starts = [0, *sounds.ends[:-1]]
    order = sorted(range(len(sounds)), key=sounds.num_frames)
    states = np.zeros((sounds.ends[-1], network.config.hidden_size), dtype=np.float32)
    batches = range(0, len(order), BATCH_CLIPS)
    for first in track(batches, "features of the corpus", unit="batches"):
        indices = order[first : first + BATCH_CLIPS]
        inputs, lens = sounds.batch(indices)
        mask = torch.arange(inputs.shape[1]) < lens[:, None]
        with halved(device):
            last = hidden_states(network, inputs.to(device), mask.to(device))[-1]
        rows = last.float().cpu().numpy()
        for row, index in enumerate(indices):
            states[starts[index] : sounds.ends[index]] = rows[row, : lens[row]]
    return states
