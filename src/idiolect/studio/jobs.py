"""Jobs: commands of idiolect that outlive the page, one at a time on each device.

A job is a folder with files that are written once each, whole, so that whatever is killed, whoever
looks afterwards reads the truth:

================  ==================================================================
``job.json``      what was ordered; there from the beginning
``started.json``  the process: its pid and the time of its birth, written by itself
                  before any work (:mod:`idiolect.studio.job_start`)
``stop.json``     somebody asked it to stop
``ended.json``    its exit code, or that nobody saw it end
``log.txt``       what it printed
================  ==================================================================

Each device has a queue, which a process of its own serves (:mod:`idiolect.studio.job_runner`). It
is started when there is work and nobody holds the lock of the queue.
"""

from __future__ import annotations

import codecs
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import psutil
from filelock import FileLock, Timeout

from idiolect.base.errors import DataError, UserError
from idiolect.base.files import read_json, slug, write_json
from idiolect.base.guard import check_output

Status = Literal["queued", "running", "done", "failed", "stopped", "lost"]
ENDED: tuple[Status, ...] = ("done", "failed", "stopped", "lost")
JOB_FILE, STARTED_FILE, STOP_FILE, ENDED_FILE, LOG_FILE = (
    *("job.json", "started.json", "stop.json", "ended.json"),
    "log.txt",
)
NO_DEVICE = "none"
"""Queue of short work that needs no device for itself, such as installing a model."""
RUNNER = "idiolect.studio.job_runner"
SAME_BIRTH_SEC = 1.0
"""The clock that times of birth are computed from may be set; pids come round in hours."""
MAX_LOG_BYTES = 64 * 1024
"""Most of a log that is read at once; of a longer one, its end."""
FOLDER_MODE = 0o700
"""Whoever can write here can run commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One command, and how it fares."""

    id: str
    command: tuple[str, ...]
    """What stands behind ``idiolect``."""
    cwd: Path
    device: str
    """``cpu``, ``cuda:0`` ..., or :data:`NO_DEVICE`: the queue that it stands in."""
    title: str
    project: str
    kind: str
    """``prepare``, ``train`` ...: what started it."""
    user: str
    created_sec: float
    """Since 1970, as the other times."""
    status: Status
    started_sec: float | None = None
    ended_sec: float | None = None
    exit_code: int | None = None
    is_stopping: bool = False
    """It was asked to stop, and has not yet."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ENDED

    @property
    def needs_runner(self) -> bool:
        """Whether the one who serves the queue has something to do for it.

        Also when it is lost: what it left running has to be ended, and the end written down.
        """
        return not self.has_ended or (self.status == "lost" and self.ended_sec is None)

    @property
    def elapsed_sec(self) -> float | None:
        """How long it ran, or has run; None when it never did, or nobody saw it end."""
        if self.started_sec is None or self.status == "lost":
            return None
        return (self.ended_sec or time.time()) - self.started_sec


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPart:
    """A piece of a log."""

    text: str
    offset: int
    """Bytes up to its end: where the next piece begins."""
    is_cut: bool = False
    """What came before was too long, and is left out."""


Found = list[Job]
"""A name for use beside the method ``list``."""


class Jobs:
    """The jobs in ``folder``; any number of processes may look, order and stop.

    Args:
        folder: Kept for this alone; made when the first job is ordered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).absolute()
        self._ended: dict[str, Job] = {}

    def submit(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        device: str,
        title: str,
        project: str = "",
        kind: str = "",
        user: str = "",
    ) -> Job:
        """Queue ``idiolect command...`` for ``device``, and see that the queue is served.

        Raises:
            UserError: ``cwd`` is no folder, or the name of the device cannot be that of a file.
            GuardError: Jobs would be kept in a base folder.
        """
        if not Path(cwd).is_dir():
            raise UserError(f"no such folder: {cwd}", fix="make it first")
        queue_name(device)
        folder = self._new_folder()
        write_json(
            folder / JOB_FILE,
            {
                "command": list(command),
                "cwd": str(Path(cwd).absolute()),
                "device": device,
                "title": title,
                "project": project,
                "kind": kind,
                "user": user,
                "created_sec": time.time(),
            },
        )
        self.wake(device)
        return self.get(folder.name)

    def list(self, *, project: str | None = None) -> Found:
        """Return the jobs, the newest first; those of one project if it is given."""
        found = [job for name in self._names() if (job := self._read(name)) is not None]
        return [job for job in reversed(found) if project in (None, job.project)]

    def get(self, job_id: str) -> Job:
        """Return the job ``job_id``.

        Raises:
            DataError: There is none.
        """
        job = self._read(slug(job_id, flag="job"))
        if job is None:
            raise DataError(f"there is no job {job_id!r}", fix="choose one of the list")
        return job

    def stop(self, job_id: str) -> Job:
        """Ask a job to stop: one that waits never starts, one that runs gets SIGTERM.

        Raises:
            DataError: There is no such job.
        """
        job = self.get(job_id)
        if not job.has_ended:
            write_json(self.folder / job.id / STOP_FILE, {"asked_sec": time.time()})
            self.wake(job.device)
        return self.get(job_id)

    def again(self, job_id: str, *, user: str = "") -> Job:
        """Queue the command of a job once more: what can be resumed goes on.

        Raises:
            DataError: There is no such job.
            UserError: It has not ended.
        """
        job = self.get(job_id)
        if not job.has_ended:
            raise UserError(f"job {job.id} has not ended", fix="stop it first, or wait")
        return self.submit(
            job.command,
            cwd=job.cwd,
            device=job.device,
            title=job.title,
            project=job.project,
            kind=job.kind,
            user=user or job.user,
        )

    def remove(self, job_id: str) -> None:
        """Forget a job that has ended, and its log.

        Raises:
            DataError: There is no such job.
            UserError: It has not ended.
        """
        job = self.get(job_id)
        if not job.has_ended:
            raise UserError(f"job {job.id} has not ended", fix="stop it first, or wait")
        shutil.rmtree(check_output(self.folder / job.id))
        self._ended.pop(job.id, None)

    def log(self, job_id: str, offset: int | None = None) -> LogPart:
        """Return what the job printed behind ``offset`` bytes; the end of the log for None.

        Raises:
            DataError: There is no such job.
        """
        path = self.folder / self.get(job_id).id / LOG_FILE
        if not path.is_file():
            return LogPart(text="", offset=0)
        size = path.stat().st_size
        first = max(offset or 0, size - MAX_LOG_BYTES)
        with path.open("rb") as log:
            log.seek(first)
            data = log.read(MAX_LOG_BYTES)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data)  # half a character at the end waits for its other half
        return LogPart(
            text=text,
            offset=first + len(data) - len(decoder.getstate()[0]),
            is_cut=first > (offset or 0),
        )

    def wake(self, device: str | None = None) -> None:
        """See that each queue with work, or that of ``device``, has somebody who serves it.

        Cheap; a page calls it now and then, for a runner may have been killed.
        """
        devices = {device} if device else {job.device for job in self.list() if job.needs_runner}
        for name in devices:
            if self.next_job(name) is not None and not self._is_served(name):
                self._start_runner(name)

    def next_job(self, device: str) -> Job | None:
        """Return the job of a queue that runs, else the first that waits, else None."""
        jobs = [j for j in reversed(self.list()) if j.device == device and j.needs_runner]
        return next((job for job in jobs if job.status == "running"), next(iter(jobs), None))

    def lock(self, device: str) -> FileLock:
        """Return the lock that whoever serves the queue of ``device`` holds."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        return FileLock(check_output(self.folder / f"{queue_name(device)}.lock"))

    def end(self, job_id: str, exit_code: int | None) -> None:
        """Write down how a job ended; None where nobody saw it."""
        write_json(
            self.folder / job_id / ENDED_FILE, {"ended_sec": time.time(), "exit_code": exit_code}
        )

    def process(self, job_id: str) -> psutil.Process | None:
        """Return the process of a job while it lives; never another that got its pid."""
        return living(read_record(self.folder / job_id / STARTED_FILE))

    def stop_is_asked(self, job_id: str) -> bool:
        """Return whether somebody asked the job to stop."""
        return (self.folder / job_id / STOP_FILE).is_file()

    def _names(self) -> Sequence[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.name.isdecimal())

    def _new_folder(self) -> Path:
        check_output(self.folder).mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        number = max(map(int, self._names()), default=0) + 1
        while True:
            folder = self.folder / f"{number:06d}"
            with suppress(FileExistsError):  # another page was faster
                folder.mkdir()
                return folder
            number += 1

    def _read(self, name: str) -> Job | None:
        """Return a job; None while its folder is being made, or removed."""
        if name in self._ended:
            return self._ended[name]
        folder = self.folder / name
        order = read_record(folder / JOB_FILE)
        if not order:
            return None
        order |= {"id": name, "command": tuple(order["command"]), "cwd": Path(order["cwd"])}
        job = Job(**order, **self._standing(folder, order["device"]))
        if job.ended_sec is not None:  # written down, and never changed again
            self._ended[name] = job
        return job

    def _standing(self, folder: Path, device: str) -> dict[str, Any]:
        """Return how the job in ``folder`` stands, as fields of :class:`Job`."""
        started = read_record(folder / STARTED_FILE)
        asked = (folder / STOP_FILE).is_file()
        ended = read_record(folder / ENDED_FILE)
        if not ended and started and living(started) is None and not self._is_served(device):
            # Looked at last: whoever served the queue writes this down before letting go of it.
            ended = read_record(folder / ENDED_FILE) or {"ended_sec": None, "exit_code": None}
        if not ended:
            status: Status = "running" if started else "stopped" if asked else "queued"
            return {
                "status": status,
                "started_sec": started.get("started_sec"),
                "is_stopping": asked and status == "running",
            }
        return {
            "status": _outcome(ended["exit_code"], asked=asked),
            "started_sec": started.get("started_sec"),
            "ended_sec": ended["ended_sec"],
            "exit_code": ended["exit_code"],
        }

    def _is_served(self, device: str) -> bool:
        try:
            with self.lock(device).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _start_runner(self, device: str) -> None:
        log = self.folder / f"{queue_name(device)}.log"
        with check_output(log).open("ab") as out:
            runner = subprocess.Popen(  # noqa: S603 -- this package, on files of its own
                [sys.executable, "-m", RUNNER, str(self.folder), device],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # neither Ctrl-C nor the end of the page reaches it
            )
        # It may end before this process does, and is then to leave nothing in the process table.
        Thread(target=runner.wait, daemon=True).start()


def queue_name(device: str) -> str:
    """Return ``device`` as part of a file name: ``cuda:1`` is ``queue-cuda-1``.

    Raises:
        UserError: It cannot be one.
    """
    return "queue-" + slug(device.replace(":", "-"), flag="device")


def read_record(path: Path) -> dict[str, Any]:
    """Return what is written in ``path``; nothing when it is not there."""
    try:
        record: dict[str, Any] = read_json(path)
    except DataError:
        return {}
    return record


def living(started: dict[str, Any]) -> psutil.Process | None:
    """Return the process that wrote ``started`` about itself, if it lives and is that one."""
    try:
        process = psutil.Process(started["pid"])
        is_same = abs(process.create_time() - started["born_sec"]) < SAME_BIRTH_SEC
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except (KeyError, psutil.NoSuchProcess):
        return None


def left_behind(started: dict[str, Any]) -> Iterator[psutil.Process]:
    """Yield what a job's process, which is gone, left running: the rest of its session."""
    pid = started.get("pid")
    if pid is None or psutil.pid_exists(pid):  # somebody else has the number now
        return
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            is_ours = os.getsid(process.pid) == pid
            if is_ours and process.create_time() >= started["born_sec"] - SAME_BIRTH_SEC:
                yield process


def _outcome(exit_code: int | None, *, asked: bool) -> Status:
    if exit_code == 0:
        return "done"
    if asked:
        return "stopped"
    return "lost" if exit_code is None else "failed"
