"""What the semantic encoder reads of every clip, computed once: training then runs the network.

``T`` is code frames of 20 ms, ``B`` batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from idiolect.audio.fbank import N_BANDS, STACK, semantic_input
from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.files import atomic_path, read_json, write_json
from idiolect.base.hashes import sha256_file
from idiolect.base.progress import track
from idiolect.base.units import CODE_RATE_HZ
from idiolect.data.manifest import Utterance
from idiolect.nano.clips import Clips, open_clips
from idiolect.nano.stage import each_in_order

WIDTH = STACK * N_BANDS


@dataclass(frozen=True, slots=True)
class Sounds:
    """The filter banks of the clips of a manifest, in its order."""

    utterances: list[Utterance]
    frames: NDArray[np.float16]  # [sum of T, 160]
    ends: list[int]
    """Where each clip ends, in code frames."""

    def __len__(self) -> int:
        return len(self.utterances)

    def num_frames(self, index: int) -> int:
        """Return ``T`` of clip ``index``."""
        return self.ends[index] - (self.ends[index - 1] if index else 0)

    def clip(self, index: int) -> Tensor:
        """Return ``[T, 160]`` float32 of clip ``index``."""
        start = self.ends[index - 1] if index else 0
        return torch.from_numpy(self.frames[start : self.ends[index]].astype(np.float32))

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the clips padded with zeros, ``[B, T, 160]``, and their lengths ``[B]``."""
        clips = [self.clip(index) for index in indices]
        return pad_sequence(clips, batch_first=True), torch.tensor([len(c) for c in clips])


def open_sounds(
    manifest: Path, folder: Path, *, noise_db: tuple[float, float] | None = None
) -> Sounds:
    """Return the filter banks of the clips of ``manifest``, computed once, into ``folder``.

    Args:
        manifest: The clips.
        folder: Where the filter banks are kept.
        noise_db: Bounds of the level of a noise that is added, against the speech; None for none.

    Raises:
        DataError: The manifest or a clip cannot be read.
    """
    clips = open_clips(manifest, folder)
    stem = f"{manifest.stem}.{'bands' if noise_db is None else 'noisy-bands'}"
    path, index_path = folder / f"{stem}.f16", folder / f"{stem}.json"
    made_of = f"{sha256_file(manifest)} {noise_db}"
    if not (index_path.exists() and read_json(index_path).get("made_of") == made_of):
        ends = _compute(clips, path, noise_db)
        write_json(index_path, {"made_of": made_of, "ends": ends})
    frames = np.memmap(path, dtype=np.float16, mode="r").reshape(-1, WIDTH)
    return Sounds(clips.utterances, frames, read_json(index_path)["ends"])


def add_noise(audio: Tensor, level_db: float, seed: int) -> Tensor:
    """Return ``audio`` ``[N]`` with white noise that is so much louder than it."""
    level = float(audio.square().mean().sqrt()) * 10 ** (level_db / 20)
    chance = torch.Generator().manual_seed(seed)
    return audio + level * torch.randn(audio.shape, generator=chance)


def _compute(clips: Clips, path: Path, noise_db: tuple[float, float] | None) -> list[int]:
    def bands(index: int) -> NDArray[np.float16]:
        audio = resample_22k_to_16k(clips.wave(index)[None])[0]
        if noise_db is not None:
            chance = torch.Generator().manual_seed(index)
            share = float(torch.rand((), generator=chance))
            audio = add_noise(audio, noise_db[0] + share * (noise_db[1] - noise_db[0]), index)
        inputs, mask, _ = semantic_input([audio])
        rows: NDArray[np.float16] = inputs[0][mask[0]].half().numpy()
        return rows

    ends, end = [], 0
    with atomic_path(path) as partial, partial.open("wb") as out:
        made = each_in_order(bands, len(clips))
        for rows in track(made, "analysing the corpus", total=len(clips), unit="clips"):
            out.write(rows.tobytes())
            end += len(rows)
            ends.append(end)
    return ends


class Batches:
    """Batches of clips of like length, other ones in every epoch, by number alone."""

    def __init__(self, lengths: Sequence[int], batch_sec: float, seed: int) -> None:
        self._lengths = torch.tensor(lengths, dtype=torch.float)
        self._batch_frames = batch_sec * CODE_RATE_HZ
        self._seed = seed
        self._epoch = lru_cache(maxsize=1)(self._shuffled)
        self.per_epoch = max(1, int(self._lengths.sum() / self._batch_frames))

    def of_step(self, step: int) -> list[int]:
        """Return the clips of ``step``, which counts from 1."""
        epoch, number = divmod(step - 1, self.per_epoch)
        return self._epoch(epoch)[number]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        chance = torch.Generator().manual_seed(self._seed * 7919 + epoch)
        jitter = 0.9 + 0.2 * torch.rand(len(self._lengths), generator=chance)
        order = (self._lengths * jitter).argsort()
        ends = self._lengths[order].cumsum(0) / (float(self._lengths.sum()) + 1)
        numbers = (ends * self.per_epoch).long()
        batches = [order[numbers == number].tolist() for number in range(self.per_epoch)]
        filled = [batch for batch in batches if batch]
        shuffled = torch.randperm(len(filled), generator=chance).tolist()
        return [filled[shuffled[number % len(filled)]] for number in range(self.per_epoch)]
