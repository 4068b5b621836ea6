"""What is wrong with a clip: measured once, then judged against limits.

``T`` is samples, ``F`` frames of :data:`FRAME_SEC`. Levels are dBFS: 0 is a full-scale square.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idiolect.audio.io import Waveform, probe_audio, read_audio
from idiolect.base.errors import ConfigError

MEASURES_VERSION = 1
"""Raised whenever the same clip would be measured otherwise: old measurements are then redone."""

FRAME_SEC = 0.025
FLOOR_DB = -120.0
"""Level of digital silence."""
FLOOR_POWER = 10 ** (FLOOR_DB / 10)
"""The same as a mean square."""
SILENT_BELOW_LOUD_DB = 40.0
"""A frame is silent when it is this far below the loud frames of its clip ..."""
SILENT_BELOW_DB = -60.0
"""... or below this, whatever the rest is like."""
LOUD_PERCENTILE = 95
FULL_SCALE = 0.999
CLIPPED_RUN = 3
"""So many full-scale samples in a row are a cut-off wave; a lone one is only a high peak."""
HASH_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMeasures:
    """What a clip is like."""

    duration_sec: float
    sample_rate: int
    num_channels: int
    peak: float
    """Largest absolute sample."""
    loudness_db: float
    """Root mean square of the whole clip without its offset, in dBFS."""
    silence_share: float
    """Share of the clip that is silent, 0 to 1."""
    clipped_share: float
    """Share of the samples that are cut off at full scale, 0 to 1."""
    dc_offset: float
    """Mean of the samples; 0 in a good recording."""
    sound_hash: str
    """Equal for two clips that decode to the same samples."""

    @property
    def speech_sec(self) -> float:
        """Seconds that are not silent."""
        return self.duration_sec * (1.0 - self.silence_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLimits:
    """What a clip must be like to be learnt from."""

    min_sec: float = 0.4
    max_sec: float = 30.0
    max_silence: float = 0.6
    max_clipped: float = 0.005
    min_loudness_db: float = -50.0
    max_dc_offset: float = 0.1
    min_sample_rate: int = 16_000
    max_channels: int = 2

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: No clip could have such a length.
        """
        if not 0 <= self.min_sec < self.max_sec:
            raise ConfigError(
                f"no clip can have {self.min_sec:g} to {self.max_sec:g} seconds",
                where="--min-sec, --max-sec",
            )


def measure_file(
    path: Path, limits: AudioLimits, start_sec: float | None, end_sec: float | None
) -> ClipMeasures:
    """Return the measures of a clip: the file at ``path``, or its part between two times.

    A clip far over the length limit is not decoded; only its length is measured.

    Raises:
        DataError: The file is missing, empty, cut short, or not audio.
    """
    info = probe_audio(path)
    start = start_sec or 0.0
    length_sec = (info.duration_sec if end_sec is None else end_sec) - start
    if length_sec > 2 * limits.max_sec:
        return _too_long_to_decode(length_sec, info.sample_rate, info.num_channels)
    audio, sample_rate = read_audio(path, start_sec=start, end_sec=end_sec)
    return measure_clip(audio, sample_rate, num_channels=info.num_channels)


def measure_clip(audio: Waveform, sample_rate: int, *, num_channels: int = 1) -> ClipMeasures:
    """Return the measures of ``audio`` ``[T]`` at ``sample_rate`` Hz, T at least 1."""
    offset = float(audio.mean(dtype=np.float64))
    levels = _frame_levels_db(audio - np.float32(offset), sample_rate)  # [F]
    return ClipMeasures(
        duration_sec=round(len(audio) / sample_rate, 4),
        sample_rate=sample_rate,
        num_channels=num_channels,
        peak=round(float(np.abs(audio).max()), 4),
        loudness_db=round(_loudness_db(audio - offset), 2),
        silence_share=round(_silence_share(levels), 4),
        clipped_share=round(_clipped_share(audio), 5),
        dc_offset=round(offset, 4),
        sound_hash=blake2b(audio.tobytes(), digest_size=HASH_BYTES).hexdigest(),
    )


