"""Prompt features to speaker latents and to an emotion vector: a conformer, then a perceiver.

The state-dict keys are those of the published ``gpt.pth``. Speaker and emotion have one of each;
only their sizes differ.

Letters: B prompts, T code frames of a prompt, T' = (T - 1) // 2 frames behind the subsampling,
F features of a frame, D width, H heads, K width of a head, N latents. Masks are True where a
frame is valid.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.base.errors import DataError
from idiolect.models.config import NUM_LATENTS, PERCEIVER_HEAD_DIM, ConformerDims

MAX_FRAMES = 5000
"""Rows of the position table."""
SUBSAMPLING_KERNEL = 3
MIN_FRAMES = SUBSAMPLING_KERNEL
"""A prompt of fewer code frames leaves nothing behind the subsampling."""
DEPTHWISE_KERNEL = 15
PERCEIVER_DEPTH = 2


class ConditioningConformer(nn.Module):
    """Features of a prompt at 50 Hz to states at 25 Hz.

    Args:
        feature_dim: F, the width of the features.
        dims: Width, heads and blocks.

    Attributes:
        padding_leaks: The published blocks let a shorter prompt of a batch hear the padding behind
            it, by the bias of a convolution. True does so, too; False, the default, gives every
            prompt in a batch what it gets alone, as synthesis computes it.
    """

    def __init__(self, feature_dim: int, dims: ConformerDims) -> None:
        super().__init__()
        self.padding_leaks = False
        self.embed = _Subsampling(feature_dim, dims.dim)
        self.encoders = nn.ModuleList(_ConformerBlock(dims) for _ in range(dims.num_blocks))
        self.after_norm = nn.LayerNorm(dims.dim)

    def forward(self, features: Tensor, lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode ``features`` ``[B, T, F]``, of which the first ``lens`` ``[B]`` frames count.

        Returns:
            States ``[B, T', D]`` and the mask of those that count ``[B, 1, T']``. Without
            ``lens`` all do.

        Raises:
            DataError: Fewer than :data:`MIN_FRAMES` frames.
        """
        B, T, _ = features.shape
        if T < MIN_FRAMES:
            raise DataError(
                f"a prompt of {T} code frames is too short", fix="use a prompt of some seconds"
            )
        mask = features.new_ones(B, 1, T, dtype=torch.bool)
        if lens is not None:
            mask = (torch.arange(T, device=features.device) < lens[:, None])[:, None]
        x, positions = self.embed(features)
        mask = mask[:, :, 2::2]  # [B, 1, T']
        for encoder in self.encoders:
            x = encoder(x, positions, mask, seal=not self.padding_leaks)
        return self.after_norm(x), mask


