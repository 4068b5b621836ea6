"""How much memory training takes, on paper: from the sizes of the network and the settings alone.

What stays is counted from the network itself: weights in float32, a gradient for each weight
that learns, and what the optimizer keeps. What comes with the tokens of a pass is counted from
what :mod:`idiolect.models.gpt` does with them. For D width, H heads, ``e`` bytes of a number that
matrices are multiplied in (2 in bf16, 4 in fp32) and ``m`` bytes of a number of a dropout mask (1
on a GPU, ``e`` on a CPU), a block keeps for each token, until its backward pass:

=====================  ===========  ======================================================
Where                  Bytes        What
=====================  ===========  ======================================================
``ln_1``               4D + 8       its input, the residual in fp32; its mean and spread
``attn.c_attn``        eD           its input: what ``ln_1`` gave, cast
attention              3eD          q, k and v, which are views of what ``c_attn`` gave
attention              eD + 4H      its output, which ``c_proj`` keeps too; its log-sum-exps
attention, joined      eD           the samples' outputs joined, where they take turns, which
                                    is on a CPU: what ``c_proj`` keeps then
``attn`` dropout       mD           the mask
``ln_2``               4D + 8       its input, the residual in fp32; its mean and spread
``mlp.c_fc``           eD           its input: what ``ln_2`` gave, cast
GELU                   4eD          its input
``mlp.c_proj``         4eD          its input: what GELU gave
``mlp`` dropout        mD           the mask
adapters of rank r     4er          what A of each of the four maps gave, which B keeps
adapters, bf16         eD           the input of ``attn.c_proj``, cast to fp32 and back beside the
                                    output of the attention, unless that was joined
=====================  ===========  ======================================================

Together (8 + 14e + 2m) D + 16 + 4H: in bf16 on a GPU 38 D, and 1.2 MB a token at the published
size. Sums keep nothing. In bf16 each product also keeps its copy of the matrix: 12 D² numbers a
block, and 16 D r of its adapters. A frozen matrix needs no input, but A beside it keeps the same
one: so adapters save weights, not activations. With gradient checkpointing a block keeps its fp32
input, 4D, and one block at a time is computed again, with all of the above. A test counts what a
forward pass really keeps.

Then comes the most that is there at once, which is the larger of two things. The loss has a chunk
of logits in ``e``, their gradient in fp32 and in ``e``, the gradients of both heads beside those of
earlier passes, and the states of the tokens with their gradients: (12 + e) D a token. The
backward pass of a block has for each token three residuals in fp32 and gradients of the widest
activations: (12 + 10e) D.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import psutil
import torch

from idiolect.base.errors import TrainingError
from idiolect.base.units import format_bytes
from idiolect.models.adapter import ADAPTED_MAPS, TRAINED_WHOLE
from idiolect.models.config import GptDims
from idiolect.models.gpt import UnifiedVoice
from idiolect.training.config import AUTO, TrainConfig
from idiolect.training.head_loss import CHUNK_TOKENS
from idiolect.training.rows import ROW_TABLES

FLOAT_BYTES = 4
BF16_BYTES = 2
ADAMW_BYTES = 8
"""Two states in float32, for each number that learns."""
ADAMW8BIT_BYTES = 2 + 2 * FLOAT_BYTES / 256
"""Two states in 8 bits, and a scale in float32 for each block of 256 of each.

Source:
    Dettmers et al. 2022, "8-bit optimizers via block-wise quantization"; the block is that of
    bitsandbytes.
"""
LEAST_TOKENS = 1024
"""Of a pass: one clip of some 18 s with its text. With less, long clips would not fit."""
MOST_TOKENS = 32_768
"""Of a pass that is chosen here: by then a GPU is busy, and more would only cost memory."""
TOKEN_STEP = 256
"""Tokens of a pass are chosen in multiples of this."""
USABLE_SHARE = 0.9
"""Of the free memory; the rest is for what an allocator cannot hand out in one piece.

Measured on an H100 with its memory capped: passes chosen so, of all weights, stayed within the
memory of cards of 12, 16, 24 and 48 GB, and below what is counted here. The gradients, which are
counted in full, grow there while the activations go."""
ADAPTER_USABLE_SHARE = 0.8
"""The same with adapters, which have few gradients to count in advance.