def faults_of(measures: ClipMeasures, limits: AudioLimits) -> list[tuple[str, str]]:
    """Return (reason, detail) for each limit that ``measures`` break, the gravest first."""
    m, faults = measures, list[tuple[str, str]]()
    if m.duration_sec < limits.min_sec:
        faults.append((TOO_SHORT, f"{m.duration_sec:.2f} s, shortest {limits.min_sec:g} s"))
    if m.duration_sec > limits.max_sec:
        faults.append((TOO_LONG, f"{m.duration_sec:.1f} s, longest {limits.max_sec:g} s"))
    if m.sample_rate < limits.min_sample_rate:
        faults.append((LOW_RATE, f"{m.sample_rate} Hz, lowest {limits.min_sample_rate} Hz"))
    if m.num_channels > limits.max_channels:
        faults.append((MANY_CHANNELS, f"{m.num_channels}, most {limits.max_channels}"))
    if m.loudness_db < limits.min_loudness_db:
        faults.append((TOO_QUIET, f"{m.loudness_db:.0f} dBFS, least {limits.min_loudness_db:g}"))
    if m.silence_share > limits.max_silence:
        faults.append((SILENT, f"{m.silence_share:.0%} silence, most {limits.max_silence:.0%}"))
    if m.clipped_share > limits.max_clipped:
        faults.append((CLIPPED, f"{m.clipped_share:.1%}, most {limits.max_clipped:.1%}"))
    if abs(m.dc_offset) > limits.max_dc_offset:
        faults.append((OFFSET, f"{m.dc_offset:+.2f}, most {limits.max_dc_offset:g}"))
    return faults


TOO_SHORT = "the clip is too short"
TOO_LONG = "the clip is too long"
LOW_RATE = "the sample rate is too low"
MANY_CHANNELS = "the clip has too many channels"
TOO_QUIET = "the clip is too quiet"
SILENT = "most of the clip is silence"
CLIPPED = "the clip is clipped"
OFFSET = "the wave is not centred on zero"

AUDIO_MENDS = {
    TOO_SHORT: "join it with its neighbour, or lower --min-sec",
    TOO_LONG: "cut it at its pauses (subtitles cut it for you), or raise --max-sec",
    LOW_RATE: "find the original recording, or lower --min-sample-rate",
    MANY_CHANNELS: "mix it down to the channel with the voice, or raise --max-channels",
    TOO_QUIET: "record it louder, or lower --min-loudness-db",
    SILENT: "trim its silence, or raise --max-silence",
    CLIPPED: "record it at a lower level, or raise --max-clipped",
    OFFSET: "filter it with a high-pass, or raise --max-dc-offset",
}
"""What to do about each reason; the keys are all that :func:`faults_of` knows."""


def _too_long_to_decode(length_sec: float, sample_rate: int, num_channels: int) -> ClipMeasures:
    return ClipMeasures(
        duration_sec=round(length_sec, 4),
        sample_rate=sample_rate,
        num_channels=num_channels,
        peak=0.0,
        loudness_db=0.0,
        silence_share=0.0,
        clipped_share=0.0,
        dc_offset=0.0,
        sound_hash="",
    )


def _loudness_db(audio: Waveform) -> float:
    return float(_level_db(float(np.square(audio).mean())))


def _level_db(mean_square: float | NDArray[np.float64]) -> NDArray[np.float64]:
    levels: NDArray[np.float64] = 10.0 * np.log10(np.maximum(mean_square, FLOOR_POWER))
    return levels


def _frame_levels_db(audio: Waveform, sample_rate: int) -> NDArray[np.float64]:
    """Return the level of each whole frame ``[F]``; of all of it when it is shorter than one."""
    size = min(len(audio), max(1, round(FRAME_SEC * sample_rate)))
    frames = audio[: len(audio) // size * size].reshape(-1, size)  # [F, size]
    power = np.square(frames, dtype=np.float64).mean(axis=1)  # [F]
    return _level_db(power)


def _silence_share(levels: NDArray[np.float64]) -> float:
    loud = float(np.percentile(levels, LOUD_PERCENTILE))
    return float((levels < max(SILENT_BELOW_DB, loud - SILENT_BELOW_LOUD_DB)).mean())


def _clipped_share(audio: Waveform) -> float:
    """Return the share of samples in runs of :data:`CLIPPED_RUN` or more at full scale."""
    full = np.abs(audio) >= FULL_SCALE  # [T]
    if not full.any():
        return 0.0
    edges = np.flatnonzero(np.diff(full, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= CLIPPED_RUN].sum() / len(audio))
