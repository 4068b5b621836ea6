"""Samples that share a row are to the model what they are alone: losses and gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.data.batches import ROW_MULTIPLE
from idiolect.models import gpt as gpt_module
from idiolect.training.loss import embed_rows, loss_sums, token_logits
from jagged_kernel import kernel_on_cpu
from tiny_gpt import tiny_gpt
from training_kit import SAMPLES, batch, sample

GPT = tiny_gpt(conditioners=False)
FEW = settings(max_examples=15, deadline=None)


def loss_and_gradient(*batches):
    model = copy.deepcopy(GPT)
    sums = [loss_sums(model, made) for made in batches]
    loss = sum(part.text + part.codes for part in sums)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


@FEW
@given(SAMPLES)
def test_packed_padded_and_one_by_one_learn_the_same(samples):
    packed_loss, packed = loss_and_gradient(batch(*samples, packed=True))

    for batches in ([batch(*samples)], [batch(one) for one in samples]):
        loss, gradient = loss_and_gradient(*batches)

        torch.testing.assert_close(packed_loss, loss, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(packed, gradient, rtol=1e-4, atol=1e-5)


@FEW
@given(SAMPLES)
def test_a_packed_row_holds_the_samples_and_less_than_a_filling_behind_them(samples):
    made = batch(*samples, packed=True)
    num_rows = sum(made.packed_lens[: len(samples)])

    slots = torch.cat([made.prefix_slots.flatten(), made.text.slots, made.codes.slots])

    assert made.num_rows == 1
    assert sorted(slots.tolist()) == list(range(num_rows))
    assert 0 <= made.row_len - num_rows < ROW_MULTIPLE
    assert made.row_len % ROW_MULTIPLE == 0
    assert sum(made.packed_lens) == made.row_len
    assert made.prefix_slots[:, 0].tolist() == [
        sum(made.packed_lens[:place]) for place in range(len(samples))
    ]


@torch.no_grad()
def test_a_sample_does_not_see_its_neighbour():
    alone = sample([5, 6], [3, 4, 7])
    before = [batch(sample([9], [n, n]), alone, packed=True) for n in (1, 2)]

    logits = [token_logits(GPT, made)[1][-4:] for made in before]

    assert torch.equal(*logits)


def test_checkpointed_blocks_know_of_the_packing_too():
    made = batch(sample([5], [3, 4]), sample([5, 6, 7], [3]), packed=True)
    gpt = tiny_gpt(conditioners=False, dropout=0.0).train()
    rows = embed_rows(gpt, made)
    plain = gpt.transform(rows, packed_lens=made.packed_lens)
    gpt.gradient_checkpointing = True

    checkpointed = gpt.transform(rows, packed_lens=made.packed_lens)

    torch.testing.assert_close(checkpointed, plain)


@FEW
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_attention_over_all_sequences_at_once_is_that_of_each_in_turn(lens, seed):
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(1, sum(lens), 3, 2, 8, generator=generator)
    weights = torch.randn(1, sum(lens), 2, 8, generator=generator)
    found = []
    with kernel_on_cpu():
        for offsets in (None, gpt_module._bounds(lens, torch.device("cpu"))):
            rows = qkv.clone().requires_grad_()
            y = gpt_module._attend_within(rows, gpt_module.Packing(tuple(lens), offsets))
            (y * weights).sum().backward()
            found.append((y.detach(), rows.grad))

    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-6)


def test_a_device_without_a_kernel_or_with_a_wrong_one_lets_sequences_take_turns(monkeypatch):
    asked = (torch.device("cpu"), torch.float32, 8)

    assert not gpt_module._is_right_at_once(*asked)
    with kernel_on_cpu(), torch.inference_mode():
        assert gpt_module._is_right_at_once(*asked)
    monkeypatch.setattr(gpt_module, "_attend_at_once", lambda qkv, *_: qkv[:, :, 2])
    assert not gpt_module._is_right_at_once(*asked)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_attends_over_all_sequences_as_over_each_in_turn(dtype):
    lens, device = (1, 130, 47, 78), torch.device("cuda")
    qkv = torch.randn(1, 256, 3, 4, 64, device=device, dtype=dtype)
    packing = gpt_module._packing(lens, qkv, 64)
    found = []
    for way in (packing, packing._replace(offsets=None)):
        rows = qkv.clone().requires_grad_()
        y = gpt_module._attend_within(rows, way)
        y.square().sum().backward()
        found.append((y.detach(), rows.grad))

    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    assert packing.offsets is not None
    torch.testing.assert_close(found[0], found[1], rtol=tolerance, atol=tolerance)
