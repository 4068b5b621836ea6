"""Codes and GPT states to mel: a length regulator, then flow matching with a transformer.

``B`` is batch, ``T`` mel frames (prompt first), ``S`` frames before the regulator, ``M`` mel
bands, ``C`` the content width, ``D`` the width of the transformer, ``W`` that of the WaveNet,
``H`` heads, ``K`` their width.

Names of the layers are those of the published file. Some of its tensors are read by nothing; they
are kept, so that a file goes out as it came in.

Source:
    Lipman et al. 2022 (flow matching); Peebles and Xie 2022 (DiT); spec 1.14, 1.15, 2.5 - 2.7;
    golden/test_s2mel.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.models.config import RegulatorDims, S2MelDims
from idiolect.models.weight_norm import NormedConv1d, NormedLinear

FLOW_STEPS = 25
SIGMA_MIN = 1e-6
"""Noise left at the end of the flow."""

RMS_EPS = 1e-5
FINAL_NORM_EPS = 1e-6
ROPE_BASE = 10000.0
MAX_POSITIONS = 16384
"""Rows of a table of positions that the published file carries and nothing reads."""
TIME_SCALE = 1000.0
TIME_FREQUENCIES = 128
FF_MULTIPLE = 256
"""The inner width of a feed-forward layer is rounded up to a multiple of this."""


class S2Mel(nn.Module):
    """The three parts of the published file, and what is done with them."""

    def __init__(self, dims: S2MelDims) -> None:
        super().__init__()
        self.dims = dims
        self.cfm = FlowMatching(dims)
        self.length_regulator = LengthRegulator(dims.regulator)
        self.gpt_layer = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(dims.gpt_layer_dims)))

    def regulate(self, x: Tensor, target_len: int) -> Tensor:
        """Return features ``[B, S, F]`` as conditions ``[B, target_len, C]``.

        Prompt and target go through one at a time (Q10): the layers normalise over the whole
        length.
        """
        condition: Tensor = self.length_regulator(x, target_len)
        return condition

    def sample(
        self,
        condition: Tensor,
        prompt_mel: Tensor,
        style: Tensor,
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        num_steps: int = FLOW_STEPS,
        guidance: float | None = None,
    ) -> Tensor:
        """Return a mel that goes on where the prompt ends; its prompt frames are zero.

        Args:
            condition: ``[1, T, C]``, of the prompt and then of the target.
            prompt_mel: ``[1, M, P]`` of the first ``P`` of those frames.
            style: ``[1, style_dim]``, the speaker embedding of the prompt.
            noise: ``[1, M, T]`` to begin with; drawn from ``generator``, at the temperature that
                the base says, when None.
            generator: Source of the noise, on the device of ``condition``; torch's own when None.
            num_steps: Euler steps from noise to mel.
            guidance: How far to go beyond what the condition asks for, 0 is not at all; as the
                base says when None.

        Returns:
            ``[1, M, T]`` float32.
        """
        if noise is None:
            shape = (1, self.dims.n_mels, condition.shape[1])
            drawn = torch.randn(shape, generator=generator, device=condition.device)
            noise = self.dims.temperature * drawn
        guidance = self.dims.guidance if guidance is None else guidance
        return self.cfm.sample(
            noise, condition, prompt_mel, style, num_steps=num_steps, guidance=guidance
        )

    def flow_loss(
        self,
        batch: FlowBatch,
        draw: FlowDraw | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return how far the estimated flow of ``batch`` is from the straight path.

        Args:
            batch: What is learnt.
            draw: Its random numbers; drawn from ``generator`` when None.
            generator: On the device of the mel; torch's own when None.

        Returns:
            The scalar loss: a mean over clips of the mean over each clip's frames behind its
            prompt. And the estimated mel ``[B, M, T]``.
        """
        draw = draw or FlowDraw.of(batch.mel, self.dims.class_dropout, generator)
        return self.cfm.loss(batch, draw)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowBatch:
    """What the flow is trained on."""

    mel: Tensor  # [B, M, T] float32
    mel_lens: Tensor  # [B] valid frames
    prompt_lens: Tensor  # [B] frames that are given, and not learnt
    condition: Tensor  # [B, T, C]
    style: Tensor  # [B, style_dim]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowDraw:
    """The random numbers of one training step."""

    time: Tensor  # [B, 1, 1] in 0 ... 1
    noise: Tensor  # [B, M, T]
    is_unconditional: bool
    """Whether the whole batch is trained without condition, for the guidance."""

    @classmethod
    def of(
        cls, mel: Tensor, class_dropout: float, generator: torch.Generator | None = None
    ) -> FlowDraw:
        """Draw for ``mel`` ``[B, M, T]``, in the published order: time, noise, dropout."""
        device = mel.device
        time = torch.rand((len(mel), 1, 1), generator=generator, device=device)
        noise = torch.randn(mel.shape, generator=generator, device=device)
        dropout = torch.rand(1, generator=generator, device=device).item()
        return cls(time=time, noise=noise, is_unconditional=dropout < class_dropout)


