"""Time has three clocks here; this is the only module that converts between them.

=============  ==========================  =============================================
Clock          Rate                        Used by
=============  ==========================  =============================================
samples        22 050 Hz                   waveforms in and out of the vocoder
code frames    50 Hz                       semantic codes, the GPT's audio positions
mel frames     22 050 / 256 ~ 86.13 Hz     s2mel and the vocoder input
=============  ==========================  =============================================
"""

from __future__ import annotations

from typing import NewType

Seconds = NewType("Seconds", float)
Samples = NewType("Samples", int)
CodeFrames = NewType("CodeFrames", int)
MelFrames = NewType("MelFrames", int)

SAMPLE_RATE = 22_050
"""Hz of every waveform that leaves the vocoder."""
SEMANTIC_SAMPLE_RATE = 16_000
"""Hz of the waveforms that the semantic and speaker encoders read."""
CODE_RATE_HZ = 50

# The published code rounds 22050 / 256 / 50 = 1.7227 to 1.72. Kept as it is: the published s2mel
# is always asked for this many mel frames a code.
MEL_FRAMES_PER_CODE = 1.72

MAX_PROMPT_SEC = Seconds(15.0)
"""Longer prompts are cut here, as the published inference does."""


def seconds_to_samples(duration: Seconds, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Return the whole samples in ``duration`` at ``sample_rate``."""
    return Samples(int(duration * sample_rate))


def samples_to_seconds(num_samples: int, sample_rate: int = SAMPLE_RATE) -> Seconds:
    """Return the duration of ``num_samples`` at ``sample_rate``."""
    return Seconds(num_samples / sample_rate)


def code_frames_to_mel_frames(num_codes: int) -> MelFrames:
    """Return the mel length that s2mel is asked to fill for ``num_codes``."""
    return MelFrames(int(num_codes * MEL_FRAMES_PER_CODE))


def format_duration(duration: float) -> str:
    """Return ``duration`` seconds as people say it: ``3.2 s``, ``4 min 05 s``, ``2 h 13 min``."""
    if duration < 60:
        return f"{duration:.1f} s"
    whole = round(duration)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_bytes(size_bytes: float) -> str:
    """Return ``size_bytes`` in binary units with one decimal: ``3.2GB`` as the guide prints it."""
    for unit in ("B", "KB", "MB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f}{unit}" if unit == "B" else f"{size_bytes:.1f}{unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f}GB"
