"""Trackers, by Accelerate's own way: its TensorBoard, and a tracker of this test's own."""

from __future__ import annotations

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import GeneralTracker, get_available_trackers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from idiolect.base.errors import ConfigError, GuardError
from idiolect.training.config import TrainConfig
from idiolect.training.metrics import MetricsLog, Scores
from idiolect.training.trackers import log_to, start_trackers, tracker_settings

SCORES = Scores(loss=2.0, text_loss=3.0, mel_loss=1.75, mel_top1=0.5)


class Notebook(GeneralTracker):
    """Keeps what it is told."""

    name = "notebook"
    requires_logging_directory = False

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.settings: dict = {}
        self.told: list[tuple] = []

    @property
    def tracker(self):
        return self.told

    def store_init_configuration(self, values):
        self.settings = values

    def log(self, values, step=None, **_):
        if self.fails:
            raise ConnectionError("the line is dead")
        self.told.append((step, values))


def accelerator(**given) -> Accelerator:
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=True, **given)


def test_a_tracker_gets_every_setting_and_every_number(tmp_path):
    notebook = Notebook()
    asked = accelerator(log_with=[notebook])
    config = TrainConfig(train_manifest=("a.jsonl", "b.jsonl"), learning_rate=1e-3)

    start_trackers(asked, config, tmp_path, name="catalan")
    log = MetricsLog(tmp_path, first_step=1, also_to=log_to(asked))
    log.report_val(4, 1, SCORES, {"ca": SCORES}, is_best=True)
    log.close()

    assert notebook.settings["train_manifest"] == "a.jsonl b.jsonl"
    assert notebook.settings["learning_rate"] == 1e-3
    assert all(isinstance(v, bool | int | float | str) for v in notebook.settings.values())
    ((step, values),) = notebook.told
    assert (step, values["val/loss"], values["val/ca/mel_loss"]) == (4, 2.0, 1.75)


def test_a_tracker_of_accelerate_writes_into_the_folder_of_the_run(tmp_path):
    asked = accelerator(**tracker_settings(["tensorboard", "tensorboard"]))

    start_trackers(asked, TrainConfig(), tmp_path, name="catalan")
    send = log_to(asked)
    send({"val/loss": 2.0}, 7)
    asked.end_training()

    written = EventAccumulator(str(tmp_path / "trackers/idiolect")).Reload()
    assert [(e.step, e.value) for e in written.Scalars("val/loss")] == [(7, 2.0)]


def test_a_tracker_that_fails_on_the_way_is_told_of_once_and_left_alone(tmp_path, caplog):
    notebook = Notebook(fails=True)
    asked = accelerator(log_with=[notebook])
    start_trackers(asked, TrainConfig(), tmp_path, name="catalan")
    send = log_to(asked)

    for step in (1, 2):
        send({"val/loss": 2.0}, step)

    assert caplog.text.count("a tracker failed, and gets no more reports: the line is dead") == 1


def test_a_tracker_that_does_not_start_ends_the_run_before_it_begins(tmp_path):
    class Deaf(Notebook):
        def store_init_configuration(self, values):
            raise PermissionError("nobody is logged in")

    asked = accelerator(log_with=[Deaf()])

    with pytest.raises(ConfigError, match="did not start: nobody is logged in") as error:
        start_trackers(asked, TrainConfig(tracker=("wandb",)), tmp_path, name="catalan")

    assert error.value.where == "--tracker wandb"
    assert "leave it out" in error.value.fix


def test_without_a_tracker_there_is_nothing_to_do(tmp_path):
    asked = accelerator(**tracker_settings([]))

    start_trackers(asked, TrainConfig(), tmp_path, name="catalan")

    assert log_to(asked) is None
    assert asked.trackers == []


@pytest.mark.parametrize("name", ["wanb", "all"])
def test_a_tracker_that_nobody_knows_is_refused_with_those_that_are(name):
    with pytest.raises(ConfigError, match=f"no tracker is called '{name}'") as error:
        tracker_settings([name])

    assert "wandb" in error.value.fix


def test_a_tracker_that_is_not_installed_says_what_to_install():
    name = next(n for n in ("comet_ml", "aim") if n not in map(str, get_available_trackers()))

    with pytest.raises(ConfigError, match=f"the tracker {name} is not installed") as error:
        tracker_settings([name])

    assert error.value.fix.startswith(f"pip install {name.replace('_', '-')}, or")


def test_no_tracker_writes_into_a_base(tmp_path):
    for name in ("gpt.pth", "s2mel.pth"):
        (tmp_path / name).touch()

    asked = accelerator(log_with=[Notebook()])

    with pytest.raises(GuardError):
        start_trackers(asked, TrainConfig(), tmp_path, name="catalan")