class FlowMatching(nn.Module):
    """Straight paths from noise to mel, and the network that says which way they go."""

    def __init__(self, dims: S2MelDims) -> None:
        super().__init__()
        self.regression_loss = F.mse_loss if dims.regression_loss == "l2" else F.l1_loss
        self.estimator = Estimator(dims)

    def sample(
        self,
        noise: Tensor,
        condition: Tensor,
        prompt_mel: Tensor,
        style: Tensor,
        *,
        num_steps: int,
        guidance: float,
    ) -> Tensor:
        """Follow the flow from ``noise``; arguments and result as in :meth:`S2Mel.sample`."""
        prompt_len = prompt_mel.shape[-1]
        prompt = F.pad(prompt_mel, (0, noise.shape[-1] - prompt_len))
        x = _without_prompt(noise, prompt_len)
        times = torch.linspace(0, 1, num_steps + 1, device=noise.device)
        time = times[0]
        for step in times.diff():
            velocity = self._velocity(x, prompt, time, style, condition, guidance)
            # The sum and not times[k]: float32 rounds them apart (Q9).
            x, time = _without_prompt(x + step * velocity, prompt_len), time + step
        return x

    def _velocity(
        self,
        x: Tensor,
        prompt: Tensor,
        time: Tensor,
        style: Tensor,
        condition: Tensor,
        guidance: float,
    ) -> Tensor:
        """Return the direction ``[1, M, T]`` at ``x``, away from what no condition would give."""
        if guidance <= 0:
            velocity: Tensor = self.estimator(x, prompt, time[None], style, condition)
            return velocity
        # Zeros go in for the second row; the bias of its projection stays (Q8).
        with_null = [torch.cat([y, torch.zeros_like(y)]) for y in (prompt, style, condition)]
        stacked_prompt, stacked_style, stacked_condition = with_null
        given, null = self.estimator(
            x.expand(2, -1, -1), stacked_prompt, time.expand(2), stacked_style, stacked_condition
        ).chunk(2)
        guided: Tensor = (1 + guidance) * given - guidance * null
        return guided

    def loss(self, batch: FlowBatch, draw: FlowDraw) -> tuple[Tensor, Tensor]:
        """Return loss and estimated mel, as :meth:`S2Mel.flow_loss` says."""
        mel, time, noise = batch.mel, draw.time, draw.noise
        is_prompt = _before(batch.prompt_lens, mel)  # [B, 1, T]
        is_learnt = _before(batch.mel_lens, mel) & ~is_prompt
        kept_noise = (1 - SIGMA_MIN) * noise
        path = (noise - time * kept_noise + time * mel).masked_fill(is_prompt, 0)
        estimate = self.estimator(
            path,
            mel * is_prompt,
            time[:, 0, 0],
            batch.style,
            batch.condition,
            lens=batch.mel_lens,
            is_unconditional=draw.is_unconditional,
        )
        faults = self.regression_loss(estimate, mel - kept_noise, reduction="none")
        weights = is_learnt / is_learnt.sum(dim=-1, keepdim=True).clamp(min=1)
        loss = (faults * weights).sum(dim=-1).mean()
        return loss, estimate + kept_noise


