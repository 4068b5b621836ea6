"""How much memory a piece of work takes beyond what was there when it began.

On a GPU torch counts its own bytes exactly. On the CPU nobody does: the pages of this process are
looked at many times a second, so a peak of some milliseconds may be missed. What the process kept
from work before would not be counted again, so it is given back first, as far as it can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import psutil
import torch

from idiolect.synthesis.devices import return_memory

LOOK_EVERY_SEC = 0.02


@dataclass(slots=True)
class WorkingMemory:
    """Bytes above the start, known when the work is done."""

    peak_bytes: int = 0


@contextmanager
def working_memory(device: torch.device) -> Iterator[WorkingMemory]:
    """Measure the work within, on ``device``."""
    measured = WorkingMemory()
    if device.type == "cuda":
        start_bytes = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield measured
        measured.peak_bytes = max(0, torch.cuda.max_memory_allocated(device) - start_bytes)
        return
    return_memory(device)
    is_done = Event()
    watcher = Thread(target=_watch, args=(measured, is_done), daemon=True)
    watcher.start()
    try:
        yield measured
    finally:
        is_done.set()
        watcher.join()


def _watch(measured: WorkingMemory, is_done: Event) -> None:
    process = psutil.Process()
    start_bytes = process.memory_info().rss
    while True:
        is_last = is_done.wait(LOOK_EVERY_SEC)
        now_bytes = process.memory_info().rss - start_bytes
        measured.peak_bytes = max(measured.peak_bytes, now_bytes)
        if is_last:
            return
