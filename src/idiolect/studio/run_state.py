"""Whether a run is going, by its lock and by the age of what it wrote last.

The lock is asked for in the list of the system, not by taking it: a run that begins at that
moment would find it taken.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import psutil

from idiolect.training.metrics import METRICS_FILE, Record
from idiolect.training.state import LOCK_FILE, LOG_FILE

LOCKS = Path("/proc/locks")
QUIET_SEC = 60.0
"""Of a run whose lock cannot be seen, on another machine or without such a list: silence of less
is no end."""
QUIET_LINES = 4
"""So many times its usual time between two lines, too: a validation and a save are longer."""

SHARED_DISKS = ("nfs", "cifs", "smb", "fuse", "9p", "lustre", "ceph")


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"


def state_of(folder: Path, records: Sequence[Record], now_sec: float) -> RunState:
    """Return how the run in ``folder`` stands at ``now_sec`` of the clock."""
    if is_locked(folder / LOCK_FILE):
        return RunState.RUNNING
    if has_ended(records):
        return RunState.FINISHED
    quiet_sec = now_sec - written_sec(folder)
    can_tell = LOCKS.is_file() and not _is_shared(folder)
    if can_tell or quiet_sec > max(QUIET_SEC, QUIET_LINES * line_sec(records)):
        return RunState.STOPPED
    return RunState.RUNNING


def has_ended(records: Sequence[Record]) -> bool:
    """Tell whether the newest line of progress is of the last step."""
    newest = next((line for line in reversed(records) if line["kind"] == "train"), None)
    return newest is not None and newest.get("eta_sec") == 0


def line_sec(records: Sequence[Record]) -> float:
    """Return the seconds between the two newest lines of progress; 0 before there are two."""
    lines = [line for line in records[-50:] if line["kind"] == "train" and "step_sec" in line]
    if len(lines) < 2:
        return 0.0
    return float(lines[-1]["step_sec"] * (lines[-1]["step"] - lines[-2]["step"]))


def written_sec(folder: Path) -> float:
    """Return when figures or log were written last, in seconds of the clock; 0 for never."""
    times = [p.stat().st_mtime for p in (folder / METRICS_FILE, folder / LOG_FILE) if p.is_file()]
    return max(times, default=0.0)


def is_locked(path: Path) -> bool:
    """Tell whether a process of this machine holds the lock at ``path``, as far as can be seen."""
    try:
        status, held = path.stat(), LOCKS.read_text()
    except OSError:
        return False
    own = _name_of_lock(status)
    return any(own in line.split() for line in held.splitlines() if "->" not in line)


def _name_of_lock(status: os.stat_result) -> str:
    device = status.st_dev
    return f"{os.major(device):02x}:{os.minor(device):02x}:{status.st_ino}"


def _is_shared(folder: Path) -> bool:
    """Tell whether other machines may write there too: their locks are not in the list."""
    own = folder.resolve()
    parts = [
        part for part in psutil.disk_partitions(all=True) if own.is_relative_to(part.mountpoint)
    ]
    deepest = max(parts, key=lambda part: len(part.mountpoint), default=None)
    return deepest is not None and deepest.fstype.startswith(SHARED_DISKS)
