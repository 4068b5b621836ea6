"""Runs as the monitor finds and follows them, from folders that a training leaves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from idiolect.base.config import write_yaml
from idiolect.base.errors import UserError
from idiolect.base.files import write_text
from idiolect.studio.run_compare import compare_runs
from idiolect.studio.run_curves import curve_svg, curves_file, curves_of, curves_over, metrics_csv
from idiolect.studio.run_follow import Followed
from idiolect.studio.run_samples import find_sample, sample_steps, spoken_at
from idiolect.studio.run_state import LOCKS, RunState, is_locked
from idiolect.studio.runs import Runs, checkpoints, log_tail
from idiolect.training.config import TrainConfig
from run_kit import start_process, wait_for_step, write_clips

RECORDED = Path(__file__).with_name("training_runs")


def train(step: int, **given) -> dict:
    plain = {"loss": 2.0, "grad_norm": 1.0, "lr": 1e-4, "step_sec": 0.5, "wait_sec": 0.05}
    return {"kind": "train", "step": step, "epoch": 1, "eta_sec": 0.5 * (90 - step)} | plain | given


def val(step: int, loss: float) -> dict:
    return {"kind": "val", "step": step, "epoch": 1, "loss": loss}


def probe(step: int, *, is_best: bool = False, **cer: float) -> dict:
    languages = {language: {"cer": rate} for language, rate in cer.items()}
    return {"kind": "probe", "step": step, "epoch": 1, "languages": languages, "is_best": is_best}


def append(folder: Path, *records: dict) -> None:
    with (folder / "metrics.jsonl").open("a") as out:
        out.writelines(json.dumps(record) + "\n" for record in records)


def make_run(root: Path, name: str, *records: dict, **settings) -> Path:
    folder = root / "training" / name / "checkpoints"
    folder.mkdir(parents=True)
    append(folder, *records)
    write_yaml(folder / "config.yaml", TrainConfig(output_name=name, **settings))
    return folder


def quiet(folder: Path, seconds: float) -> None:
    """Let what is in ``folder`` have been written so long ago."""
    path = folder / "metrics.jsonl"
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def only(runs: Runs):
    (found,) = runs.listed()
    return runs.look(found.id)


def test_runs_are_found_below_the_roots_the_newest_first(tmp_path):
    quiet(make_run(tmp_path, "old", train(1)), 100)
    make_run(tmp_path, "new", train(1))
    shutil.copytree(tmp_path / "training/new", tmp_path / ".hidden")

    assert [run.title for run in Runs([tmp_path]).listed()] == [
        "training/new/checkpoints",
        "training/old/checkpoints",
    ]


def test_an_earlier_run_is_found_below_the_one_that_replaced_it(tmp_path):
    folder = make_run(tmp_path, "ca", train(1))
    (folder / "earlier/1").mkdir(parents=True)
    append(folder / "earlier/1", train(1))

    titles = {run.title for run in Runs([tmp_path]).listed()}

    assert titles == {"training/ca/checkpoints", "training/ca/checkpoints/earlier/1"}


def test_a_link_that_leads_out_of_the_roots_is_not_followed(tmp_path):
    (tmp_path / "root").mkdir()
    make_run(tmp_path / "elsewhere", "ca", train(1))
    (tmp_path / "root/link").symlink_to(tmp_path / "elsewhere")

    assert Runs([tmp_path / "root"]).listed() == []


@pytest.mark.parametrize("name", ["", "nobody", "../../etc", "/etc"])
def test_a_run_is_had_by_a_name_from_the_list_only(tmp_path, name):
    make_run(tmp_path, "ca", train(1))

    with pytest.raises(UserError, match="no longer there"):
        Runs([tmp_path]).look(name)


def test_only_what_was_appended_is_read_and_half_a_line_waits(tmp_path):
    path = tmp_path / "metrics.jsonl"
    followed = Followed(path=path)
    append(tmp_path, train(1))
    followed.read()
    first = followed.records[0]

    with path.open("a") as out:
        out.write(json.dumps(train(2))[:30])
    followed.read()
    assert [line["step"] for line in followed.records] == [1]
    with path.open("a") as out:
        out.write(json.dumps(train(2))[30:] + "\n")
    followed.read()

    assert [line["step"] for line in followed.records] == [1, 2]
    assert followed.records[0] is first


def test_a_look_that_finds_nothing_new_changes_nothing(tmp_path):
    append(tmp_path, train(1))
    followed = Followed(path=tmp_path / "metrics.jsonl")
    followed.read()
    before = followed.changes

    followed.read()

    assert followed.changes == before


def test_a_run_that_goes_on_from_an_earlier_step_is_read_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append(tmp_path, train(1), train(2), train(3))
    followed = Followed(path=path)
    followed.read()

    write_text(path, json.dumps(train(1)) + "\n")  # whole and in its place, as a resumed run does
    append(tmp_path, train(2, loss=7.0), train(3), train(4))
    followed.read()

    assert [line["step"] for line in followed.records] == [1, 2, 3, 4]
    assert followed.records[1]["loss"] == 7.0


@pytest.mark.parametrize(
    "line",
    [
        b"{broken",
        b"\xff\xfe",
        b"[1]",
        b'{"kind": "train"}',
        b'{"kind": "val", "step": 1, "epoch": 1, "loss": "x"}',
        b'{"kind": "probe", "step": 1, "languages": 3}',
    ],
)
def test_a_line_that_is_no_record_is_counted_and_those_behind_it_are_read(tmp_path, line):
    folder = make_run(tmp_path, "ca", train(1))
    with (folder / "metrics.jsonl").open("ab") as out:
        out.write(line + b"\n")
    append(folder, train(2))

    view = only(Runs([tmp_path]))

    assert view.num_damaged == 1
    assert [record["step"] for record in view.records] == [1, 2]


def test_what_a_run_does_now_is_told_by_its_newest_line(tmp_path):
    line = {"tokens_per_sec": 3000.0, "memory_bytes": 2**30, "audio_hours_per_hour": 12.0}
    folder = make_run(tmp_path, "ca", train(10), train(20, **line))
    with FileLock(folder / ".lock"):
        now = only(Runs([tmp_path])).now

    assert (now.state, now.step, now.last_step, now.epoch) == (RunState.RUNNING, 20, 90, 1)
    assert now.steps_per_sec == 2.0
    assert now.waiting == pytest.approx(0.1)
    assert (now.tokens_per_sec, now.speech_ratio, now.memory_bytes) == (3000.0, 12.0, 2**30)
    assert now.eta_sec == pytest.approx(35.0, abs=5)


needs_list = pytest.mark.skipif(not LOCKS.is_file(), reason="the system shows no list of locks")


@needs_list
def test_a_lock_is_seen_without_being_taken(tmp_path):
    path = tmp_path / ".lock"
    assert not is_locked(path)
    with FileLock(path):
        assert is_locked(path)
    assert not is_locked(path)


@needs_list
def test_a_run_without_its_lock_has_stopped_however_new_its_lines_are(tmp_path):
    make_run(tmp_path, "ca", train(20))

    now = only(Runs([tmp_path])).now

    assert now.state is RunState.STOPPED
    assert now.eta_sec is None


def test_a_run_of_another_machine_is_judged_by_its_silence(tmp_path, monkeypatch):
    monkeypatch.setattr("idiolect.studio.run_state.LOCKS", tmp_path / "no list")
    folder = make_run(tmp_path, "ca", train(10, step_sec=4.0), train(20, step_sec=4.0))
    assert only(Runs([tmp_path])).now.state is RunState.RUNNING

    quiet(folder, 100)  # less than four times the 40 s between two lines
    assert only(Runs([tmp_path])).now.state is RunState.RUNNING
    quiet(folder, 100)
    assert only(Runs([tmp_path])).now.state is RunState.STOPPED


def test_a_run_at_its_last_step_has_finished(tmp_path):
    make_run(tmp_path, "ca", train(90, eta_sec=0.0), val(90, 1.0))

    assert only(Runs([tmp_path])).now.state is RunState.FINISHED


def test_a_run_of_another_version_is_shown_without_its_settings(tmp_path):
    folder = make_run(tmp_path, "ca", train(1))
    (folder / "config.yaml").write_text("unheard_of: 1\n")

    view = only(Runs([tmp_path]))

    assert view.config is None
    assert view.now.step == 1


def test_notices_are_those_of_the_training(tmp_path):
    make_run(tmp_path, "ca", val(0, 2.0), val(10, 9.0))
    runs = Runs([tmp_path])

    (notice,) = runs.notices(only(runs))

    assert notice.step == 10
    assert "the run diverges" in notice.text


def test_every_curve_of_a_real_run_has_its_points(tmp_path):
    folder = make_run(tmp_path, "ca")
    shutil.copy(RECORDED / "one_epoch.jsonl", folder / "metrics.jsonl")

    curves = {curve.name: curve for curve in curves_of(only(Runs([tmp_path])).history)}

    assert set(curves) >= {"loss", "text_loss", "mel_loss", "mel_top1", "lr", "grad_norm"}
    labels = {series.label: series.points for series in curves["loss"].series}
    assert labels["validation"][0] == (0, pytest.approx(2.5563, abs=1e-4))
    assert labels["validation"][-1] == (78, pytest.approx(1.4947, abs=1e-4))


def test_what_the_base_forgot_is_counted_in_points_from_before_the_first_step(tmp_path):
    make_run(tmp_path, "ca", probe(0, ca=0.9, en=0.05), probe(10, ca=0.4, en=0.12))

    curves = {curve.name: curve for curve in curves_of(only(Runs([tmp_path])).history)}

    (english,) = curves["forgotten"].series
    assert english.label == "en"
    assert english.points == ((0, 0.0), (10, pytest.approx(7.0)))
    assert {series.label for series in curves["cer"].series} == {"ca", "en"}


def test_a_drawing_is_in_the_words_and_colours_of_its_page(tmp_path):
    make_run(tmp_path, "ca", train(1), train(2), val(2, 1.5))
    loss = curves_of(only(Runs([tmp_path])).history)[0]

    svg = curve_svg(loss, {"step": "pas", "nats": "nats per token", "learnt": "après"})

    for word in ("pas", "nats per token", "après", "validation", "currentColor"):
        assert word in svg


def test_pictures_and_figures_can_be_taken_away(tmp_path):
    make_run(tmp_path, "ca", train(1), val(1, 1.5), probe(1, ca=0.25))
    view = only(Runs([tmp_path]))

    png = curves_file(curves_of(view.history), {}, "<run>", "png")
    svg = curves_file(curves_of(view.history), {}, "<run>", "svg")
    header, first, *rest = metrics_csv(view.records).splitlines()

    assert png.startswith(b"\x89PNG")
    assert b"&lt;run&gt;" in svg
    assert header.startswith("kind,step,epoch,eta_sec,loss")
    assert first.startswith("train,1,1,44.5,2.0")
    assert header.split(",")[-2:] == ["ca/cer", "is_best"]
    assert rest[-1].split(",")[-2:] == ["0.25", "False"]


def test_checkpoints_have_what_was_measured_at_their_steps(tmp_path):
    folder = make_run(tmp_path, "ca", val(8, 1.5), probe(8, ca=0.25, is_best=True), val(16, 1.75))
    for step in (8, 16):
        (folder / f"model_step{step}.pth").write_bytes(bytes(step))
    (folder / "best.pth").hardlink_to(folder / "model_step8.pth")

    kept = {each.name: each for each in checkpoints(only(Runs([tmp_path])))}

    assert list(kept) == ["model_step8.pth", "model_step16.pth", "best.pth"]
    assert (kept["best.pth"].step, kept["best.pth"].cer) == (8, 0.25)
    assert (kept["model_step16.pth"].loss, kept["model_step16.pth"].cer) == (1.75, None)
    assert kept["model_step16.pth"].size_bytes == 16


def test_only_the_end_of_a_long_log_is_read_and_it_begins_with_a_whole_line(tmp_path):
    folder = make_run(tmp_path, "ca")
    lines = [f"line {number:06d}" for number in range(10_000)]
    (folder / "train.log").write_text("\n".join(lines) + "\n")

    tail = log_tail(folder).splitlines()

    assert tail[-1] == "line 009999"
    assert len(tail) < 4000
    assert all(len(line) == len("line 000000") for line in tail)


@pytest.fixture
def spoken(tmp_path) -> Path:
    folder = make_run(tmp_path, "ca", train(1))
    for step in (0, 8):
        own = folder / f"samples/step{step}"
        for language in ("ca", "en"):
            (own / language).mkdir(parents=True)
            (own / language / "001.wav").write_bytes(b"RIFF")
        line = {"sound": "ca/001.wav", "text": "Bon dia.", "heard": "bon dia", "cer": 0.0}
        (own / "spoken.jsonl").write_text(json.dumps(line) + "\n{half")
    return folder


def test_samples_are_had_by_step_and_language_the_same_sentence_side_by_side(spoken):
    assert sample_steps(spoken) == [0, 8]

    found = spoken_at(spoken, [0, 8])

    assert [(one.name, one.step) for one in found] == [
        ("ca/001.wav", 0),
        ("ca/001.wav", 8),
        ("en/001.wav", 0),
        ("en/001.wav", 8),
    ]
    assert (found[0].text, found[0].heard, found[0].cer) == ("", None, None)
    assert [one.language for one in spoken_at(spoken, [8], "en")] == ["en"]


def test_what_was_said_stands_beside_its_sound(spoken):
    path = spoken / "samples/step8/spoken.jsonl"
    path.write_text(path.read_text().removesuffix("{half"))

    (one, _) = spoken_at(spoken, [8])

    assert (one.text, one.heard, one.cer) == ("Bon dia.", "bon dia", 0.0)


@pytest.mark.parametrize("name", ["../../train.log", "/etc/passwd", "ca", "ca/../ca/001.wav", ""])
def test_a_sound_is_had_by_a_name_that_is_there_only(spoken, name):
    assert find_sample(spoken, 8, "ca/001.wav") == spoken / "samples/step8/ca/001.wav"

    assert find_sample(spoken, 8, name) is None


def test_a_sample_that_is_a_link_out_of_the_run_is_no_sample(spoken, tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (spoken / "samples/step8/ca/002.wav").symlink_to(tmp_path / "secret.wav")

    assert find_sample(spoken, 8, "ca/002.wav") is None


def test_runs_are_compared_at_their_best_at_their_last_and_at_equal_steps(tmp_path):
    make_run(tmp_path, "a", val(0, 3.0), val(8, 1.5), val(16, 1.75), learning_rate=1e-4)
    make_run(tmp_path, "b", val(0, 3.0), val(8, 1.25), learning_rate=3e-4)
    runs = Runs([tmp_path])
    views = sorted((runs.look(run.id) for run in runs.listed()), key=lambda v: v.found.title)

    found = compare_runs(views)

    a, b = found.standings
    assert found.equal_step == 8
    assert (a.best.step, a.last.step, a.equal.loss, b.equal.loss) == (8, 16, 1.5, 1.25)
    assert found.settings == {"learning_rate": ["0.0001", "0.0003"]}
    over = curves_over({view.found.title: view.history for view in views})
    assert [len(curve.series) for curve in over] == [2]


def test_runs_that_were_never_measured_at_one_step_have_no_equal_one(tmp_path):
    make_run(tmp_path, "a", val(8, 1.5))
    make_run(tmp_path, "b", val(9, 1.25))
    runs = Runs([tmp_path])

    found = compare_runs([runs.look(run.id) for run in runs.listed()])

    assert found.equal_step is None
    assert [standing.equal for standing in found.standings] == [None, None]


@needs_list
@pytest.mark.slow
def test_a_run_that_really_goes_is_followed_while_it_goes_and_when_it_is_killed(
    tmp_path, nano_base
):
    (tmp_path / "checkpoints").symlink_to(nano_base)
    write_clips(tmp_path / "data/ca", 4)
    flags = ("--train-manifest", "data/ca/train.jsonl", "--output-dir", "training/ca/checkpoints")
    flags += ("--max-steps", "5000", "--epochs", "5000", "--log-interval", "1", "--device", "cpu")
    process = start_process(*flags, "--probe-sentences", "0", folder=tmp_path)
    try:
        wait_for_step(3, tmp_path / "training/ca/checkpoints", process)
        runs = Runs([tmp_path])
        going = only(runs)
    finally:
        process.kill()
        process.wait()

    assert going.now.state is RunState.RUNNING
    assert (going.now.last_step, going.num_damaged) == (5000, 0)
    assert going.now.eta_sec > 0
    assert only(runs).now.state is RunState.STOPPED
