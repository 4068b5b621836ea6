import pytest
import torch

from idiolect.base.errors import CheckpointError
from idiolect.base.files import write_text
from idiolect.models.checkpoint import CheckpointHeader, load_checkpoint, save_checkpoint
from idiolect.training.loss import LabelCounts, LossWeights
from idiolect.training.metrics import Meter, MetricsLog, Scores
from idiolect.training.optimizer import make_optimizer
from idiolect.training.schedule import make_schedule
from idiolect.training.state import (
    Checkpoints,
    Identity,
    RunState,
    move_earlier_run,
    open_state,
    step_files,
)
from tiny_gpt import tiny_gpt

WEIGHTS = LossWeights(text=0.2, codes=0.8)


@pytest.fixture
def run(tmp_path):
    """A tiny GPT, its optimizer, the state of its run and where its checkpoints go."""
    base = tmp_path / "base.pth"
    save_checkpoint(base, tiny_gpt().state_dict())
    gpt = tiny_gpt(seed=1, conditioners=False)
    optimizer = make_optimizer(gpt, weight_decay=0.1, device=torch.device("cpu"))
    state = RunState(identity=Identity(hashes={}), schedule=make_schedule(9, share=0.1, steps=None))
    checkpoints = Checkpoints(
        tmp_path / "run", base_checkpoint=base, header=CheckpointHeader(), keep=2
    )
    return gpt, optimizer, state, checkpoints


def save(run, step, *, loss=None):
    """Save at ``step``; ``loss`` is what was measured there."""
    gpt, optimizer, state, checkpoints = run
    state.step = step
    if loss is not None:
        state.rank(loss, by="loss", most=2)
    return checkpoints.save(gpt.state_dict(), optimizer.state_dict(), state)


def test_only_matrices_decay():
    gpt = tiny_gpt(conditioners=False)

    decayed, others = make_optimizer(gpt, weight_decay=0.1, device=torch.device("cpu")).param_groups

    names = {id(p): name for name, p in gpt.named_parameters()}
    kept = {names[id(p)] for p in others["params"]}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert {"mel_head.bias", "final_norm.weight", "text_embedding.weight"} <= kept
    assert "mel_head.weight" in {names[id(p)] for p in decayed["params"]}
    assert len(decayed["params"]) + len(others["params"]) == len(names)


def test_the_newest_checkpoints_stay_and_the_best_whatever_its_age(run, tmp_path):
    save(run, 1, loss=0.5)
    for step in (2, 3, 10):
        save(run, step)

    folder = tmp_path / "run"
    assert [path.name for path in step_files(folder)] == [
        *("model_step1.pth", "model_step3.pth", "model_step10.pth")
    ]
    assert load_checkpoint(folder / "best.pth")[1].step == 1
    assert load_checkpoint(folder / "latest.pth")[1].step == 10


def test_so_many_of_the_best_stay_whatever_came_between(run, tmp_path):
    for step, loss in enumerate((0.5, 0.3, 0.4, 0.9, 0.8, 0.7), start=1):
        save(run, step, loss=loss)

    assert [kept.step for kept in run[2].best] == [2, 3]
    assert [path.name for path in step_files(tmp_path / "run")] == [
        *("model_step2.pth", "model_step3.pth", "model_step5.pth", "model_step6.pth")
    ]
    assert load_checkpoint(tmp_path / "run/best.pth")[1].step == 2


def test_values_of_another_kind_are_not_compared(run):
    state = run[2]
    state.step = 1
    state.rank(0.1, by="loss", most=2)
    state.step = 2

    assert state.rank(0.4, by="letters heard wrong", most=2)
    assert [kept.step for kept in state.best] == [2]


