"""The loop of the recipe: what was taken is kept, what is left is taken, nothing twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from idiolect.base.errors import TrainingError
from idiolect.nano.stage import (
    METRICS_FILE,
    STATE_FILE,
    WORTH_SHARING,
    Ahead,
    Pace,
    averaged_weights,
    each_in_order,
    load_state,
    run_stage,
    running_average,
    save_state,
    step_generator,
)

PACE = Pace(total_steps=6, learning_rate=0.1, warmup_steps=2, save_every_sec=0.0)


class Line:
    """A line that learns to be flat, with the steps that it took."""

    def __init__(self, *, stop_at: int = 0) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(2, 1)
        self.optimizer = torch.optim.AdamW(self.module.parameters())
        self.average = running_average(self.module, 0.5)
        self.stop_at = stop_at
        self.taken: list[int] = []

    @property
    def parts(self):
        return {"module": self.module, "optimizer": self.optimizer, "average": self.average}

    def step(self, number: int) -> dict[str, float]:
        if number == self.stop_at:
            raise KeyboardInterrupt
        x = torch.randn(4, 2, generator=step_generator(0, number))
        loss = self.module(x).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.average.update_parameters(self.module)
        self.taken.append(number)
        return {"loss": loss.item()}


def test_stopping_and_going_on_ends_where_not_stopping_ends(tmp_path: Path):
    straight = Line()
    run_stage("line", tmp_path / "a", straight.parts, straight.step, PACE)

    stopped = Line(stop_at=4)
    with pytest.raises(KeyboardInterrupt):
        run_stage("line", tmp_path / "b", stopped.parts, stopped.step, PACE)
    again = Line()
    run_stage("line", tmp_path / "b", again.parts, again.step, PACE)

    assert stopped.taken == [1, 2, 3]
    assert again.taken == [4, 5, 6]
    for part in ("module", "average"):
        for name, tensor in straight.parts[part].state_dict().items():
            torch.testing.assert_close(again.parts[part].state_dict()[name], tensor, rtol=0, atol=0)


def test_a_stage_that_is_done_takes_no_step(tmp_path: Path):
    first, second = Line(), Line()
    run_stage("line", tmp_path, first.parts, first.step, PACE)
    run_stage("line", tmp_path, second.parts, second.step, PACE)
    assert second.taken == []


def test_the_average_lags_behind_the_module_and_has_its_names(tmp_path: Path):
    line = Line()
    run_stage("line", tmp_path, line.parts, line.step, PACE)
    weights = averaged_weights(tmp_path, "average")
    assert set(weights) == set(line.module.state_dict())
    assert not torch.equal(weights["weight"], line.module.weight)


def test_a_score_that_is_not_a_number_stops_the_stage_and_names_the_step(tmp_path: Path):
    line = Line()
    run_stage("line", tmp_path, line.parts, line.step, Pace(total_steps=2, learning_rate=0.1))
    before = (tmp_path / STATE_FILE).read_bytes()
    with pytest.raises(TrainingError, match="loss is nan at step 3"):
        run_stage("line", tmp_path, line.parts, lambda _: {"loss": float("nan")}, PACE)
    assert (tmp_path / STATE_FILE).read_bytes() == before


def test_the_rate_rises_then_falls_to_a_tenth():
    pace = Pace(total_steps=100, learning_rate=1.0, warmup_steps=10)
    assert pace.rate_at(5) == pytest.approx(0.5)
    assert pace.rate_at(10) == pytest.approx(1.0)
    assert pace.rate_at(100) == pytest.approx(0.1)


def test_in_minutes_the_rate_falls_by_the_clock_too():
    pace = Pace(total_steps=10**6, learning_rate=1.0, warmup_steps=10, minutes=20)
    assert pace.rate_at(50, spent_min=10) == pytest.approx(0.55)
    assert pace.rate_at(60, spent_min=20) == pytest.approx(0.1)


def test_a_run_in_minutes_ends_with_them_and_the_next_goes_on(tmp_path: Path):
    first, second = Line(), Line()
    hurried = replace(PACE, total_steps=10**9, minutes=0.02)

    run_stage("line", tmp_path, first.parts, first.step, hurried)
    run_stage("line", tmp_path, second.parts, second.step, hurried)

    assert second.taken[0] == first.taken[-1] + 1


def test_measurements_are_kept_line_by_line(tmp_path: Path):
    line = Line()
    run_stage("line", tmp_path, line.parts, line.step, PACE)
    lines = (tmp_path / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["step"] == PACE.total_steps


def test_an_empty_folder_has_no_state_and_a_saved_one_its_step(tmp_path: Path):
    line = Line()
    assert load_state(tmp_path, line.parts) == 0
    save_state(tmp_path, line.parts, 7)
    assert load_state(tmp_path, line.parts) == 7


def test_what_is_made_ahead_is_what_is_asked_for():
    made = Ahead(_tenfold, torch.device("cuda"))  # nothing is computed there
    assert [made.of_step(number) for number in (3, 4, 5, 9, 10)] == [30, 40, 50, 90, 100]


@pytest.mark.parametrize("count", [3, WORTH_SHARING + 3])
def test_what_all_cores_make_comes_in_order(count: int):
    assert list(each_in_order(_tenfold, count)) == [10 * number for number in range(count)]


def _tenfold(number: int) -> int:
    return 10 * number
