"""The GPT of IndexTTS-2: prompt latents, emotion and text in, semantic codes out.

One sequence is ``[prefix 34][text L + 2][codes]``. The 34 rows of the prefix are the latents with
the emotion added, a row for the duration, and one for "free". Text is framed by start and stop;
code inputs begin with the start code. The state-dict keys are those of the published ``gpt.pth``.

Letters: B sequences, S rows of a sequence, D width, H heads, K width of a head, L text ids,
n codes, T code frames of a prompt, F features of a frame, V rows of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from idiolect.base.log import get_logger
from idiolect.models.conditioning import ConditioningConformer, PerceiverResampler
from idiolect.models.config import NUM_LATENTS, GptDims

PREFIX_ROWS: Final = NUM_LATENTS + 2
"""Latents, the duration row and the free row."""
FREE_ROW, SPEED_ROW = 0, 1
"""Rows of ``speed_emb``: the last of the prefix, and the one that stands in for a duration."""
DECODE_GAP: Final = 1
"""Incremental decoding skips this many position rows behind the start code."""
INIT_STD: Final = 0.02


def decode_positions(num_inputs: int, device: torch.device | str | None = None) -> Tensor:
    """Return the position row of each code input, ``[num_inputs]`` int64, as decoding counts them.

    The start code has row 0 and the k-th code row k + 1: row 1 is never used. The published
    decoder counts so; its second pass, :meth:`UnifiedVoice.code_latents`, has no such gap.
    """
    positions = torch.arange(num_inputs, device=device)
    return positions + DECODE_GAP * (positions > 0)


def frame(ids: Tensor, lens: Tensor | None, *, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Return the inputs ``[start, ids, stop]`` and the targets ``[ids, stop, stop]`` of ``ids``.

    Args:
        ids: ``[B, L]`` int64.
        lens: Valid ids of each row ``[B]``; what stands behind becomes ``stop``. None: all are.
        start: First input.
        stop: Last target, and filling.

    Returns:
        Both ``[B, L + 2]``.
    """
    if lens is not None:
        beyond = torch.arange(ids.shape[1], device=ids.device) >= lens[:, None]
        ids = ids.masked_fill(beyond, stop)
    targets = F.pad(ids, (0, 2), value=stop)
    return F.pad(targets[:, :-1], (1, 0), value=start), targets


