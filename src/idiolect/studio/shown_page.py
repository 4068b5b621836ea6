"""A report made by a command, as a text that a frame of the page can hold: players and all."""

from __future__ import annotations

import base64
import html
import mimetypes
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from idiolect.base.errors import DataError, GuardError
from idiolect.studio.roots import below_roots

PLAYER = re.compile(r'<audio\b[^>]*?\bsrc="([^"]*)"[^>]*></audio>')
MAX_CLIP_BYTES = 400_000
MAX_SOUND_BYTES = 12_000_000
"""Of all players of a report together: they travel inside it."""
FRAME = (
    '<iframe title="{title}" sandbox="" referrerpolicy="no-referrer" srcdoc="{page}"'
    ' style="width:100%;height:{height}px;border:1px solid #8884;border-radius:8px"></iframe>'
)


def framed_report(path: Path, roots: Sequence[Path], *, title: str, height_px: int = 720) -> str:
    """Return the report at ``path`` in a frame that runs no script and reaches nothing.

    Sounds that it names by path are put inside, as far as they are small and below ``roots``; the
    player of any other is left out.

    Raises:
        DataError: There is no such file.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}", fix="prepare the data first")
    left_bytes = MAX_SOUND_BYTES

    def with_sound(player: re.Match[str]) -> str:
        nonlocal left_bytes
        address = html.unescape(player[1])
        if address.startswith("data:"):
            return player[0]
        name, _, part = address.partition("#")
        sound = _sound(path.parent / unquote(name), roots, min(left_bytes, MAX_CLIP_BYTES))
        if sound is None:
            return "–"
        left_bytes -= len(sound[1])
        inside = f"data:{sound[0]};base64,{sound[1]}" + (f"#{part}" if part else "")
        return player[0].replace(player[1], html.escape(inside))

    page = PLAYER.sub(with_sound, path.read_text(encoding="utf-8"))
    return FRAME.format(title=html.escape(title), page=html.escape(page), height=height_px)


def _sound(path: Path, roots: Sequence[Path], most_bytes: int) -> tuple[str, str] | None:
    """Return (media type, base64) of a small file below ``roots``."""
    try:
        found = below_roots(path, roots)
    except GuardError:
        return None
    kind = mimetypes.guess_type(found.name)[0] or ""
    is_sound = kind.startswith("audio/") or found.suffix.lower() == ".opus"
    if not is_sound or not found.is_file() or found.stat().st_size * 4 // 3 > most_bytes:
        return None
    return kind or "audio/ogg", base64.b64encode(found.read_bytes()).decode()
