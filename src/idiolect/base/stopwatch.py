"""Where time goes: seconds added up over pieces of work, until somebody asks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Adds up the seconds that some pieces of work take."""

    def __init__(self) -> None:
        self._sec = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is done meanwhile."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._sec += time.monotonic() - started

    def waiting_for(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield ``items``; what each of them takes to come is counted."""
        coming = iter(items)
        while True:
            with self.running():
                try:
                    item = next(coming)
                except StopIteration:
                    return
            yield item

    def taken(self) -> float:
        """Return the seconds since the last call."""
        sec, self._sec = self._sec, 0.0
        return sec
