"""A small picture of a sound, waveform above spectrogram: for hundreds in one page.

Without axes, and drawn in a millisecond; :mod:`idiolect.audio.picture` draws one sound with both.

``N`` is samples at 22 050 Hz, ``T`` frames.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from idiolect.audio.io import Waveform
from idiolect.audio.shown import spectrogram
from idiolect.base.page import image_address

WAVE_ROWS = 41
"""Odd: silence is the row in the middle."""
GAP_ROWS = 3
WAVE_SHADE = 0.72
"""Of the waveform, between the darkest (0) and the brightest (1) of the spectrogram."""


def sound_strip(wave: Waveform, num_samples: int) -> str:
    """Return ``wave`` ``[N]`` as a ``data:`` image as wide as ``num_samples`` are.

    Pictures that are to stand beside each other are made equally wide; what lacks is silence.
    """
    padded = np.pad(wave, (0, max(0, num_samples - len(wave))))
    bands = spectrogram(padded)  # [80, T], the floor cut
    spread = max(float(np.ptp(bands)), 1e-6)  # silence has none
    shades = (bands - bands.min()) / spread
    gap = np.zeros((GAP_ROWS, shades.shape[1]), np.float32)
    drawn = WAVE_SHADE * _drawn(padded, shades.shape[1])
    return image_address(np.concatenate([shades, gap, drawn]))


def _drawn(wave: Waveform, num_columns: int) -> NDArray[np.float32]:
    """Return ``[WAVE_ROWS, T]``: 1 from the lowest to the highest sample of each column, else 0."""
    edges = np.linspace(0, len(wave), num_columns + 1).astype(int)
    parts = [wave[start : max(end, start + 1)] for start, end in pairwise(edges)]
    middle = WAVE_ROWS // 2
    low = np.rint(middle + middle * np.array([part.min() for part in parts]))
    high = np.rint(middle + middle * np.array([part.max() for part in parts]))
    rows = np.arange(WAVE_ROWS)[:, None]
    drawn: NDArray[np.float32] = ((rows >= low) & (rows <= high)).astype(np.float32)
    return drawn
