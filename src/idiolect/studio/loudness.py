"""How loud a sound leaves the page: as it was asked for, but never so loud that it clips.

A player draws a curve through the samples, and the curve may rise above the largest of them (its
true peak). So the ceiling is held against the curve, and lies a little below full scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr

from idiolect.audio.io import Waveform
from idiolect.base.errors import SynthesisError
from idiolect.base.units import SAMPLE_RATE

VOLUME_RANGE = (0.5, 2.0)
CEILING = 10 ** (-1 / 20)
"""Of the true peak: 1 dB below full scale, as broadcasters ask (EBU R 128)."""
OVERSAMPLING = 4
"""How many times as finely the curve is looked at (ITU-R BS.1770)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loudness:
    """What the volume of a sound became."""

    volume: float
    """That was asked for."""
    gain: float
    """That was applied."""

    @property
    def lowered_db(self) -> float:
        """How much quieter than asked for, in dB; 0 when it is as asked for."""
        return 20 * math.log10(self.volume / self.gain)


def gain_for(true_peak: float, volume: float) -> Loudness:
    """Return the gain that brings a sound to ``volume``, or as near as the ceiling lets it.

    Args:
        true_peak: Of the sound, 1 being full scale.
        volume: 1 leaves it as it is.

    Raises:
        SynthesisError: ``volume`` is out of range.
    """
    low, high = VOLUME_RANGE
    if not low <= volume <= high:
        raise SynthesisError(f"volume {volume} is out of range", fix=f"choose {low} to {high}")
    room = CEILING / true_peak if true_peak > 0 else math.inf
    return Loudness(volume=volume, gain=min(volume, room))


def true_peak(wave: Waveform, sample_rate: int = SAMPLE_RATE) -> float:
    """Return the highest point of the curve through ``wave`` ``[N]``, 1 being full scale."""
    if not len(wave):
        return 0.0
    curve = soxr.resample(wave, sample_rate, OVERSAMPLING * sample_rate, quality="VHQ")
    return float(max(np.abs(curve).max(initial=0.0), np.abs(wave).max()))


def set_volume(wave: Waveform, volume: float) -> tuple[Waveform, Loudness]:
    """Return ``wave`` ``[N]`` at 22 050 Hz at ``volume``, and what became of it."""
    loudness = gain_for(true_peak(wave), volume)
    return wave * np.float32(loudness.gain), loudness
