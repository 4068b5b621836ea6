"""Work in several processes: few batches in memory, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import TypeVar

from idiolect.base.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_A_BATCH = 16
BATCHES_A_WORKER = 3
"""So many are waiting for each worker: enough to keep it busy, few enough to stay small."""


def map_batches(
    work: Callable[[list[Task]], Result], tasks: Iterable[Task], *, workers: int
) -> Iterator[Result]:
    """Yield the results of ``work`` on batches of ``tasks``, as they come.

    Args:
        work: A function of a module; called with some tasks.
        tasks: Read only as fast as they are worked on.
        workers: Processes; 1 for this one alone. One starts only when there is work for it.

    Raises:
        DataError: A process died.
    """
    tasks = iter(tasks)
    batches = iter(lambda: list(islice(tasks, TASKS_A_BATCH if workers > 1 else 1)), [])
    if workers == 1:
        yield from map(work, batches)
        return
    running: set[Future[Result]] = set()
    with _pool(workers) as pool:
        while True:
            for batch in islice(batches, workers * BATCHES_A_WORKER - len(running)):
                running.add(pool.submit(work, batch))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool that is gone at once when this process is interrupted, or dies."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DataError(
            "a process that read clips died; a damaged file may have crashed its decoder",
            fix="run the same command with --workers 1: it goes on, and stops at the bad file",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when the parent has ended, however it did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
