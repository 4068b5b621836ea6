"""The library of voices: named clips, each with a note of whose voice it is.

A voice is two files: ``<name>.wav``, and ``<name>.json`` with the note. Names are slugs, so none
leads out of the folder.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from idiolect.audio.io import probe_audio
from idiolect.base.config import from_mapping, to_mapping
from idiolect.base.errors import DataError, SynthesisError, did_you_mean
from idiolect.base.files import atomic_path, read_json, slug, write_json
from idiolect.base.guard import check_output
from idiolect.studio.clips import canonical_wav

NAME_FLAG = "name of the voice"
MAX_NAME_LEN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceNote:
    """What is known of a voice besides its sound."""

    whose: str = ""
    """Whose voice it is, and that they agreed, in words of whoever added it."""
    added_sec: float = 0.0
    """Since 1970."""
    duration_sec: float = 0.0


class VoiceLibrary:
    """The voices in a folder.

    Args:
        folder: It need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return the names of the voices, in order."""
        return sorted(path.stem for path in self.folder.glob("*.wav") if path.is_file())

    def path(self, name: str) -> Path:
        """Return the clip of the voice ``name``.

        Raises:
            SynthesisError: There is no such voice.
            UserError: That is no name.
        """
        path = self._file(name, ".wav")
        if not path.is_file():
            raise SynthesisError(
                f"there is no voice {name!r}", fix=did_you_mean(name, self.names())
            )
        return path

    def note(self, name: str) -> VoiceNote:
        """Return what is known of the voice ``name``; nothing of a clip that was copied here."""
        self.path(name)
        path = self._file(name, ".json")
        if not path.is_file():
            return VoiceNote()
        return from_mapping(VoiceNote, read_json(path), where=str(path))

    def add(self, name: str, clip: Path, *, whose: str = "", replace: bool = False) -> Path:
        """Keep the sound of ``clip`` as the voice ``name``; return its file.

        Args:
            name: Letters, digits, ``-``, ``_`` and ``.``.
            clip: A file that somebody uploaded; judged by content.
            whose: Whose voice it is, and that they agreed.
            replace: Whether it may take the place of another voice of that name.

        Raises:
            DataError: ``clip`` is not sound, too large or too long, or the name is taken.
            UserError: That is no name.
        """
        path = self._file(name, ".wav")
        if path.exists() and not replace:
            raise DataError(
                f"there is a voice {name!r} already", fix="choose another name, or remove that one"
            )
        content = canonical_wav(clip)
        with atomic_path(path) as partial:
            partial.write_bytes(content)
        note = VoiceNote(
            whose=whose.strip(),
            added_sec=time.time(),
            duration_sec=probe_audio(path).duration_sec,
        )
        write_json(self._file(name, ".json"), to_mapping(note))
        return path

    def remove(self, name: str) -> None:
        """Remove the voice ``name`` and its note.

        Raises:
            SynthesisError: There is no such voice.
        """
        path = self.path(name)
        for file in (path, self._file(name, ".json")):
            check_output(file).unlink(missing_ok=True)

    def _file(self, name: str, suffix: str) -> Path:
        if len(name) > MAX_NAME_LEN:
            raise DataError(f"{len(name)} letters are too many for a {NAME_FLAG}", fix="shorten it")
        return self.folder / f"{slug(name.strip(), flag=NAME_FLAG)}{suffix}"
