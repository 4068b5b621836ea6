"""What was read of the files of a folder, kept while they stay as they are.

A file is known by its size, its time of change and its inode; a copy over it has others. Between
two looks (:meth:`Shelf.look_again`) the folders are taken to stand still, so that one listing asks
the disk once for each file, however many models share it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from idiolect.base.errors import TokenizerError, UserError
from idiolect.base.hashes import sha256_file
from idiolect.models.safe_file import SAFE_SUFFIX
from idiolect.registry.entry import GPT_PREFIX
from idiolect.text.tokenizer import Tokenizer

Value = TypeVar("Value")
Stamp = tuple[int, int, int]
"""Bytes, nanoseconds of the last change, inode."""
WEIGHTS_SUFFIXES = (".pth", SAFE_SUFFIX)
TOKENIZER_SUFFIX = ".model"


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What a file of a tokenizer is."""

    path: Path
    sha256: str
    vocab_size: int
    """Its pieces; 0 when it cannot be read as a tokenizer."""


class Kept(Generic[Value]):
    """Values by path, with the errors that reading them gave."""

    def __init__(self) -> None:
        self._values: dict[Path, tuple[Stamp, Value | UserError]] = {}

    def get(self, path: Path, stamp: Stamp, read: Callable[[Path], Value]) -> Value:
        """Return what ``read`` returns of ``path``, or what it returned of this very file.

        Raises:
            UserError: The one that reading it raised.
        """
        kept = self._values.get(path)
        if kept is None or kept[0] != stamp:
            try:
                kept = (stamp, read(path))
            except UserError as error:
                kept = (stamp, error)
            self._values[path] = kept
        if isinstance(kept[1], UserError):
            raise kept[1]
        return kept[1]

    def forget_others(self, paths: set[Path]) -> None:
        """Keep what was read of ``paths`` only."""
        for gone in self._values.keys() - paths:
            del self._values[gone]


class Shelf:
    """The files of some folders, listed once a look; not for several threads at a time."""

    def __init__(self) -> None:
        self._listings: dict[Path, dict[str, Stamp]] = {}
        self._by_hash: dict[Path, dict[str, list[Path]]] = {}
        self._tokenizers: Kept[TokenizerFacts] = Kept()

    def look_again(self) -> None:
        """Let the next questions be answered by the disk."""
        self._listings.clear()
        self._by_hash.clear()

    def files_in(self, folder: Path) -> dict[str, Stamp]:
        """Return the files of ``folder`` by name, in order; none when there is no such folder."""
        if folder not in self._listings:
            self._listings[folder] = _listing(folder)
        return self._listings[folder]

    def stamp(self, path: Path) -> Stamp | None:
        """Return what ``path`` is known by; None when it is no file."""
        return self.files_in(path.parent).get(path.name)

    def weights_in(self, folder: Path) -> list[Path]:
        """Return the files of models in ``folder``, by name."""
        return [
            folder / name
            for name in self.files_in(folder)
            if name.startswith(GPT_PREFIX) and name.endswith(WEIGHTS_SUFFIXES)
        ]

    def tokenizers_in(self, folder: Path) -> list[Path]:
        """Return the tokenizers in ``folder``, by name."""
        return [folder / name for name in self.files_in(folder) if name.endswith(TOKENIZER_SUFFIX)]

    def tokenizer(self, path: Path) -> TokenizerFacts:
        """Return what the tokenizer in ``path`` is.

        Raises:
            TokenizerError: There is no such file.
        """
        stamp = self.stamp(path)
        if stamp is None:
            raise TokenizerError(f"there is no tokenizer {path}", fix="check the path")
        return self._tokenizers.get(path, stamp, _facts)

    def tokenizers_of(self, sha256: str, folder: Path) -> list[Path]:
        """Return the tokenizers in ``folder`` whose content has this hash."""
        if folder not in self._by_hash:
            index: dict[str, list[Path]] = {}
            for path in self.tokenizers_in(folder):
                index.setdefault(self.tokenizer(path).sha256, []).append(path)
            self._by_hash[folder] = index
        return self._by_hash[folder].get(sha256, [])


def _listing(folder: Path) -> dict[str, Stamp]:
    try:
        with os.scandir(folder) as found:
            stamps = {each.name: _stamp(each) for each in found}
    except OSError:  # not there, or not for us: no models either way
        return {}
    return {name: stamp for name, stamp in sorted(stamps.items()) if stamp is not None}


def _stamp(found: os.DirEntry[str]) -> Stamp | None:
    try:
        status = found.stat()
        is_file = found.is_file()
    except OSError:  # taken away meanwhile, or a link to nowhere
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ino) if is_file else None


def _facts(path: Path) -> TokenizerFacts:
    try:
        tokenizer = Tokenizer.load(path)
    except TokenizerError:
        return TokenizerFacts(path, sha256_file(path), 0)
    return TokenizerFacts(path, tokenizer.sha256, tokenizer.vocab_size)
