"""Memory on paper, and what a forward pass really keeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from idiolect.base.errors import TrainingError
from idiolect.data.batches import GptSample, make_batch
from idiolect.models.adapter import add_adapters
from idiolect.models.config import GptDims
from idiolect.models.gpt import UnifiedVoice
from idiolect.training.config import TrainConfig
from idiolect.training.loss import TrainableGpt
from idiolect.training.memory import (
    LEAST_TOKENS,
    USABLE_SHARE,
    PassKind,
    fits,
    matrix_copy_bytes,
    num_trained_of,
    parameter_counts,
    saved_bytes_per_token,
    tokens_for_memory,
    training_memory,
    what_would_fit,
)
from live_bytes import LiveBytes
from tiny_gpt import tiny_dims

PUBLISHED = GptDims()
SMALL = tiny_dims(dim=64, num_layers=3, num_heads=4)
NUM_TOKENS = 500
GIGABYTE = 1 << 30


def kept_by_a_forward_pass(kind: PassKind, dims: GptDims) -> int:
    """The bytes that autograd holds on to, weights aside, each storage once."""
    gpt = UnifiedVoice(dims, conditioners=False, dropout=0.1 if kind.mask_bytes else 0.0).train()
    if kind.rank:
        add_adapters(gpt, rank=kind.rank, alpha=kind.rank, seed=0)
    gpt.gradient_checkpointing = kind.checkpointing
    of_weights = {weight.untyped_storage().data_ptr() for weight in gpt.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in of_weights:
            kept[place] = tensor
        return tensor

    rows = torch.randn(1, NUM_TOKENS, dims.dim, requires_grad=True)
    lens = (200, NUM_TOKENS - 200) if kind.joined else None
    is_bf16 = kind.element_bytes == 2
    with (
        saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=is_bf16),
    ):
        states = gpt.transform(rows, packed_lens=lens)
        _logits = gpt.text_head(states[:, : NUM_TOKENS // 4]), gpt.mel_head(states)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("element_bytes", [2, 4], ids=["bf16", "fp32"])
@pytest.mark.parametrize("packed", [False, True], ids=["rows", "packed"])
@pytest.mark.parametrize("has_dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("rank", [0, 16], ids=["all", "adapters"])
def test_a_forward_pass_keeps_what_the_formula_says(element_bytes, packed, has_dropout, rank):
    kind = PassKind(
        element_bytes=element_bytes,
        mask_bytes=element_bytes * has_dropout,
        joined=packed,
        rank=rank,
    )

    on_paper = NUM_TOKENS * saved_bytes_per_token(SMALL, kind) + matrix_copy_bytes(SMALL, kind)

    assert on_paper == pytest.approx(kept_by_a_forward_pass(kind, SMALL), rel=0.03)


def test_with_checkpointing_a_forward_pass_keeps_the_rows_before_each_block_alone():
    kind = PassKind(element_bytes=2, mask_bytes=2, joined=True, checkpointing=True)
    dims = replace(SMALL, num_layers=24)
    one_block = NUM_TOKENS * saved_bytes_per_token(replace(SMALL, num_layers=1), kind)

    # The one block that is computed again is there in the backward pass only.
    on_paper = NUM_TOKENS * saved_bytes_per_token(dims, kind) - one_block
    kept = kept_by_a_forward_pass(kind, dims) - kept_by_a_forward_pass(
        kind, replace(SMALL, num_layers=1)
    )

    assert on_paper == pytest.approx(kept, rel=0.05)


def sample(rng: np.random.Generator, dims: GptDims) -> GptSample:
    return GptSample(
        text_ids=rng.integers(2, dims.vocab_size - 1, 60),
        codes=rng.integers(0, dims.start_code, 400),
        latents=rng.normal(size=(32, dims.dim)).astype(np.float32),
        emotion=rng.normal(size=dims.dim).astype(np.float32),
    )


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("is_bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_most_that_a_whole_pass_has_at_once_is_what_the_formula_says(
    checkpointing, is_bf16, mode
):
    dims = tiny_dims(
        dim=256,
        num_layers=6,
        num_heads=4,
        vocab_size=500,
        num_codes=1000,
        max_text_len=100,
        max_code_len=500,
        start_code=998,
        stop_code=999,
    )
    config = TrainConfig(
        mode=mode,
        lora_rank=16,
        precision="bf16" if is_bf16 else "fp32",
        gradient_checkpointing=checkpointing,
    )
    model = TrainableGpt(UnifiedVoice(dims, conditioners=False)).train()
    if mode == "lora":
        add_adapters(model.gpt, rank=config.lora_rank, alpha=config.lora_alpha, seed=0)
    model.gpt.gradient_checkpointing = checkpointing
    rng = np.random.default_rng(0)
    batch = make_batch([sample(rng, dims) for _ in range(4)], dims, packed=True)

    def learn() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            sums = model(batch)
        (sums.text + sums.codes).backward()

    learn()  # from then on there are gradients to add to
    live = LiveBytes()
    for weight in model.parameters():
        live.add(weight)
        if weight.grad is not None:
            live.add(weight.grad)
    with live:
        learn()

    memory = training_memory(dims, config, on_gpu=False)
    on_paper = memory.total(batch.row_len) - memory.optimizer
    assert live.peak <= on_paper <= 1.25 * live.peak


def test_the_published_size_trains_527_million_numbers():
    assert sum(parameter_counts(PUBLISHED).values()) == 527_083_235


def test_adamw_takes_sixteen_bytes_a_number_in_float32():
    memory = training_memory(PUBLISHED, TrainConfig(precision="fp32"))

    states = memory.weights + memory.gradients + memory.optimizer
    assert (states, memory.copies) == (16 * 527_083_235, 0)


def test_states_in_eight_bits_take_a_quarter():
    plain = training_memory(PUBLISHED, TrainConfig()).optimizer
    small = training_memory(PUBLISHED, TrainConfig(optimizer="adamw8bit")).optimizer

    assert small == pytest.approx(plain / 4, rel=0.02)


def test_frozen_weights_have_no_gradient_and_no_state():
    config = TrainConfig(freeze=("gpt.h.*",))
    blocks = sum(n for name, n in parameter_counts(PUBLISHED).items() if name.startswith("gpt.h."))

    assert num_trained_of(PUBLISHED, config) == 527_083_235 - blocks
    assert training_memory(PUBLISHED, config).gradients == 4 * (527_083_235 - blocks)


def test_adapters_count_by_their_rank():
    small = num_trained_of(PUBLISHED, TrainConfig(mode="lora", lora_rank=8))
    large = num_trained_of(PUBLISHED, TrainConfig(mode="lora", lora_rank=16))

    assert large - small == 8 * 16 * 1280 * 24


def test_the_tokens_of_a_pass_fill_the_memory_and_no_more():
    free_bytes = 24 * GIGABYTE

    tokens = tokens_for_memory(free_bytes, PUBLISHED, TrainConfig())

    memory = training_memory(PUBLISHED, TrainConfig())
    assert memory.total(tokens) <= USABLE_SHARE * free_bytes < memory.total(tokens + 256)
    assert fits(free_bytes, PUBLISHED, TrainConfig(), tokens)
    assert not fits(free_bytes, PUBLISHED, TrainConfig(), tokens + 256)


def test_what_does_not_fit_is_refused_with_what_would():
    with pytest.raises(TrainingError) as error:
        tokens_for_memory(7 * GIGABYTE, PUBLISHED, TrainConfig())

    lines = [line.strip() for line in error.value.fix.splitlines()[1:]]
    assert [line.partition(" --tokens-per-pass")[0] for line in lines] == [
        "--gradient-checkpointing --optimizer adamw8bit",
        "--mode lora",
        "--mode lora --gradient-checkpointing",
    ]


def test_each_way_that_is_offered_fits():
    for line in what_would_fit(12 * GIGABYTE, PUBLISHED, TrainConfig()):
        flags, _, tokens = line.partition("--tokens-per-pass ")
        config = TrainConfig(
            gradient_checkpointing="--gradient-checkpointing" in flags,
            optimizer="adamw8bit" if "adamw8bit" in flags else "adamw",
            mode="lora" if "lora" in flags else "full",
        )

        assert fits(12 * GIGABYTE, PUBLISHED, config, int(tokens)), line


def test_nothing_is_offered_where_nothing_fits():
    assert what_would_fit(GIGABYTE, PUBLISHED, TrainConfig()) == []
    assert LEAST_TOKENS > 0
