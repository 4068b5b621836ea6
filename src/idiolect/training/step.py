"""One optimizer step: the gradient of a token mean over all its batches, clipped, applied."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from idiolect.base.errors import ConfigError, TrainingError, did_you_mean
from idiolect.data.batches import GptBatch
from idiolect.data.samples import SampleRef
from idiolect.training.loss import LabelCounts, LossSums, LossWeights, mean_loss
from idiolect.training.rows import RowRates


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What one step was and did."""

    step: int
    epoch: int
    """From 1, as people count."""
    text_sum: float
    code_sum: float
    num_correct: int
    kl_sum: float
    counts: LabelCounts
    grad_norm: float
    """Before clipping."""
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBatches:
    """The passes of one step that are this process's."""

    step: int
    epoch: int
    batches: Sequence[GptBatch]
    numbers: Sequence[int]
    """Of the passes, among those of all processes."""
    counts: LabelCounts
    """Of the whole step, on all processes."""
    refs: Sequence[SampleRef] = ()
    """The samples of the whole step, to cut it anew."""


class OutOfRoomError(TrainingError):
    """The device has no room for a pass; smaller ones may fit."""


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


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    data: StepBatches,
    accelerator: Accelerator,
    *,
    learning_rate: float,
    weights: LossWeights,
    grad_clip: float,
    seed: int,
    rows: RowRates | None = None,
) -> StepReport:
    """Learn from ``data``.

    What a pass draws by chance depends on ``seed`` and the numbers of the step and of the pass
    alone; so there is no state of a generator to keep for a run that goes on, and passes may be
    shared out among processes in any way.

    Raises:
        OutOfRoomError: The device has no room for a pass; the weights are those before this step.
        TrainingError: Loss or gradient are not finite; likewise.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    totals = _add_gradients(model, data, accelerator, weights, seed)
    if rows is not None:
        rows.keep_others_still(data.step)
    grad_norm = _whole(accelerator.clip_grad_norm_(model.parameters(), grad_clip))
    sums = [*accelerator.reduce(totals).tolist(), float(grad_norm)]
    _check_finite(data.step, sums)
    with rows.applied(data.step) if rows is not None else nullcontext():
        optimizer.step()
    optimizer.zero_grad()
    text_sum, code_sum, num_correct, kl_sum, norm = sums
    return StepReport(
        step=data.step,
        epoch=data.epoch,
        text_sum=text_sum,
        code_sum=code_sum,
        num_correct=int(num_correct),
        kl_sum=kl_sum,
        counts=data.counts,
        grad_norm=norm,
        learning_rate=learning_rate,
    )


def _add_gradients(
    model: nn.Module,
    data: StepBatches,
    accelerator: Accelerator,
    weights: LossWeights,
    seed: int,
) -> Tensor:
    """Add the gradients of the passes of this process; return the sums of their losses ``[4]``."""
    device = accelerator.device
    totals = torch.zeros(len(LossSums._fields), dtype=torch.float64, device=device)
    for number, batch in zip(data.numbers, data.batches, strict=True):
        torch.manual_seed(pass_seed(seed, data.step, number))
        is_last = number == data.numbers[-1]
        try:
            with nullcontext() if is_last else accelerator.no_sync(model):
                with accelerator.autocast():
                    sums = model(batch.to(device))
                loss = mean_loss(sums.text, sums.codes, data.counts, weights, kl_sum=sums.kl)
                # Wrapped models average over processes; the loss is a sum over their passes.
                accelerator.backward(loss * accelerator.num_processes)
        except torch.OutOfMemoryError as error:
            for parameter in model.parameters():
                parameter.grad = None
            raise _no_room(data.step, batch) from error
        totals += torch.stack([part.detach().double() for part in sums])
    return totals


def pass_seed(seed: int, step: int, number: int) -> int:
    """Return the seed of what pass ``number`` of ``step`` draws by chance."""
    return int(np.random.SeedSequence([seed, step, number]).generate_state(1, np.uint64)[0] >> 1)


def _whole(norm: Tensor | float) -> Tensor | float:
    """Return ``norm`` as one number, also where each process holds a part of the weights."""
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def _no_room(step: int, batch: GptBatch) -> OutOfRoomError:
    return OutOfRoomError(
        f"out of memory on a pass of {batch.num_rows * batch.row_len} tokens",
        where=f"step {step}; the step was not taken",
        fix="--resume with a smaller --tokens-per-pass, or --gradient-checkpointing: the steps "
        "stay what they were",
    )


def _check_finite(step: int, sums: Sequence[float]) -> None:
    if all(map(math.isfinite, sums)):
        return
    text_sum, code_sum, *_, grad_norm = sums
    raise TrainingError(
        f"the loss or its gradient is not finite (text {text_sum:g}, codes {code_sum:g}, norm "
        f"{grad_norm:g})",
        where=f"step {step}; the step was not taken",
        fix="lower --learning-rate, or give --precision fp32; the newest checkpoint is good, "
        "begin from it with --base-checkpoint",
    )
