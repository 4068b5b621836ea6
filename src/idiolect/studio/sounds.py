"""A clip, or the part of a recording that a line names, small enough to travel inside a page."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import soundfile

from idiolect.audio.io import read_audio
from idiolect.base.errors import UserError

PLAYER_HZ = 24_000
LONGEST_SEC = 30.0
"""Of a longer clip, the beginning is played."""


def sound_address(
    path: Path, start_sec: float | None = None, end_sec: float | None = None
) -> str | None:
    """Return a ``data:`` address of the sound; None when it cannot be heard."""
    first = start_sec or 0.0
    last = min(first + LONGEST_SEC, end_sec if end_sec is not None else first + LONGEST_SEC)
    try:
        audio, _ = read_audio(path, PLAYER_HZ, start_sec=first, end_sec=last)
    except UserError:
        return None
    packed = BytesIO()
    soundfile.write(packed, audio, PLAYER_HZ, format="OGG", subtype="OPUS")
    return "data:audio/ogg;base64," + base64.b64encode(packed.getvalue()).decode()
