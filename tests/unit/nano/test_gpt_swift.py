"""The fast attention of the GPT: the states and the gradients of the module itself."""

from __future__ import annotations

import torch
from torch import Tensor

from idiolect.models.gpt import UnifiedVoice
from idiolect.nano.gpt_swift import speed_up
from tiny_gpt import tiny_dims


def _states_and_gradients(*, swift: bool) -> list[Tensor]:
    torch.manual_seed(0)
    gpt = UnifiedVoice(tiny_dims(), conditioners=False, dropout=0.0).double()
    if swift:
        speed_up(gpt)
    x = torch.randn(2, 17, gpt.dims.dim, dtype=torch.double, requires_grad=True)
    states = gpt.transform(x)
    (states * torch.linspace(-1, 1, gpt.dims.dim)).square().sum().backward()
    learnt = (x, *gpt.gpt.parameters())
    return [states.detach(), *(tensor.grad for tensor in learnt if tensor.grad is not None)]


def test_states_and_gradients_are_those_of_the_module():
    plain, swift = (_states_and_gradients(swift=swift) for swift in (False, True))
    assert len(plain) == len(swift)
    for wanted, found in zip(plain, swift, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
