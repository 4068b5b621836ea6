"""A kernel for attention over sequences of many lengths, where torch has none: on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nested._internal import sdpa
from torch.nn.attention import SDPBackend

PLACE = "_efficient_attention_forward"


class _Attention(torch.autograd.Function):
    """What the GPU's kernel does, by its arguments alone: the bounds decide, in numbers."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bounds: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v, bounds)
        return _attend(q, k, v, bounds)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, bounds = ctx.saved_tensors
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in inputs]
            y = _attend(*leaves, bounds)
        return (*torch.autograd.grad(y, leaves, grads[0]), None)


def _attend(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor) -> Tensor:
    """Attend over ``[1, S, H, K]`` with one mask for all S rows."""
    places = torch.arange(q.shape[1])
    owner = torch.bucketize(places, bounds[1:].long(), right=True)
    keep = (owner[:, None] == owner) & (places[:, None] >= places)
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=keep).transpose(1, 2)


def _forward(q: Tensor, k: Tensor, v: Tensor, bias: None, *rest: Any, scale: None = None) -> Any:
    bounds, same, longest, _, dropout, causal, _ = rest
    assert (bias, dropout, causal, scale) == (None, 0.0, 1, None)
    assert torch.equal(bounds, same)
    assert longest == int(bounds.diff().max())
    return _Attention.apply(q, k, v, bounds), *[torch.empty(0)] * 3, longest, longest


@contextmanager
def kernel_on_cpu() -> Iterator[None]:
    """Let torch's nested tensors find a kernel on the CPU; all else of them is torch's own."""
    chosen = mock.patch.object(
        sdpa, "_select_sdp_backend", return_value=SDPBackend.EFFICIENT_ATTENTION
    )
    with (
        chosen,
        torch.library._scoped_library("aten", "IMPL") as library,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)  # that a CPU is given what it had not
        library.impl(PLACE, _forward, "AutogradCPU")
        yield
