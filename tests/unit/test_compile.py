import copy

import pytest
import torch

from idiolect.training.loss import loss_sums
from tiny_gpt import tiny_gpt
from training_kit import batch, sample


def learn(gpt, *samples):
    gpt.zero_grad()
    loss = loss_sums(gpt, batch(*samples, packed=True)).codes
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in gpt.parameters() if p.grad is not None]


@pytest.mark.slow  # the compiler takes half a minute
@pytest.mark.filterwarnings("default")  # the compiler warns of itself
def test_compiled_blocks_learn_the_same_from_rows_of_any_length():
    plain = tiny_gpt(conditioners=False, dropout=0.0).train()
    compiled = copy.deepcopy(plain)
    compiled.compile_blocks()
    samples = [sample([5, 6], [3, 4, 7]), sample([9], [1, 2]), sample([4] * 7, [8] * 12)]

    for count in (1, 2, 3):
        loss, gradients = learn(plain, *samples[:count])
        same_loss, same = learn(compiled, *samples[:count])

        torch.testing.assert_close(same_loss, loss)
        for ours, theirs in zip(same, gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
