"""The cross-entropy of a head, in chunks of tokens: no table of logits ever stands whole.

What follows from a chunk's logits (its loss, and the gradients of states, weight and bias) is taken
while they are there, so that the backward pass has only to scale it. Beside a float32 table
``[N, V]`` and its gradient, that saves most of the memory of the loss, and of its time too: a
chunk stays in the processor's cache.

Letters: N tokens, D width, V classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from idiolect.data.batches import IGNORE_INDEX

CHUNK_TOKENS = 1024
"""Rows of logits at once: enough for a full matrix product, 32 MB at 8194 classes."""
TOKEN_MULTIPLE = 128
"""Tokens are filled up to a multiple of this, for the reason of
:data:`idiolect.data.batches.ROW_MULTIPLE`."""


def head_loss(states: Tensor, head: nn.Linear, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of ``head`` summed over tokens, in nats, and how many are right.

    Args:
        states: ``[N, D]``; computed in the type of autocast where that is on, else in their own.
        head: ``[V, D]`` and its bias.
        labels: ``[N]`` int64, :data:`IGNORE_INDEX` where nothing is to be learnt.

    Returns:
        Scalar float32, and scalar int64: tokens whose label is the likeliest class. Of classes that
        are alike to the last bit, each counts as the likeliest.
    """
    loss, correct = _HeadLoss.apply(states, head.weight, head.bias, labels)  # type: ignore[no-untyped-call]
    return loss, correct


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        dtype = computed_in(states)
        wanted = ctx.needs_input_grad[:3]
        grads = no_gradients((states, weight, bias), wanted)
        filler = -len(labels) % TOKEN_MULTIPLE
        x = F.pad(states.to(dtype), (0, 0, 0, filler))
        labels = F.pad(labels, (0, filler), value=IGNORE_INDEX)
        w, b = weight.to(dtype), bias.to(dtype)
        loss = states.new_zeros((), dtype=torch.float32)
        correct = labels.new_zeros(())
        for start in range(0, len(labels), CHUNK_TOKENS):
            rows = slice(start, start + CHUNK_TOKENS)
            pull, chunk_loss, num_right = _softmax(F.linear(x[rows], w, b), labels[rows])
            loss += chunk_loss
            correct += num_right
            if any(wanted):
                add_gradients(grads, pull, x[rows], w, rows)
        ctx.grads = grads
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grads = [None if grad is None else grad.mul_(scale) for grad in ctx.grads]
        ctx.grads = None
        return (*grads, None)


def _softmax(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient of the loss by the logits ``[n, V]``, the loss, and how many are right.

    The gradient is the shares of the classes, less one at the label; zero where there is none.
    """
    is_kept = (labels != IGNORE_INDEX)[:, None]
    label = labels.clamp(min=0)[:, None]
    pull = logits.float()
    top = pull.amax(-1, keepdim=True)
    own = pull.gather(1, label)
    pull = pull.sub_(top).exp_()
    total = pull.sum(-1, keepdim=True)
    loss = ((total.log() + top - own) * is_kept).sum()
    pull.mul_(is_kept / total).scatter_add_(1, label, -is_kept.to(pull.dtype))
    return pull, loss, ((own >= top) & is_kept).sum()


def no_gradients(inputs: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor | None]:
    """Return zeros for those of ``inputs`` whose gradient is ``wanted``, None for the others."""
    pairs = zip(inputs, wanted, strict=True)
    return [torch.zeros_like(x) if is_wanted else None for x, is_wanted in pairs]


def add_gradients(
    grads: list[Tensor | None], pull: Tensor, states: Tensor, weight: Tensor, rows: slice
) -> None:
    """Add to the gradients of states, weight and bias what a chunk of tokens gives.

    Args:
        grads: Of all tokens; None where nothing learns.
        pull: ``[n, V]``, the gradient by the logits of the chunk.
        states: ``[n, D]``, what the head read.
        weight: ``[V, D]``.
        rows: Where the chunk stands.
    """
    for_states, for_weight, for_bias = grads
    rounded = pull.to(weight.dtype)
    if for_states is not None:
        own = for_states[rows]  # shorter than the chunk, where that was filled up
        own += (rounded @ weight)[: len(own)]
    if for_weight is not None:
        for_weight += rounded.T @ states
    if for_bias is not None:
        for_bias += pull.sum(0)


def computed_in(states: Tensor) -> torch.dtype:
    """Return the type that a head computes in: that of autocast, or of ``states``."""
    device = states.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return states.dtype