class LengthRegulator(nn.Module):
    """Features at one rate to conditions at another: repeat the nearest, then smooth."""

    def __init__(self, dims: RegulatorDims) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(dims.num_convs):
            conv = nn.Conv1d(dims.dim, dims.dim, 3, padding=1)
            layers += [conv, nn.GroupNorm(1, dims.dim), nn.Mish()]
        self.model = nn.Sequential(*layers, nn.Conv1d(dims.dim, dims.dim, 1))
        self.content_in_proj = nn.Linear(dims.feature_dim, dims.dim)
        # Read by nothing.
        self.embedding = nn.Embedding(dims.codebook_size, dims.dim)
        self.mask_token = nn.Parameter(torch.zeros(1, dims.dim))

    def forward(self, x: Tensor, target_len: int, lens: Tensor | None = None) -> Tensor:
        """Return ``[B, target_len, C]`` for ``x`` ``[B, S, F]``; zero beyond ``lens`` ``[B]``.

        Rows shorter than ``target_len`` are stretched to it all the same, and then cut: so it was
        published, and the normalisation sees the cut frames too.
        """
        projected = self.content_in_proj(x).mT  # [B, C, S]
        y: Tensor = self.model(F.interpolate(projected, size=target_len, mode="nearest"))
        return y.mT if lens is None else (y * _before(lens, y)).mT


class Estimator(nn.Module):
    """A diffusion transformer whose output a WaveNet refines: noisy mel to the flow there."""

    def __init__(self, dims: S2MelDims) -> None:
        super().__init__()
        self.n_mels = dims.n_mels
        merged = 2 * dims.n_mels + dims.content_dim + dims.style_dim
        self.cond_projection = nn.Linear(dims.content_dim, dims.content_dim)
        self.cond_x_merge_linear = nn.Linear(merged, dims.dim)
        self.t_embedder = TimeEmbedder(dims.dim)
        self.transformer = Transformer(dims)
        self.skip_linear = nn.Linear(dims.dim + dims.n_mels, dims.dim)
        self.conv1 = nn.Linear(dims.dim, dims.wavenet_dim)
        self.t_embedder2 = TimeEmbedder(dims.wavenet_dim)
        self.wavenet = WaveNet(dims)
        self.res_projection = nn.Linear(dims.dim, dims.wavenet_dim)
        self.final_layer = FinalLayer(dims.wavenet_dim, dims.dim)
        self.conv2 = nn.Conv1d(dims.wavenet_dim, dims.n_mels, 1)
        # Read by nothing.
        self.x_embedder = NormedLinear(dims.n_mels, dims.dim)
        self.cond_embedder = nn.Embedding(dims.content_codebook_size, dims.dim)
        self.content_mask_embedder = nn.Embedding(1, dims.dim)
        self.register_buffer("input_pos", torch.arange(MAX_POSITIONS))

    def forward(
        self,
        x: Tensor,
        prompt: Tensor,
        time: Tensor,
        style: Tensor,
        condition: Tensor,
        *,
        lens: Tensor | None = None,
        is_unconditional: bool = False,
    ) -> Tensor:
        """Return the flow ``[B, M, T]`` at ``x``.

        Args:
            x: Noisy mel ``[B, M, T]``.
            prompt: Mel of the prompt ``[B, M, T]``, zero behind it.
            time: ``[B]`` in 0 ... 1.
            style: ``[B, style_dim]``.
            condition: ``[B, T, C]``.
            lens: ``[B]`` valid frames; None when all are.
            is_unconditional: Whether all but ``x`` is hidden.
        """
        mask = None if lens is None else _before(lens, x)  # [B, 1, T]
        merged = self.merge(x, prompt, style, condition, is_unconditional=is_unconditional)
        time_embedding = self.t_embedder(time)  # [B, D]
        hidden = self.transformer(merged, time_embedding, mask)
        hidden = self.skip_linear(torch.cat([hidden, x.mT], dim=-1))  # [B, T, D]
        refined = self.wavenet(self.conv1(hidden).mT, self.t_embedder2(time), mask).mT
        final = self.final_layer(refined + self.res_projection(hidden), time_embedding)
        flow: Tensor = self.conv2(final.mT)
        return flow

    def merge(
        self,
        x: Tensor,
        prompt: Tensor,
        style: Tensor,
        condition: Tensor,
        *,
        is_unconditional: bool = False,
    ) -> Tensor:
        """Return everything that is known of each frame, ``[B, T, D]``."""
        spread_style = style[:, None].expand(-1, x.shape[-1], -1)
        given = torch.cat([prompt.mT, self.cond_projection(condition), spread_style], dim=-1)
        if is_unconditional:
            given = torch.zeros_like(given)
        merged: Tensor = self.cond_x_merge_linear(torch.cat([x.mT, given], dim=-1))
        return merged


