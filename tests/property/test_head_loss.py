"""The loss in chunks is the loss: value, gradients, and what is right."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from idiolect.data.batches import IGNORE_INDEX
from idiolect.training import head_loss as module
from idiolect.training.head_loss import head_loss

NUM_CLASSES = 9
LABELS = st.lists(st.sampled_from([IGNORE_INDEX, *range(NUM_CLASSES)]), min_size=1, max_size=12)


def case(labels, *, seed=0, dim=4):
    numbers = torch.Generator().manual_seed(seed)
    head = nn.Linear(dim, NUM_CLASSES)
    states = torch.randn(len(labels), dim, generator=numbers, requires_grad=True)
    return states, head, torch.tensor(labels)


def gradients(loss, states, head):
    return torch.autograd.grad(loss, (states, head.weight, head.bias))


@settings(max_examples=40, deadline=None)
@given(LABELS, st.integers(1, 5), st.floats(0.1, 3.0))
def test_a_loss_in_chunks_is_the_cross_entropy(labels, chunk, scale):
    states, head, wanted = case(labels)
    logits = head(states)
    whole = F.cross_entropy(logits, wanted, ignore_index=IGNORE_INDEX, reduction="sum")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_TOKENS", chunk)
        loss, correct = head_loss(states, head, wanted)

    torch.testing.assert_close(loss, whole)
    assert int(correct) == int((logits.argmax(-1) == wanted).sum())
    for ours, theirs in zip(
        gradients(loss * scale, states, head), gradients(whole * scale, states, head), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_only_what_learns_gets_a_gradient():
    states, head, wanted = case([1, 2])
    head.weight.requires_grad_(False)

    head_loss(states, head, wanted)[0].backward()

    assert head.weight.grad is None
    assert states.grad is not None
    assert head.bias.grad is not None


def test_in_bfloat16_it_stays_near_float32():
    states, head, wanted = case([3] * 50, dim=32)
    exact, _ = head_loss(states, head, wanted)

    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = head_loss(states, head, wanted)

    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=1e-2, atol=0)
    for ours, theirs in zip(
        gradients(rounded, states, head), gradients(exact, states, head), strict=True
    ):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=5e-2, atol=5e-2)
