"""Frozen dimensions of the log-mel spectrogram, read from the published ``config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MelDims:
    """The log-mel spectrogram that s2mel fills and the vocoder reads."""

    sample_rate: int = 22_050
    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 256
    n_mels: int = 80
    fmin_hz: float = 0.0
    fmax_hz: float | None = None
    """None is half the sample rate."""

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> MelDims:
        """Read the ``s2mel.preprocess_params`` section."""
        spect = section["spect_params"]
        # The published loader knows two cases only: the word "None", and 8000 for all else.
        fmax_hz = None if str(spect.get("fmax", "None")) == "None" else 8000.0
        return cls(
            sample_rate=section["sr"],
            n_fft=spect["n_fft"],
            win_length=spect["win_length"],
            hop_length=spect["hop_length"],
            n_mels=spect["n_mels"],
            fmin_hz=float(spect["fmin"]),
            fmax_hz=fmax_hz,
        )