class KeyValueCache:
    """Keys and values of the rows seen so far, for at most ``max_len`` rows.

    Room is taken once, at the first row, with the type and the device that the model computes in.
    """

    def __init__(self, num_layers: int, max_len: int) -> None:
        self.max_len = max_len
        self.len = 0
        self._store: list[Tensor | None] = [None] * num_layers  # each [2, B, H, max_len, K]

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add rows ``[B, H, S, K]`` of ``layer``; return all rows so far ``[B, H, len + S, K]``.

        :meth:`advance` follows once all layers have added theirs.
        """
        end = self.len + k.shape[2]
        if end > self.max_len:
            raise ValueError(f"{end} rows in a cache for {self.max_len}")
        store = self._store[layer]
        if store is None:
            B, H, _, K = k.shape
            store = self._store[layer] = k.new_empty(2, B, H, self.max_len, K)
        store[0, :, :, self.len : end] = k
        store[1, :, :, self.len : end] = v
        return store[0, :, :, :end], store[1, :, :, :end]

    def advance(self, num_rows: int) -> None:
        """Count ``num_rows`` as seen."""
        self.len += num_rows

    def repeat(self, times: int) -> KeyValueCache:
        """Return a cache with each sequence ``times`` over, one behind the other."""
        copy = KeyValueCache(len(self._store), self.max_len)
        for layer, store in enumerate(self._store):
            assert store is not None, "a cache without rows"
            k, v = store[..., : self.len, :].repeat_interleave(times, dim=1)
            copy.append(layer, k, v)
        copy.advance(self.len)
        return copy

    def reorder(self, sequences: Tensor, *, start: int = 0) -> None:
        """Let row ``i`` go on from ``sequences[i]`` ``[B]``; rows before ``start`` are alike."""
        for store in self._store:
            assert store is not None, "a cache without rows"
            rows = store[..., start : self.len, :]
            rows.copy_(rows.index_select(1, sequences))


class Packing(NamedTuple):
    """Where the sequences of one row begin and end."""

    lens: tuple[int, ...]
    offsets: Tensor | None
    """Their bounds, from 0 to S, ``[len(lens) + 1]`` int64, on a device that attends over all
    sequences at once; None where they take turns."""


class Before(NamedTuple):
    """What the rows of a pass see besides themselves; of all None, every row before them."""

    keep: Tensor | None
    """True where a row may be seen, ``[…, S, S']``."""
    cache: KeyValueCache | None
    packing: Packing | None


def avoid_cudnn_attention() -> None:
    """Keep torch, in this process, from attending with cuDNN.

    On recent cards torch prefers it, and it makes a plan for each shape it has not seen: 130 ms on
    an H100, for one call. Lengths of sentences hardly repeat, so training and synthesis would wait
    for plans. The kernels that torch takes instead need none.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)  # noqa: FBT003 - torch's own signature


class UnifiedVoice(nn.Module):
    """The GPT with its conditioners.

    Args:
        dims: Sizes.
        conditioners: False leaves out the conformers, the perceivers and the emotion layers:
            training reads their outputs from the features.
        dropout: Of embeddings and residuals, while training. Attention weights are kept: with
            dropout among them no fused attention runs on a CPU, which is several times slower.
    """

    def __init__(self, dims: GptDims, *, conditioners: bool = True, dropout: float = 0.1) -> None:
        super().__init__()
        self.dims = dims
        if conditioners:
            self._add_conditioners(dims)
        self.speed_emb = nn.Embedding(2, dims.dim)
        self.text_embedding = nn.Embedding(dims.text_rows, dims.dim)
        self.mel_embedding = nn.Embedding(dims.num_codes, dims.dim)
        self.text_pos_embedding = _Positions(dims.text_positions, dims.dim)
        self.mel_pos_embedding = _Positions(dims.code_positions, dims.dim)
        self.gpt = _Transformer(dims.dim, dims.num_heads, dims.num_layers, dropout=dropout)
        self.final_norm = nn.LayerNorm(dims.dim)
        self.text_head = nn.Linear(dims.dim, dims.text_rows)
        self.mel_head = nn.Linear(dims.dim, dims.num_codes)
        nn.init.zeros_(self.speed_emb.weight)
        nn.init.normal_(self.text_embedding.weight, std=INIT_STD)
        nn.init.normal_(self.mel_embedding.weight, std=INIT_STD)

    def _add_conditioners(self, dims: GptDims) -> None:
        self.conditioning_encoder = ConditioningConformer(dims.feature_dim, dims.speaker)
        self.perceiver_encoder = PerceiverResampler(
            dims.dim,
            dims.speaker.dim,
            num_heads=dims.speaker.num_heads,
            ff_mult=dims.speaker.perceiver_mult,
        )
        self.emo_conditioning_encoder = ConditioningConformer(dims.feature_dim, dims.emotion)
        self.emo_perceiver_encoder = PerceiverResampler(
            dims.emotion_dim,
            dims.emotion.dim,
            num_heads=dims.emotion.num_heads,
            ff_mult=dims.emotion.perceiver_mult,
            num_latents=1,
        )
        self.emovec_layer = nn.Linear(dims.emotion_dim, dims.dim)
        self.emo_layer = nn.Linear(dims.dim, dims.dim)

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether training computes each block again instead of keeping its activations."""
        return self.gpt.gradient_checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, value: bool) -> None:
        self.gpt.gradient_checkpointing = value

    def compile_blocks(self) -> None:
        """Let torch.compile write kernels for each block, for rows of any length."""
        for block in self.gpt.h:
            block.compile(dynamic=True)

    def speaker_latents(self, features: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return the latents ``[B, 32, D]`` of a prompt's ``features`` ``[B, T, F]``.

        ``lens`` ``[B]`` counts the valid frames; None when all are, as the published code has it.
        """
        latents: Tensor = self.perceiver_encoder(*self.conditioning_encoder(features, lens))
        return latents

    def emotion_vector(self, features: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return the emotion ``[B, D]`` of a prompt's ``features`` ``[B, T, F]``."""
        states = self.emo_perceiver_encoder(*self.emo_conditioning_encoder(features, lens))
        emotion: Tensor = self.emo_layer(self.emovec_layer(states.squeeze(1)))
        return emotion

    def merge_emotion(
        self,
        speaker_features: Tensor,
        emotion_features: Tensor,
        alpha: float = 1.0,
        *,
        speaker_lens: Tensor | None = None,
        emotion_lens: Tensor | None = None,
    ) -> Tensor:
        """Return the emotion ``[B, D]`` that lies ``alpha`` of the way from speaker to emotion."""
        base = self.emotion_vector(speaker_features, speaker_lens)
        goal = self.emotion_vector(emotion_features, emotion_lens)
        return base + alpha * (goal - base)

    def duration_rows(self, code_lens: Tensor, dropped: Tensor | None = None) -> Tensor:
        """Return the rows ``[B, D]`` that ask for ``code_lens`` ``[B]`` codes.

        They are rows of the code positions; a length beyond the table asks for its last row.
        Where ``dropped`` ``[B]`` is True nothing is asked: so training keeps durations optional.
        """
        table = self.mel_pos_embedding.emb
        rows: Tensor = table(code_lens.clamp(max=table.num_embeddings - 1))
        if dropped is None:
            return rows
        return torch.where(dropped[:, None], self.speed_emb.weight[FREE_ROW], rows)

    def requested_duration(self, num_codes: int) -> Tensor:
        """Return the row ``[1, D]`` that asks synthesis for ``num_codes``, as far as it knows."""
        asked = min(max(num_codes, 1), self.dims.max_code_len - 1)
        return self.duration_rows(torch.tensor([asked], device=self.speed_emb.weight.device))

    def prefix(self, latents: Tensor, emotion: Tensor, duration: Tensor | None = None) -> Tensor:
        """Return the rows before the text, ``[B, 34, D]``.

        Args:
            latents: ``[B, 32, D]``.
            emotion: ``[B, D]``, added to every latent.
            duration: ``[B, D]`` of :meth:`duration_rows`; None leaves the duration free.
        """
        speed = self.speed_emb.weight.expand(len(latents), -1, -1)  # [B, 2, D]
        asked = speed[:, SPEED_ROW] if duration is None else duration
        rows = [latents + emotion[:, None], asked[:, None], speed[:, FREE_ROW, None]]
        return torch.cat(rows, dim=1)

    def embed_text(self, inputs: Tensor, positions: Tensor | None = None) -> Tensor:
        """Return ``[B, L, D]`` for framed text ``inputs`` ``[B, L]``; positions count from 0."""
        return self.text_pos_embedding(self.text_embedding(inputs), positions)  # type: ignore[no-any-return]

    def embed_codes(self, inputs: Tensor, positions: Tensor | None = None) -> Tensor:
        """Return ``[B, n, D]`` for code ``inputs`` ``[B, n]`` that begin with the start code.

        ``positions`` ``[n]`` or ``[B, n]`` count 0, 1, 2 … unless given: decoding and training
        count by :func:`decode_positions`.
        """
        return self.mel_pos_embedding(self.mel_embedding(inputs), positions)  # type: ignore[no-any-return]

    def transform(
        self,
        embeds: Tensor,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        *,
        packed_lens: Sequence[int] | None = None,
    ) -> Tensor:
        """Run the blocks and both norms; a row sees itself and what came before.

        Args:
            embeds: ``[B, S, D]``.
            mask: True where a row may be seen: ``[B, S']`` over all S' rows, those in the cache
                included, or ``[B, S, S']`` for each row. Causality is added.
            cache: Rows that came before; gains these.
            packed_lens: Lengths of sequences that stand one behind the other in ``[1, S, D]``, S
                together; none sees another. Neither mask nor cache goes with them.

        Returns:
            States ``[B, S, D]`` for :attr:`text_head` and :attr:`mel_head`.
        """
        states: Tensor = self.final_norm(self.gpt(embeds, mask, cache, packed_lens))
        return states

    def teacher_forced(
        self,
        prefix: Tensor,
        text_ids: Tensor,
        codes: Tensor,
        *,
        text_lens: Tensor | None = None,
        code_lens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the states behind framed text ``[B, L + 2, D]`` and codes ``[B, n + 2, D]``.

        The layout of the published code: ``prefix`` ``[B, 34, D]``, ``text_ids`` ``[B, L]`` and
        ``codes`` ``[B, n]`` padded to the longest, positions without the gap of decoding.
        """
        text_inputs, _ = self.frame_text(text_ids, text_lens)
        code_inputs, _ = self.frame_codes(codes, code_lens)
        text, code = self.embed_text(text_inputs), self.embed_codes(code_inputs)
        states = self.transform(torch.cat([prefix, text, code], dim=1))[:, prefix.shape[1] :]
        return states[:, : text.shape[1]], states[:, text.shape[1] :]

    def frame_text(self, text_ids: Tensor, lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return text inputs and targets, both ``[B, L + 2]``; see :func:`frame`."""
        return frame(text_ids, lens, start=self.dims.start_text, stop=self.dims.stop_text)

    def frame_codes(self, codes: Tensor, lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return code inputs and targets, both ``[B, n + 2]``; see :func:`frame`."""
        return frame(codes, lens, start=self.dims.start_code, stop=self.dims.stop_code)

    def code_latents(
        self,
        prefix: Tensor,
        text_ids: Tensor,
        codes: Tensor,
        *,
        text_lens: Tensor | None = None,
        code_lens: Tensor | None = None,
    ) -> Tensor:
        """Return the states that predict each of ``codes``, ``[B, n, D]``: the second pass.

        Args:
            prefix: ``[B, 34, D]``.
            text_ids: ``[B, L]`` without start and stop.
            codes: ``[B, n]`` without start and stop.
            text_lens: Valid ids ``[B]`` when rows are padded.
            code_lens: Valid codes ``[B]`` when rows are padded.
        """
        _, states = self.teacher_forced(
            prefix, text_ids, codes, text_lens=text_lens, code_lens=code_lens
        )
        return states[:, :-2]


class _Positions(nn.Module):
    """A learned row for each place, added to what stands there."""

    def __init__(self, num_rows: int, dim: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(num_rows, dim)
        nn.init.normal_(self.emb.weight, std=INIT_STD)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device)
        y: Tensor = x + self.emb(positions)
        return y


class _Transformer(nn.Module):
    """GPT-2 without its own tokens and positions."""

    def __init__(self, dim: int, num_heads: int, num_layers: int, *, dropout: float) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.num_heads = num_heads
        self.drop = _Dropout(dropout)
        self.h = nn.ModuleList(
            _Block(layer, dim, num_heads, dropout=dropout) for layer in range(num_layers)
        )
        self.ln_f = nn.LayerNorm(dim)
        for name, weight in self.named_parameters():
            if name.endswith("c_proj.weight"):
                # Two of these add to the residual in each block: its size must not grow with depth.
                nn.init.normal_(weight, std=INIT_STD / math.sqrt(2 * num_layers))

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        cache: KeyValueCache | None,
        packed_lens: Sequence[int] | None,
    ) -> Tensor:
        keep = _visible(mask, x.shape[1], cache.len if cache else 0, x.device)
        packing = None
        if packed_lens is not None:
            packing = _packing(packed_lens, x, x.shape[-1] // self.num_heads)
        before = Before(keep=keep, cache=cache, packing=packing)
        x = self.drop(x)
        for block in self.h:
            if self.gradient_checkpointing and self.training:
                x = checkpoint(block, x, before, use_reentrant=False)
            else:
                x = block(x, before)
        if cache is not None:
            cache.advance(x.shape[1])
        y: Tensor = self.ln_f(x)
        return y


def _visible(mask: Tensor | None, rows: int, before: int, device: torch.device) -> Tensor | None:
    """Return what each of ``rows`` may see, ``[…, S, before + S]``; None is all, or causality.

    A row always sees itself, padding too: on some devices a row that sees nothing is NaN.
    """
    if mask is None and (rows == 1 or not before):
        return None
    causal = torch.ones(rows, before + rows, dtype=torch.bool, device=device).tril(before)
    if mask is None:
        return causal
    keep = mask[:, None] if mask.dim() == 2 else mask  # [B, 1 | S, before + S]
    return (keep & causal | causal.triu(before))[:, None]  # [B, 1, S, before + S]


class _Block(nn.Module):
    def __init__(self, layer: int, dim: int, num_heads: int, *, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim)
        self.attn = _CausalAttention(layer, dim, num_heads, dropout=dropout)
        self.ln_2 = nn.LayerNorm(dim)
        self.mlp = _FeedForward(dim, dropout=dropout)

    def forward(self, x: Tensor, before: Before) -> Tensor:
        x = x + self.attn(self.ln_1(x), before)
        y: Tensor = x + self.mlp(self.ln_2(x))
        return y


class _CausalAttention(nn.Module):
    def __init__(self, layer: int, dim: int, num_heads: int, *, dropout: float) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads = num_heads
        self.c_attn = _Conv1D(dim, 3 * dim)
        self.c_proj = _Conv1D(dim, dim)
        self.resid_dropout = _Dropout(dropout)

    def forward(self, x: Tensor, before: Before) -> Tensor:
        qkv = self.c_attn(x).unflatten(-1, (3, self.num_heads, -1))  # [B, S, 3, H, K]
        if before.packing is not None:
            y = _attend_within(qkv, before.packing)
        else:
            y = self._attend(qkv, before)
        out: Tensor = self.resid_dropout(self.c_proj(y.flatten(2)))  # [B, S, D]
        return out

    def _attend(self, qkv: Tensor, before: Before) -> Tensor:
        """Return causal attention over ``qkv`` and what came before it, ``[B, S, H, K]``."""
        q, k, v = _heads_first(qkv)
        if before.cache is not None:
            k, v = before.cache.append(self.layer, k, v)
        is_causal = before.keep is None and q.shape[2] > 1
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=before.keep, is_causal=is_causal)
        return y.transpose(1, 2)


def _heads_first(qkv: Tensor) -> Tensor:
    """Return queries, keys and values, each ``[B, H, S, K]``, of ``[B, S, 3, H, K]``."""
    return qkv.permute(2, 0, 3, 1, 4)


def _packing(lens: Sequence[int], x: Tensor, head_dim: int) -> Packing:
    """Return how sequences of ``lens`` share a row of ``x``."""
    device, dtype = x.device, x.dtype
    if torch.is_autocast_enabled(device.type):
        dtype = torch.get_autocast_dtype(device.type)
    at_once = _attends_at_once(device, dtype, head_dim)
    return Packing(tuple(lens), _bounds(lens, device) if at_once else None)


@cache
def _attends_at_once(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Tell whether ``device`` attends over sequences of many lengths in one call."""
    if device.type != "cuda":
        return False
    is_right = _is_right_at_once(device, dtype, head_dim)
    if not is_right:
        get_logger().warning(
            "no attention over packed rows can be relied on here; sequences take turns, slowly",
        )
    return is_right


@torch.inference_mode(mode=False)
@torch.enable_grad()
def _is_right_at_once(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Attend both ways over a few rows, there and back: cards and versions of torch differ."""
    lens = (3, 1, 4)
    values = torch.arange(sum(lens) * 3 * head_dim, device=device).sin()  # random ones are counted
    rows = values.to(dtype).view(1, sum(lens), 3, 1, head_dim)
    ways = []
    try:
        for offsets in (None, _bounds(lens, device)):
            leaf = rows.clone().requires_grad_()
            y = _attend_within(leaf, Packing(lens, offsets))
            (slope,) = torch.autograd.grad(y.square().sum(), leaf)
            ways.append(torch.cat([y.flatten(), slope.flatten()]))
    except (RuntimeError, ValueError):  # what torch raises where it has no kernel
        return False
    in_turn, at_once = ways
    return torch.allclose(in_turn, at_once, rtol=0.05, atol=0.05)


def _bounds(lens: Sequence[int], device: torch.device) -> Tensor:
    """Return where ``lens`` begin and end, on ``device``, which is not waited for."""
    bounds = torch.tensor([0, *accumulate(lens)])
    return bounds.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else bounds


# The lengths of a batch are plain numbers: compiled, it would be compiled for each anew.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def _attend_within(qkv: Tensor, packing: Packing) -> Tensor:
    """Return causal attention of ``qkv`` ``[1, S, 3, H, K]`` within each sequence of a row.

    ``[1, S, H, K]``, S together.
    """
    if packing.offsets is None:
        return _attend_in_turn(qkv, packing.lens)
    return _attend_at_once(qkv, packing.lens, packing.offsets)


def _attend_in_turn(qkv: Tensor, lens: Sequence[int]) -> Tensor:
    """Attend over one sequence after the other.

    In float32 on a CPU: its bfloat16 kernels are made anew for each length, which takes longer
    than the attention of a sentence.
    """
    dtype = torch.float32 if qkv.device.type == "cpu" else qkv.dtype
    attended = []
    for part in torch.split(qkv.to(dtype), list(lens), dim=1):
        q, k, v = _heads_first(part)
        attended.append(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2))
    return torch.cat(attended, dim=1).to(qkv.dtype)


def _attend_at_once(qkv: Tensor, lens: Sequence[int], offsets: Tensor) -> Tensor:
    """Attend over all sequences in one call: of many small ones a GPU would be idle.

    Shortest and longest are given, or torch would read ``offsets`` back from the device.
    """
    q, k, v = (
        torch.nested.nested_tensor_from_jagged(
            rows, offsets, min_seqlen=min(lens), max_seqlen=max(lens)
        ).transpose(1, 2)
        for rows in qkv[0].unbind(1)  # each [S, H, K]
    )
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return y.transpose(1, 2).values().unsqueeze(0)


class _Dropout(nn.Module):
    """Drops activations while training, and lifts the others to the same mean.

    On a CPU torch draws a float for each activation, which takes a tenth of a training step; here a
    byte is drawn, so the probability is a multiple of 1/256 there.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.probability:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.probability)
        dropped = round(self.probability * 256)
        kept = (_random_bytes(x.shape) >= dropped).to(x.dtype)
        return x * kept.mul_(256 / (256 - dropped))


def _random_bytes(shape: torch.Size) -> Tensor:
    """Return bytes by torch's generator, eight at a draw."""
    count = shape.numel()
    draws = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), 2**63 - 1)
    return draws.view(torch.uint8)[:count].view(shape)


class _FeedForward(nn.Module):
    def __init__(self, dim: int, *, dropout: float) -> None:
        super().__init__()
        self.c_fc = _Conv1D(dim, 4 * dim)
        self.c_proj = _Conv1D(4 * dim, dim)
        self.dropout = _Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))
        return y


class _Conv1D(nn.Module):
    """A linear map whose weight is stored ``[in, out]``, as GPT-2's files have it."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_dim, out_dim))
        self.bias = nn.Parameter(torch.zeros(out_dim))
        nn.init.normal_(self.weight, std=INIT_STD)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.mT, self.bias)
