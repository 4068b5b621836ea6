"""Clips that visitors give: decoded within bounds, judged by content, kept under what they hold.

A name that came with an upload means nothing here. What is kept is always the same kind of file:
16-bit WAV, one channel, at the clip's own rate.
"""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from idiolect.audio.io import PCM16_PEAK, probe_audio, read_audio
from idiolect.base.errors import DataError
from idiolect.base.files import atomic_path
from idiolect.base.guard import check_output
from idiolect.base.units import format_bytes, format_duration

MAX_CLIP_BYTES = 50 * 1024**2
MAX_CLIP_SEC = 600.0
MAX_SAMPLES = 64_000_000
"""Of all channels together: ten minutes of stereo at 48 kHz, 256 MB while it is decoded."""
KNOWN_STARTS: tuple[tuple[int, bytes], ...] = (
    *((0, start) for start in (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd")),
    *((0, start) for start in (b"ID3", b"\x1aE\xdf\xa3", b"#!AMR")),
    (4, b"ftyp"),
)
"""Where and how a file of sound begins. Anything else, such as a list that names other files, is
not handed to a decoder."""
FRAME_SYNC = 0xE0
"""Upper bits of the second byte of a bare MP3 or AAC frame, behind a byte of ones."""
NAME_DIGITS = 20
"""Hexadecimal digits of the hash that a kept clip is called by."""


class ClipStore:
    """Clips by content: whoever gives the same sound twice keeps it once.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, upload: Path) -> Path:
        """Return the kept clip that holds the sound of ``upload``.

        Raises:
            DataError: It is not sound, cannot be read, or is too large or too long.
        """
        content = canonical_wav(upload)
        path = self.folder / f"{sha256(content).hexdigest()[:NAME_DIGITS]}.wav"
        if not path.is_file():
            with atomic_path(path) as partial:
                partial.write_bytes(content)
        return path

    def find(self, name: str) -> Path:
        """Return the kept clip that is called ``name``.

        Raises:
            DataError: It is no longer there.
        """
        path = self.folder / Path(name).name
        if not path.is_file():
            raise DataError(
                f"the clip {Path(name).name!r} is no longer kept",
                where=str(self.folder),
                fix="give the voice again",
            )
        return path

    def forget(self, clip: Path) -> None:
        """Remove what is kept of the sound of ``clip``, if anything is."""
        name = f"{sha256(canonical_wav(clip)).hexdigest()[:NAME_DIGITS]}.wav"
        check_output(self.folder / name).unlink(missing_ok=True)


def canonical_wav(upload: Path) -> bytes:
    """Return the sound of ``upload`` as 16-bit WAV of one channel, at its own rate.

    What is that already keeps its samples, so doing it twice changes nothing more.

    Raises:
        DataError: It is not sound, cannot be read, or is too large or too long.
    """
    check_bounds(upload)
    pcm, sample_rate = _pcm(upload)
    out = BytesIO()
    soundfile.write(out, pcm, sample_rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def check_bounds(upload: Path) -> None:
    """Make sure that ``upload`` is sound, and little enough to be decoded.

    Raises:
        DataError: It is not.
    """
    size_bytes = upload.stat().st_size if upload.is_file() else 0
    if size_bytes > MAX_CLIP_BYTES:
        raise DataError(
            f"the clip has {format_bytes(size_bytes)}, and {format_bytes(MAX_CLIP_BYTES)} are "
            "the most",
            fix="cut it: 5 to 15 seconds of one voice are enough",
        )
    if size_bytes and not _begins_like_sound(upload):
        raise DataError("this is not a file of sound", fix="give WAV, FLAC, MP3, OGG or M4A")
    info = probe_audio(upload)
    num_samples = info.duration_sec * info.sample_rate * info.num_channels
    if info.duration_sec > MAX_CLIP_SEC or num_samples > MAX_SAMPLES:
        raise DataError(
            f"the clip lasts {format_duration(info.duration_sec)} in {info.num_channels} channels "
            f"at {info.sample_rate} Hz; {format_duration(MAX_CLIP_SEC)} of stereo at 48 kHz are "
            "the most",
            fix="cut it: 5 to 15 seconds of one voice are enough",
        )


def _begins_like_sound(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(16)
    is_frame = len(head) > 1 and head[0] == 0xFF and head[1] & FRAME_SYNC == FRAME_SYNC
    return is_frame or any(head[at : at + len(start)] == start for at, start in KNOWN_STARTS)


def _pcm(path: Path) -> tuple[NDArray[np.int16], int]:
    """Return the samples ``[T]`` and their rate in Hz."""
    if _is_canonical(path):
        pcm, sample_rate = soundfile.read(str(path), dtype="int16")
        return pcm, sample_rate
    # A header that lies about the length of its sound decodes no more than this.
    audio, sample_rate = read_audio(path, end_sec=MAX_CLIP_SEC)
    return np.rint(np.clip(audio, -1, 1) * PCM16_PEAK).astype(np.int16), sample_rate


def _is_canonical(path: Path) -> bool:
    try:
        header = soundfile.info(str(path))
    except soundfile.LibsndfileError:
        return False
    return (header.format, header.subtype, header.channels) == ("WAV", "PCM_16", 1)
