import torch
from torch import nn

from idiolect.training.averages import RunningMean


def layer(value: float) -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, value)
    return made


def test_a_mean_follows_the_weights_at_its_own_pace():
    model = layer(0.0)
    mean = RunningMean(model, 0.9)
    nn.init.constant_(model.weight, 1.0)

    for step in (1000, 1001):
        mean.update(step)

    torch.testing.assert_close(mean.held()["weight"], torch.tensor([[1 - 0.9**2]]))


def test_a_young_mean_forgets_where_it_began():
    model = layer(0.0)
    mean = RunningMean(model, 0.999)
    nn.init.constant_(model.weight, 1.0)

    mean.update(1)

    assert mean.held()["weight"].item() > 0.8


def test_the_mean_stands_in_place_only_as_long_as_asked():
    model = layer(2.0)
    mean = RunningMean(model, 0.5)
    nn.init.constant_(model.weight, 4.0)
    mean.update(1000)

    with mean.in_place():
        inside = model.weight.item(), mean.held()["weight"].item()

    assert inside == (3.0, 4.0)
    assert model.weight.item() == 4.0


def test_what_is_frozen_is_not_averaged():
    model = layer(2.0)
    model.weight.requires_grad_(False)

    assert RunningMean(model, 0.5).held() == {}


def test_a_run_goes_on_with_its_weights_and_its_mean():
    """The model of a checkpoint is the mean; what learnt comes from the state."""
    model = layer(3.0)
    mean = RunningMean(model, 0.5)

    mean.load_weights({"weight": torch.full((1, 1), 4.0)})

    assert (model.weight.item(), mean.held()["weight"].item()) == (4.0, 3.0)