class TimeEmbedder(nn.Module):
    """A point on the path to a vector."""

    freqs: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        exponents = torch.arange(TIME_FREQUENCIES, dtype=torch.float32) / TIME_FREQUENCIES
        self.register_buffer("freqs", torch.exp(-math.log(10000) * exponents))
        self.mlp = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES, dim), nn.SiLU(), nn.Linear(dim, dim)
        )

    def forward(self, time: Tensor) -> Tensor:
        """Return ``[B, D]`` for ``time`` ``[B]``."""
        angles = TIME_SCALE * time[:, None] * self.freqs
        embedding: Tensor = self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1))
        return embedding


class Transformer(nn.Module):
    """Blocks of which the second half also see what the first half put out, the last first."""

    def __init__(self, dims: S2MelDims) -> None:
        super().__init__()
        self.head_dim = dims.dim // dims.num_heads
        self.layers = nn.ModuleList(
            TransformerBlock(dims.dim, dims.num_heads) for _ in range(dims.num_layers)
        )
        self.norm = AdaptiveNorm(dims.dim)

    def forward(self, x: Tensor, time: Tensor, mask: Tensor | None) -> Tensor:
        """Return ``[B, T, D]``; ``time`` ``[B, D]``, ``mask`` ``[B, 1, T]``, True = keep."""
        rotation = _rotation(x.shape[1], self.head_dim, x.device)
        key_mask = None if mask is None else mask[:, None]  # [B, 1, 1, T]
        middle = len(self.layers) // 2
        emitted: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            skip = emitted.pop() if i > middle else None
            x = layer(x, time, rotation, key_mask, skip)
            if i < middle:
                emitted.append(x)
        normed: Tensor = self.norm(x, time)
        return normed


class TransformerBlock(nn.Module):
    """Attention and a gated feed-forward layer, both behind norms that the time sets."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.attention = Attention(dim, num_heads)
        self.feed_forward = FeedForward(dim)
        self.attention_norm = AdaptiveNorm(dim)
        self.ffn_norm = AdaptiveNorm(dim)
        # Of the published file; blocks of the first half have it, and never use it.
        self.skip_in_linear = nn.Linear(2 * dim, dim)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        rotation: Tensor,
        key_mask: Tensor | None,
        skip: Tensor | None,
    ) -> Tensor:
        """Return ``[B, T, D]``; ``skip`` ``[B, T, D]`` is what an earlier block put out."""
        if skip is not None:
            x = self.skip_in_linear(torch.cat([x, skip], dim=-1))
        x = x + self.attention(self.attention_norm(x, time), rotation, key_mask)
        added: Tensor = self.feed_forward(self.ffn_norm(x, time))
        return x + added


class Attention(nn.Module):
    """Attention over all frames with rotary positions."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.wqkv = nn.Linear(dim, 3 * dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, rotation: Tensor, key_mask: Tensor | None) -> Tensor:
        """Return ``[B, T, D]``; ``rotation`` ``[T, K / 2, 2]``, ``key_mask`` ``[B, 1, 1, T]``."""
        B, T, D = x.shape
        qkv = self.wqkv(x).view(B, T, 3, self.num_heads, D // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, T, K]
        q, k = _rotate(q, rotation), _rotate(k, rotation)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)
        out: Tensor = self.wo(y.transpose(1, 2).reshape(B, T, D))
        return out


class FeedForward(nn.Module):
    """A gated feed-forward layer (SwiGLU), ``[B, T, D]`` in and out."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = FF_MULTIPLE * math.ceil(int(8 * dim / 3) / FF_MULTIPLE)
        self.w1 = nn.Linear(dim, inner, bias=False)
        self.w3 = nn.Linear(dim, inner, bias=False)
        self.w2 = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, T, D]``."""
        y: Tensor = self.w2(F.silu(self.w1(x)) * self.w3(x))
        return y


class AdaptiveNorm(nn.Module):
    """A root-mean-square norm whose scale and shift come from the time."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project_layer = nn.Linear(dim, 2 * dim)
        self.norm = RmsNorm(dim)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return ``[B, T, D]`` for ``x`` ``[B, T, D]`` and ``time`` ``[B, D]``."""
        scale, shift = self.project_layer(time)[:, None].chunk(2, dim=-1)
        y: Tensor = scale * self.norm(x) + shift
        return y


