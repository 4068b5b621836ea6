"""The loop: steps one after the other, and what is done behind each of them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from accelerate import Accelerator
from torch.optim import Optimizer

from idiolect.base.log import get_logger
from idiolect.training.loss import LossWeights, TrainableGpt
from idiolect.training.metrics import MetricsLog
from idiolect.training.schedule import Schedule
from idiolect.training.state import RunState
from idiolect.training.step import StepBatches, StepReport, train_step

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


def train_steps(
    model: TrainableGpt,
    optimizer: Optimizer,
    steps: Iterable[StepBatches],
    accelerator: Accelerator,
    settings: LoopSettings,
    *,
    after_step: Sequence[StepHook],
    stop_asked: StopAsked,
) -> None:
    """Take ``steps`` until they end or somebody asks to stop.

    Args:
        model: Updated in place.
        optimizer: Over its parameters.
        steps: The batches of each step.
        accelerator: Device and precision.
        settings: Of each step.
        after_step: Called in order behind each step: counting, reporting, measuring, saving.
        stop_asked: Looked at behind each step.

    Raises:
        TrainingError: A loss is not finite; the weights are those before that step.
    """
    model.train()
    for data in steps:
        report = train_step(
            model,
            optimizer,
            data,
            accelerator,
            learning_rate=settings.learning_rate * settings.schedule.share_at(data.step),
            weights=settings.weights,
            grad_clip=settings.grad_clip,
            seed=settings.seed,
        )
        for hook in after_step:
            hook(report)
        if stop_asked():
            return


def count_into(state: RunState) -> StepHook:
    """Return the hook that lets ``state`` know of each step."""

    def count(report: StepReport) -> None:
        state.step, state.epoch = report.step, report.epoch
        state.meter.add(report.text_sum, report.code_sum, report.num_correct, report.counts)

    return count


def report_to(
    log: MetricsLog, state: RunState, weights: LossWeights, *, every: int, last_step: int
) -> StepHook:
    """Return the hook that reports the mean over the steps since the last report."""
    since_sec, num_steps, num_labels = time.monotonic(), 0, 0

    def report_interval(report: StepReport) -> None:
        nonlocal since_sec, num_steps, num_labels
        num_steps += 1
        num_labels += sum(report.counts)
        if report.step % every and report.step != last_step:
            return
        now_sec = time.monotonic()
        scores = state.meter.scores(weights)
        log.report_train(
            report,
            scores,
            last_step=last_step,
            elapsed_sec=now_sec - since_sec,
            num_labels=num_labels,
            num_steps=num_steps,
        )
        state.meter = type(state.meter)()
        since_sec, num_steps, num_labels = now_sec, 0, 0

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
