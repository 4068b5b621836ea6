"""Who serves a queue: starts its jobs one after another, and sees how each ends.

``python -m idiolect.studio.job_runner FOLDER DEVICE`` holds the lock of the queue while it works,
and ends when nothing is left. Killed, it leaves a job that goes on; the next one that serves the
queue waits for that job, and can stop it, but cannot learn its exit code: it is then ``lost``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import Timeout

from idiolect.base.guard import check_output
from idiolect.studio.jobs import LOG_FILE, NO_DEVICE, STARTED_FILE, Job, Jobs, left_behind
from idiolect.studio.jobs import read_record as read

STARTER = "idiolect.studio.job_start"
LOOK_EVERY_SEC = 0.2
GRACE_SEC = 60.0
"""For a training to write the checkpoint that it goes on from, before it is killed."""
LOCK_WAIT_SEC = 2.0
"""Pages that look whether anybody serves the queue hold its lock for a moment."""
EXIT_NOT_STARTED = 127


def serve_queue(jobs: Jobs, device: str, *, grace_sec: float = GRACE_SEC) -> None:
    """Do the work of the queue of ``device`` until there is none, unless somebody does already."""
    while jobs.next_job(device) is not None:
        try:
            with jobs.lock(device).acquire(timeout=LOCK_WAIT_SEC):
                _work(jobs, device, grace_sec)
        except Timeout:
            return
        # What was ordered between the last look and the release found the queue still served.


def _work(jobs: Jobs, device: str, grace_sec: float) -> None:
    while (job := jobs.next_job(device)) is not None:
        if job.status == "running":  # its runner was killed
            child = None
        elif (child := _start(jobs, job)) is None:
            jobs.end(job.id, EXIT_NOT_STARTED)
            continue
        _watch(jobs, job, child, grace_sec)


def _start(jobs: Jobs, job: Job) -> subprocess.Popen[bytes] | None:
    """Start ``job``; None, with the reason in its log, when that is not possible."""
    folder = jobs.folder / job.id
    with check_output(folder / LOG_FILE).open("ab") as log:
        try:
            return subprocess.Popen(  # noqa: S603 -- this package, on files of its own
                [sys.executable, "-m", STARTER, str(folder)],
                cwd=job.cwd,
                env=environment(job.device, os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            log.write(f"error: cannot start: {error}\n".encode())
            return None


def _watch(jobs: Jobs, job: Job, child: subprocess.Popen[bytes] | None, grace_sec: float) -> None:
    """Wait for the end of ``job``, stop it when that is asked for, and write the end down."""
    exit_code = _wait(jobs, job.id, child, grace_sec)
    started = read(jobs.folder / job.id / STARTED_FILE)
    if child is not None and started.get("pid", child.pid) != child.pid:
        # A runner that was killed had started it before; ours found nothing to do.
        exit_code = _wait(jobs, job.id, None, grace_sec)
    for process in left_behind(started):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    jobs.end(job.id, exit_code)


def _wait(
    jobs: Jobs, job_id: str, child: subprocess.Popen[bytes] | None, grace_sec: float
) -> int | None:
    """Return the exit code of a job once it has one; None when it is not ours to know."""
    deadline: float | None = None
    while (child.poll() is None) if child else (jobs.process(job_id) is not None):
        if jobs.stop_is_asked(job_id) and (process := jobs.process(job_id)) is not None:
            now = time.monotonic()
            with suppress(psutil.NoSuchProcess):
                if deadline is None:
                    deadline = now + grace_sec
                    process.terminate()
                elif now > deadline:
                    process.kill()
        time.sleep(LOOK_EVERY_SEC)
    return child.returncode if child else None


def environment(device: str, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a job: it sees its device alone, and its log has no delay.

    Args:
        device: ``cuda:1`` is the second of those that this process sees.
        ours: The environment of this process.
    """
    found = {**ours, "PYTHONUNBUFFERED": "1"}
    kind, _, number = device.partition(":")
    if kind == "cuda":
        seen = ours.get("CUDA_VISIBLE_DEVICES", "")
        names = seen.split(",") if seen else []
        index = int(number or 0)
        found["CUDA_VISIBLE_DEVICES"] = names[index] if index < len(names) else str(index)
    elif device != NO_DEVICE:
        found["CUDA_VISIBLE_DEVICES"] = ""
    return found


def main() -> int:
    """Serve the queue that the command line names."""
    folder, device = sys.argv[1:3]
    serve_queue(Jobs(Path(folder)), device)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