class RmsNorm(nn.Module):
    """Division by the root mean square, in float32."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., D]``."""
        mean_square = x.float().square().mean(dim=-1, keepdim=True)
        return (x.float() * torch.rsqrt(mean_square + RMS_EPS)).to(x.dtype) * self.weight


class WaveNet(nn.Module):
    """Gated convolutions that the time steers, ``[B, W, T]`` in and out."""

    def __init__(self, dims: S2MelDims) -> None:
        super().__init__()
        width, num_layers = dims.wavenet_dim, dims.wavenet_layers
        self.dropout = nn.Dropout(dims.wavenet_dropout)
        self.cond_layer = ReflectConv(width, 2 * width * num_layers, 1)
        self.in_layers = nn.ModuleList(
            ReflectConv(width, 2 * width, dims.wavenet_kernel) for _ in range(num_layers)
        )
        self.res_skip_layers = nn.ModuleList(
            # The last layer has nobody behind it to pass a residual to.
            ReflectConv(width, width if i == num_layers - 1 else 2 * width, 1)
            for i in range(num_layers)
        )

    def forward(self, x: Tensor, time: Tensor, mask: Tensor | None) -> Tensor:
        """Return ``[B, W, T]``; ``time`` ``[B, W]``, ``mask`` ``[B, 1, T]``, True = keep."""
        keep = x.new_ones(1) if mask is None else mask.to(x.dtype)
        steering = self.cond_layer(time[..., None]).chunk(len(self.in_layers), dim=1)
        total = torch.zeros_like(x)
        for steer, in_layer, res_skip in zip(
            steering, self.in_layers, self.res_skip_layers, strict=True
        ):
            content, gate = (in_layer(x) + steer).chunk(2, dim=1)
            out = res_skip(self.dropout(torch.tanh(content) * torch.sigmoid(gate)))
            *residual, skip = out.split(x.shape[1], dim=1)
            total = total + skip
            if residual:
                x = (x + residual[0]) * keep
        return total * keep


class ReflectConv(nn.Module):
    """A convolution that sees the edges mirrored; the published file nests it twice."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.margin = kernel_size // 2
        conv = NormedConv1d(in_channels, out_channels, kernel_size)
        self.conv = nn.ModuleDict({"conv": conv})

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, out_channels, T]`` for ``x`` ``[B, in_channels, T]``."""
        if self.margin:
            # Fewer frames than that cannot be mirrored: zeros are put behind them first.
            missing = max(0, self.margin + 1 - x.shape[-1])
            extended = F.pad(F.pad(x, (0, missing)), (self.margin, self.margin), mode="reflect")
            x = extended[..., : extended.shape[-1] - missing]
        y: Tensor = self.conv["conv"](x)
        return y


class FinalLayer(nn.Module):
    """A layer norm whose shift and scale come from the time, and a linear map."""

    def __init__(self, dim: int, time_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=FINAL_NORM_EPS, elementwise_affine=False)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, 2 * dim))
        self.linear = NormedLinear(dim, dim)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return ``[B, T, W]`` for ``x`` ``[B, T, W]`` and ``time`` ``[B, D]``."""
        shift, scale = self.adaLN_modulation(time)[:, None].chunk(2, dim=-1)
        y: Tensor = self.linear(self.norm(x) * (1 + scale) + shift)
        return y


def _rotation(num_frames: int, head_dim: int, device: torch.device) -> Tensor:
    """Return cosine and sine of the angle that turns each pair of each frame, ``[T, K / 2, 2]``."""
    exponents = torch.arange(0, head_dim, 2, device=device).float() / head_dim
    frame = torch.arange(num_frames, device=device).float()
    angles = torch.outer(frame, 1.0 / ROPE_BASE**exponents)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def _rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Return ``x`` ``[B, H, T, K]`` with each pair of neighbours turned by ``rotation``."""
    cos, sin = rotation.to(x.dtype).unbind(-1)  # each [T, K / 2]
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)


def _before(lens: Tensor, frames: Tensor) -> Tensor:
    """Return ``[B, 1, T]``, True for the first ``lens`` ``[B]`` of ``frames`` ``[B, _, T]``."""
    return (torch.arange(frames.shape[-1], device=frames.device) < lens[:, None])[:, None]


def _without_prompt(x: Tensor, prompt_len: int) -> Tensor:
    """Return ``x`` ``[B, M, T]`` with its first ``prompt_len`` frames zero."""
    return F.pad(x[..., prompt_len:], (prompt_len, 0))
