"""What learns in a run: the model on its device, and all that moves its weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from idiolect.models.checkpoint import Weights
from idiolect.models.gpt import UnifiedVoice
from idiolect.training.averages import RunningMean
from idiolect.training.base_kl import BaseTeacher
from idiolect.training.config import TrainConfig
from idiolect.training.engine import (
    load_optimizer_state,
    optimizer_state,
    place,
    wants_shards,
    whole,
)
from idiolect.training.inputs import Inputs
from idiolect.training.loss import TrainableGpt
from idiolect.training.optimizer import make_optimizer, set_weight_decay
from idiolect.training.rows import RowRates, check_new_rows
from idiolect.training.state import Stand


class Learner:
    """The model of a run, its optimizer, and what they are told about single rows and means.

    Args:
        gpt: What learns; it is moved to the device.
        config: Of the run.
        inputs: Of the run.
        is_new: ``[V]`` bool, which text rows the base lacks.
        accelerator: Of the process.
        begun: Where the run stands: the state of the optimizer to go on from.

    Raises:
        ConfigError: New rows are to be taught and there is none.
    """

    def __init__(
        self,
        gpt: UnifiedVoice,
        config: TrainConfig,
        inputs: Inputs,
        *,
        is_new: Tensor,
        accelerator: Accelerator,
        begun: Stand,
    ) -> None:
        self.gpt = gpt
        self.model = _placed(gpt, config, inputs, accelerator)
        # The rows, the optimizer and the mean hold parameters, which shards put in place of others.
        self.rows = _row_rates(gpt, config, is_new)
        self.optimizer = _optimizer(gpt, config, accelerator, begun)
        self._mean = _running_mean(gpt, config, begun)

    def smooth(self, step: int) -> None:
        """Take the weights behind ``step`` into the running mean, where there is one."""
        if self._mean is not None:
            self._mean.update(step)

    def smoothed(self) -> AbstractContextManager[None]:
        """Put the running mean where the weights are, where there is one."""
        return nullcontext() if self._mean is None else self._mean.in_place()

    def weights(self) -> Weights:
        """Return the weights in place, whole; every process must call."""
        return _whole(self.gpt.state_dict())

    def held(self) -> Weights | None:
        """Return what is not in place (see :meth:`RunningMean.held`); every process must call."""
        return None if self._mean is None else _whole(self._mean.held())

    def optimizer_state(self) -> dict[str, object]:
        """Return the state of the optimizer, whole; every process must call."""
        return optimizer_state(self.optimizer)


def _placed(
    gpt: UnifiedVoice, config: TrainConfig, inputs: Inputs, accelerator: Accelerator
) -> nn.Module:
    gpt.gradient_checkpointing = config.gradient_checkpointing
    if config.compile:
        gpt.compile_blocks()
    teacher = None
    if config.base_kl:
        half = accelerator.mixed_precision == "bf16"
        teacher = BaseTeacher.load(inputs.files, accelerator.device, half=half)
    model = TrainableGpt(gpt, code_noise=config.code_noise, teacher=teacher)
    return place(model, accelerator, shard=wants_shards(config))


def _row_rates(gpt: UnifiedVoice, config: TrainConfig, is_new: Tensor) -> RowRates | None:
    is_row_mode = config.mode == "rows"
    if not (is_row_mode or config.warmup_rows or config.new_row_lr):
        return None
    check_new_rows(is_new, where="--mode rows, --warmup-rows, --new-row-lr")
    share = config.new_row_lr / config.learning_rate if config.new_row_lr else 1.0
    alone_until = None if is_row_mode else config.warmup_rows
    return RowRates(gpt, is_new, new_share=share, alone_until=alone_until)


def _optimizer(
    gpt: UnifiedVoice, config: TrainConfig, accelerator: Accelerator, begun: Stand
) -> Optimizer:
    decay = config.weight_decay
    device = accelerator.device
    optimizer = make_optimizer(gpt, weight_decay=decay, device=device, kind=config.optimizer)
    if begun.optimizer is not None:
        load_optimizer_state(optimizer, begun.optimizer)
        set_weight_decay(optimizer, decay)
    return optimizer


def _running_mean(gpt: UnifiedVoice, config: TrainConfig, begun: Stand) -> RunningMean | None:
    if not config.ema:
        return None
    mean = RunningMean(gpt, config.ema)
    if begun.held:
        mean.load_weights(begun.held)
    return mean


def _whole(weights: Weights) -> Weights:
    return {name: whole(tensor) for name, tensor in weights.items()}
