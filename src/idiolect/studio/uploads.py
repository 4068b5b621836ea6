"""Uploaded recordings: files, or a ZIP of them, put into a folder without trusting their names."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from idiolect.base.errors import DataError
from idiolect.base.files import atomic_path, free_bytes
from idiolect.base.units import format_bytes
from idiolect.data.file_index import AUDIO_SUFFIXES, SUBTITLE_SUFFIXES, TEXT_SUFFIXES

TRANSCRIPT_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".json"})
KEPT_SUFFIXES = AUDIO_SUFFIXES | TEXT_SUFFIXES | SUBTITLE_SUFFIXES | TRANSCRIPT_SUFFIXES
MAX_FILES = 100_000
MAX_BYTES = 8 * 1024**3
"""Of all that one upload unpacks to."""
MAX_RATIO = 200
"""A file that unpacks to more times its size is made to fill a disk."""
SPARE_BYTES = 1024**3
"""Left free on the disk."""
MAX_DEPTH = 8
CHUNK_BYTES = 1 << 20


def take_uploads(files: Sequence[Path], folder: Path) -> int:
    """Put ``files``, and what ZIPs among them hold, into ``folder``; return how many there are.

    Hidden files and those of other kinds than sound and transcripts are passed over. What is there
    under the same name is replaced.

    Raises:
        DataError: A ZIP is damaged, holds a name that leads elsewhere or a link, or is too large:
            all told before anything of it is unpacked, but for damage inside a file.
        GuardError: ``folder`` lies in a base folder.
    """
    count = 0
    for file in files:
        if file.suffix.lower() == ".zip":
            count += _take_zip(file, folder)
        elif _is_wanted(PurePosixPath(file.name)):
            with atomic_path(folder / file.name) as partial:
                shutil.copyfile(file, partial)
            count += 1
    if not count:
        raise DataError(
            "nothing among the uploaded files is sound or a transcript",
            fix=f"known kinds: {' '.join(sorted(KEPT_SUFFIXES))}, or a .zip of them",
        )
    return count


def _take_zip(path: Path, folder: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            _check(members, path, folder)
            wanted = [each for each in members if _is_wanted(PurePosixPath(each.filename))]
            for member in wanted:
                _unpack(archive, member, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{path.name} cannot be unpacked: {error}", fix="pack it again, without a password"
        ) from error
    return len(wanted)


def _check(members: Sequence[zipfile.ZipInfo], path: Path, folder: Path) -> None:
    """Refuse an archive for what it says of its members, before anything is unpacked."""
    total = sum(member.file_size for member in members)
    most = min(MAX_BYTES, free_bytes(folder) - SPARE_BYTES)
    if len(members) > MAX_FILES or total > most:
        raise DataError(
            f"{path.name} holds {len(members)} files, {format_bytes(total)} unpacked; "
            f"at most {MAX_FILES} and {format_bytes(max(0, most))} are taken",
            fix="put the recordings into a folder that the page may read, and name it",
        )
    for member in members:
        if problem := _fault_of(member):
            raise DataError(f"{path.name} is not unpacked: {problem}", where=repr(member.filename))


def _fault_of(member: zipfile.ZipInfo) -> str:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in member.filename or "\0" in str(name):
        return "the name of a file leads elsewhere"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "it holds a link"
    if len(name.parts) > MAX_DEPTH or any(len(os.fsencode(part)) > 200 for part in name.parts):
        return "the name of a file is too long"
    if member.file_size > MAX_RATIO * max(1024, member.compress_size):
        return "a file of it is packed tighter than sound and texts are"
    return ""


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Write one member; what it says of its size is held against what comes."""
    target = folder.joinpath(*PurePosixPath(member.filename.replace("\\", "/")).parts)
    left = member.file_size
    with (
        archive.open(member) as packed,
        atomic_path(target) as partial,
        partial.open("wb") as out,
    ):
        while chunk := packed.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise DataError("a file is larger than the archive says", where=member.filename)
            out.write(chunk)


def _is_wanted(name: PurePosixPath) -> bool:
    is_hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
    return not is_hidden and (name.suffix.lower() in KEPT_SUFFIXES or name.name == "text")
