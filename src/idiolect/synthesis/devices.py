"""Devices: which one is meant, what is free on it, and memory given back to it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable

import psutil
import torch
from torch import Tensor, nn

from idiolect.base.errors import SynthesisError
from idiolect.models.gpt import avoid_cudnn_attention


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return ``device``, or the first GPU, or the CPU; torch is set up for it.

    Raises:
        SynthesisError: There is no such device here.
    """
    if device is None:
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise SynthesisError(
            f"the device {device} cannot be used: {str(error).splitlines()[0]}",
            fix="give cpu, or cuda:0 where there is a GPU",
        ) from error
    if chosen.type == "cuda":
        avoid_cudnn_attention()
    return chosen


def device_free_bytes(device: torch.device) -> int:
    """Return how many bytes ``device`` could still give to this process."""
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    # What torch keeps for itself without using it is ours to use, too.
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def return_memory(device: torch.device) -> None:
    """Give what nobody refers to any more back to ``device``, so that others can have it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        _trim_heap()


def _trim_heap() -> None:
    """Hand free pages of the heap back to the system.

    glibc keeps what was freed below something that lives still: after a swap of models, gigabytes.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # musl has none, and needs none
        trim(0)


def tensor_bytes(modules: Iterable[nn.Module]) -> int:
    """Return the bytes of all weights and buffers of ``modules``."""
    return sum(tensor.nbytes for module in modules for tensor in _tensors(module))


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    return (*module.parameters(), *module.buffers())
