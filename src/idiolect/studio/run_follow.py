"""The figures of a run as they are appended: only what is new is read, half a line waits.

What the figures mean is known by ``training/``; here they are only brought up from the disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.base.files import parse_json
from idiolect.training.metrics import Record

NEEDED = {
    "train": ("step", "epoch", "loss", "lr", "grad_norm"),
    "val": ("step", "epoch", "loss"),
    "probe": ("step", "languages"),
    "rows": ("step", "learnt", "total"),
}
"""Numbers without which a line of that kind says nothing; a kind that is new may lack anything."""
MOST_READ_BYTES = 64 * 1024**2
"""Of one look: a million lines of progress come in a few looks, and none of them holds the page."""


@dataclass(slots=True)
class Followed:
    """A ``metrics.jsonl`` that somebody may be writing, read as far as its last whole line."""

    path: Path
    records: list[Record] = field(default_factory=list)
    num_damaged: int = 0
    """Whole lines that are no record of a run."""
    changes: int = 0
    """Goes up with each look that found something."""
    _offset: int = 0
    _inode: int = 0

    def read(self) -> None:
        """Take in what was appended since; all of it anew when the file was replaced.

        A run that goes on writes the file anew without what was not saved with a checkpoint.
        """
        try:
            with self.path.open("rb") as lines:
                status = os.fstat(lines.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._begin_again(status.st_ino)
                lines.seek(self._offset)
                self._take(lines.read(MOST_READ_BYTES))
        except OSError:  # it was taken away, and may come again
            self._begin_again(0)

    def _begin_again(self, inode: int) -> None:
        self.changes += bool(self.records or inode)
        self.records, self.num_damaged, self._offset, self._inode = [], 0, 0, inode

    def _take(self, new: bytes) -> None:
        whole = new[: new.rfind(b"\n") + 1]
        if not whole:
            return
        self._offset += len(whole)
        self.changes += 1
        found = [_record(line) for line in whole.splitlines() if line.strip()]
        self.records.extend(record for record in found if record is not None)
        self.num_damaged += sum(record is None for record in found)


def _record(line: bytes) -> Record | None:
    """Return the record that ``line`` is, or None."""
    try:
        value = parse_json(line)
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        return None
    needed = NEEDED.get(value["kind"], ("step",))
    return value if all(_is_there(value, name) for name in needed) else None


def _is_there(record: dict[str, Any], name: str) -> bool:
    wanted = dict if name == "languages" else (int, float)
    return isinstance(record.get(name), wanted)
