"""The loop that every stage of the recipe shares: it goes on where it stopped.

A stage is a step function over some modules and optimizers. Chance in a step comes from its seed
and its number alone (:func:`step_generator`), so a stage that was killed and started again takes
the same steps as one that was not.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from idiolect.base.errors import TrainingError
from idiolect.base.log import get_logger
from idiolect.base.progress import progress
from idiolect.base.units import format_duration
from idiolect.models.checkpoint import Weights, load_tensors, save_tensors

STATE_FILE = "state.pth"
METRICS_FILE = "metrics.jsonl"
LOG_EVERY_SEC = 15.0
WORKERS = 4
"""Most processes that make batches for a GPU, each so many ahead: one would make it wait."""
MADE_AHEAD = 4
MOST_STEPS = 10**7
MOST_CORES = 16
WORTH_SHARING = 200
"""So many are made sooner by all cores, although other processes have to start first."""

T = TypeVar("T")

Scores = Mapping[str, float]


class Part(Protocol):
    """A module, an optimizer: what has a state that is kept."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that is kept."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Set it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a stage runs, and how fast it learns."""

    total_steps: int
    learning_rate: float
    """The highest, reached behind the warm-up; it falls to a tenth of that along a cosine."""
    warmup_steps: int = 200
    seed: int = 0
    save_every_sec: float = 120.0
    minutes: float = math.inf
    """A run of the stage ends behind so many, whatever its step, and learns slowest then."""

    def rate_at(self, step: int, spent_min: float = 0.0) -> float:
        """Return the learning rate of ``step``, which counts from 1, so far into the run."""
        if step <= self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        done = min(1.0, max(done, spent_min / self.minutes))
        return self.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))


def run_stage(
    name: str,
    folder: Path,
    parts: Mapping[str, Part],
    step: Callable[[int], Scores],
    pace: Pace,
) -> None:
    """Take the steps that are not taken yet, each at the learning rate of its number.

    Args:
        name: For the log.
        folder: Of the stage; gains ``state.pth`` and ``metrics.jsonl``.
        parts: All that a step changes: modules and optimizers by name.
        step: Takes the step of a number from 1 on, and returns what was measured.
        pace: Length and learning rate.

    Raises:
        TrainingError: A score is not finite; the state that is kept is from before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = load_state(folder, parts) + 1
    if first > pace.total_steps:
        return
    log = _Log(name, folder, pace)
    began = saved = time.monotonic()
    done = first - 1
    try:
        with progress(name, pace.total_steps, unit="steps", reports_itself=True) as advance:
            advance(done)
            for number in range(first, pace.total_steps + 1):
                spent_min = (time.monotonic() - began) / 60
                if spent_min >= pace.minutes:
                    break
                _set_rate(parts, pace.rate_at(number, spent_min))
                log.take(number, step(number))
                done = number
                advance(1)
                if time.monotonic() - saved > pace.save_every_sec:
                    save_state(folder, parts, done)
                    saved = time.monotonic()
    except KeyboardInterrupt:
        save_state(folder, parts, done)
        raise
    save_state(folder, parts, done)
    log.flush(done)


def save_state(folder: Path, parts: Mapping[str, Part], step: int) -> None:
    """Write where the stage stands behind ``step``."""
    content = {"step": step, "parts": {name: part.state_dict() for name, part in parts.items()}}
    save_tensors(folder / STATE_FILE, content)


def load_state(folder: Path, parts: Mapping[str, Part]) -> int:
    """Set ``parts`` to what is kept in ``folder``; return the last step taken, 0 when none was."""
    if not (folder / STATE_FILE).exists():
        return 0
    content = load_tensors(folder / STATE_FILE, mmap=False)
    for name, part in parts.items():
        part.load_state_dict(content["parts"][name])
    return int(content["step"])


def weights_to_begin_with(folder: Path, name: str) -> Path | None:
    """Return the file of weights that a stage which has not begun yet finds in its ``folder``."""
    path = folder / name
    return path if path.is_file() and not (folder / STATE_FILE).exists() else None


