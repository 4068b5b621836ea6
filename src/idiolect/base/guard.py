"""The golden rule: no path inside a base folder is ever opened for writing.

A base folder is the ``checkpoints`` folder of the working directory, or any folder that holds a
published base. Everything that writes asks :func:`check_output` first;
:mod:`idiolect.base.snapshot` proves afterwards that nothing changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from idiolect.base.errors import GuardError

BASE_DIR_NAME = "checkpoints"
BASE_MARKERS = ("gpt.pth", "s2mel.pth", "wav2vec2bert_stats.pt")
"""A folder with ``gpt.pth`` and one more of these is a base, whatever it is called."""

_being_made: ContextVar[Path | None] = ContextVar("base folder being made", default=None)


def is_base_dir(folder: Path) -> bool:
    """Return whether ``folder`` (resolved) is a base, or the place where the guide keeps it."""
    if folder == (Path.cwd() / BASE_DIR_NAME).resolve():
        return True
    first, *others = BASE_MARKERS
    return (folder / first).is_file() and any((folder / name).is_file() for name in others)


def base_dir_of(path: Path) -> Path | None:
    """Return the base folder that ``path`` lies in, through any symlink, or None."""
    resolved = path.resolve()
    return next((p for p in (resolved, *resolved.parents) if is_base_dir(p)), None)


def check_output(path: Path) -> Path:
    """Return ``path`` if it may be written to.

    Raises:
        GuardError: It lies in a base folder, or is another name of a file in one.
    """
    base = base_dir_of(path) or _hard_linked_base(path)
    if base is not None and base != _being_made.get():
        raise GuardError(
            f"{path} would write into the base folder {base}",
            where="the base models are never modified",
            fix="choose another folder, for example training/<language>/checkpoints",
        )
    return path


def _hard_linked_base(path: Path) -> Path | None:
    """Return the base folder of the working directory that shares the inode of ``path``."""
    try:
        status = path.stat()
    except OSError:
        return None
    if status.st_nlink < 2 or path.is_dir():
        return None
    base = (Path.cwd() / BASE_DIR_NAME).resolve()
    for file in files_of(base):
        if os.path.samestat(status, file.stat()):
            return base
    return None


@contextmanager
def making_base(folder: Path) -> Iterator[None]:
    """Allow writing below ``folder`` while a base is being made there (download, nano)."""
    token = _being_made.set(folder.resolve())
    try:
        yield
    finally:
        _being_made.reset(token)


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file below ``folder``, by name."""
    return (p for p in sorted(folder.rglob("*")) if p.is_file())
