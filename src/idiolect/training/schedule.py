"""The learning rate of each step: a pure function, so that resuming cannot change it."""

from __future__ import annotations

import math
from dataclasses import dataclass

FINAL_SHARE = 0.1
"""The learning rate at the last step, as a share of the highest: never 0, so none is wasted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A run that was made longer: from which step, and what the learning rate was there."""

    step: int
    """The last step under the old length."""
    rate_share: float
    """The learning rate of that step, as a share of the highest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A linear warm-up, then half a cosine down to :data:`FINAL_SHARE` at the last step.

    ``--epochs 20`` on a run of 10 changes the length of the cosine, and at the step where the
    run goes on, the longer cosine is higher than the shorter one was. The learning rate must not
    jump there: it rises in a straight line, over as many steps as the warm-up of a run of the
    added length, from where it was to the longer cosine, and follows that from there.
    """

    total_steps: int
    warmup_steps: int
    extension: Extension | None = None
    rewarm_steps: int = 0
    """Steps of the rise after ``extension``."""

    def share_at(self, step: int) -> float:
        """Return the learning rate of ``step`` (the first is 1), as a share of the highest."""
        if self.extension is None or step >= self.extension.step + self.rewarm_steps:
            return self._cosine(step)
        if step <= self.extension.step:
            return self.extension.rate_share
        joined = self._cosine(self.extension.step + self.rewarm_steps)
        part = (step - self.extension.step) / self.rewarm_steps
        return self.extension.rate_share + part * (joined - self.extension.rate_share)

    def _cosine(self, step: int) -> float:
        if step < self.warmup_steps:
            return step / self.warmup_steps
        length = max(1, self.total_steps - self.warmup_steps)
        part = min(1.0, (step - self.warmup_steps) / length)
        return FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * part)) / 2


def make_schedule(total_steps: int, *, share: float, steps: int | None) -> Schedule:
    """Return the schedule of a new run, with ``steps`` or else a ``share`` of all for warm-up."""
    wanted = round(total_steps * share) if steps is None else steps
    return Schedule(total_steps=total_steps, warmup_steps=min(max(1, wanted), total_steps))


def extend(schedule: Schedule, *, step: int, total_steps: int, share: float) -> Schedule:
    """Return ``schedule`` with another length, continuous at ``step``; itself if it is the same."""
    if total_steps == schedule.total_steps:
        return schedule
    rewarm = round((total_steps - step) * share)
    return Schedule(
        total_steps=total_steps,
        warmup_steps=schedule.warmup_steps,
        extension=Extension(step=step, rate_share=schedule.share_at(step)),
        rewarm_steps=max(1, rewarm),
    )
