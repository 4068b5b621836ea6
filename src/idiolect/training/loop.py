"""The loop: steps one after the other, and what is done behind each of them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from idiolect.base.log import get_logger
from idiolect.base.stopwatch import Stopwatch
from idiolect.training.feed import Feed
from idiolect.training.loss import LossWeights
from idiolect.training.metrics import MetricsLog, peak_memory_bytes
from idiolect.training.rows import RowRates
from idiolect.training.schedule import Schedule
from idiolect.training.state import RunState
from idiolect.training.step import OutOfRoomError, StepBatches, StepReport, train_step

StepHook = Callable[[StepReport], None]
StopAsked = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How each step is taken."""

    schedule: Schedule
    learning_rate: float
    weights: LossWeights
    grad_clip: float
    seed: int
    rows: RowRates | None = None


class Room:
    """How many tokens the device has room for in a pass; less once it ran out of memory."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._tokens = feed.tokens_per_pass

    def fitted(self, data: StepBatches) -> StepBatches:
        """Return ``data`` in passes that fit."""
        is_as_made = self._tokens == self._feed.tokens_per_pass
        return data if is_as_made else self._feed.recut(data, self._tokens)

    def shrink(self, data: StepBatches, error: OutOfRoomError) -> None:
        """Halve the room after ``error`` on a pass of ``data``, and say so.

        Raises:
            OutOfRoomError: One clip is too long, or processes wait for each other meanwhile.
        """
        passes = self.fitted(data).batches
        is_cut = all(len(batch.latents) == 1 for batch in passes)
        if self._feed.share.count > 1 or is_cut:
            raise error
        self._tokens = max(1, min(self._tokens, max(batch.row_len for batch in passes)) // 2)
        torch.cuda.empty_cache()
        get_logger().warning(
            "%s: passes of %d tokens from here on; the steps stay what they were",
            error.problem,
            self._tokens,
        )


def train_steps(
    model: nn.Module,
    optimizer: Optimizer,
    steps: Iterable[StepBatches],
    accelerator: Accelerator,
    settings: LoopSettings,
    *,
    room: Room,
    after_step: Sequence[StepHook],
    stop_asked: StopAsked,
) -> None:
    """Take ``steps`` until they end or somebody asks to stop.

    Args:
        model: Updated in place.
        optimizer: Over its parameters.
        steps: The passes of each step.
        accelerator: Device, precision and processes.
        settings: Of each step.
        room: How long a pass may be.
        after_step: Called in order behind each step: counting, reporting, measuring, saving.
        stop_asked: Looked at behind each step.

    Raises:
        TrainingError: A loss is not finite, or not even one clip fits; the weights are those
            before that step.
    """
    model.train()
    for data in steps:
        report = _take(model, optimizer, data, accelerator, settings, room)
        for hook in after_step:
            hook(report)
        if stop_asked():
            return


def _take(
    model: nn.Module,
    optimizer: Optimizer,
    data: StepBatches,
    accelerator: Accelerator,
    settings: LoopSettings,
    room: Room,
) -> StepReport:
    while True:
        try:
            return train_step(
                model,
                optimizer,
                room.fitted(data),
                accelerator,
                learning_rate=settings.learning_rate * settings.schedule.share_at(data.step),
                weights=settings.weights,
                grad_clip=settings.grad_clip,
                seed=settings.seed,
                rows=settings.rows,
            )
        except OutOfRoomError as error:
            room.shrink(data, error)


def count_into(state: RunState) -> StepHook:
    """Return the hook that lets ``state`` know of each step."""

    def count(report: StepReport) -> None:
        state.step, state.epoch = report.step, report.epoch
        state.meter.add(report.text_sum, report.code_sum, report.num_correct, report.counts)

    return count


def report_to(
    log: MetricsLog,
    state: RunState,
    weights: LossWeights,
    *,
    waits: Stopwatch,
    asides: Stopwatch,
    every: int,
    last_step: int,
    device: torch.device,
) -> StepHook:
    """Return the hook that reports the mean over the steps since the last report.

    Args:
        log: Where to.
        state: Has the sums, and begins anew.
        weights: Of the losses.
        waits: What steps waited for their data.
        asides: What was done between steps and is none of them: measuring and saving.
        every: Steps between two reports.
        last_step: Of the run.
        device: Whose memory is told.
    """
    since_sec, num_steps, num_labels, num_codes = time.monotonic(), 0, 0, 0

    def report_interval(report: StepReport) -> None:
        nonlocal since_sec, num_steps, num_labels, num_codes
        num_steps += 1
        num_labels += report.counts.text + report.counts.codes
        num_codes += report.counts.codes
        if report.step % every and report.step != last_step:
            return
        now_sec = time.monotonic()
        log.report_train(
            report,
            state.meter.scores(weights),
            last_step=last_step,
            elapsed_sec=now_sec - since_sec - asides.taken(),
            num_labels=num_labels,
            num_steps=num_steps,
            num_codes=num_codes,
            wait_sec=waits.taken(),
            memory_bytes=peak_memory_bytes(device),
        )
        state.meter = type(state.meter)()
        since_sec, num_steps, num_labels, num_codes = now_sec, 0, 0, 0

    return report_interval


@contextmanager
def stopping_on_signals() -> Iterator[StopAsked]:
    """Yield a function that tells whether SIGTERM or Ctrl-C came; a second one is not held back."""
    asked = False

    def ask(number: int, _: FrameType | None) -> None:
        nonlocal asked
        asked = True
        get_logger().info("%s: saving and stopping", signal.Signals(number).name)
        signal.signal(number, before[signal.Signals(number)])

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread gets signals
        return
    before = {n: signal.signal(n, ask) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
