"""The optimizer: AdamW over what learns, with its states in 32 or in 8 bits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from idiolect.base.extras import import_extra

Kind = Literal["adamw", "adamw8bit"]


def make_optimizer(
    model: nn.Module, *, weight_decay: float, device: torch.device, kind: Kind = "adamw"
) -> Optimizer:
    """Return AdamW over what ``model`` learns; its learning rate is set at each step.

    Only matrices decay: a norm, a bias or an embedding that is pulled to zero loses what it means.

    Args:
        model: The network.
        weight_decay: Of its matrices.
        device: Where it trains.
        kind: ``adamw8bit`` keeps both running means of each matrix in 8 bits, scaled block by
            block; tensors of less than 4096 numbers keep them in 32.

    Raises:
        ConfigError: ``adamw8bit`` is asked for, and bitsandbytes is not installed.

    Source:
        Dettmers et al. 2022, "8-bit optimizers via block-wise quantization".
    """
    decayed, others = _split_by_decay(model)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if kind == "adamw":
        return AdamW(groups, lr=0.0, fused=device.type in ("cuda", "cpu"))
    library = import_extra("bitsandbytes", extra="gpu", where="--optimizer adamw8bit")
    made: Optimizer = library.optim.AdamW8bit(groups, lr=0.0)
    return made


def set_weight_decay(optimizer: Optimizer, weight_decay: float) -> None:
    """Let the matrices decay by ``weight_decay`` from now on."""
    optimizer.param_groups[0]["weight_decay"] = weight_decay


def state_bytes(optimizer: Optimizer) -> int:
    """Return the bytes of what ``optimizer`` keeps beside the weights; none before its first step.

    A table that several tensors share counts once.
    """
    tensors = [v for state in optimizer.state.values() for v in state.values()]
    kept = {v.data_ptr(): v.nbytes for v in tensors if isinstance(v, Tensor)}
    return sum(kept.values())


def _split_by_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in filter(lambda found: found.requires_grad, model.parameters()):
        is_matrix = parameter.ndim >= 2 and id(parameter) not in tables
        (decayed if is_matrix else others).append(parameter)
    return decayed, others
