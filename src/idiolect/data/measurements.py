"""Measuring clips: in several processes, each clip once, however often the run is interrupted."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from idiolect.audio.checks import MEASURES_VERSION, AudioLimits, ClipMeasures, measure_file
from idiolect.base.errors import DataError
from idiolect.base.guard import check_output
from idiolect.data.pool import map_batches
from idiolect.data.sources import Clip

POOL_FROM = 64
"""Fewer clips are measured faster in this process than others can be started."""
COMMIT_EVERY_SEC = 1.0
"""No more than this much work is lost when the process is killed."""

Measured = ClipMeasures | tuple[str, str]
"""What a clip is like, or (reason, detail) why it cannot be heard."""


class MeasurementStore:
    """The measurements made so far, in a file beside the manifest.

    A measurement counts as long as the file of sound has the same size and time of change.
    """

    def __init__(self, path: Path) -> None:
        check_output(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _readable_errors(path):
            self._database = _open_or_replace(path)
        self._path = path
        self._committed = time.monotonic()

    def close(self) -> None:
        """Write what is not written yet.

        Raises:
            DataError: The disk is full.
        """
        with closing(self._database), _readable_errors(self._path):
            self._database.commit()

    def get(self, key: str) -> Measured | None:
        """Return the measurement of the clip ``key``, or None."""
        row = self._database.execute("SELECT result FROM clips WHERE key = ?", (key,)).fetchone()
        return _result_of(row[0]) if row else None

    def has(self, key: str, stamp: str) -> bool:
        """Return whether the clip ``key`` was measured when its file had this ``stamp``."""
        query = "SELECT 1 FROM clips WHERE key = ? AND stamp = ?"
        return self._database.execute(query, (key, stamp)).fetchone() is not None

    def put(self, key: str, stamp: str, result: Measured) -> None:
        """Keep a measurement.

        Raises:
            DataError: The disk is full.
        """
        text = json.dumps(asdict(result) if isinstance(result, ClipMeasures) else result)
        with _readable_errors(self._path):
            self._database.execute("REPLACE INTO clips VALUES (?, ?, ?)", (key, stamp, text))
            if time.monotonic() - self._committed > COMMIT_EVERY_SEC:
                self._database.commit()
                self._committed = time.monotonic()


def measure_clips(
    clips: Iterable[Clip],
    audio_dir: Path,
    store: MeasurementStore,
    limits: AudioLimits,
    *,
    workers: int,
    advance: Callable[[int], None],
) -> None:
    """Measure those of ``clips`` that ``store`` does not have.

    Args:
        clips: In any order; read only as fast as they are measured.
        audio_dir: Folder that the paths of the clips are relative to.
        store: Gets the measurements.
        limits: A clip far over its length is not decoded.
        workers: Processes; 1 for this one alone.
        advance: Told how many clips were dealt with.
    """

    def missing() -> Iterator[_Task]:
        for clip in clips:
            task = _task_of(clip, audio_dir, limits)
            if store.has(task.key, task.stamp):
                advance(1)
            else:
                yield task

    for results in map_batches(_measure_batch, missing(), workers=workers):
        for task, measured in results:
            store.put(task.key, task.stamp, measured)
        advance(len(results))


def num_workers(wanted: int, num_clips: int) -> int:
    """Return how many processes to use; ``wanted`` is 0 for one a core."""
    return 1 if num_clips < POOL_FROM else wanted or os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    key: str
    path: Path
    stamp: str
    start_sec: float | None
    end_sec: float | None
    limits: AudioLimits


def _task_of(clip: Clip, audio_dir: Path, limits: AudioLimits) -> _Task:
    path = audio_dir / clip.audio
    return _Task(
        key=clip.key,
        path=path,
        stamp=f"{_stamp(path)}-{limits.max_sec:g}",
        start_sec=clip.start_sec,
        end_sec=clip.end_sec,
        limits=limits,
    )


def _stamp(path: Path) -> str:
    """Return what changes when the file does, or when clips are measured otherwise."""
    try:
        status = path.stat()
    except OSError:
        return "gone"
    return f"{status.st_size}-{status.st_mtime_ns}-{MEASURES_VERSION}"


def _measure_batch(tasks: list[_Task]) -> list[tuple[_Task, Measured]]:
    return [(task, _measure(task)) for task in tasks]


def _measure(task: _Task) -> Measured:
    try:
        return measure_file(task.path, task.limits, task.start_sec, task.end_sec)
    except DataError as error:
        reason, _, detail = error.problem.partition(": ")
        return reason, detail
    except OSError as error:
        return "the audio file cannot be opened", str(error.strerror)


@contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    """Turn what sqlite says of a disk that cannot be written to into what to do about it."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise DataError(
            f"the measurements cannot be written: {error}",
            where=str(path),
            fix="free some space on the disk; the same command then goes on",
        ) from error


def _open_or_replace(path: Path) -> sqlite3.Connection:
    """Return the database in ``path``; a file that is none is begun anew."""
    try:
        return _open_database(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        path.unlink()
        return _open_database(path)


def _open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    with closing(database.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS clips (key TEXT PRIMARY KEY, stamp TEXT, result TEXT)"
            " WITHOUT ROWID"
        )
    return database


def _result_of(text: str) -> Measured:
    result = json.loads(text)
    return ClipMeasures(**result) if isinstance(result, dict) else (result[0], result[1])