class PerceiverResampler(nn.Module):
    """Any number of states to a fixed number of latents.

    Args:
        dim: D, the width of the latents.
        context_dim: Width of the states.
        num_heads: Attention heads, each :data:`PERCEIVER_HEAD_DIM` wide.
        ff_mult: Two thirds of this many times ``dim`` is the inner width of the feed-forward.
        num_latents: N.
    """

    def __init__(
        self,
        dim: int,
        context_dim: int,
        *,
        num_heads: int,
        ff_mult: int,
        num_latents: int = NUM_LATENTS,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.empty(num_latents, dim))
        nn.init.normal_(self.latents, std=0.02)
        self.proj_context = nn.Linear(context_dim, dim)
        self.layers = nn.ModuleList(
            _PerceiverLayer(dim, num_heads, ff_mult) for _ in range(PERCEIVER_DEPTH)
        )
        self.norm = _UnitNorm(dim)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return latents ``[B, N, D]`` of ``states`` ``[B, T', D']`` under ``mask`` ``[B, 1, T']``.

        The latents attend to themselves and to the states; there is no norm before the last.
        """
        states = self.proj_context(states)
        latents = self.latents.expand(len(states), -1, -1)  # [B, N, D]
        mask = F.pad(mask, (latents.shape[1], 0), value=True)[:, None]  # [B, 1, 1, N + T']
        for layer in self.layers:
            latents = layer(latents, states, mask)
        result: Tensor = self.norm(latents)
        return result


class _Subsampling(nn.Module):
    """A strided convolution that halves the frames, and the positions of what is left."""

    def __init__(self, feature_dim: int, dim: int) -> None:
        super().__init__()
        self.scale = math.sqrt(dim)
        left = (feature_dim - 1) // 2
        self.conv = nn.Sequential(nn.Conv2d(1, dim, SUBSAMPLING_KERNEL, stride=2), nn.ReLU())
        self.out = nn.Sequential(nn.Linear(dim * left, dim))
        self.pos_enc = _PositionBuffer(dim)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(features[:, None])  # [B, D, T', F']
        x = self.out(x.transpose(1, 2).flatten(2)) * self.scale  # [B, T', D]
        return x, self.pos_enc.pe[:, : x.shape[1]]


class _PositionBuffer(nn.Module):
    """Sines on the even columns, cosines on the odd; kept in the file, so read from it."""

    pe: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        position = torch.arange(MAX_FRAMES, dtype=torch.float32)[:, None]
        rate = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * -(math.log(10_000.0) / dim))
        angles = position * rate  # [MAX_FRAMES, D / 2]
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        self.register_buffer("pe", table[None])  # [1, MAX_FRAMES, D]


class _ConformerBlock(nn.Module):
    def __init__(self, dims: ConformerDims) -> None:
        super().__init__()
        self.self_attn = _PositionAttention(dims.dim, dims.num_heads)
        self.feed_forward = _FeedForward(dims.dim, dims.ff_dim)
        self.conv_module = _Convolution(dims.dim)
        self.norm_mha = nn.LayerNorm(dims.dim)
        self.norm_conv = nn.LayerNorm(dims.dim)
        self.norm_ff = nn.LayerNorm(dims.dim)
        self.norm_final = nn.LayerNorm(dims.dim)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor, *, seal: bool) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), positions, mask)
        x = x + self.conv_module(self.norm_conv(x), mask, seal=seal)
        x = x + self.feed_forward(self.norm_ff(x))
        y: Tensor = self.norm_final(x)
        return y


class _PositionAttention(nn.Module):
    """Attention that scores content and key position, each with its own bias on the query.

    The position is that of the key, counted from the start: the published network leaves out the
    shift that would make it a distance.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.linear_q = nn.Linear(dim, dim)
        self.linear_k = nn.Linear(dim, dim)
        self.linear_v = nn.Linear(dim, dim)
        self.linear_out = nn.Linear(dim, dim)
        self.linear_pos = nn.Linear(dim, dim, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(num_heads, dim // num_heads))
        self.pos_bias_v = nn.Parameter(torch.empty(num_heads, dim // num_heads))
        nn.init.xavier_uniform_(self.pos_bias_u)
        nn.init.xavier_uniform_(self.pos_bias_v)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self._heads(self.linear_q(x)), self._heads(self.linear_k(x)), self.linear_v(x)
        p = self._heads(self.linear_pos(positions))  # [1, H, T', K]
        by_position = (q + self.pos_bias_v[:, None]) @ p.mT / math.sqrt(q.shape[-1])
        bias = by_position.masked_fill(~mask[:, None], -math.inf)  # [B, H, T', T']
        y = F.scaled_dot_product_attention(
            q + self.pos_bias_u[:, None], k, self._heads(v), attn_mask=bias
        )
        out: Tensor = self.linear_out(y.transpose(1, 2).flatten(2))  # [B, T', D]
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)  # [B, H, T', K]


class _Convolution(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(dim, 2 * dim, 1)
        self.depthwise_conv = nn.Conv1d(
            dim, dim, DEPTHWISE_KERNEL, padding=DEPTHWISE_KERNEL // 2, groups=dim
        )
        self.norm = nn.LayerNorm(dim)
        self.pointwise_conv2 = nn.Conv1d(dim, dim, 1)

    def forward(self, x: Tensor, mask: Tensor, *, seal: bool) -> Tensor:
        x = x.transpose(1, 2).masked_fill(~mask, 0.0)  # [B, D, T']
        x = F.glu(self.pointwise_conv1(x), dim=1)
        if seal:  # the bias has filled the padding again
            x = x.masked_fill(~mask, 0.0)
        x = self.depthwise_conv(x)
        x = F.silu(self.norm(x.transpose(1, 2))).transpose(1, 2)
        x = self.pointwise_conv2(x).masked_fill(~mask, 0.0)
        return x.transpose(1, 2)  # [B, T', D]


class _FeedForward(nn.Module):
    def __init__(self, dim: int, ff_dim: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(dim, ff_dim)
        self.w_2 = nn.Linear(ff_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w_2(F.silu(self.w_1(x)))
        return y


class _PerceiverLayer(nn.ModuleList):
    """A list, since the published keys count its two parts."""

    def __init__(self, dim: int, num_heads: int, ff_mult: int) -> None:
        super().__init__([_LatentAttention(dim, num_heads), _gated_feed_forward(dim, ff_mult)])

    def forward(self, latents: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        attend, feed_forward = self
        latents = latents + attend(latents, torch.cat([latents, states], dim=1), mask)
        y: Tensor = latents + feed_forward(latents)
        return y


class _LatentAttention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        inner = num_heads * PERCEIVER_HEAD_DIM
        self.num_heads = num_heads
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, latents: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        q = self._heads(self.to_q(latents))  # [B, H, N, K]
        k, v = (self._heads(half) for half in self.to_kv(context).chunk(2, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.to_out(y.transpose(1, 2).flatten(2))  # [B, N, D]
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)  # [B, H, N, K]


def _gated_feed_forward(dim: int, mult: int) -> nn.Sequential:
    inner = dim * mult * 2 // 3
    return nn.Sequential(nn.Linear(dim, 2 * inner), _GatedGelu(), nn.Linear(inner, dim))


class _GatedGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


class _UnitNorm(nn.Module):
    """Scale every vector to the length of the square root of its width, then by ``gamma``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) * math.sqrt(x.shape[-1]) * self.gamma
