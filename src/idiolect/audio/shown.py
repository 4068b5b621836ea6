"""Sounds for a page or a board: an address that a browser plays, a picture that the eye reads."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from io import BytesIO

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from idiolect.audio.dims import MelDims
from idiolect.audio.io import PCM16_PEAK, Waveform
from idiolect.audio.mel import LogMel
from idiolect.base.units import SAMPLE_RATE

MEL_LIFT = 5.0
"""Half of what a spectrogram shows below its loudest, in nats."""


def sound_address(wave: Waveform) -> str:
    """Return ``wave`` ``[N]`` at 22 050 Hz as a ``data:`` address that every browser plays.

    MP3 where libsndfile can write it, which is a fifth of the size; 16-bit WAV elsewhere.
    """
    kind, subtype = (
        ("MP3", "MPEG_LAYER_III") if "MP3" in soundfile.available_formats() else ("WAV", "PCM_16")
    )
    out = BytesIO()
    pcm = np.rint(np.clip(wave, -1, 1) * PCM16_PEAK).astype(np.int16)
    soundfile.write(out, pcm, SAMPLE_RATE, format=kind, subtype=subtype)
    mime = "audio/mpeg" if kind == "MP3" else "audio/wav"
    return f"data:{mime};base64,{b64encode(out.getvalue()).decode()}"


def spectrogram(wave: Waveform) -> NDArray[np.float32]:
    """Return the log-mel spectrogram ``[n_mels, T_mel]`` of ``wave`` ``[N]``, its floor cut."""
    mel = _log_mel()
    audio = torch.from_numpy(np.pad(wave, (0, max(0, mel.dims.n_fft - len(wave)))))
    with torch.inference_mode():
        bands: NDArray[np.float32] = mel(audio[None])[0].numpy()
    floor = np.float32(bands.max() - 2 * MEL_LIFT)
    return bands.clip(min=floor)


@cache
def _log_mel() -> LogMel:
    return LogMel(MelDims())