With 0.9, a pass for 8 GB ran out there; 0.8 is about what the passes that stayed within had in use
at most, 78 to 84 %. A run with it was not measured."""
CPU_TOKENS_PER_PASS = 4096
"""More gain nothing on a processor, and take memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassKind:
    """How a pass computes, as far as memory is concerned."""

    element_bytes: int
    """Of a number that matrices are multiplied in."""
    mask_bytes: int
    """Of a number of a dropout mask; 0 without dropout."""
    joined: bool = False
    """Whether samples that share a row take turns in the attention, and are joined behind it."""
    checkpointing: bool = False
    rank: int = 0
    """Of the adapters; 0 where all weights learn."""

    @classmethod
    def of(cls, config: TrainConfig, *, on_gpu: bool = True) -> PassKind:
        """Return how ``config`` computes; ``auto`` is taken for bf16 on a GPU, fp32 elsewhere."""
        wanted = config.precision
        is_bf16 = wanted == "bf16" or (wanted == AUTO and on_gpu)
        element_bytes = BF16_BYTES if is_bf16 else FLOAT_BYTES
        return cls(
            element_bytes=element_bytes,
            mask_bytes=(1 if on_gpu else element_bytes) if config.dropout else 0,
            joined=not on_gpu,
            checkpointing=config.gradient_checkpointing,
            rank=config.lora_rank if config.mode == "lora" else 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMemory:
    """What training takes, in bytes."""

    weights: int
    gradients: int
    optimizer: int
    copies: int
    """Of the weights: a running mean, the base to be compared with, matrices in bf16."""
    saved_per_token: float
    """From the forward to the backward pass."""
    loss: int
    """While the loss is computed: a chunk of logits, and the gradients of the heads."""
    loss_per_token: float
    backward_per_token: float
    """While the backward pass goes through a block."""

    @property
    def resident(self) -> int:
        """What is there between two passes, and the matrices that a pass casts."""
        return self.weights + self.gradients + self.optimizer + self.copies

    @property
    def per_token(self) -> float:
        """What one more token in a pass costs at most."""
        return self.saved_per_token + max(self.loss_per_token, self.backward_per_token)

    def total(self, num_tokens: int) -> int:
        """Return the most that is there at once, with passes of ``num_tokens``."""
        at_loss = self.loss + self.loss_per_token * num_tokens
        at_backward = self.backward_per_token * num_tokens
        saved = self.saved_per_token * num_tokens
        return self.resident + math.ceil(saved + max(at_loss, at_backward))

    def tokens_in(self, num_bytes: float) -> int:
        """Return how many tokens a pass may have for ``num_bytes`` to hold all; 0 or more."""
        room = num_bytes - self.resident
        at_loss = (room - self.loss) / (self.saved_per_token + self.loss_per_token)
        at_backward = room / (self.saved_per_token + self.backward_per_token)
        return max(0, math.floor(min(at_loss, at_backward)))


def training_memory(
    dims: GptDims, config: TrainConfig, *, on_gpu: bool = True, loss_chunk: int = CHUNK_TOKENS
) -> TrainingMemory:
    """Return the memory of training a GPT of ``dims`` as ``config`` says, on paper.

    An upper bound with rows alone, or where maps are frozen: activations are counted as if all
    weights learnt, or all maps had adapters.
    One device holds everything; where processes share the weights out, each takes less.
    """
    kind = PassKind.of(config, on_gpu=on_gpu)
    num_all = sum(parameter_counts(dims).values())
    num_trained, num_adapters = num_trained_of(dims, config), _num_adapters(dims, config)
    state_bytes = ADAMW8BIT_BYTES if config.optimizer == "adamw8bit" else ADAMW_BYTES
    teacher = kind.element_bytes * num_all if config.base_kl else 0
    average = FLOAT_BYTES * num_trained if config.ema else 0
    base_times = 2 if config.base_kl else 1
    return TrainingMemory(
        weights=FLOAT_BYTES * (num_all + num_adapters),
        gradients=FLOAT_BYTES * num_trained,
        optimizer=round(state_bytes * num_trained),
        copies=teacher + average + matrix_copy_bytes(dims, kind),
        saved_per_token=saved_bytes_per_token(dims, kind),
        loss=base_times * _loss_bytes(dims, kind, loss_chunk),
        loss_per_token=(12 + kind.element_bytes) * dims.dim,
        backward_per_token=(12 + 10 * kind.element_bytes) * dims.dim,
    )


def saved_bytes_per_token(dims: GptDims, kind: PassKind) -> float:
    """Return what the transformer keeps for the backward pass, for each token of a pass.

    The first norm of each block, the last two norms and the first dropout keep theirs; the heads
    keep their inputs. With gradient checkpointing one block is there in full beside the inputs
    of all.
    """
    e, m, D = kind.element_bytes, kind.mask_bytes, dims.dim
    outputs = 2 if kind.joined or (kind.rank and e == BF16_BYTES) else 1  # of the attention
    block = (8 + (13 + outputs) * e + 2 * m) * D + 16 + 4 * dims.num_heads + 4 * e * kind.rank
    around = m * D + 2 * (FLOAT_BYTES * D + 8)
    heads = e * D
    if not kind.checkpointing:
        return dims.num_layers * block + around + heads
    return dims.num_layers * FLOAT_BYTES * D + block + around + heads


def matrix_copy_bytes(dims: GptDims, kind: PassKind) -> int:
    """Return the bytes of the matrices in bf16 that products keep; in fp32 they keep themselves."""
    if kind.element_bytes == FLOAT_BYTES:
        return 0
    blocks = 1 if kind.checkpointing else dims.num_layers
    heads = (dims.text_rows + dims.num_codes) * dims.dim
    block = 12 * dims.dim**2 + 16 * dims.dim * kind.rank
    return kind.element_bytes * (blocks * block + heads)


def parameter_counts(dims: GptDims) -> dict[str, int]:
    """Return how many numbers each parameter has that training loads; nothing is allocated."""
    return {name: math.prod(shape) for name, shape in _shapes(dims).items()}


@lru_cache(maxsize=8)
def _shapes(dims: GptDims) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        gpt = UnifiedVoice(dims, conditioners=False)
    return {name: tuple(parameter.shape) for name, parameter in gpt.named_parameters()}


def num_trained_of(dims: GptDims, config: TrainConfig) -> int:
    """Return how many numbers learn: of the network without ``config.freeze``, and adapters."""
    counts = parameter_counts(dims)
    if config.mode == "lora":
        counts = {name: n for name, n in counts.items() if TRAINED_WHOLE.match(name)}
    if config.mode == "rows":
        counts = {name: counts[name] for name in ROW_TABLES}
    kept = [n for name, n in counts.items() if not _is_frozen(name, config)]
    return sum(kept) + _num_adapters(dims, config)


def tokens_for_memory(
    free_bytes: int, dims: GptDims, config: TrainConfig, *, on_gpu: bool = True
) -> int:
    """Return how many tokens a pass may have, in multiples of :data:`TOKEN_STEP`.

    Args:
        free_bytes: What this process may use, its own share included: on a GPU, what
            ``torch.cuda.mem_get_info`` calls free and ``torch.cuda.memory_reserved`` together.
        dims: Of the network.
        config: Of the run.
        on_gpu: Whether the device is one.

    Raises:
        TrainingError: Less than :data:`LEAST_TOKENS` fit; it says what would.
    """
    memory = training_memory(dims, config, on_gpu=on_gpu)
    tokens = _whole(memory.tokens_in(usable_share(config) * free_bytes))
    if tokens < LEAST_TOKENS:
        raise no_room_error(free_bytes, dims, config, on_gpu=on_gpu)
    return tokens


def usable_share(config: TrainConfig) -> float:
    """Return how much of the free memory a pass may take on paper."""
    return ADAPTER_USABLE_SHARE if config.mode == "lora" else USABLE_SHARE


def tokens_on(device: torch.device, dims: GptDims, config: TrainConfig) -> int:
    """Return the tokens of a pass on ``device``: as the user said, or what its memory holds.

    Raises:
        TrainingError: As :func:`tokens_for_memory`.
    """
    if isinstance(config.tokens_per_pass, int):
        return config.tokens_per_pass
    if device.type != "cuda":
        return CPU_TOKENS_PER_PASS
    return tokens_for_memory(free_on(device), dims, config)


def free_on(device: torch.device) -> int:
    """Return the bytes of ``device`` that this process may use, those that it uses included."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    process = psutil.Process().memory_info().rss
    return int(psutil.virtual_memory().available + process)


def fits(
    free_bytes: int, dims: GptDims, config: TrainConfig, num_tokens: int, *, on_gpu: bool = True
) -> bool:
    """Return whether passes of ``num_tokens`` fit into ``free_bytes``, on paper."""
    memory = training_memory(dims, config, on_gpu=on_gpu)
    return memory.total(num_tokens) <= usable_share(config) * free_bytes


def what_would_fit(
    free_bytes: int, dims: GptDims, config: TrainConfig, *, on_gpu: bool = True
) -> list[str]:
    """Return flags with which training fits, each with the tokens a pass may then have.

    Those that cost least come first: fewer tokens a pass change no result, checkpointing costs
    time, 8-bit states a little exactness, adapters learn less.
    """
    lines = []
    for flags, changed in _savings(config):
        memory = training_memory(dims, changed, on_gpu=on_gpu)
        tokens = _whole(memory.tokens_in(usable_share(changed) * free_bytes))
        if tokens >= LEAST_TOKENS:
            lines.append(f"{flags} --tokens-per-pass {tokens}".strip())
    return lines


def no_room_error(
    free_bytes: int, dims: GptDims, config: TrainConfig, *, on_gpu: bool = True
) -> TrainingError:
    """Return the error that says that training does not fit, and what would."""
    memory = training_memory(dims, config, on_gpu=on_gpu)
    options = what_would_fit(free_bytes, dims, config, on_gpu=on_gpu)
    fix = "any of these would fit, by an estimate:\n" + "\n".join(f"    {line}" for line in options)
    return TrainingError(
        f"training takes {format_bytes(memory.total(LEAST_TOKENS))} with {LEAST_TOKENS} tokens a "
        f"pass (an estimate), and {format_bytes(free_bytes)} are free",
        where="memory of the device",
        fix=fix if options else "use a device with more memory; no setting makes it small enough",
    )


def _savings(config: TrainConfig) -> Iterator[tuple[str, TrainConfig]]:
    """Yield flags that save memory, with the settings that they make of ``config``."""
    checkpointing = {"gradient_checkpointing": True}
    steps = [
        ("", {}),
        ("--gradient-checkpointing", checkpointing),
        ("--optimizer adamw8bit", {"optimizer": "adamw8bit"}),
        (
            "--gradient-checkpointing --optimizer adamw8bit",
            checkpointing | {"optimizer": "adamw8bit"},
        ),
        ("--mode lora", {"mode": "lora"}),
        ("--mode lora --gradient-checkpointing", checkpointing | {"mode": "lora"}),
    ]
    seen = []
    for flags, changes in steps:
        changed = replace(config, **changes)  # type: ignore[arg-type]
        if changed not in seen:
            seen.append(changed)
            yield flags, changed


def _loss_bytes(dims: GptDims, kind: PassKind, chunk: int) -> int:
    e, rows = kind.element_bytes, (dims.text_rows, dims.num_codes)
    heads = FLOAT_BYTES * sum(rows) + e * max(rows)  # gradients, and what a chunk adds to one
    return chunk * max(rows) * (FLOAT_BYTES + 2 * e) + heads * dims.dim


def _whole(num_tokens: int) -> int:
    return min(num_tokens, MOST_TOKENS) // TOKEN_STEP * TOKEN_STEP


def _num_adapters(dims: GptDims, config: TrainConfig) -> int:
    """Return how many numbers adapters have: of each map ``[in, out]``, rank times both."""
    if config.mode != "lora":
        return 0
    maps = [
        shape
        for name, shape in _shapes(dims).items()
        if ADAPTED_MAPS.match(name.removesuffix(".weight")) and not _is_frozen(name, config)
    ]
    return sum(config.lora_rank * sum(shape) for shape in maps)


def _is_frozen(name: str, config: TrainConfig) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in config.freeze)
