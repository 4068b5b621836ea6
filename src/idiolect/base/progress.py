"""Progress of anything that takes more than two seconds: count, rate and time left.

On a terminal a bar; elsewhere (a log, a pipe, a notebook cell) one line every few seconds, so
that a log stays readable.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from idiolect.base.log import get_logger
from idiolect.base.units import format_duration

T = TypeVar("T")
Advance = Callable[[int], None]

QUIET_SEC = 2.0
"""Work shorter than this is not worth a line."""
LINE_EVERY_SEC = 10.0

_has_lines: ContextVar[bool] = ContextVar("work writes lines of its progress", default=False)


@contextmanager
def progress(
    label: str, total: int | None, *, unit: str = "", reports_itself: bool = False
) -> Iterator[Advance]:
    """Yield a function that advances a bar over ``total`` units of work by its argument.

    Within work that writes lines to a log, other work writes none; bars stand below each other.

    Args:
        label: What is being done, in a few words.
        total: How many units there are; None when unknown.
        unit: What one unit is, for the lines of a log: ``clips``, ``steps``.
        reports_itself: The work writes lines with its progress; a log then gets no others.
    """
    if sys.stderr.isatty():
        yield from _bar(label, total)
    elif reports_itself or _has_lines.get():
        yield lambda _: None
    else:
        _has_lines.set(True)
        try:
            yield from _lines(label, total, unit)
        finally:
            _has_lines.set(False)


def track(
    items: Iterable[T], label: str, *, total: int | None = None, unit: str = ""
) -> Iterator[T]:
    """Yield ``items`` while showing progress over ``total`` of them (their length by default)."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(label, total, unit=unit) as advance:
        for item in items:
            yield item
            advance(1)


def _bar(label: str, total: int | None) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)


def _lines(label: str, total: int | None, unit: str) -> Iterator[Advance]:
    started = last = time.monotonic()
    done = said = 0

    def advance(count: int) -> None:
        nonlocal done, said, last
        done += count
        now = time.monotonic()
        if now - last >= (LINE_EVERY_SEC if last > started else QUIET_SEC):
            last, said = now, done
            get_logger().info(_line(label, done, total, unit, now - started))

    yield advance
    if 0 < said < done:
        get_logger().info(_line(label, done, total, unit, time.monotonic() - started))


def _line(label: str, done: int, total: int | None, unit: str, elapsed_sec: float) -> str:
    rate = done / elapsed_sec if elapsed_sec > 0 else 0.0
    text = f"{label}: {done}" + (f"/{total}" if total else "") + (f" {unit}" if unit else "")
    text += f", {rate:.1f}/s"
    if total and rate and done < total:
        text += f", {format_duration((total - done) / rate)} left"
    return text
