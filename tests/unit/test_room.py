"""A device without room gets smaller passes, and the steps stay what they were."""

import pytest
import torch
from accelerate import Accelerator

from idiolect.training.loop import LoopSettings, Room, train_steps
from idiolect.training.loss import LossWeights, TrainableGpt
from idiolect.training.schedule import make_schedule
from idiolect.training.step import OutOfRoomError
from tiny_gpt import tiny_gpt
from training_kit import small_feed

SETTINGS = LoopSettings(
    schedule=make_schedule(3, share=0.1, steps=None),
    learning_rate=1e-2,
    weights=LossWeights(text=0.2, codes=0.8),
    grad_clip=1.0,
    seed=1,
)


class SmallDevice(TrainableGpt):
    """Runs out of memory as a GPU does: in the middle of a step."""

    most_tokens = 0

    def forward(self, batch):
        sums = super().forward(batch)
        if batch.row_len > self.most_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sums


def learn(most_tokens):
    model = SmallDevice(tiny_gpt(conditioners=False, dropout=0.0))
    model.most_tokens = most_tokens
    made = small_feed(batch_size=8)
    reports = []
    train_steps(
        model,
        torch.optim.SGD(model.parameters()),
        made.steps(1, 3),
        Accelerator(cpu=True),
        SETTINGS,
        room=Room(made),
        after_step=[reports.append],
        stop_asked=lambda: False,
    )
    return model, reports


def test_out_of_memory_halves_the_passes_says_so_and_learns_the_same(caplog):
    whole, reports = learn(100_000)
    small, again = learn(150)

    said = [record.message for record in caplog.records if "out of memory" in record.message]
    assert said
    assert "the steps stay what they were" in said[0]
    assert [r.code_sum for r in again] == pytest.approx([r.code_sum for r in reports], rel=1e-5)
    for first, second in zip(whole.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_a_clip_that_does_not_fit_alone_ends_the_run_with_what_to_do():
    with pytest.raises(OutOfRoomError, match="out of memory on a pass of") as error:
        learn(10)

    assert "--gradient-checkpointing" in error.value.fix
