"""What was spoken: one row a sound, with the exact settings that made it, in SQLite.

The database lies beside the sounds. Every call opens it anew, so any number of threads and
processes may ask and add; a row is there whole or not at all, whatever kills the one that adds it.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from idiolect.base.errors import DataError
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger

DATABASE_NAME = "history.sqlite"
LOCK_NAME = ".history.lock"
BUSY_SEC = 30.0
"""How long a call waits for another process that is writing."""
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE spoken (
            id INTEGER PRIMARY KEY AUTOINCREMENT, created_sec REAL NOT NULL,
            user TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL, language TEXT NOT NULL,
            text TEXT NOT NULL, voice TEXT NOT NULL, settings TEXT NOT NULL, seed INTEGER NOT NULL,
            path TEXT NOT NULL, duration_sec REAL NOT NULL, elapsed_sec REAL NOT NULL,
            first_sound_sec REAL, peak_bytes INTEGER, searched TEXT NOT NULL
        )
        """,
        "CREATE INDEX spoken_by_time ON spoken (created_sec)",
    ),
)
"""What makes version n + 1 of the database of version n; a database knows its own version."""
FIELDS = (
    *("created_sec", "user", "kind", "model", "language", "text", "voice", "settings", "seed"),
    *("path", "duration_sec", "elapsed_sec", "first_sound_sec", "peak_bytes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenRecord:
    """One sound, and everything that made it."""

    user: str
    """Who asked for it: a login name, or a visit."""
    kind: str
    """``speech`` or ``batch``."""
    model: str
    """Name of the model."""
    text: str
    voice: str
    """A name of the voice library, or the clip."""
    seed: int
    path: Path
    """The WAV."""
    duration_sec: float
    """Of the sound."""
    elapsed_sec: float
    """That it took."""
    language: str = ""
    """Of the text; empty when it was left to the model."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Plain values, as JSON has them: kept exactly."""
    first_sound_sec: float | None = None
    """From the request to the first segment; None where that was not measured."""
    peak_bytes: int | None = None
    """Of GPU memory; None on the CPU."""
    created_sec: float = field(default_factory=time.time)
    """Since 1970."""
    id: int = 0
    """Given by the history."""

    @property
    def rtf(self) -> float | None:
        """Seconds that one second of sound took; None of no sound."""
        return self.elapsed_sec / self.duration_sec if self.duration_sec > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryStats:
    """What all sounds are together."""

    count: int
    duration_sec: float
    median_rtf: float | None
    """None when there is no sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which sounds are meant; those that everything said here is true of."""

    text: str = ""
    """Words that must all be in the text, or the names of model, voice and language."""
    user: str | None = None
    model: str | None = None
    since_sec: float | None = None
    """Since 1970, inclusive."""
    until_sec: float | None = None
    """Since 1970, exclusive."""

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition in SQL, and its values."""
        conditions: list[tuple[str, Any]] = [
            ("instr(searched, ?) > 0", word) for word in self.text.casefold().split()
        ]
        conditions += [
            (condition, value)
            for condition, value in (
                ("user = ?", self.user),
                ("model = ?", self.model),
                ("created_sec >= ?", self.since_sec),
                ("created_sec < ?", self.until_sec),
            )
            if value is not None
        ]
        joined = " AND ".join(condition for condition, _ in conditions)
        return joined or "1", [value for _, value in conditions]


EVERYTHING = Wanted()


class History:
    """The sounds in a folder, newest first.

    A database that is damaged is moved aside when the history is opened, and :attr:`notice`
    says where to; the sounds themselves stay.

    Args:
        folder: Where the sounds are; only files below it are ever removed.

    Raises:
        DataError: The database is of a later version, or cannot be read or written.
        GuardError: The folder lies in a base folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = check_output(folder / DATABASE_NAME)
        self.notice = ""
        """What was wrong with the database when it was opened; empty when nothing was."""
        folder.mkdir(parents=True, exist_ok=True)
        # One process at a time: two that find the damage would each move a database aside.
        with FileLock(folder / LOCK_NAME):
            self._open()

    def _open(self) -> None:
        try:
            verdict = self._made_ready()
        except _DamagedError as error:
            verdict = error.problem
        if verdict != "ok":
            self._set_aside(verdict)
            self._made_ready()

    def _made_ready(self) -> str:
        """Bring the database to the version of today; return what SQLite says of it."""
        with self._connected() as database:
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if verdict == "ok":
                # Readers and a writer do not wait for each other; the file remembers it.
                database.execute("PRAGMA journal_mode = WAL")
                _migrate(database, self.path)
        return str(verdict)

    def _set_aside(self, verdict: str) -> None:
        aside = self.path.with_name(f"history.damaged-{time.time_ns()}.sqlite")
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        self.notice = (
            f"the history was damaged ({verdict}) and begins anew; the old file is kept as {aside}"
        )
        get_logger().warning("%s", self.notice)

    def add(self, record: SpokenRecord) -> int:
        """Keep ``record``; return the id that it gets."""
        values = [self._column(record, name) for name in FIELDS]
        searched = "\n".join((record.text, record.model, record.voice, record.language)).casefold()
        marks = ", ".join("?" * (len(FIELDS) + 1))
        query = f"INSERT INTO spoken ({', '.join(FIELDS)}, searched) VALUES ({marks})"  # noqa: S608 -- names of ours
        with self._connected() as database:
            added = database.execute(query, [*values, searched]).lastrowid
        assert added is not None, "an INSERT gives a row id"
        return added

    def _column(self, record: SpokenRecord, name: str) -> Any:
        if name == "settings":
            return json.dumps(record.settings, ensure_ascii=False)
        return self._stored(record.path) if name == "path" else getattr(record, name)

    def _stored(self, path: Path) -> str:
        """Return how ``path`` is written down: the folder may be moved with its sounds."""
        whole, folder = path.resolve(), self.folder.resolve()
        return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)

    def get(self, record_id: int) -> SpokenRecord:
        """Return one record.

        Raises:
            DataError: It is not, or no longer, there.
        """
        with self._connected() as database:
            row = database.execute("SELECT * FROM spoken WHERE id = ?", [record_id]).fetchone()
        if row is None:
            raise DataError(
                f"there is no sound number {record_id} in the history", fix="refresh the list"
            )
        return self._record(row)

    def search(
        self, wanted: Wanted = EVERYTHING, *, limit: int = 50, offset: int = 0
    ) -> list[SpokenRecord]:
        """Return the newest ``limit`` of ``wanted`` after the first ``offset``."""
        where, values = wanted.where()
        query = f"SELECT * FROM spoken WHERE {where} ORDER BY created_sec DESC, id DESC"  # noqa: S608 -- conditions of ours; values travel beside it
        with self._connected() as database:
            rows = database.execute(f"{query} LIMIT ? OFFSET ?", [*values, limit, offset])
            return [self._record(row) for row in rows]

    def stats(self, wanted: Wanted = EVERYTHING) -> HistoryStats:
        """Return what ``wanted`` are together."""
        where, values = wanted.where()
        query = f"SELECT duration_sec, elapsed_sec FROM spoken WHERE {where}"  # noqa: S608 -- as above
        with self._connected() as database:
            rows = database.execute(query, values).fetchall()
        rtfs = [elapsed / duration for duration, elapsed in rows if duration > 0]
        return HistoryStats(
            count=len(rows),
            duration_sec=sum(duration for duration, _ in rows),
            median_rtf=statistics.median(rtfs) if rtfs else None,
        )

    def models(self) -> list[str]:
        """Return the names of the models that spoke."""
        with self._connected() as database:
            rows = database.execute("SELECT DISTINCT model FROM spoken ORDER BY model")
            return [name for (name,) in rows]

    def delete(self, record_id: int) -> None:
        """Remove a record and its sound.

        Raises:
            DataError: It is not there.
        """
        self._remove([self.get(record_id)])

    def clear(self, wanted: Wanted = EVERYTHING) -> int:
        """Remove ``wanted`` and their sounds; return how many there were."""
        records = self.search(wanted, limit=-1)
        self._remove(records)
        return len(records)

    def _remove(self, records: Sequence[SpokenRecord]) -> None:
        # The sound first: whoever is killed between finds the row still, and removes it again.
        for record in records:
            self._remove_sound(record.path)
        with self._connected() as database:
            database.executemany(
                "DELETE FROM spoken WHERE id = ?", [(record.id,) for record in records]
            )

    def _remove_sound(self, path: Path) -> None:
        whole = path.resolve()
        if whole.is_relative_to(self.folder.resolve()) and whole != self.path.resolve():
            check_output(whole).unlink(missing_ok=True)

    def _record(self, row: sqlite3.Row) -> SpokenRecord:
        values = {name: row[name] for name in FIELDS}
        return SpokenRecord(
            id=row["id"],
            **{
                **values,
                "settings": json.loads(values["settings"]),
                "path": self.folder / values["path"],
            },
        )

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Yield the database; what is done to it counts altogether or not at all.

        Raises:
            DataError: It cannot be read or written.
        """
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_SEC)) as database, database:
                database.row_factory = sqlite3.Row
                yield database
        except sqlite3.OperationalError as error:
            raise DataError(
                f"the history cannot be read or written: {error}",
                where=str(self.path),
                fix="see that the folder is writable and the disk is not full",
            ) from error
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # the kinds below it are misuse by code
                raise
            raise _DamagedError(
                f"{error}",
                where=str(self.path),
                fix="start the page again: the file is moved aside, and the history begins anew",
            ) from error


class _DamagedError(DataError):
    """The database is no database any more."""


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    """Bring the database to the version of today.

    Raises:
        DataError: It is of a later one.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise DataError(
            f"the history is of version {version}, and this idiolect knows {len(MIGRATIONS)}",
            where=str(path),
            fix="use the idiolect that wrote it, or move the file away to begin anew",
        )
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        database.execute("BEGIN IMMEDIATE")
        for statement in statements:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {number:d}")
        database.commit()
