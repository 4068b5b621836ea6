"""What nano's own sound is to its ear: clips that are made again from their codes, as features.

The recogniser that judges nano must know letters in nano's sound, not only in that of the engines
that it learnt from.

``T`` is code frames of a clip, ``F`` the feature width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.hashes import sha256_text
from idiolect.models.checkpoint import weights_digest
from idiolect.models.codec import SemanticCodec
from idiolect.models.s2mel import S2Mel
from idiolect.models.semantic import SemanticEncoder
from idiolect.models.vocoder import BigVgan
from idiolect.nano.flow_data import FlowData, Ragged, keep_ragged
from idiolect.nano.stage import device_at_hand, step_generator

COPIED_ONE_IN = 10
"""Of so many clips one is made again."""
FLOW_STEPS = 10
"""Fewer than in synthesis, where the sound is for people: the letters are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copier:
    """The frozen networks from codes to sound, and back to features; all in evaluation mode."""

    codec: SemanticCodec
    s2mel: S2Mel
    vocoder: BigVgan
    encoder: SemanticEncoder

    @property
    def digest(self) -> str:
        """Of all weights."""
        return sha256_text(" ".join(weights_digest(network) for network in self._networks))

    def to(self, device: torch.device) -> None:
        """Move all networks to ``device``."""
        for network in self._networks:
            network.to(device)

    @property
    def _networks(self) -> Iterator[nn.Module]:
        return (getattr(self, field.name) for field in fields(self))

    @torch.inference_mode()
    def copy(self, data: FlowData, target: int, prompt: int) -> Tensor:
        """Return the features ``[T, F]`` of clip ``target``, made again in the voice of another."""
        device = self.encoder.mean.device
        conditions = [self._condition(data, index) for index in (prompt, target)]
        prompt_mel = torch.from_numpy(data.mels[prompt].astype(np.float32)).T[None].to(device)
        mel = self.s2mel.sample(
            torch.cat(conditions, dim=1),
            prompt_mel,
            data.styles[prompt][None].to(device),
            generator=step_generator(0, target, device),
            num_steps=FLOW_STEPS,
        )
        wave = self.vocoder(mel[..., prompt_mel.shape[-1] :])[0]
        features: Tensor = self.encoder([resample_22k_to_16k(wave)[0]])[0]
        return features[0]

    def _condition(self, data: FlowData, index: int) -> Tensor:
        codes = torch.from_numpy(data.codes[index].astype(np.int64))[None]
        codes = codes.to(self.encoder.mean.device)
        return self.s2mel.regulate(self.codec.embed(codes), len(data.mels[index]))


def copied_features(copier: Copier, data: FlowData, folder: Path, name: str) -> Ragged:
    """Return the features of copies, ``[T, F]`` float16 a clip; most clips have none.

    Each is in the voice of another clip of its speaker. They are kept in ``folder`` under ``name``,
    and made again for other networks.

    Args:
        copier: The networks.
        data: What the flow learns from.
        folder: Where they are kept.
        name: Of the manifest.
    """
    of_speaker: dict[str, list[int]] = {}
    for index, speaker in enumerate(data.speakers):
        of_speaker.setdefault(speaker, []).append(index)

    def rows() -> Iterator[NDArray[Any]]:
        copier.to(device_at_hand())
        numbers = np.random.default_rng(0)
        width = copier.encoder.mean.shape[-1]
        for index, speaker in enumerate(data.speakers):
            if index % COPIED_ONE_IN:
                yield np.zeros((0, width), dtype=np.float16)
                continue
            others = [other for other in of_speaker[speaker] if other != index]
            prompt = int(numbers.choice(others or [index]))
            yield copier.copy(data, index, prompt).half().cpu().numpy()

    dims = copier.s2mel.dims
    how = f"{COPIED_ONE_IN} {FLOW_STEPS} {dims.guidance} {dims.temperature}"
    key = sha256_text(f"{copier.digest} {data.mels.ends.tolist()} {how}")
    return keep_ragged(folder / f"{name}.copies", key, rows, total=len(data.speakers))