def device_at_hand() -> torch.device:
    """Return what a stage learns on: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def halved(device: torch.device) -> torch.autocast:
    """Return the context in which the networks of a stage compute in bfloat16 on ``device``."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def step_generator(
    seed: int, step: int, device: torch.device | str | None = None
) -> torch.Generator:
    """Return the source of chance of one step, on the CPU unless a device is named."""
    return torch.Generator(device or "cpu").manual_seed(seed * 1_000_003 + step)


class Ahead(Generic[T]):
    """What each step learns from: made when it is asked for or, for a GPU, ahead of that.

    Args:
        make: The number of a step to what it learns from, on the CPU; nothing else may matter.
        device: Where it is learnt from.
    """

    def __init__(self, make: Callable[[int], T], device: torch.device) -> None:
        self._make = make
        self._is_ahead = device.type != "cpu"
        self._coming: Iterator[T] = iter(())
        self._next = 0

    def of_step(self, number: int) -> T:
        """Return what the step of ``number`` learns from; quick where steps follow each other."""
        if not self._is_ahead:
            return self._make(number)
        if number != self._next:
            self._coming = self._from(number)
        self._next = number + 1
        return next(self._coming)

    def _from(self, number: int) -> Iterator[T]:
        return _made_by_others(self._make, range(number, number + MOST_STEPS), WORKERS)


def each_in_order(make: Callable[[int], T], count: int) -> Iterator[T]:
    """Yield ``make(0)`` to ``make(count - 1)``; where these are many, all cores make them."""
    if count < WORTH_SHARING:
        return map(make, range(count))
    return _made_by_others(make, range(count), MOST_CORES)


def _made_by_others(make: Callable[[int], T], numbers: range, most: int) -> Iterator[T]:
    """Yield what ``make`` makes of ``numbers``, in order, in ``most`` processes: one a core."""
    loader = DataLoader(
        _Made(make),
        sampler=numbers,
        batch_size=None,
        num_workers=min(most, os.cpu_count() or 1),
        prefetch_factor=MADE_AHEAD,
        collate_fn=_as_it_is,
    )
    return iter(loader)


def _as_it_is(made: T) -> T:
    return made


class _Made(Dataset[T]):
    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make

    def __getitem__(self, number: int) -> T:
        return self._make(number)


def running_average(module: nn.Module, decay: float) -> AveragedModel:
    """Return a part that follows ``module``: ``update_parameters(module)`` behind each step."""
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # untyped in torch
    return AveragedModel(module, multi_avg_fn=average, use_buffers=True)


def averaged_weights(folder: Path, part: str) -> Weights:
    """Return the tensors of a running average as they are kept in ``folder``, under plain names."""
    state = load_tensors(folder / STATE_FILE)["parts"][part]
    prefix = "module."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def _set_rate(parts: Mapping[str, Part], rate: float) -> None:
    for part in parts.values():
        if isinstance(part, Optimizer):
            for group in part.param_groups:
                group["lr"] = rate * group.get("rate_scale", 1.0)


class _Log:
    """Means of the scores since the last line, in the log and in ``metrics.jsonl``."""

    def __init__(self, name: str, folder: Path, pace: Pace) -> None:
        self._name = name
        self._path = folder / METRICS_FILE
        self._pace = pace
        self._sums: dict[str, float] = {}
        self._steps = 0
        self._began = self._since = time.monotonic()

    def take(self, step: int, scores: Scores) -> None:
        """Add the scores of ``step``; write a line when it is time."""
        for key, value in scores.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{self._name}: {key} is {value} at step {step}",
                    fix="start the stage again with a lower learning rate",
                )
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._steps += 1
        if time.monotonic() - self._since > LOG_EVERY_SEC:
            self.flush(step)

    def flush(self, step: int) -> None:
        """Write the line."""
        if not self._steps:
            return
        means = {key: total / self._steps for key, total in self._sums.items()}
        now = time.monotonic()
        pace_sec = (now - self._since) / self._steps
        left_sec = pace_sec * (self._pace.total_steps - step)
        left = format_duration(min(left_sec, self._began + 60 * self._pace.minutes - now))
        text = "  ".join(f"{key} {value:.4g}" for key, value in means.items())
        get_logger().info(f"{self._name} {step}/{self._pace.total_steps}  {text}  {left} left")
        line = {"step": step, "step_sec": pace_sec, **means}
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        self._sums, self._steps, self._since = {}, 0, time.monotonic()
