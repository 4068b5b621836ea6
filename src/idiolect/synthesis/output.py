"""What a call gives back: segments with silence between them, as samples or as a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.audio.io import write_wav
from idiolect.base.units import SAMPLE_RATE

FULL_SCALE = 32767.0
"""The published code speaks in 16-bit units, as floats."""


def full_scale(wave: Tensor) -> Tensor:
    """Return ``wave`` in −1…1 as the published code hands it on: floats in ±32767."""
    return (FULL_SCALE * wave).clamp(-FULL_SCALE, FULL_SCALE)


def join_segments(waves: Sequence[Tensor], interval_ms: int) -> Tensor:
    """Return the waves ``[1, n]`` one behind the other, with silence between them."""
    silence = _silence(interval_ms)
    return torch.cat([part for wave in waves for part in (silence, wave)][1:], dim=1)


def _silence(interval_ms: int) -> Tensor:
    return torch.zeros(1, max(0, int(SAMPLE_RATE * interval_ms / 1000)))


def streamed(
    waves: Iterator[Tensor], interval_ms: int, output_path: str | Path | None
) -> Iterator[Tensor]:
    """Yield each wave and the silence after it; then write all of it, if there is a path."""
    heard = []
    for wave in waves:
        yield wave
        yield _silence(interval_ms)
        if output_path is not None:
            heard.append(wave)
    if output_path is not None:
        finished(heard, interval_ms, output_path)


def finished(
    waves: Sequence[Tensor], interval_ms: int, output_path: str | Path | None
) -> Path | tuple[int, NDArray[np.int16]]:
    """Write the waves as one, or return their samples as 16-bit numbers."""
    wave = join_segments(waves, interval_ms)  # [1, n]
    if output_path is None:
        return SAMPLE_RATE, wave.to(torch.int16).T.numpy()
    path = Path(output_path)
    write_wav(path, (wave[0] / FULL_SCALE).clamp(-1, 1).numpy(), SAMPLE_RATE)
    return path
