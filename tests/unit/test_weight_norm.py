"""Weight-normed layers equal torch's own, folded or not."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from idiolect.models.weight_norm import (
    NormedConv1d,
    NormedConvTranspose1d,
    NormedLinear,
    fold_weight_norm,
)

PAIRS = {
    "linear": (NormedLinear(6, 4), nn.Linear(6, 4)),
    "conv": (
        NormedConv1d(6, 4, 3, padding=2, dilation=2),
        nn.Conv1d(6, 4, 3, padding=2, dilation=2),
    ),
    "transposed": (
        NormedConvTranspose1d(6, 4, 8, stride=4, padding=2),
        nn.ConvTranspose1d(6, 4, 8, stride=4, padding=2),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_layer_equals_that_of_torch_before_and_after_folding(name):
    ours, theirs = deepcopy(PAIRS[name][0]), weight_norm(deepcopy(PAIRS[name][1]))
    nn.init.normal_(ours.weight_g)
    theirs.load_state_dict(ours.state_dict())  # torch knows the classic names on loading
    x = torch.randn(2, 6) if name == "linear" else torch.randn(2, 6, 11)
    want = theirs(x)

    torch.testing.assert_close(ours(x), want)
    fold_weight_norm(ours)
    torch.testing.assert_close(ours(x), want)
    assert set(ours.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("name", PAIRS)
def test_direction_and_length_both_learn(name):
    layer = deepcopy(PAIRS[name][0])
    layer.normed_weight().square().sum().backward()
    assert layer.weight_g.grad.abs().min() > 0
    assert set(layer.state_dict()) == {"weight_g", "weight_v", "bias"}


def test_a_new_layer_is_as_long_as_its_direction():
    layer = NormedLinear(6, 4)
    torch.testing.assert_close(layer.normed_weight(), layer.weight_v)
