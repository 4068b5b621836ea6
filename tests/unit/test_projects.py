"""Projects: where the guide keeps files, what exists of them, and commands that parse."""

from __future__ import annotations

from pathlib import Path

import pytest
import tyro

from idiolect.base.errors import UserError
from idiolect.cli.pairs import PairsCommand
from idiolect.cli.tokenizer import TokenizerCommand
from idiolect.cli.train import parse_command
from idiolect.data.pairs import PairConfig
from idiolect.data.prepare import PrepareConfig
from idiolect.registry.install import InstallConfig
from idiolect.studio import commands
from idiolect.studio.projects import Projects
from idiolect.text.train_bpe import TokenizerConfig
from idiolect.training.config import TrainConfig
from registry_kit import make_tokenizer, trained_checkpoint
from run_kit import write_clips


@pytest.fixture
def projects(tmp_path) -> Projects:
    return Projects(tmp_path)


def test_files_lie_where_the_guide_has_them(projects):
    project = projects.get("catalan")

    assert project.named(project.manifest) == Path("data/catalan_dataset/train.jsonl")
    assert project.named(project.validation_pairs) == Path("data/catalan_dataset/val_paired.jsonl")
    assert project.named(project.tokenizer) == Path("training/catalan/tokenizer/catalan_bpe.model")
    assert project.named(project.run_dir) == Path("training/catalan/checkpoints")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", ".hidden", "a b", "à"])
def test_a_name_that_could_lead_elsewhere_is_no_project(projects, name):
    with pytest.raises(UserError, match="cannot be part of a file name"):
        projects.get(name)


def test_a_new_project_has_nothing_and_is_listed_once_it_is_made(projects):
    assert projects.names() == []

    projects.make("catalan")

    state = projects.state("catalan")
    assert projects.names() == ["catalan"]
    assert (state.manifest, state.vocab_size, state.checkpoints) == (None, None, ())


def test_what_exists_is_told_from_the_files(projects, nano_base):
    project = projects.get("catalan")
    write_clips(project.data_dir, 3)
    tokenizer = make_tokenizer(project.tokenizer)
    project.run_dir.mkdir(parents=True)
    trained_checkpoint(project.run_dir / "model_step100.pth", nano_base, tokenizer)
    trained_checkpoint(project.run_dir / "best.pth", nano_base, tokenizer, step=200)
    (project.run_dir / "model_step7.pth").write_bytes(b"half of a file")

    state = projects.state("catalan")

    assert (state.manifest.clips, state.manifest.speakers) == (3, 1)
    assert state.manifest.by_language.keys() == {"ca"}
    assert state.vocab_size == 60
    best, newest, damaged = state.checkpoints
    assert (best.path.name, best.step, best.is_best) == ("best.pth", 200, True)
    assert (newest.step, newest.scores) == (100, {"val_loss": 3.25})
    assert damaged.problem


def test_a_manifest_that_changed_is_read_again_and_a_damaged_one_is_told(projects):
    project = projects.get("catalan")
    write_clips(project.data_dir, 2)
    assert projects.state("catalan").manifest.clips == 2

    project.manifest.write_text("not a manifest\n")

    state = projects.state("catalan")
    assert state.manifest is None
    assert state.problems[0].startswith("data/catalan_dataset/train.jsonl: ")


def test_a_command_to_prepare_says_what_the_settings_say():
    config = PrepareConfig(
        audio_dir=Path("-raw"),
        output_manifest=Path("data/ca/train.jsonl"),
        language="ca",
        speaker_from=r"([a-z]+)_",
        val_share=0.1,
        copy=True,
    )

    name, *flags = commands.prepare_command(config)

    assert name == "prepare"
    assert tyro.cli(PrepareConfig, args=flags) == config


def test_a_command_to_pair_says_what_the_settings_say():
    config = PairConfig(pairs_per_target=3, self_pairs=True)

    name, *flags = commands.pairs_command(Path("a.jsonl"), Path("b.jsonl"), config)

    wanted = PairsCommand(manifest=Path("a.jsonl"), output=Path("b.jsonl"), config=config)
    assert name == "pairs"
    assert tyro.cli(PairsCommand, args=flags) == wanted


def test_a_command_for_a_tokenizer_says_what_the_settings_say():
    config = TokenizerConfig(output_prefix=Path("t/ca_bpe"), vocab_size=80, extend=Path("b.model"))

    name, *flags = commands.tokenizer_command(["a.jsonl", "b.jsonl::es"], config, language="ca")

    wanted = TokenizerCommand(manifest=("a.jsonl", "b.jsonl::es"), config=config, language="ca")
    assert name == "tokenizer"
    assert tyro.cli(TokenizerCommand, args=flags) == wanted


def test_a_command_to_train_says_what_the_settings_say():
    config = TrainConfig(
        train_manifest=("a.jsonl", "b.jsonl::es@0.2"),
        tokenizer=Path("ca_bpe.model"),
        output_dir=Path("training/ca/checkpoints"),
        mode="lora",
        learning_rate=5e-5,
        epochs=3,
        tokens_per_step="auto",
        tf32=True,
        freeze=("gpt.h.*.attn.*",),
    )

    name, *flags = commands.train_command(config, plan=True)

    parsed = parse_command(flags, "idiolect train")
    assert name == "train"
    assert (parsed.settings, parsed.plan) == (config, True)


def test_what_was_chosen_goes_before_a_preset_also_where_it_is_as_by_default():
    config = TrainConfig(train_manifest=("a.jsonl",))

    _, *open_flags = commands.train_command(config, presets=["8gb", "5-30h"])
    _, *typed = commands.train_command(config, presets=["8gb", "5-30h"], typed=["mode"])

    assert parse_command(open_flags, "").settings.mode == "lora"
    assert parse_command(typed, "").settings.mode == "full"


def test_a_command_to_install_says_what_the_settings_say():
    config = InstallConfig(
        checkpoint=Path("best.pth"),
        tokenizer=Path("ca_bpe.model"),
        output_name="ca",
        description="-- Català",
        gate=3.0,
        language=("ca", "es"),
        force=True,
    )

    name, *flags = commands.install_command(config)

    assert name == "install"
    assert tyro.cli(InstallConfig, args=flags) == config
