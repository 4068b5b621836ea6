import pytest
import torch

from idiolect.models.gpt import _Dropout


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_as_many_are_dropped_as_asked_and_the_mean_stays(probability):
    x = torch.ones(400, 500)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = _Dropout(probability).train()(x)

    assert (y == 0).float().mean().item() == pytest.approx(probability, abs=0.005)
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)
    assert len(y.unique()) == 2


def test_what_is_dropped_gets_no_gradient():
    x = torch.ones(300, requires_grad=True)
    y = _Dropout(0.5).train()(x)

    y.sum().backward()

    assert torch.equal(x.grad, y.detach())


def test_nothing_is_dropped_without_training_or_probability():
    x = torch.randn(9)

    assert _Dropout(0.5).eval()(x) is x
    assert _Dropout(0.0).train()(x) is x


def test_the_same_seed_drops_the_same():
    x = torch.ones(7, 13)

    def drawn():
        with torch.random.fork_rng():
            torch.manual_seed(5)
            return _Dropout(0.3).train()(x)

    assert torch.equal(drawn(), drawn())
