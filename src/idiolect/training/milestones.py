"""The steps behind which a run measures, saves or stops."""

from __future__ import annotations

import time

from accelerate import Accelerator

from idiolect.base.log import get_logger
from idiolect.base.stopwatch import Stopwatch
from idiolect.training.config import TrainConfig
from idiolect.training.engine import agreed
from idiolect.training.intervals import Intervals
from idiolect.training.learner import Learner
from idiolect.training.loop import StopAsked
from idiolect.training.measure import Measurement
from idiolect.training.state import Checkpoints, RunState
from idiolect.training.step import StepReport


class Milestones:
    """Measures and saves when it is time, and saves before a stop.

    Args:
        learner: Whose weights are measured and saved.
        measurement: What to measure.
        checkpoints: Where to save.
        state: Of the run; it knows the step.
        config: Of the run.
        intervals: Of the run.
        accelerator: Of the process; all of them measure and stop at the same step.
        stop_asked: Whether this process is to stop.
        asides: Takes the time that is spent here.
    """

    def __init__(
        self,
        learner: Learner,
        measurement: Measurement,
        checkpoints: Checkpoints,
        state: RunState,
        config: TrainConfig,
        *,
        intervals: Intervals,
        accelerator: Accelerator,
        stop_asked: StopAsked,
        asides: Stopwatch,
    ) -> None:
        self._learner, self._measurement = learner, measurement
        self._checkpoints, self._state, self._config = checkpoints, state, config
        self._intervals, self._accelerator = intervals, accelerator
        self._stop_asked, self._asides = stop_asked, asides
        self._saved_sec = time.monotonic()
        self.is_stopped = False
        """Whether the run ends here, by a signal or for want of anything better."""

    def reach(self, report: StepReport) -> None:
        """Do what is due behind the step of ``report``."""
        self._learner.smooth(report.step)
        flags = self._stop_asked(), self._is_time_to_save
        self.is_stopped, is_time = agreed(self._accelerator, *flags)
        is_last = report.step == self._intervals.last_step
        measures = is_last or report.step % self._intervals.val_every == 0
        with self._asides.running(), self._learner.smoothed():
            if measures:
                self._measurement.take()
                self.is_stopped |= self._lose_patience()
            is_due = is_time or report.step % self._intervals.save_every == 0
            if is_last or is_due or self.is_stopped:
                self._save()
            elif measures and self._state.is_kept:
                self._save_weights()

    @property
    def _is_time_to_save(self) -> bool:
        minutes = (time.monotonic() - self._saved_sec) / 60
        return 0 < self._config.save_minutes <= minutes

    def _lose_patience(self) -> bool:
        (is_stopped,) = agreed(self._accelerator, self._measurement.is_stopped)
        self._state.lost_patience = self._config.patience if is_stopped else 0
        return is_stopped

    def _save(self) -> None:
        trained, held = self._learner.weights(), self._learner.held()
        optimizer = self._learner.optimizer_state()
        if self._accelerator.is_main_process:
            path = self._checkpoints.save(trained, optimizer, self._state, held=held)
            get_logger().info("saved %s", path)
        self._saved_sec = time.monotonic()

    def _save_weights(self) -> None:
        trained = self._learner.weights()
        if self._accelerator.is_main_process:
            self._checkpoints.save_weights(trained, self._state)
