"""Many texts spoken one after the other, by one worker, while others go on using the page.

What became of each line is on disk before the next begins. After a kill the line that was being
spoken waits again, and the batch goes on when it is asked to.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock, Thread

from filelock import FileLock, Timeout

from idiolect.base.errors import SynthesisError, UserError
from idiolect.base.log import get_logger
from idiolect.studio.batch_lines import BatchLine, Places, emotion_weights
from idiolect.studio.batch_store import (
    Batch,
    BatchDefaults,
    BatchRow,
    BatchStore,
    RowState,
    with_lines,
)
from idiolect.studio.batch_zip import write_zip
from idiolect.studio.roots import below_roots
from idiolect.studio.settings import EmotionMode, SpeechSettings, settings_of_mapping
from idiolect.studio.speech import Speech, SpeechOrder, last_of
from idiolect.studio.voices import VoiceLibrary
from idiolect.synthesis.sampling import Cancelled

WORKER_LOCK_NAME = ".worker.lock"
UNEXPECTED = "something went wrong that nobody foresaw; the log of the server has it"
LOOK_EVERY_SEC = 1.0
"""How often is looked whether there is room, when others are many."""
AGAIN: frozenset[RowState] = frozenset({"failed", "cancelled"})


class Batches:
    """The batches of a folder, and the worker that speaks them.

    Args:
        folder: A folder of their own.
        speech: What speaks.
        voices: The library that lines may name voices of.
        roots: Folders below which lines may name clips.

    Raises:
        GuardError: The folder lies in a base folder.
    """

    def __init__(
        self, folder: Path, speech: Speech, *, voices: VoiceLibrary, roots: Sequence[Path] = ()
    ) -> None:
        self.store = BatchStore(folder)
        self._speech = speech
        self._voices = voices
        self._roots = tuple(roots)
        self._asked: deque[str] = deque()
        """Ids of the batches that are to be spoken, in turn a line each."""
        self._at = ""
        """Id of the batch of the line that is being spoken."""
        self._lock = Lock()
        self._worker: Thread | None = None
        with suppress(Timeout), self._working():
            self._recover()

    def _working(self) -> FileLock:
        """Return the lock that whoever speaks the batches of the folder holds."""
        return FileLock(self.store.folder / WORKER_LOCK_NAME, timeout=0, thread_local=False)

    def _recover(self) -> None:
        """Let wait again what was being spoken by a process that was killed."""
        for batch in self.all():
            if batch.count("speaking"):
                self.store.change(batch.id, _with_none_speaking)

    def places(self, folder: Path | None = None) -> Places:
        """Return where the lines of a batch may have their voices from."""
        return Places(voices=self._voices.names(), roots=self._roots, folder=folder)

    def all(self, user: str | None = None) -> list[Batch]:
        """Return the batches, newest first; one that cannot be read is told in the log."""
        batches = []
        for batch_id in self.store.ids():
            try:
                batches.append(self.store.read(batch_id))
            except UserError as error:
                get_logger().warning("batch %s is passed over: %s", batch_id, error)
        return [batch for batch in batches if user is None or batch.user == user]

    def get(self, batch_id: str) -> Batch:
        """Return a batch as it is now.

        Raises:
            DataError: There is none of this id, or its file is damaged.
        """
        return self.store.read(batch_id)

    def create(
        self, lines: Iterable[BatchLine], defaults: BatchDefaults, *, user: str, title: str = ""
    ) -> Batch:
        """Keep ``lines`` as a batch that waits to be run.

        Raises:
            UserError: A line has no voice, neither of its own nor of the batch; or a setting is
                out of range.
        """
        lines = list(lines)
        settings_of_mapping(defaults.settings)
        if not defaults.voice and (mute := next((x for x in lines if not x.voice), None)):
            raise UserError(
                f"the line {mute.name!r} has no voice", fix="choose one for the whole batch"
            )
        return self.store.create(lines, defaults, user=user, title=title)

    def add(self, batch_id: str, lines: Iterable[BatchLine]) -> Batch:
        """Add ``lines`` to a batch; they wait."""
        return self.store.change(batch_id, lambda batch: with_lines(batch, lines))

    def is_running(self, batch_id: str) -> bool:
        """Tell whether the lines of a batch that wait will be spoken without being asked again."""
        with self._lock:
            return batch_id in self._asked or batch_id == self._at

    def run(self, batch_id: str) -> Batch:
        """Speak what waits of a batch, in the background; return the batch as it is now.

        Raises:
            UserError: Another process speaks the batches of the folder.
        """
        batch = self.store.read(batch_id)
        with self._lock:
            if self._worker is None:
                self._worker = Thread(
                    target=self._work, args=[self._held()], name="batches", daemon=True
                )
                self._worker.start()
            if batch_id not in self._asked:
                self._asked.append(batch_id)
        return batch

    def _held(self) -> FileLock:
        """Return the worker's lock, held."""
        lock = self._working()
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                "another server speaks the batches of this folder",
                where=str(self.store.folder),
                fix="stop it, or give this one another --output-dir",
            ) from error
        self._recover()
        return lock

    def retry(self, batch_id: str, numbers: Collection[int] | None = None) -> Batch:
        """Speak again the rows ``numbers``; when None, those that failed or were cancelled."""

        def fresh(row: BatchRow) -> BatchRow:
            is_meant = row.state in AGAIN if numbers is None else row.number in numbers
            return row.fresh() if is_meant and row.state != "speaking" else row

        self.store.change(batch_id, lambda batch: _with_rows(batch, map(fresh, batch.rows)))
        return self.run(batch_id)

    def cancel(self, batch_id: str) -> Batch:
        """Speak no more of a batch; the line that is being spoken ends after its segment."""

        def cancelled(row: BatchRow) -> BatchRow:
            is_open = row.state in {"waiting", "speaking"}
            return replace(row.fresh(), state="cancelled") if is_open else row

        return self.store.change(
            batch_id, lambda batch: _with_rows(batch, map(cancelled, batch.rows))
        )

    def delete_rows(self, batch_id: str, numbers: Collection[int]) -> Batch:
        """Take rows out of a batch; what they spoke stays in the history."""
        return self.store.change(
            batch_id,
            lambda batch: _with_rows(batch, (r for r in batch.rows if r.number not in numbers)),
        )

    def delete(self, batch_id: str) -> None:
        """Forget a batch; what it spoke stays in the history.

        Raises:
            DataError: There is none of this id.
        """
        self.store.remove(batch_id)

    def zip(self, batch_id: str) -> Path:
        """Return an archive of what was spoken of a batch, written anew.

        Raises:
            DataError: Nothing was, or there is no room.
        """
        return write_zip(self.get(batch_id), self.store.folder_of(batch_id) / f"{batch_id}.zip")

    def wait(self) -> None:
        """Return when nothing is left to be spoken."""
        while (worker := self._worker) is not None:
            worker.join()

    def _work(self, lock: FileLock) -> None:
        """Speak one line of each batch in turn, until none waits."""
        while batch_id := self._next(lock):
            try:
                has_spoken = self._speak_next(batch_id)
            except Exception:  # noqa: BLE001 -- the batch may be gone, the disk full: others go on
                get_logger().exception("the batch %s stops", batch_id)
                has_spoken = False
            with self._lock:
                if has_spoken and batch_id not in self._asked:
                    self._asked.append(batch_id)

    def _next(self, lock: FileLock) -> str:
        """Return the batch whose turn it is; when there is none, the worker ends."""
        with self._lock:
            self._at = self._asked.popleft() if self._asked else ""
            if not self._at:
                self._worker = None
                lock.release()
            return self._at

    def _speak_next(self, batch_id: str) -> bool:
        """Speak the first row that waits; return whether there was one."""
        batch = self.store.change(batch_id, _with_next_taken)
        row = next((row for row in batch.rows if row.state == "speaking"), None)
        if row is None:
            return False
        spoken = self._spoken(batch, row)

        def put(now: BatchRow) -> BatchRow:
            # What was cancelled or asked for again meanwhile stays as it was made.
            return spoken if (now.number, now.state) == (row.number, "speaking") else now

        self.store.change(batch_id, lambda now: _with_rows(now, map(put, now.rows)))
        return True

    def _spoken(self, batch: Batch, row: BatchRow) -> BatchRow:
        """Return ``row`` as it is after it was spoken, or failed."""

        def cancelled() -> bool:
            try:
                rows = self.store.read(batch.id).rows
            except UserError:  # the batch is gone
                return True
            return not any((r.number, r.state) == (row.number, "speaking") for r in rows)

        try:
            order = self._order(batch, row.line)
            self._wait_for_room(order.user, cancelled)
            done = last_of(self._speech.speak(order, cancelled))
        except Cancelled:
            return row  # whoever cancelled it has written so
        except UserError as error:
            why = "; ".join(filter(None, (error.problem, error.where, error.fix)))
            return replace(row, state="failed", why=why)
        except Exception:  # noqa: BLE001 -- whatever it is, the other rows go on
            get_logger().exception("row %d of the batch %s", row.number, batch.id)
            return replace(row, state="failed", why=UNEXPECTED)
        return replace(
            row,
            state="done",
            path=str(done.path.resolve()),
            seed=done.seed,
            duration_sec=done.record.duration_sec,
            elapsed_sec=done.record.elapsed_sec,
        )

    def _wait_for_room(self, user: str, cancelled: Callable[[], bool]) -> None:
        """Return when there is a place for one more request: a batch has time, and never fails
        because others are many.
        """
        while not cancelled():
            with suppress(SynthesisError), self._speech.room.place(user):
                return
            time.sleep(LOOK_EVERY_SEC)

    def _order(self, batch: Batch, line: BatchLine) -> SpeechOrder:
        defaults = batch.defaults
        name = line.voice or defaults.voice
        is_known = name in self._voices.names()
        clips = self._speech.clips.folder
        return SpeechOrder(
            model=line.model or defaults.model,
            device=defaults.device,
            voice=self._voices.path(name) if is_known else below_roots(name, (*self._roots, clips)),
            text=line.text,
            settings=_settings_of(line, settings_of_mapping(defaults.settings)),
            user=batch.user,
            voice_name=name if is_known else "",
            kind="batch",
        )


def _settings_of(line: BatchLine, settings: SpeechSettings) -> SpeechSettings:
    """Return ``settings`` with what the line says otherwise."""
    weights = emotion_weights(line.emotion)
    if weights is not None:
        settings = replace(settings, emotion=EmotionMode.WEIGHTS, emotion_weights=weights)
    return replace(
        settings,
        language=line.language or settings.language,
        seed=settings.seed if line.seed is None else line.seed,
    )


def _with_rows(batch: Batch, rows: Iterable[BatchRow]) -> Batch:
    return replace(batch, rows=tuple(rows))


def _with_next_taken(batch: Batch) -> Batch:
    number = next((row.number for row in batch.rows if row.state == "waiting"), None)
    return _with_rows(
        batch,
        (replace(row, state="speaking") if row.number == number else row for row in batch.rows),
    )


def _with_none_speaking(batch: Batch) -> Batch:
    return _with_rows(
        batch, (row.fresh() if row.state == "speaking" else row for row in batch.rows)
    )
