"""All clips of a manifest, decoded once into one memory-mapped file.

Stages read random pieces of them thousands of times; decoding would cost more than learning.
``N`` is samples at 22 050 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.audio.io import read_audio
from idiolect.base.files import atomic_path, read_json, write_json
from idiolect.base.hashes import sha256_file
from idiolect.base.progress import track
from idiolect.base.units import SAMPLE_RATE
from idiolect.data.manifest import Utterance, read_manifest

PCM_SCALE = 32768.0


@dataclass(frozen=True, slots=True)
class Clips:
    """The clips of a manifest, in its order."""

    utterances: list[Utterance]
    pcm: NDArray[np.int16]
    ends: list[int]
    """Where each clip ends in ``pcm``, in samples."""

    def __len__(self) -> int:
        return len(self.utterances)

    def wave(self, index: int) -> Tensor:
        """Return clip ``index``, ``[N]`` float32 in -1 ... 1 at 22 050 Hz."""
        start = self.ends[index - 1] if index else 0
        piece = self.pcm[start : self.ends[index]].astype(np.float32)
        return torch.from_numpy(piece).div_(PCM_SCALE)

    def num_samples(self, index: int) -> int:
        """Return the length of clip ``index``."""
        return self.ends[index] - (self.ends[index - 1] if index else 0)


def open_clips(manifest: Path, cache: Path) -> Clips:
    """Return the clips of ``manifest``; they are decoded once, into ``cache`` (a folder).

    Raises:
        DataError: The manifest or a clip cannot be read.
    """
    utterances = list(read_manifest(manifest))
    pcm_path, index_path = cache / f"{manifest.stem}.i16", cache / f"{manifest.stem}.json"
    digest = sha256_file(manifest)
    if not (index_path.exists() and read_json(index_path)["manifest"] == digest):
        cache.mkdir(parents=True, exist_ok=True)
        ends = _decode(utterances, pcm_path)
        write_json(index_path, {"manifest": digest, "ends": ends})
    pcm = np.memmap(pcm_path, dtype=np.int16, mode="r")
    return Clips(utterances, pcm, read_json(index_path)["ends"])


def _decode(utterances: list[Utterance], path: Path) -> list[int]:
    """Write all clips one behind the other; return where each ends."""
    ends, end = [], 0
    with atomic_path(path) as partial, partial.open("wb") as out:
        for utterance in track(utterances, "decoding the corpus", unit="clips"):
            wave, _ = read_audio(
                utterance.audio_path,
                SAMPLE_RATE,
                start_sec=utterance.start_sec or 0.0,
                end_sec=utterance.end_sec,
            )
            samples = np.clip(np.rint(wave * PCM_SCALE), -32768, 32767).astype(np.int16)
            out.write(samples.tobytes())
            end += len(samples)
            ends.append(end)
    return ends
