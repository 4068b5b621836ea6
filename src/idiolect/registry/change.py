"""Changing what is kept of an installed model: one at a time, whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from idiolect.base.errors import RegistryError
from idiolect.base.guard import check_output
from idiolect.base.hashes import sha256_file
from idiolect.registry.catalogue import Catalogue, entry_named
from idiolect.registry.entry import FileRecord, ModelEntry, entry_path, read_entry, write_entry
from idiolect.registry.index import rebuild_index

LOCK_FILE = ".registry.lock"
MAX_NOTES = 4000
"""Characters that a user may keep about a model."""


@contextmanager
def changing(model_dir: Path) -> Iterator[None]:
    """Wait until nobody else, of this or another process, changes entries in ``model_dir``."""
    with FileLock(check_output(model_dir / LOCK_FILE)):
        yield


def change_entry(
    name: str, model_dir: Path, change: Callable[[ModelEntry], ModelEntry]
) -> ModelEntry:
    """Replace the entry of ``name`` by what ``change`` makes of it; return the new one.

    Raises:
        RegistryError: There is no entry, or it is damaged.
    """
    with changing(model_dir):
        entry = change(read_entry(entry_path(model_dir, name)))
        write_entry(model_dir, entry)
        rebuild_index(model_dir)
    return entry


def set_notes(name: str, notes: str, catalogue: Catalogue) -> ModelEntry:
    """Keep ``notes`` in the entry of ``name``; return the entry.

    A model that was copied by hand gets an entry, with the hashes of its files.

    Raises:
        RegistryError: There is no such model, it cannot be loaded, or the text is too long.
    """
    known = entry_named(name, catalogue)
    text = notes.strip().encode("utf-8", "replace").decode("utf-8")
    if len(text) > MAX_NOTES:
        raise RegistryError(
            f"{len(text)} characters; there is room for {MAX_NOTES}",
            where="the notes",
            fix="keep it shorter",
        )
    if known.problem:
        raise RegistryError(
            f"{known.checkpoint.name} cannot be loaded: {known.problem}",
            where=str(catalogue.model_dir),
            fix="mend that first",
        )
    if not _is_recorded(known, catalogue.model_dir):
        _adopt(known, catalogue.model_dir)
    return change_entry(known.name, catalogue.model_dir, lambda entry: replace(entry, notes=text))


def _is_recorded(entry: ModelEntry, model_dir: Path) -> bool:
    """Return whether the entry on disk is of the weights that are there."""
    return bool(entry.checkpoint.sha256) and entry_path(model_dir, entry.name).is_file()


def _adopt(entry: ModelEntry, model_dir: Path) -> None:
    hashed = replace(
        entry,
        checkpoint=_hashed(entry.checkpoint, model_dir),
        tokenizer=_hashed(entry.tokenizer, model_dir) if entry.tokenizer else None,
    )
    with changing(model_dir):
        write_entry(model_dir, hashed)


def _hashed(record: FileRecord, model_dir: Path) -> FileRecord:
    path = model_dir / record.name
    status = path.stat()
    return replace(
        record,
        size_bytes=status.st_size,
        sha256=sha256_file(path),
        modified_ns=status.st_mtime_ns,
    )
