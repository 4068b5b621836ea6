"""The frozen networks that listen: codes of each clip, and what its first seconds give the GPT.

A clip's codes never depend on the clips that it is batched with. Padding does not reach a valid
frame, but a batch of another shape adds up floats in another order, and where two codes are
almost equally near, that noise could choose between them. So the margin is looked at by which
the nearest code wins in each frame: a clip with one below :data:`SAFE_MARGIN` is computed again,
alone. What is stored is what the clip gives alone.

Letters: B clips, T code frames, F features, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.audio.io import Waveform
from idiolect.base.hashes import sha256_file, sha256_text
from idiolect.base.units import MAX_PROMPT_SEC, SEMANTIC_SAMPLE_RATE, seconds_to_samples
from idiolect.data.features import Features
from idiolect.models.checkpoint import Weights, map_weights
from idiolect.models.codec import FactorizedQuantizer, SemanticCodec
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.loading import (
    CONDITIONER_KEYS,
    gpt_weights,
    load_codec,
    load_gpt,
    load_semantic_encoder,
)
from idiolect.models.published import BaseFiles
from idiolect.models.semantic import SemanticEncoder

EXTRACTOR_VERSION = 1
"""Counted up when the same audio and base would give other features."""
SAFE_MARGIN = 5e-5
"""Smallest lead of a code, as a difference of cosines, that rounding cannot turn round: at the
published widths, 3.3e-6 is the largest change of a lead that batching made in float32."""


class Extractor:
    """The frozen networks that listen; loaded when the first clip is asked for.

    Args:
        fingerprint: What the networks are known by.
        load: Reads them.
        device: Where they run.
    """

    def __init__(
        self, *, fingerprint: str, load: Callable[[], Listeners], device: torch.device
    ) -> None:
        self.fingerprint = fingerprint
        self.device = device
        self._load = load

    @classmethod
    def from_base(cls, files: BaseFiles, device: torch.device | str = "cpu") -> Extractor:
        """Return the extractor of the base in ``files``."""
        return cls(
            fingerprint=fingerprint_of(files),
            load=lambda: Listeners.load(files),
            device=torch.device(device),
        )

    @cached_property
    def listeners(self) -> Listeners:
        """The networks, on the device."""
        return self._load().to(self.device)

    @torch.inference_mode()
    def extract(self, audio: Sequence[Waveform]) -> list[Features]:
        """Return the features of each waveform ``[N]`` at 16 kHz.

        The codes are those of the whole waveform, the rest is that of its first 15 s.
        """
        clips = [torch.from_numpy(clip) for clip in audio]
        # On a GPU, TF32 convolutions would round to ten bits.
        with torch.backends.cudnn.flags(allow_tf32=False):
            codes, features, lens = self._codes(clips)
            limit = seconds_to_samples(MAX_PROMPT_SEC, SEMANTIC_SAMPLE_RATE)
            if any(len(clip) > limit for clip in clips):
                features, lens = self.listeners.semantic([clip[:limit] for clip in clips])
            voice = self.listeners.voice
            latents = voice.speaker_latents(features, lens).half().cpu().numpy()
            emotion = voice.emotion_vector(features, lens).half().cpu().numpy()
        return [Features(*row) for row in zip(codes, latents, emotion, strict=True)]

    def _codes(self, clips: Sequence[Tensor]) -> tuple[list[np.ndarray], Tensor, Tensor]:
        """Return the codes of each clip, and the features ``[B, T, F]`` with their lengths."""
        features, lens = self.listeners.semantic(clips)
        codes, margins = _nearest(self.listeners.codec, features, lens)
        rows = []
        for index, length in enumerate(lens.tolist()):
            row = codes[index, :length]
            if len(clips) > 1 and bool((margins[index, :length] < SAFE_MARGIN).any()):
                alone, alone_lens = self.listeners.semantic([clips[index]])
                row = _nearest(self.listeners.codec, alone, alone_lens)[0][0, :length]
            rows.append(row.cpu().numpy().astype(np.uint16))
        return rows, features, lens


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The networks of an :class:`Extractor`."""

    semantic: SemanticEncoder
    codec: SemanticCodec
    voice: UnifiedVoice
    """Of which the conditioners only are used."""

    @classmethod
    def load(cls, files: BaseFiles) -> Listeners:
        """Read the networks of the base in ``files``."""
        return cls(
            semantic=load_semantic_encoder(files),
            codec=load_codec(files),
            voice=load_gpt(files.gpt, files.config.gpt),
        )

    def to(self, device: torch.device) -> Listeners:
        """Move what is used to ``device``, and free the rest of the GPT."""
        for name, child in self.voice.named_children():
            child.to(device if CONDITIONER_KEYS.match(f"{name}.") else "meta")
        self.semantic.to(device).eval()
        self.codec.to(device).eval()
        self.voice.eval()
        return self


def fingerprint_of(files: BaseFiles) -> str:
    """Return 16 hex digits that change with anything that features depend on, but the audio.

    Of the GPT only the conditioners count, so every model that was tuned from one base shares
    its features.
    """
    parts = [f"version {EXTRACTOR_VERSION}", f"layer {files.config.semantic_layer}"]
    # Mapped, not read: most of the file is the transformer, which does not count.
    weights = gpt_weights(map_weights(files.gpt))
    parts.append(_hash_tensors({k: v for k, v in weights.items() if CONDITIONER_KEYS.match(k)}))
    listened = [p for p in files.semantic_dir.iterdir() if p.suffix in {".safetensors", ".json"}]
    parts += [sha256_file(path) for path in (files.codec, files.stats, *sorted(listened))]
    return sha256_text("\n".join(parts))[:16]


def _nearest(codec: SemanticCodec, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest codes ``[B, T]``, and by how much nearer than the next ``[B, T]``."""
    stage = cast(FactorizedQuantizer, codec.quantizer.quantizers[0])
    encoded = codec.encode(features, lens)
    directions = F.normalize(stage.project(encoded).mT, dim=-1)
    cosines = directions @ F.normalize(stage.codebook.weight, dim=-1).mT  # [B, T, K]
    best, second = cosines.topk(2, dim=-1).values.unbind(-1)
    return stage.nearest(encoded), best - second


def _hash_tensors(tensors: Weights) -> str:
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
