import pytest

from idiolect.training.config import TrainConfig
from idiolect.training.intervals import intervals_of


def test_a_run_has_the_steps_of_its_epochs():
    assert intervals_of(TrainConfig(epochs=3), 7).last_step == 21


def test_a_run_ends_at_the_most_steps_that_were_asked_for():
    assert intervals_of(TrainConfig(epochs=3, max_steps=10), 7).last_step == 10
    assert intervals_of(TrainConfig(epochs=3, max_steps=100), 7).last_step == 21


@pytest.mark.parametrize(
    ("steps", "given", "expected"),
    [
        (50, {}, (5, 5)),
        (100_000, {}, (1000, 1000)),
        (3, {}, (1, 1)),
        (50, {"save_every": 20}, (20, 20)),
        (50, {"save_every": 20, "val_interval": 4}, (20, 4)),
    ],
)
def test_checkpoints_are_a_tenth_of_the_run_unless_told(steps, given, expected):
    intervals = intervals_of(TrainConfig(epochs=1, **given), steps)

    assert (intervals.save_every, intervals.val_every) == expected


def test_validations_are_counted_with_the_first_and_the_last():
    assert intervals_of(TrainConfig(epochs=1, val_interval=4), 10).num_validations == 1 + 3
