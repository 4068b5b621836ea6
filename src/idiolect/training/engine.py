"""Devices, precision and processes: what Accelerate sets up, and how the model is put on it."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from idiolect.base.errors import ConfigError
from idiolect.models.gpt import avoid_cudnn_attention
from idiolect.training.config import TrainConfig
from idiolect.training.loss import TrainableGpt
from idiolect.training.trackers import tracker_settings

FSDP_ASKED = "ACCELERATE_USE_FSDP"
"""Set by ``accelerate launch --use_fsdp``."""


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Return the device, the precision and the processes to train with.

    Raises:
        ConfigError: They are asked for and not there.
    """
    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise ConfigError(
            "no CUDA device is visible",
            where="--device cuda",
            fix="leave --device out, or look at CUDA_VISIBLE_DEVICES and the driver",
        )
    on_gpu = has_gpu and config.device != "cpu"
    if on_gpu:
        avoid_cudnn_attention()
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if _computes_bf16(on_gpu=on_gpu) else "fp32"
    torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    # Accelerate remembers the first choice of a process; each run makes its own.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=not on_gpu,
        **tracker_settings(config.tracker),
    )


def _computes_bf16(*, on_gpu: bool) -> bool:
    """Tell whether the device has instructions for bfloat16; without, it is slower than float32."""
    if on_gpu:
        return bool(torch.cuda.is_bf16_supported())
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public way
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def wants_shards(config: TrainConfig) -> bool:
    """Tell whether each process is to hold a part of the weights only."""
    return config.fsdp or os.environ.get(FSDP_ASKED, "").lower() == "true"


def place(model: TrainableGpt, accelerator: Accelerator, *, shard: bool) -> nn.Module:
    """Return ``model`` on its device, as all processes together train it.

    Args:
        model: Whole, the same in every process.
        accelerator: Of the process.
        shard: Give each process a part of every tensor (FSDP2), instead of all of them.
    """
    model.to(accelerator.device)
    if not shard:
        is_alone = accelerator.num_processes == 1
        return model if is_alone else accelerator.prepare_model(model)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for block in model.gpt.gpt.h:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def whole(tensor: Tensor) -> Tensor:
    """Return ``tensor`` with the parts that other processes hold; every process must call."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def agreed(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """Return which of ``flags`` any process raised; every process must call."""
    if accelerator.num_processes == 1:
        return list(flags)
    own = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    return [value > 0 for value in accelerator.reduce(own).tolist()]


def optimizer_state(optimizer: Optimizer) -> dict[str, object]:
    """Return the state of ``optimizer``, whole, whatever the processes share out."""
    content = optimizer.state_dict()
    content["state"] = {
        number: {k: whole(v) if isinstance(v, Tensor) else v for k, v in values.items()}
        for number, values in content["state"].items()
    }
    return content


def load_optimizer_state(optimizer: Optimizer, content: dict[str, object]) -> None:
    """Give ``optimizer`` a state of :func:`optimizer_state`."""
    optimizer.load_state_dict(content)
    for parameter, values in optimizer.state.items():
        if isinstance(parameter, DTensor):
            for name, value in values.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    values[name] = distribute_tensor(
                        value, parameter.device_mesh, parameter.placements
                    )
