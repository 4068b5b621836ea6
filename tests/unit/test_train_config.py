import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from idiolect.base.config import write_yaml
from idiolect.base.errors import ConfigError, TrainingError
from idiolect.cli.train import main, parse
from idiolect.training.config import TrainConfig, check_resumed, read_run_config

GUIDE = shlex.split(
    "--train-manifest data/catalan_dataset/train_paired.jsonl "
    "--val-manifest data/catalan_dataset/val_paired.jsonl "
    "--tokenizer training/catalan/tokenizer/catalan_bpe.model "
    "--config checkpoints/config.yaml --base-checkpoint checkpoints/gpt.pth "
    "--output-dir training/catalan/checkpoints "
    "--batch-size 4 --epochs 10 --learning-rate 2e-5"
)


@pytest.fixture
def run(tmp_path):
    """A folder that holds the settings of a run with two manifests."""
    write_yaml(
        tmp_path / "config.yaml",
        TrainConfig(train_manifest=("a.jsonl", "b.jsonl::ca"), batch_size=3, output_name="x"),
    )
    return tmp_path


def test_the_command_of_the_guide_is_understood():
    config = parse(GUIDE, "train")

    assert config.train_manifest == ("data/catalan_dataset/train_paired.jsonl",)
    assert config.tokenizer == Path("training/catalan/tokenizer/catalan_bpe.model")
    assert (config.batch_size, config.epochs, config.learning_rate) == (4, 10, 2e-5)


def test_manifests_are_repeatable_and_underscores_are_dashes():
    config = parse(["--train_manifest", "a::ca", "--train-manifest", "b@0.2"], "train")

    assert config.train_manifest == ("a::ca", "b@0.2")


def test_flags_of_other_trainers_are_understood():
    config = parse(["--amp", "--code-loss-weight=0.7"], "train")

    assert (config.precision, config.mel_loss_weight) == ("bf16", 0.7)


def test_resume_alone_restores_every_setting(run):
    config = parse(["--resume", str(run / "latest.pth")], "train")

    restored = replace(read_run_config(run), resume=str(run / "latest.pth"))
    assert config == restored
    assert config.train_manifest == ("a.jsonl", "b.jsonl::ca")
    assert config.output_dir == run


def test_a_flag_beside_resume_goes_before_what_was_restored(run):
    config = parse(["--resume", str(run / "latest.pth"), "--epochs", "20"], "train")

    assert (config.epochs, config.batch_size) == (20, 3)


def test_a_manifest_beside_resume_replaces_the_restored_ones(run):
    config = parse(["--resume", str(run), "--train-manifest", "c.jsonl"], "train")

    assert config.train_manifest == ("c.jsonl",)


def test_auto_restores_only_where_there_is_a_run(run):
    flags = ["--resume", "auto", "--output-dir", str(run)]

    assert parse(flags, "train").train_manifest == ()
    (run / "latest.pth").touch()
    assert parse(flags, "train").batch_size == 3


def test_another_length_may_be_given_with_resume():
    begun = TrainConfig()

    assert check_resumed(begun, replace(begun, epochs=20, keep=5, num_workers=2)) == []


def test_another_rate_may_be_given_with_resume_and_is_said():
    begun = TrainConfig()

    notices = check_resumed(begun, replace(begun, learning_rate=1e-5))

    assert notices == ["learning_rate is 1e-05 from here on, was 2e-05: not the run that was begun"]


def test_a_step_may_be_cut_otherwise_with_resume_if_it_stays_as_large():
    begun = TrainConfig(batch_size=4, grad_accumulation=1)

    assert len(check_resumed(begun, replace(begun, batch_size=2, grad_accumulation=2))) == 2
    with pytest.raises(TrainingError, match="batch_size"):
        check_resumed(begun, replace(begun, batch_size=2))


@pytest.mark.parametrize("given", [{"batch_size": 8}, {"seed": 1}, {"train_manifest": ("x",)}])
def test_what_makes_it_another_run_is_refused_with_resume(given):
    (name,) = given

    with pytest.raises(TrainingError, match=f"was begun with {name} = ") as error:
        check_resumed(TrainConfig(), replace(TrainConfig(), **given))

    assert f"--{name.replace('_', '-')}" in error.value.where


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0, got nan"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"max_steps": -1}, "max_steps must be at least 0, got -1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_out_of_range_are_refused_by_name(given, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**given)


def test_nothing_to_learn_from_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    code = main(["--output-name", "catalan"])

    assert code == 2
    assert "there is nothing to learn from\n  at:  --train-manifest" in capsys.readouterr().err


def test_a_run_without_a_folder_is_told_how_to_name_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    code = main(["--train-manifest", "train.jsonl"])

    assert code == 2
    assert "--output-dir training/<language>/checkpoints" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["checkpoints", "x/../checkpoints", "link", "checkpoints/sub"])
def test_a_base_as_output_is_refused_before_anything_is_loaded(
    written, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "link").symlink_to("checkpoints")

    code = main(["--train-manifest", "not-there.jsonl", "--output-dir", written])

    assert code == 2
    assert "would write into the base folder" in capsys.readouterr().err
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_folder_of_another_run_beside_resume_is_refused(run, tmp_path_factory, capsys):
    (run / "latest.pth").touch()
    other = tmp_path_factory.mktemp("other")

    code = main(["--resume", str(run / "latest.pth"), "--output-dir", str(other)])

    assert code == 2
    assert "goes on in its own folder" in capsys.readouterr().err
