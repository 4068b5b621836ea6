import pytest
import torch

from idiolect.base.errors import ConfigError
from idiolect.training.rows import ROW_TABLES, RowRates, check_new_rows
from tiny_gpt import tiny_gpt

NEW = (3, 7)
RATE = 0.1


def is_new(gpt):
    found = torch.zeros(gpt.dims.text_rows, dtype=torch.bool)
    found[list(NEW)] = True
    return found


def moved(gpt, rates, *, step=1):
    """Take a step of AdamW with gradients of ones; return how far each parameter moved."""
    before = {name: p.detach().clone() for name, p in gpt.named_parameters()}
    learning = [p for p in gpt.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=RATE, weight_decay=0.01)
    for parameter in learning:
        parameter.grad = torch.ones_like(parameter)
    rates.keep_others_still(step)
    with rates.applied(step):
        optimizer.step()
    return {name: (p.detach() - before[name]).abs() for name, p in gpt.named_parameters()}


def test_new_rows_alone_move_while_they_warm_up():
    gpt = tiny_gpt(conditioners=False)
    rates = RowRates(gpt, is_new(gpt), new_share=1.0, alone_until=1)

    distance = moved(gpt, rates)

    for name, far in distance.items():
        if name in ROW_TABLES:
            assert far[list(NEW)].min() > RATE / 2
            assert far[~is_new(gpt)].max() == 0
        else:
            assert far.max() == 0


def test_after_the_warm_up_everything_moves():
    gpt = tiny_gpt(conditioners=False)
    rates = RowRates(gpt, is_new(gpt), new_share=1.0, alone_until=1)

    assert all(far.min() > RATE / 2 for far in moved(gpt, rates, step=2).values())


def test_new_rows_go_as_far_as_their_own_learning_rate_says():
    gpt = tiny_gpt(conditioners=False)
    rates = RowRates(gpt, is_new(gpt), new_share=10.0, alone_until=0)

    far = moved(gpt, rates)["text_embedding.weight"]

    torch.testing.assert_close(far[list(NEW)].mean(), torch.tensor(10 * RATE), rtol=0.05, atol=0)
    torch.testing.assert_close(far[~is_new(gpt)].mean(), torch.tensor(RATE), rtol=0.05, atol=0)


def test_a_pace_like_that_of_the_rest_changes_no_bit():
    first, second = (tiny_gpt(conditioners=False) for _ in range(2))
    moved(first, RowRates(first, is_new(first), new_share=1.0, alone_until=0))
    none = RowRates(second, torch.zeros_like(is_new(second)), new_share=5.0, alone_until=0)
    moved(second, none)

    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_a_tokenizer_without_new_pieces_has_no_rows_to_learn():
    with pytest.raises(ConfigError, match="no new row"):
        check_new_rows(torch.zeros(4, dtype=torch.bool), where="--mode rows")
