"""Batches on disk: a folder each, whose ``batch.json`` says of every line what became of it."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from idiolect.base.errors import DataError, UserError
from idiolect.base.files import read_json, slug, write_json
from idiolect.base.guard import check_output
from idiolect.studio.batch_lines import BatchLine

STATE_NAME = "batch.json"
LOCK_NAME = ".batches.lock"

RowState = Literal["waiting", "speaking", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One line, and what became of it."""

    number: int
    """Within its batch, and never another line's."""
    line: BatchLine
    state: RowState = "waiting"
    why: str = ""
    """It failed."""
    path: str = ""
    """Of the sound, once there is one."""
    seed: int | None = None
    """That was spoken with."""
    duration_sec: float = 0.0
    """Of the sound."""
    elapsed_sec: float = 0.0
    """That it took."""

    def fresh(self) -> BatchRow:
        """Return the row as it was before it was spoken."""
        return BatchRow(number=self.number, line=self.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDefaults:
    """What holds for every line that does not say otherwise."""

    model: str
    device: str
    voice: str
    settings: dict[str, Any] = field(default_factory=dict)
    """Of :class:`~idiolect.studio.speech.SpeechSettings`, as plain values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Lines that are spoken one after the other."""

    id: str
    title: str
    user: str
    defaults: BatchDefaults
    rows: tuple[BatchRow, ...]
    created_sec: float = field(default_factory=time.time)
    next_number: int = 1

    def count(self, *states: RowState) -> int:
        """Return how many rows are in one of ``states``."""
        return sum(row.state in states for row in self.rows)

    @property
    def eta_sec(self) -> float | None:
        """Seconds until the rest is spoken, by the letters; an estimate. None before the first."""
        done = [row for row in self.rows if row.state == "done" and row.elapsed_sec > 0]
        letters = sum(len(row.line.text) for row in done)
        left = sum(len(r.line.text) for r in self.rows if r.state in {"waiting", "speaking"})
        return sum(row.elapsed_sec for row in done) / letters * left if letters else None


class BatchStore:
    """The batches of a folder; any number of threads and processes may change them.

    Args:
        folder: A folder of their own.

    Raises:
        GuardError: It lies in a base folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = check_output(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._read: dict[str, tuple[tuple[int, int], Batch]] = {}

    def ids(self) -> list[str]:
        """Return the ids of all batches, newest first."""
        return sorted(
            (path.parent.name for path in self.folder.glob(f"*/{STATE_NAME}")), reverse=True
        )

    def create(
        self, lines: Iterable[BatchLine], defaults: BatchDefaults, *, user: str, title: str
    ) -> Batch:
        """Write a batch of ``lines``, all waiting, and return it."""
        made_at = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        empty = Batch(id=made_at, title=title or made_at, user=user, defaults=defaults, rows=())
        batch = with_lines(empty, lines)
        write_json(self._path(batch.id), asdict(batch))
        return batch

    def read(self, batch_id: str) -> Batch:
        """Return a batch as it is on disk.

        Raises:
            DataError: There is none of this id, or its file is damaged.
        """
        path = self._path(batch_id)
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(
                f"there is no batch {batch_id!r}", fix="refresh the list of batches"
            ) from error
        version = (stat.st_ino, stat.st_mtime_ns)
        kept = self._read.get(batch_id)
        if kept is None or kept[0] != version:
            kept = self._read[batch_id] = (version, _batch_of(read_json(path), path))
        return kept[1]

    def change(self, batch_id: str, changed: Callable[[Batch], Batch]) -> Batch:
        """Write what ``changed`` makes of a batch, and return it; one change at a time."""
        with FileLock(self.folder / LOCK_NAME):
            batch = changed(self.read(batch_id))
            write_json(self._path(batch_id), asdict(batch))
        return batch

    def remove(self, batch_id: str) -> None:
        """Remove a batch; what it spoke stays where the sounds are."""
        with FileLock(self.folder / LOCK_NAME):
            self.read(batch_id)
            shutil.rmtree(check_output(self.folder_of(batch_id)))
            self._read.pop(batch_id, None)

    def folder_of(self, batch_id: str) -> Path:
        """Return the folder of a batch."""
        return self.folder / slug(batch_id, flag="batch")

    def _path(self, batch_id: str) -> Path:
        return self.folder_of(batch_id) / STATE_NAME


def with_lines(batch: Batch, lines: Iterable[BatchLine]) -> Batch:
    """Return ``batch`` with ``lines`` after those it has.

    Raises:
        UserError: A name is that of a line which it has.
    """
    taken = {row.line.name.casefold() for row in batch.rows}
    added = [BatchRow(number=n, line=line) for n, line in enumerate(lines, batch.next_number)]
    if twice := [row.line.name for row in added if row.line.name.casefold() in taken]:
        raise UserError(f"the batch has a line {twice[0]!r}", fix="give the new line another name")
    return replace(batch, rows=(*batch.rows, *added), next_number=batch.next_number + len(added))


def _batch_of(value: Mapping[str, Any], path: Path) -> Batch:
    try:
        rows = tuple(BatchRow(**{**row, "line": BatchLine(**row["line"])}) for row in value["rows"])
        return Batch(**{**value, "rows": rows, "defaults": BatchDefaults(**value["defaults"])})
    except (KeyError, TypeError) as error:
        raise DataError(
            f"not the state of a batch: {error}",
            where=str(path),
            fix="move its folder away; what it spoke is in the history",
        ) from error
