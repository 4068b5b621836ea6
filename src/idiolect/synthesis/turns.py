"""Turns: one at a time, in the order of asking."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Turns:
    """A lock that is fair: whoever asked first goes first.

    A plain lock goes to whoever wakes up first, so that under load one request could wait while
    many that came later are served. A turn is not taken within a turn.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._queue: deque[object] = deque()  # the first is whose turn it is

    @property
    def num_waiting(self) -> int:
        """How many wait, without the one whose turn it is."""
        return max(0, len(self._queue) - 1)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a turn, and hold it within ``with``."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._queue[0] is ticket)
            yield
        finally:  # also when the wait was interrupted: nobody waits for a ticket without a holder
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()
