"""How many steps a run has, and after how many of them it saves and measures."""

from __future__ import annotations

import math
from typing import NamedTuple

from idiolect.training.config import TrainConfig

MOST_STEPS_PER_SAVE = 1000
SAVES_PER_RUN = 10


class Intervals(NamedTuple):
    """Steps of a run."""

    last_step: int
    save_every: int
    val_every: int

    @property
    def num_validations(self) -> int:
        """How many there are: one before the first step, and one behind the last."""
        return 1 + math.ceil(self.last_step / self.val_every)


def intervals_of(config: TrainConfig, steps_per_epoch: int) -> Intervals:
    """Return the steps of a run whose epochs have ``steps_per_epoch``."""
    last_step = steps_per_epoch * config.epochs
    last_step = min(last_step, config.max_steps) if config.max_steps else last_step
    save_every = config.save_every or min(MOST_STEPS_PER_SAVE, math.ceil(last_step / SAVES_PER_RUN))
    return Intervals(last_step, save_every, config.val_interval or save_every)
