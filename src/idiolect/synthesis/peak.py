"""The GPU memory that a model really took, kept beside it in place of the estimate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import torch

from idiolect.base.errors import UserError
from idiolect.base.log import get_logger
from idiolect.registry.store import record_vram


class PeakMeter:
    """Measures the first request after a load, on a GPU.

    torch counts the peak of a device, not of a request. So what is measured while anything else is
    loaded or asked for counts for nothing, and the next request is measured instead.

    Args:
        models_dir: Where installed models have their entries.
    """

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        self._lock = Lock()
        self._unmeasured: set[tuple[str, torch.device]] = set()
        self._events = 0

    def loaded(self, name: str, device: torch.device) -> None:
        """``name`` came to ``device``: its memory is an estimate still."""
        with self._lock:
            self._events += 1
            if device.type == "cuda":
                self._unmeasured.add((name, device))

    def disturb(self) -> None:
        """Something was lent or dropped: what is measured at present is not one model alone."""
        with self._lock:
            self._events += 1

    @contextmanager
    def measuring(self, name: str, device: torch.device, *, is_alone: bool) -> Iterator[None]:
        """Measure what happens within, if nobody measured ``name`` yet.

        Args:
            name: What speaks.
            device: Where.
            is_alone: No other model is there.
        """
        with self._lock:
            events = self._events
            is_wanted = is_alone and (name, device) in self._unmeasured
        if not is_wanted:
            yield
            return
        torch.cuda.reset_peak_memory_stats(device)
        yield
        peak_bytes = torch.cuda.max_memory_allocated(device)
        with self._lock:
            if events != self._events:
                return
            self._unmeasured.discard((name, device))
        _record(name, self.models_dir, peak_bytes)


def _record(name: str, models_dir: Path, peak_bytes: int) -> None:
    try:
        record_vram(name, models_dir, peak_bytes)
    except (UserError, OSError) as error:  # the sound is made: a note beside it is not worth it
        get_logger().warning("the memory of %s cannot be noted: %s", name, error)
