"""The first moment of a job: the process writes down who it is, and becomes the command.

``python -m idiolect.studio.job_start FOLDER`` does both with one pid. Had the one who starts it
written that down, a kill between the two would leave a process that nobody knows of, and the job
would be started again beside it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil

from idiolect.base.files import read_json, write_json
from idiolect.studio.jobs import JOB_FILE, STARTED_FILE, STOP_FILE

EXIT_NOTHING_TO_DO = 75
"""Another process is this job already, or it was stopped before it began."""


def claim(folder: Path) -> bool:
    """Write down that this process is the job in ``folder``; False when another one is."""
    mine = folder / f"{STARTED_FILE}.{os.getpid()}"
    born_sec = psutil.Process().create_time()
    write_json(mine, {"pid": os.getpid(), "born_sec": born_sec, "started_sec": time.time()})
    try:
        (folder / STARTED_FILE).hardlink_to(mine)  # unlike a rename, this replaces nothing
    except FileExistsError:
        return False
    finally:
        mine.unlink()
    return True


def main() -> int:
    """Become the job that the command line names; return only when there is nothing to do."""
    folder = Path(sys.argv[1])
    if not (folder / STOP_FILE).is_file() and claim(folder):
        command = read_json(folder / JOB_FILE)["command"]
        os.execv(sys.executable, [sys.executable, "-m", "idiolect", *command])  # noqa: S606 -- no shell
    return EXIT_NOTHING_TO_DO


if __name__ == "__main__":
    raise SystemExit(main())
