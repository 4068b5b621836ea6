"""A sound as a picture: its waveform above its spectrogram, over one axis of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idiolect.audio.io import Waveform
from idiolect.audio.shown import spectrogram
from idiolect.base.units import SAMPLE_RATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (8.0, 3.6)
DPI = 100
COLUMNS = 1600
"""Of the waveform: each shows the lowest and the highest sample of its time."""
WAVE_COLOR = "#b5367a"
"""From the middle of the spectrogram's colours, dark enough to be seen on white."""


def sound_picture(wave: Waveform) -> NDArray[np.uint8]:
    """Return the picture ``[height, width, 3]`` of ``wave`` ``[N]`` at 22 050 Hz.

    The waveform stands on a scale of full scale, so that pictures can be compared.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, sharex=True, height_ratios=(1, 2))
    _draw_wave(above, wave)
    _draw_spectrogram(below, wave)
    canvas.draw()  # type: ignore[no-untyped-call]  # untyped in matplotlib
    pixels: NDArray[np.uint8] = np.asarray(
        canvas.buffer_rgba()  # type: ignore[no-untyped-call]  # as above
    )[..., :3].copy()
    return pixels


def _draw_wave(axes: Axes, wave: Waveform) -> None:
    times, lows, highs = envelope(wave)
    axes.fill_between(times, lows, highs, color=WAVE_COLOR, linewidth=0.6)
    axes.set_ylim(-1, 1)
    axes.set_yticks([-1, 0, 1])


def _draw_spectrogram(axes: Axes, wave: Waveform) -> None:
    bands = spectrogram(wave)  # [n_mels, T_mel]
    extent: Any = (0, len(wave) / SAMPLE_RATE, 0, len(bands))
    axes.imshow(bands, origin="lower", aspect="auto", extent=extent, cmap="magma")
    axes.set_ylabel("mel")
    axes.set_xlabel("s")


def envelope(wave: Waveform) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return times in seconds, and the lowest and highest sample at each, ``[COLUMNS]`` at most."""
    if not len(wave):
        return np.zeros(1), np.zeros(1), np.zeros(1)
    starts = np.unique(np.linspace(0, len(wave), COLUMNS, endpoint=False).astype(int))
    lows, highs = np.minimum.reduceat(wave, starts), np.maximum.reduceat(wave, starts)
    return starts / SAMPLE_RATE, lows, highs
