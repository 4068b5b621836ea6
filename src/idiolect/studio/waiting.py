"""How many may wait: everyone a few requests, all together so many that waiting stays bearable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from idiolect.base.errors import SynthesisError

MOST_WAITING = 32
"""Requests in all, those that are being spoken among them."""
MOST_OF_ONE = 4
"""Of one user: the rest of the room stays free for others."""


class WaitingRoom:
    """Places for the requests that wait or are being spoken."""

    def __init__(self, *, most: int = MOST_WAITING, most_of_one: int = MOST_OF_ONE) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self._waiting: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def num_waiting(self) -> int:
        """How many places are taken."""
        with self._lock:
            return self._waiting.total()

    @contextmanager
    def place(self, user: str) -> Iterator[None]:
        """Hold a place for ``user`` meanwhile.

        Raises:
            SynthesisError: There is none.
        """
        self._take(user)
        try:
            yield
        finally:
            with self._lock:
                self._waiting[user] -= 1
                self._waiting += Counter()  # forgets who has none left

    def _take(self, user: str) -> None:
        with self._lock:
            if self._waiting[user] >= self.most_of_one:
                raise SynthesisError(
                    f"{self._waiting[user]} of your requests are waiting already",
                    fix="wait until one is spoken, or cancel it",
                )
            if self._waiting.total() >= self.most:
                raise SynthesisError(
                    f"{self.most} requests are waiting already", fix="try again in a while"
                )
            self._waiting[user] += 1
