"""How fast training is on this device: a few real steps, timed.

Nothing is written. The network is one of the run's own, and is changed: it is not to be used
afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import torch
from accelerate import Accelerator

from idiolect.models.gpt import UnifiedVoice
from idiolect.training.config import TrainConfig
from idiolect.training.engine import place
from idiolect.training.evaluate import evaluate
from idiolect.training.feed import Feed
from idiolect.training.loss import LossWeights, TrainableGpt
from idiolect.training.optimizer import make_optimizer
from idiolect.training.step import StepBatches, train_step

WARM_UP_STEPS = 1
"""Slower than the rest: memory is taken and kernels are chosen."""
FEWEST_STEPS = 2
MOST_STEPS = 6
ENOUGH_SEC = 20.0
"""After this long, :data:`FEWEST_STEPS` are enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What was measured."""

    step_rates: tuple[float, ...]
    """Tokens a second of each step."""
    val_rate: float
    """Tokens a second of a validation."""
    peak_bytes: int | None
    """Most memory that tensors took on a GPU; None elsewhere."""

    @property
    def rate(self) -> float:
        """Tokens a second of the step in the middle."""
        return median(self.step_rates)

    def seconds(self, num_tokens: float, num_val_tokens: float) -> tuple[float, float]:
        """Return the time of so many tokens, at the fastest and at the slowest step's rate."""
        val_sec = num_val_tokens / self.val_rate
        fastest, slowest = max(self.step_rates), min(self.step_rates)
        return num_tokens / fastest + val_sec, num_tokens / slowest + val_sec


def measure_pace(
    feed: Feed, gpt: UnifiedVoice, accelerator: Accelerator, config: TrainConfig
) -> Pace:
    """Take the first steps of a run with the batches of ``feed``; return how fast they were.

    Raises:
        TrainingError: The device has no room for a pass.
    """
    device = accelerator.device
    learner = TrainableGpt(gpt, code_noise=config.code_noise)
    model = place(learner, accelerator, shard=False)
    model.train()
    optimizer = make_optimizer(
        model, weight_decay=config.weight_decay, device=device, kind=config.optimizer
    )
    weights = LossWeights(config.text_loss_weight, config.mel_loss_weight)
    rates = []
    started = time.perf_counter()
    for step in feed.steps(1, WARM_UP_STEPS + MOST_STEPS):
        _finish(device)
        begun = time.perf_counter()
        train_step(
            model,
            optimizer,
            step,
            accelerator,
            learning_rate=config.learning_rate,
            weights=weights,
            grad_clip=config.grad_clip,
            seed=config.seed,
        )
        _finish(device)
        rates.append(num_tokens_of(step) / (time.perf_counter() - begun))
        is_long = time.perf_counter() - started > ENOUGH_SEC
        if is_long and len(rates) >= WARM_UP_STEPS + FEWEST_STEPS:
            break
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Pace(
        step_rates=tuple(rates[WARM_UP_STEPS:] or rates),
        val_rate=_val_rate(model, feed, accelerator),
        peak_bytes=peak,
    )


def num_tokens_of(step: StepBatches) -> int:
    """Return the rows that the network computes in ``step``."""
    return sum(batch.num_rows * batch.row_len for batch in step.batches)


def _val_rate(model: torch.nn.Module, feed: Feed, accelerator: Accelerator) -> float:
    """Return the tokens a second of the first pass of a validation."""
    first = next(feed.validation())
    language, batches, counts = first
    begun = time.perf_counter()
    evaluate(model, [(language, batches[:1], counts)], accelerator)
    _finish(accelerator.device)
    return batches[0].num_rows * batches[0].row_len / (time.perf_counter() - begun)


def _finish(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
