"""The layers of w2v-bert, computed fast on a CPU while they are trained.

The modules are those of ``transformers``, and so are their values; what differs is that the
attention has a backward pass of its own, that few passes go over its scores, and that every
hidden state is returned. In bfloat16 a step takes two thirds of the time.

``B`` is batch, ``H`` heads, ``T`` frames, ``F`` the width, ``D`` the width of a head, ``P`` the
relative positions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def hidden_states(network: nn.Module, inputs: Tensor, mask: Tensor) -> list[Tensor]:
    """Return every hidden state ``[B, T, F]``; the first is the input of the first layer.

    Args:
        network: A ``Wav2Vec2BertModel`` with ``relative_key`` positions. Of its dropouts, those
            behind attention and convolution are applied.
        inputs: Filter banks ``[B, T, 160]``.
        mask: ``[B, T]`` bool, True = real.
    """
    net: Any = network
    projected, _ = net.feature_projection(inputs)
    x = projected * mask[..., None]
    states = [x]
    for layer in net.encoder.layers:
        x = run_layer(layer, x, mask)
        states.append(x)
    return states


def run_layer(layer: Any, x: Tensor, mask: Tensor) -> Tensor:
    """Return what one conformer layer makes of ``x`` ``[B, T, F]``."""
    x = x + 0.5 * _feed_forward(layer.ffn1, layer.ffn1_layer_norm(x))
    x = x + layer.self_attn_dropout(
        _attention(layer.self_attn, layer.self_attn_layer_norm(x), mask)
    )
    x = x + _convolution(layer.conv_module, x, mask)
    x = x + 0.5 * _feed_forward(layer.ffn2, layer.ffn2_layer_norm(x))
    normed: Tensor = layer.final_layer_norm(x)
    return normed


def _feed_forward(block: Any, x: Tensor) -> Tensor:
    out: Tensor = block.output_dense(F.silu(block.intermediate_dense(x)))
    return out


def _convolution(block: Any, x: Tensor, mask: Tensor) -> Tensor:
    x = block.layer_norm(x) * mask[..., None]
    x = F.glu(F.linear(x, block.pointwise_conv1.weight[..., 0]), dim=-1)
    depthwise = block.depthwise_conv
    padded = F.pad(x.mT, (depthwise.kernel_size[0] - 1, 0))
    x = F.silu(block.depthwise_layer_norm(depthwise(padded).mT))
    out: Tensor = block.dropout(F.linear(x, block.pointwise_conv2.weight[..., 0]))
    return out


def _attention(block: Any, x: Tensor, mask: Tensor) -> Tensor:
    B, T, _ = x.shape
    linears = (block.linear_q, block.linear_k, block.linear_v)
    weight = torch.cat([linear.weight for linear in linears])
    bias = torch.cat([linear.bias for linear in linears])
    qkv = F.linear(x, weight, bias).view(B, T, 3, block.num_heads, block.head_size)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)  # [B * H, T, D]
    table = block.distance_embedding.weight.to(q.dtype)
    bias = q.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)
    mixed: Tensor = _RelativeKeyAttention.apply(  # type: ignore[no-untyped-call]  # in torch
        q * block.scaling, k, v, table, bias, block.left_max_position_embeddings
    )
    mixed = mixed.view(B, block.num_heads, T, -1).transpose(1, 2).reshape(B, T, -1)
    out: Tensor = block.linear_out(mixed)
    return out


class _RelativeKeyAttention(torch.autograd.Function):
    """Attention whose scores are ``q (k + e)``, ``e`` the embedding of the clamped distance."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, table: Tensor, bias: Tensor, left: int
    ) -> Tensor:
        """Return ``[B * H, T, D]``; ``q`` is scaled, ``bias`` ``[B, T]`` -inf for padding."""
        T = q.shape[1]
        scores = torch.bmm(q, k.mT)
        scores += _skewed(q @ table.mT, left)
        scores.view(len(bias), -1, T, T).add_(bias[:, None, None])
        weights = scores.softmax(dim=-1, dtype=scores.dtype)
        out = torch.bmm(weights, v)
        ctx.save_for_backward(q, k, v, table, weights, out)
        ctx.left = left
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, table, weights, out = ctx.saved_tensors
        grad = grad.contiguous()
        d_v = torch.bmm(weights.mT, grad)
        d_scores = torch.bmm(grad, v.mT)
        d_scores -= (grad * out).sum(dim=-1, keepdim=True)
        d_scores *= weights
        d_positions = _unskewed(d_scores, len(table), ctx.left)  # [B * H, T, P]
        d_q = torch.bmm(d_scores, k) + d_positions @ table
        d_k = torch.bmm(d_scores.mT, q)
        d_table = d_positions.flatten(0, 1).mT @ q.flatten(0, 1)
        return d_q, d_k, d_v, d_table, None, None


def attention_gradients(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, weights: Tensor, out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of scaled queries, keys and values, each ``[B * H, T, D]``.

    Args:
        grad: Of the output.
        q: Scaled queries.
        k: Keys.
        v: Values.
        weights: What each query saw of each key, ``[B * H, T, T]``.
        out: The output.
    """
    grad = grad.contiguous()
    d_scores = torch.bmm(grad, v.mT)
    d_scores -= (grad * out).sum(dim=-1, keepdim=True)
    d_scores *= weights
    return torch.bmm(d_scores, k), torch.bmm(d_scores.mT, q), torch.bmm(weights.mT, grad)


def _skewed(by_distance: Tensor, left: int) -> Tensor:
    """Return ``[n, T, T]``, by key, of ``[n, T, P]``, by clamped distance of key from query."""
    n, T, P = by_distance.shape
    before, after = max(0, T - 1 - left), max(0, T - (P - left))
    first = max(0, left - (T - 1))
    kept = by_distance[..., first : first + 2 * T - 1]
    wide = torch.cat(
        [kept[..., :1].expand(-1, -1, before), kept, kept[..., -1:].expand(-1, -1, after)], dim=-1
    )
    wide = wide[..., : 2 * T - 1].contiguous()
    return wide.as_strided((n, T, T), (T * (2 * T - 1), 2 * T - 2, 1), T - 1)


def _unskewed(by_key: Tensor, num_positions: int, left: int) -> Tensor:
    """Return the sums ``[n, T, P]`` of ``by_key`` ``[n, T, T]`` by clamped distance."""
    n, T, _ = by_key.shape
    wide = by_key.new_zeros(n, T, 2 * T - 1)
    wide.as_strided((n, T, T), (T * (2 * T - 1), 2 * T - 2, 1), T - 1).copy_(by_key)
    lowest, highest = T - 1 - left, T - 1 + num_positions - 1 - left  # columns of the end rows
    sums = F.pad(wide, (max(0, -lowest), max(0, highest - (2 * T - 2))))
    lowest, highest = max(0, lowest), highest + max(0, -lowest)
    middle = sums[..., lowest : highest + 1].clone()
    middle[..., 0] += sums[..., :lowest].sum(dim=-1)
    middle[..., -1] += sums[..., highest + 1 :].sum(dim=-1)
    return middle