def test_what_was_saved_behind_the_state_goes_when_the_run_goes_on(run, tmp_path):
    gpt, _, state, checkpoints = run
    save(run, 2, loss=0.5)
    before = open_state(tmp_path / "run/latest.pth").state
    state.step = 3
    state.rank(0.2, by="loss", most=2)
    checkpoints.save_weights(gpt.state_dict(), state)

    checkpoints.forget_after(before)

    assert [path.name for path in step_files(tmp_path / "run")] == ["model_step2.pth"]
    assert load_checkpoint(tmp_path / "run/best.pth")[1].step == 2


def test_the_mean_of_checkpoints_is_the_mean_of_each_tensor(run, tmp_path):
    gpt, _, state, checkpoints = run
    save(run, 1)
    first = gpt.mel_head.weight.detach().clone()
    torch.nn.init.ones_(gpt.mel_head.weight)
    save(run, 2)

    path = checkpoints.average([1, 2], state)

    mean = load_checkpoint(path)[0]["mel_head.weight"]
    torch.testing.assert_close(mean, (first + 1) / 2)


def test_the_newest_checkpoint_takes_no_room_twice(run, tmp_path):
    path = save(run, 1, loss=0.5)

    assert path.samefile(tmp_path / "run/latest.pth")
    assert path.samefile(tmp_path / "run/best.pth")


def test_a_disk_without_links_gets_copies(run, tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.hardlink_to", _refuse)

    path = save(run, 1)

    assert (tmp_path / "run/latest.pth").read_bytes() == path.read_bytes()


def _refuse(*_):
    raise OSError("not on this disk")


def test_a_state_comes_back_as_it_was(run, tmp_path):
    state = run[2]
    state.first_scores = Scores(loss=0.1, text_loss=0.2, mel_loss=1 / 3, mel_top1=0.5)
    state.meter.add(1 / 7, 2 / 7, 3, LabelCounts(4, 5))
    save(run, 4, loss=0.5)

    stand = open_state(tmp_path / "run/latest.pth")

    assert stand.state == state
    assert stand.optimizer["param_groups"] == run[1].state_dict()["param_groups"]
    assert stand.checkpoint == tmp_path / "run/latest.pth"


def test_a_checkpoint_that_is_not_there_cannot_be_gone_on_from(tmp_path):
    with pytest.raises(CheckpointError, match=r"no such checkpoint: .*latest\.pth") as error:
        open_state(tmp_path / "latest.pth")

    assert error.value.where == "--resume"


def test_scores_belong_to_the_step_that_they_were_measured_at(run, tmp_path):
    state = run[2]
    state.last_scores = Scores(loss=0.1, text_loss=0.2, mel_loss=0.3, mel_top1=0.5)
    state.scored_step = 1
    save(run, 1)
    save(run, 2)

    scores = [load_checkpoint(tmp_path / f"run/model_step{step}.pth")[1].scores for step in (1, 2)]
    assert scores[0]["val_loss"] == 0.1
    assert scores[1] == {}


def test_what_is_moved_aside_is_only_what_a_run_wrote(run, tmp_path):
    save(run, 1)
    folder = tmp_path / "run"
    write_text(folder / "notes.txt", "mine")

    moved = move_earlier_run(folder)

    assert moved == folder / "earlier/1"
    assert (moved / "model_step1.pth").is_file()
    assert (moved / "state/state.pth").is_file()
    assert sorted(path.name for path in folder.iterdir()) == ["earlier", "notes.txt"]
    assert move_earlier_run(folder) is None


def test_means_are_over_tokens_not_over_batches():
    meter = Meter()

    meter.add(10.0, 100.0, 1, LabelCounts(text=1, codes=10))
    meter.add(20.0, 20.0, 9, LabelCounts(text=9, codes=90))

    scores = meter.scores(WEIGHTS)
    assert (scores.text_loss, scores.mel_loss, scores.mel_top1) == (3.0, 1.2, 0.1)
    assert scores.loss == pytest.approx(0.2 * 3.0 + 0.8 * 1.2)


def test_what_was_reported_after_the_checkpoint_is_taken_out_when_going_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste', encoding="utf-8")

    MetricsLog(tmp_path, first_step=3).close()

    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
