"""The results of a batch as one archive, with what made each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from idiolect.base.errors import DataError
from idiolect.base.files import atomic_path, free_bytes
from idiolect.base.units import format_bytes
from idiolect.studio.batch_store import Batch, BatchRow

LIST_NAME = "lines.jsonl"
SPARE_BYTES = 1024**2


def write_zip(batch: Batch, path: Path) -> Path:
    """Write the sounds of ``batch`` to the archive ``path``, whole or not at all; return it.

    The names in it are those of the lines. ``lines.jsonl`` is a manifest of them, with the voice
    as the speaker, and the model and seed of each.

    Raises:
        DataError: Nothing was spoken yet, or there is no room.
    """
    spoken = [row for row in batch.rows if row.state == "done" and Path(row.path).is_file()]
    if not spoken:
        raise DataError("nothing of the batch was spoken yet", fix="run it first")
    needed_bytes = sum(Path(row.path).stat().st_size for row in spoken) + SPARE_BYTES
    if free_bytes(path) < needed_bytes:
        raise DataError(
            f"the archive takes {format_bytes(needed_bytes)}, and less is free", fix="make room"
        )
    with atomic_path(path) as partial, ZipFile(partial, "w", ZIP_STORED) as archive:
        for row in spoken:
            archive.write(row.path, _name_of(row))
        listed = "".join(
            json.dumps(_listed(batch, row), ensure_ascii=False) + "\n" for row in spoken
        )
        archive.writestr(LIST_NAME, listed, ZIP_DEFLATED)
    return path


def _name_of(row: BatchRow) -> str:
    return f"{row.line.name}.wav"


def _listed(batch: Batch, row: BatchRow) -> dict[str, Any]:
    return {
        "id": row.line.name,
        "audio": _name_of(row),
        "text": row.line.text,
        "speaker": Path(row.line.voice or batch.defaults.voice).stem,
        "language": row.line.language or batch.defaults.settings.get("language") or "",
        "duration": row.duration_sec,
        "model": row.line.model or batch.defaults.model,
        "seed": row.seed,
    }
