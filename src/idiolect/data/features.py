"""Features of clips on disk: semantic codes, and what a prompt gives the GPT.

They depend on the audio and on the frozen networks of the base only, never on a tokenizer, so
they are computed once and kept in ``<manifest folder>/features/<fingerprint>``. The folder holds
Arrow IPC files, memory-mapped when read; each is written whole or not at all.

=============  ==========================  ==============================================
Column         Type                        Meaning
=============  ==========================  ==============================================
``id``         string                      of the utterance
``audio``      uint64                      what the sound was known by, see ``audio_key``
``codes``      list of uint16              one for each 20 ms of the whole clip
``latents``    float16, 32 x D             the voice, of the first 15 s
``emotion``    float16, D                  the emotion, of the first 15 s
=============  ==========================  ==============================================
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from idiolect.base.errors import DataError
from idiolect.base.files import atomic_path
from idiolect.data.manifest import Utterance

FEATURES_DIR = "features"
SHARD_PATTERN = "part-*.arrow"
FORMAT = "idiolect-features/1"
HEADER_KEY = b"idiolect"
SHARD_CLIPS = 512
SHARD_SEC = 30.0
"""A shard is written at the latest after this long, so that no more than this can be lost."""
PROBED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Features:
    """What the GPT is taught of one clip, as a target and as a prompt."""

    codes: NDArray[np.uint16]  # [n]
    latents: NDArray[np.float16]  # [32, D]
    emotion: NDArray[np.float16]  # [D]


def features_dir(manifest: Path, fingerprint: str) -> Path:
    """Return where the features of ``manifest`` lie that a base with ``fingerprint`` makes."""
    return manifest.parent / FEATURES_DIR / fingerprint


def audio_key(utterance: Utterance) -> int:
    """Return a number that changes when the clip's sound does: edited, replaced or cut anew.

    It is a hash of the size of the file, of the 4 KB in its middle, and of the clip's limits in
    it: quick to find out for a million clips, and the same after copying them elsewhere.

    Raises:
        OSError: The file cannot be read.
    """
    with utterance.audio_path.open("rb") as file:
        size_bytes = file.seek(0, 2)
        file.seek(max(0, size_bytes - PROBED_BYTES) // 2)
        digest = blake2b(file.read(PROBED_BYTES), digest_size=8)
    digest.update(f"{size_bytes} {utterance.start_sec} {utterance.end_sec}".encode())
    return int.from_bytes(digest.digest(), "little")


class FeatureStore:
    """The features in one folder, by the id of the utterance; nothing is read until asked for."""

    def __init__(self, folder: Path, shards: Sequence[_Shard]) -> None:
        self.folder = folder
        self._shards = shards
        self._places = {
            utterance_id: (number, row)
            for number, shard in enumerate(shards)
            for row, utterance_id in enumerate(shard.ids)
        }
        """Id to shard and row; what was extracted again stands in a later shard, which counts."""

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """Open what is in ``folder``, which may be nothing.

        Raises:
            DataError: A file in it is damaged, or of another format.
        """
        return cls(folder, [_Shard(path) for path in sorted(folder.glob(SHARD_PATTERN))])

    def __reduce__(self) -> tuple[Callable[[Path], FeatureStore], tuple[Path]]:
        """Travel to another process as a folder; the pages are mapped again there."""
        return FeatureStore.open, (self.folder,)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, utterance_id: object) -> bool:
        return utterance_id in self._places

    def get(self, utterance_id: str) -> Features:
        """Return the features of ``utterance_id``, as arrays of their own.

        Raises:
            KeyError: It has none here.
        """
        number, row = self._places[utterance_id]
        return self._shards[number].row(row)

    def num_codes(self, utterance_id: str) -> int:
        """Return how many codes ``utterance_id`` has.

        Raises:
            KeyError: It has no features here.
        """
        number, row = self._places[utterance_id]
        offsets = self._shards[number].offsets
        return int(offsets[row + 1] - offsets[row])

    def audio_key(self, utterance_id: str) -> int | None:
        """Return the key of the sound that the features were made of; None without features."""
        if utterance_id not in self._places:
            return None
        number, row = self._places[utterance_id]
        return int(self._shards[number].audio_keys[row])


class FeatureWriter:
    """Adds features to a folder, in whole shards; what is pending is written on leaving."""

    def __init__(self, folder: Path, *, header: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self._header = json.dumps({"format": FORMAT, **(header or {})}).encode()
        self._rows: list[tuple[str, int, Features]] = []
        self._since = time.monotonic()
        taken = [int(path.stem.rpartition("-")[2]) for path in folder.glob(SHARD_PATTERN)]
        self._next = max(taken, default=-1) + 1

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()

    def add(self, utterance_id: str, key: int, features: Features) -> None:
        """Add one clip; a shard is written when it is full or has waited long enough."""
        self._rows.append((utterance_id, key, features))
        if len(self._rows) >= SHARD_CLIPS or time.monotonic() - self._since > SHARD_SEC:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one shard."""
        self._since = time.monotonic()
        if not self._rows:
            return
        batch = _record_batch(self._rows)
        schema = batch.schema.with_metadata({HEADER_KEY: self._header})
        with (
            atomic_path(self.folder / f"part-{self._next:05d}.arrow") as partial,
            pa.OSFile(str(partial), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            writer.write_batch(batch)
        self._rows, self._next = [], self._next + 1


class _Shard:
    """One file, seen through arrays that are pages of it: opening reads only ids and offsets."""

    def __init__(self, path: Path) -> None:
        try:
            # The arrays keep the pages, not the handle: there may be more shards than handles.
            with pa.memory_map(str(path)) as pages:
                file = pa.ipc.open_file(pages)
                header = json.loads((file.schema.metadata or {}).get(HEADER_KEY, b"{}"))
                batch = file.get_batch(0)
        except (pa.ArrowException, OSError, IndexError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        if header.get("format") != FORMAT:
            raise _damaged(path, f"its format is {header.get('format')!r}, not {FORMAT!r}")
        latents, emotion = batch.column("latents"), batch.column("emotion")
        self.ids: list[str] = batch.column("id").to_pylist()
        self.audio_keys: NDArray[np.uint64] = batch.column("audio").to_numpy()
        self.offsets: NDArray[np.int32] = batch.column("codes").offsets.to_numpy()
        self.codes: NDArray[np.uint16] = batch.column("codes").values.to_numpy()
        dim = emotion.type.list_size
        self.latents = latents.values.to_numpy().reshape(len(self.ids), -1, dim)  # [N, 32, D]
        self.emotion = emotion.values.to_numpy().reshape(len(self.ids), dim)  # [N, D]

    def row(self, row: int) -> Features:
        """Return a copy of one row; the pages themselves cannot be written to."""
        return Features(
            codes=self.codes[self.offsets[row] : self.offsets[row + 1]].copy(),
            latents=self.latents[row].copy(),
            emotion=self.emotion[row].copy(),
        )


def _record_batch(rows: Sequence[tuple[str, int, Features]]) -> pa.RecordBatch:
    features = [row[2] for row in rows]
    offsets = np.cumsum([0, *(len(f.codes) for f in features)], dtype=np.int32)
    columns = {
        "id": pa.array([row[0] for row in rows], pa.string()),
        "audio": pa.array([row[1] for row in rows], pa.uint64()),
        "codes": pa.ListArray.from_arrays(offsets, np.concatenate([f.codes for f in features])),
        "latents": _fixed_size([f.latents for f in features]),
        "emotion": _fixed_size([f.emotion for f in features]),
    }
    return pa.RecordBatch.from_pydict(columns)


def _fixed_size(arrays: Sequence[NDArray[np.float16]]) -> pa.FixedSizeListArray:
    values = np.stack(arrays).astype(np.float16, copy=False)
    return pa.FixedSizeListArray.from_arrays(values.ravel(), values[0].size)


def _damaged(path: Path, detail: str) -> DataError:
    return DataError(
        f"a file of features cannot be read: {detail}",
        where=str(path),
        fix="delete it and run the same command again; only its clips are extracted anew",
    )
