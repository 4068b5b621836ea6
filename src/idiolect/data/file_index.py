"""Which files lie below a folder, found by the names that transcripts give them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from idiolect.base.errors import DataError

AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aiff", ".aif"),
        *(".aifc", ".au", ".snd", ".caf", ".wma", ".webm", ".mp4", ".mkv", ".mka", ".g722"),
        *(".sph", ".nist", ".w64", ".amr", ".3gp", ".mov", ".ac3", ".spx"),
    }
)
TEXT_SUFFIXES = frozenset({".txt", ".lab"})
SUBTITLE_SUFFIXES = frozenset({".srt", ".vtt"})


class FileIndex:
    """The files below ``folder`` with one of ``suffixes``, as paths relative to it.

    A name finds a file with or without its suffix and with any number of its folders, so that
    ``0001``, ``0001.mp3`` and ``/old/disk/marta/0001.wav`` all find ``marta/0001.wav``. Nothing
    outside ``folder`` is ever found. A name that is not UTF-8 finds nothing: no transcript can hold
    it, and no library opens it. It is kept in ``unnamable``, with the bytes escaped.
    """

    def __init__(self, folder: Path, suffixes: frozenset[str]) -> None:
        self.folder = folder
        self.suffixes = suffixes
        self.unnamable: list[str] = []
        self._by_stem: dict[str, str | tuple[str, ...]] = {}
        for path in _walk(folder, suffixes):
            if not _is_utf8(path):
                self.unnamable.append(os.fsencode(path).decode("utf-8", "backslashreplace"))
                continue
            key = self._stem(path)
            found = self._by_stem.get(key, ())
            self._by_stem[key] = (*_as_tuple(found), path) if found else path

    def __len__(self) -> int:
        return sum(len(_as_tuple(found)) for found in self._by_stem.values())

    def __iter__(self) -> Iterator[str]:
        for found in self._by_stem.values():
            yield from _as_tuple(found)

    def find(self, name: str) -> tuple[str, ...]:
        """Return the files that ``name`` may mean: one, none, or several that fit equally."""
        name = name.strip().replace("\\", "/")
        found = _as_tuple(self._by_stem.get(self._stem(name), ()))
        if len(found) < 2:
            return found
        fits = [_fit(name, path) for path in found]
        return tuple(p for p, fit in zip(found, fits, strict=True) if fit == max(fits))

    def speaker_level(self) -> int | None:
        """Return the depth of the first folder that differs between files, or None."""
        names: list[set[str]] = []
        for path in self:
            for depth, folder in enumerate(path.split("/")[:-1]):
                if depth == len(names):
                    names.append(set())
                names[depth].add(folder)
        return next((depth for depth, values in enumerate(names) if len(values) > 1), None)

    def _stem(self, name: str) -> str:
        last = name.rpartition("/")[2]
        stem, dot, suffix = last.rpartition(".")
        known = dot and f".{suffix.lower()}" in self.suffixes
        return unicodedata.normalize("NFC", stem if known else last)


def audio_index(folder: Path) -> FileIndex:
    """Return the audio below ``folder``.

    Raises:
        DataError: There is no such folder, or no audio in it.
    """
    if not folder.is_dir():
        raise DataError(
            f"no such folder: {folder}",
            where="--audio-dir",
            fix="name the folder that the recordings are in",
        )
    index = FileIndex(folder, AUDIO_SUFFIXES)
    if not len(index) and not index.unnamable:
        raise DataError(
            f"no audio anywhere below {folder}",
            where="--audio-dir",
            fix=f"known kinds: {' '.join(sorted(AUDIO_SUFFIXES))}",
        )
    return index


def without_suffix(path: str) -> str:
    """Return the relative ``path`` without the suffix of its file."""
    folder, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem if dot else name}"


def _walk(folder: Path, suffixes: frozenset[str]) -> Iterator[str]:
    """Yield the files below ``folder`` in the order of their names, hidden ones left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(parent).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:  # noqa: PTH122 -- a Path for each of a million names costs seconds
                yield prefix + name


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_tuple(found: str | tuple[str, ...]) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) else found


def _fit(name: str, path: str) -> tuple[int, bool]:
    """Return (how many folders agree, counted from the file up; whether the suffix does)."""
    agreeing = 0
    for ours, theirs in zip(path.split("/")[-2::-1], name.split("/")[-2::-1], strict=False):
        if ours != theirs:
            break
        agreeing += 1
    same_name = path.rpartition("/")[2] == name.rpartition("/")[2]
    return agreeing, same_name
