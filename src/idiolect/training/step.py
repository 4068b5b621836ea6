"""One optimizer step: the gradient of a token mean over all its batches, clipped, applied."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import AdamW, Optimizer

from idiolect.base.errors import ConfigError, TrainingError, did_you_mean
from idiolect.data.batches import GptBatch
from idiolect.training.loss import LabelCounts, LossWeights, TrainableGpt, count_labels, mean_loss

SEED_STRIDE = 1_000_003
"""Keeps the random numbers of neighbouring seeds apart: no run has so many steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What one step was and did."""

    step: int
    epoch: int
    """From 1, as people count."""
    text_sum: float
    code_sum: float
    num_correct: int
    counts: LabelCounts
    grad_norm: float
    """Before clipping."""
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBatches:
    """The batches of one step."""

    step: int
    epoch: int
    batches: Sequence[GptBatch]


def freeze_parameters(gpt: nn.Module, patterns: Sequence[str]) -> None:
    """Let the parameters of ``gpt`` whose names match one of ``patterns`` stay as they are.

    Raises:
        ConfigError: A pattern matches none, or nothing is left to learn.
    """
    names = [name for name, _ in gpt.named_parameters()]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            families = {re.sub(r"\.\d+\.", ".*.", name) for name in names}
            raise ConfigError(
                f"no parameter is called {pattern!r}",
                where="--freeze",
                fix=did_you_mean(pattern, families),
            )
    for name, parameter in gpt.named_parameters():
        is_frozen = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        parameter.requires_grad_(not is_frozen)
    if not any(parameter.requires_grad for parameter in gpt.parameters()):
        raise ConfigError("nothing is left to learn", where="--freeze", fix="freeze less")


def make_optimizer(model: nn.Module, *, weight_decay: float, device: torch.device) -> AdamW:
    """Return AdamW over what ``model`` learns; its learning rate is set at each step.

    Only matrices decay: a norm, a bias or an embedding that is pulled to zero loses what it means.
    """
    decayed, others = _split_by_decay(model)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=0.0, fused=device.type in ("cuda", "cpu"))


def set_weight_decay(optimizer: Optimizer, weight_decay: float) -> None:
    """Let the matrices decay by ``weight_decay`` from now on."""
    optimizer.param_groups[0]["weight_decay"] = weight_decay


def train_step(
    model: TrainableGpt,
    optimizer: Optimizer,
    data: StepBatches,
    accelerator: Accelerator,
    *,
    learning_rate: float,
    weights: LossWeights,
    grad_clip: float,
    seed: int,
) -> StepReport:
    """Learn from ``data``.

    Dropping activations is the only chance in it, and depends on ``seed`` and the number of the
    step alone; so there is no state of a generator to keep for a run that goes on.

    Raises:
        TrainingError: Loss or gradient are not finite, or the device has no room; the weights are
            those before this step.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    torch.manual_seed(seed * SEED_STRIDE + data.step)
    counts = count_labels(data.batches)
    totals = torch.zeros(3, dtype=torch.float64, device=accelerator.device)
    for batch in data.batches:
        try:
            sums = model(batch.to(accelerator.device))
            accelerator.backward(mean_loss(sums.text, sums.codes, counts, weights))
        except torch.OutOfMemoryError as error:
            raise _no_room(data.step, batch) from error
        totals += torch.stack([part.detach().double() for part in sums])
    grad_norm = accelerator.clip_grad_norm_(model.parameters(), grad_clip)
    text_sum, code_sum, num_correct, norm = [*totals.tolist(), float(grad_norm)]
    _check_finite(data.step, text_sum, code_sum, norm)
    optimizer.step()
    optimizer.zero_grad()
    return StepReport(
        step=data.step,
        epoch=data.epoch,
        text_sum=text_sum,
        code_sum=code_sum,
        num_correct=int(num_correct),
        counts=counts,
        grad_norm=norm,
        learning_rate=learning_rate,
    )


def _split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in filter(lambda found: found.requires_grad, model.parameters()):
        is_matrix = parameter.ndim >= 2 and id(parameter) not in tables
        (decayed if is_matrix else others).append(parameter)
    return decayed, others


def _no_room(step: int, batch: GptBatch) -> TrainingError:
    return TrainingError(
        f"out of memory on a batch of {batch.num_rows * batch.row_len} tokens",
        where=f"step {step}; the step was not taken",
        fix="--resume with half the --batch-size and twice the --grad-accumulation: the steps stay "
        "what they were",
    )


def _check_finite(step: int, text_sum: float, code_sum: float, grad_norm: float) -> None:
    if all(map(math.isfinite, (text_sum, code_sum, grad_norm))):
        return
    raise TrainingError(
        f"the loss or its gradient is not finite (text {text_sum:g}, codes {code_sum:g}, norm "
        f"{grad_norm:g})",
        where=f"step {step}; the step was not taken",
        fix="lower --learning-rate, or give --precision fp32; the newest checkpoint is good, "
        "begin from it with --base-checkpoint",
    )
