"""Features and codes of all clips of a manifest, computed once by the frozen encoder and codec.

The GPT learns the codes after a prompt's features; the flow learns mels after both. ``T`` is code
frames of a clip, ``F`` the feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.files import atomic_path, read_json, write_json
from idiolect.base.hashes import sha256_file, sha256_text
from idiolect.base.progress import track
from idiolect.listening.swift import hidden_states
from idiolect.models.checkpoint import weights_digest
from idiolect.models.codec import SemanticCodec
from idiolect.models.semantic import SemanticEncoder
from idiolect.nano.clips import Clips
from idiolect.nano.sounds import Sounds
from idiolect.nano.stage import device_at_hand

BATCH_CLIPS = 16


@dataclass(frozen=True, slots=True)
class Frames:
    """What the frozen networks hear in each clip of a manifest, in its order."""

    features_of_all: NDArray[np.float16]  # [sum of T, F], normalised
    codes_of_all: NDArray[np.int16]  # [sum of T]
    ends: list[int]
    """Where each clip ends, in code frames."""

    def span(self, index: int) -> slice:
        """Return the frames of clip ``index``."""
        return slice(self.ends[index - 1] if index else 0, self.ends[index])

    def features(self, index: int) -> Tensor:
        """Return ``[T, F]`` float32 of clip ``index``."""
        return torch.from_numpy(self.features_of_all[self.span(index)].astype(np.float32))

    def codes(self, index: int) -> NDArray[np.int64]:
        """Return ``[T]`` of clip ``index``."""
        return self.codes_of_all[self.span(index)].astype(np.int64)

    def num_frames(self, index: int) -> int:
        """Return ``T`` of clip ``index``."""
        return self.ends[index] - (self.ends[index - 1] if index else 0)


def open_frames(
    sounds: Sounds, manifest: Path, encoder: SemanticEncoder, codec: SemanticCodec, folder: Path
) -> Frames:
    """Return the frames of the clips of ``sounds``, computed once for it and these networks.

    Args:
        sounds: Of ``manifest``.
        manifest: Whose change, as that of the networks, makes the frames be computed again.
        encoder: Frozen, normalising with its statistics.
        codec: Frozen.
        folder: Where they are kept.
    """
    index_path = folder / f"{manifest.stem}.frames.json"
    digests = (sha256_file(manifest), weights_digest(encoder), weights_digest(codec))
    made_of = sha256_text(" ".join(digests))
    if not (index_path.exists() and read_json(index_path)["made_of"] == made_of):
        folder.mkdir(parents=True, exist_ok=True)
        _compute(sounds, encoder, codec, folder / manifest.stem)
        write_json(index_path, {"made_of": made_of, "ends": sounds.ends})
    features_path, codes_path = _paths(folder / manifest.stem)
    features = np.memmap(features_path, dtype=np.float16, mode="r")
    return Frames(
        features.reshape(-1, codec.dims.feature_dim),
        np.memmap(codes_path, dtype=np.int16, mode="r"),
        read_json(index_path)["ends"],
    )


def clip_16k(clips: Clips, index: int) -> Tensor:
    """Return clip ``index`` at 16 000 Hz, ``[N]``, by the route of a prompt's features."""
    return resample_22k_to_16k(clips.wave(index)[None])[0]


@torch.inference_mode()
def _compute(sounds: Sounds, encoder: SemanticEncoder, codec: SemanticCodec, stem: Path) -> None:
    """Write features and codes of all clips one behind the other."""
    num_frames, width = sounds.ends[-1], codec.dims.feature_dim
    features_of_all = np.empty((num_frames, width), dtype=np.float16)
    codes_of_all = np.empty(num_frames, dtype=np.int16)
    order = sorted(range(len(sounds)), key=sounds.num_frames)
    device = device_at_hand()
    encoder, codec = encoder.to(device), codec.to(device)
    starts = range(0, len(order), BATCH_CLIPS)
    for start in track(starts, "listening to the corpus", unit="batches"):
        indices = order[start : start + BATCH_CLIPS]
        inputs, lens = (rows.to(device) for rows in sounds.batch(indices))
        mask = torch.arange(inputs.shape[1], device=device) < lens[:, None]
        states = hidden_states(encoder.network, inputs, mask)[-1]
        features = (states - encoder.mean) / encoder.var.sqrt()
        codes, _ = codec.quantize(features, lens)
        features, codes = features.cpu(), codes.cpu()
        for row, (index, length) in enumerate(zip(indices, lens.tolist(), strict=True)):
            span = slice(sounds.ends[index] - length, sounds.ends[index])
            features_of_all[span] = features[row, :length].numpy()
            codes_of_all[span] = codes[row, :length].numpy()
    for path, values in zip(_paths(stem), (features_of_all, codes_of_all), strict=True):
        with atomic_path(path) as partial:
            partial.write_bytes(values.tobytes())


def _paths(stem: Path) -> tuple[Path, Path]:
    return stem.with_suffix(".features.f16"), stem.with_suffix(".codes.i16")
