"""The transformer of the flow, computed fast on a CPU while it is trained.

The module is that of :mod:`idiolect.models.s2mel`, and so are its values; what differs is that
norms and attention have backward passes of their own, over few and contiguous tensors.

``B`` is batch, ``T`` frames, ``D`` the width, ``H`` heads, ``K`` their width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.listening.swift import attention_gradients
from idiolect.models.s2mel import (
    RMS_EPS,
    ROPE_BASE,
    AdaptiveNorm,
    Attention,
    FeedForward,
    Transformer,
)


def run_transformer(network: Transformer, x: Tensor, time: Tensor, mask: Tensor | None) -> Tensor:
    """Return what ``network`` makes of ``x`` ``[B, T, D]``; arguments as of the module itself.

    Under autocast all but the sums of the residual path are in its type.
    """
    cos, sin = _turns(x.shape[1], network.head_dim, _working_type(x))
    turns = (cos.to(x.device), sin.to(x.device))
    middle = len(network.layers) // 2
    emitted: list[Tensor] = []
    for i, block in enumerate(network.layers):
        layer: Any = block
        if i > middle:
            x = layer.skip_in_linear(torch.cat([x, emitted.pop()], dim=-1))
        x = x + _attend(layer.attention, _norm(layer.attention_norm, x, time), turns, mask)
        x = x + _feed_forward(layer.feed_forward, _norm(layer.ffn_norm, x, time))
        if i < middle:
            emitted.append(x)
    return _norm(network.norm, x, time)


def _working_type(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _turns(num_frames: int, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cosine and signed sine ``[T, K]``; pairs that turn together are half a head apart."""
    exponents = torch.arange(0, head_dim, 2).float() / head_dim
    angles = torch.outer(torch.arange(num_frames).float(), 1.0 / ROPE_BASE**exponents)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], dim=-1).to(dtype), torch.cat([-sin, sin], dim=-1).to(dtype)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return (x * cos).addcmul_(torch.cat([second, first], dim=-1), sin)


def _norm(norm: AdaptiveNorm, x: Tensor, time: Tensor) -> Tensor:
    scale, shift = norm.project_layer(time).float()[:, None].chunk(2, dim=-1)
    normed: Tensor = _AdaptiveNorm.apply(  # type: ignore[no-untyped-call]  # untyped in torch
        x, scale * norm.norm.weight, shift, _working_type(x)
    )
    return normed


def _feed_forward(block: FeedForward, x: Tensor) -> Tensor:
    gate, value = F.linear(x, torch.cat([block.w1.weight, block.w3.weight])).chunk(2, dim=-1)
    y: Tensor = block.w2(F.silu(gate) * value)
    return y


def _attend(
    block: Attention, x: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor | None
) -> Tensor:
    B, T, D = x.shape
    H, K = block.num_heads, D // block.num_heads
    # Pairs that turn together lie side by side; half a head apart they are contiguous, and as
    # queries and keys are reordered alike, their products are the same.
    order = torch.arange(K, device=x.device).view(-1, 2).T.flatten()
    rows = (torch.arange(H, device=x.device)[:, None] * K + order).flatten()
    values = torch.arange(2 * D, 3 * D, device=x.device)
    weight = block.wqkv.weight[torch.cat([rows, D + rows, values])]
    qkv = F.linear(x, weight).view(B, T, 3, H, K).permute(2, 0, 3, 1, 4)
    bias = x.new_zeros(B, 1, T)
    if mask is not None:
        bias.masked_fill_(~mask, -math.inf)
    mixed: Tensor = _TurnedAttention.apply(  # type: ignore[no-untyped-call]  # untyped in torch
        qkv.reshape(3, B * H, T, K), *turns, bias
    )
    out: Tensor = block.wo(mixed.view(B, H, T, K).transpose(1, 2).reshape(B, T, D))
    return out


class _AdaptiveNorm(torch.autograd.Function):
    """``x / rms(x) * scale + shift`` for ``[B, T, D]`` and ``[B, 1, D]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, dtype: torch.dtype) -> Tensor:
        lengths = torch.linalg.vector_norm(x.float(), dim=-1, keepdim=True)
        inverse = torch.rsqrt(lengths.square() / x.shape[-1] + RMS_EPS)
        normed = (x * inverse).to(dtype)
        ctx.save_for_backward(normed, inverse, scale)
        return torch.addcmul(shift.to(dtype), normed, scale.to(dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        normed, inverse, scale = ctx.saved_tensors
        along = grad * normed
        d_scale = along.sum(dim=1, keepdim=True, dtype=torch.float32)
        d_shift = grad.sum(dim=1, keepdim=True, dtype=torch.float32)
        common = (along @ scale.to(along.dtype).mT) / normed.shape[-1]  # [B, T, 1]
        d_x = (grad * scale.to(grad.dtype)).addcmul_(normed, common, value=-1)
        return d_x * inverse, d_scale, d_shift, None


class _TurnedAttention(torch.autograd.Function):
    """Attention of queries and keys that are turned by their places."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        """Return ``[B * H, T, K]`` of ``[3, B * H, T, K]``; ``bias`` ``[B, 1, T]`` hides keys."""
        T, K = qkv.shape[-2:]
        q, k = _turn(qkv[:2], cos, sin)
        v = qkv[2]
        q = q * K**-0.5
        scores = torch.bmm(q, k.mT)
        scores.view(len(bias), -1, T, T).add_(bias[:, None])
        weights = scores.softmax(dim=-1, dtype=scores.dtype)
        out = torch.bmm(weights, v)
        ctx.save_for_backward(q, k, v, weights, out, cos, sin)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *saved, cos, sin = ctx.saved_tensors
        d_q, d_k, d_v = attention_gradients(grad, *saved)
        turned = torch.stack([d_q.mul_(d_q.shape[-1] ** -0.5), d_k])
        # Turning back is turning by the negative angle.
        return torch.cat([_turn(turned, cos, -sin), d_v[None]]), None, None, None
