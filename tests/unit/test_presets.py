"""Presets: they fit the card they are named after, and what is typed goes before them."""

import pytest

from idiolect.base.errors import ConfigError
from idiolect.cli.train import parse, parse_command
from idiolect.data.manifest import write_manifest
from idiolect.training.config import TrainConfig
from idiolect.training.memory import LEAST_TOKENS
from idiolect.training.presets import (
    BY_HOURS,
    CARDS,
    card_for,
    choices,
    hours_preset,
    preset_config,
)
from training_kit import utterance

GIGABYTE = 1 << 30
LONGEST_CLIP = 34 + 602 + 1816
"""Rows of the longest text and the longest clip that the published size has positions for."""


@pytest.fixture
def ten_hours(tmp_path):
    write_manifest(
        tmp_path / "train.jsonl", [utterance(f"c{n}", duration_sec=1800.0) for n in range(20)]
    )
    return str(tmp_path / "train.jsonl")


@pytest.mark.parametrize("name", CARDS)
def test_a_card_holds_its_preset_with_a_tenth_to_spare(name):
    card = CARDS[name]

    needed = card.memory.total(card.config.tokens_per_pass)

    assert needed <= 0.9 * card.free_bytes
    assert card.config.tokens_per_pass >= max(LEAST_TOKENS, LONGEST_CLIP)


def test_larger_cards_take_no_smaller_passes_in_the_same_way():
    plain = [card for card in CARDS.values() if not card.checkpointing]

    tokens = [card.config.tokens_per_pass for card in plain]

    assert tokens == sorted(tokens)
    assert len(plain) >= 3


@pytest.mark.parametrize(
    ("hours", "name"),
    [(0.2, "under-5h"), (5.0, "5-30h"), (29.9, "5-30h"), (30.0, "30-300h"), (1000.0, "over-300h")],
)
def test_the_hours_choose_their_preset(hours, name):
    assert hours_preset(hours) == name


@pytest.mark.parametrize(
    ("reported", "name"),
    [(23.6, "24gb"), (7.8, "8gb"), (11.76, "12gb"), (40.0, "24gb"), (79.1, "80gb"), (6.0, None)],
)
def test_a_card_is_known_by_what_it_reports(reported, name):
    assert card_for(round(reported * GIGABYTE)) == name


@pytest.mark.parametrize("hours", BY_HOURS)
@pytest.mark.parametrize("card", [None, *CARDS])
def test_each_setting_is_chosen_once_and_is_one_that_training_takes(card, hours):
    chosen = choices(card, hours)

    names = [choice.name for choice in chosen]
    assert len(names) == len(set(names))
    assert all(choice.why for choice in chosen)
    config = preset_config(chosen, [])
    assert all(getattr(config, choice.name) == choice.value for choice in chosen)


def test_adapters_are_trained_at_the_rate_of_adapters_whichever_asks_for_them():
    by_card = preset_config(choices("8gb", "30-300h"), [])
    by_hours = preset_config(choices("24gb", "under-5h"), [])

    assert by_card.mode == by_hours.mode == "lora"
    assert by_card.learning_rate == by_hours.learning_rate == 1e-4


def test_the_rate_follows_a_mode_that_is_typed():
    full = parse(["--preset", "8gb", "--preset", "under-5h", "--mode", "full"], "train")
    lora = parse(["--preset=5-30h", "--mode=lora"], "train")

    assert (full.mode, full.learning_rate, full.tokens_per_pass) == ("full", 1e-5, "auto")
    assert (lora.mode, lora.learning_rate) == ("lora", 1e-4)


def test_what_is_typed_goes_before_a_preset():
    config = parse(["--preset", "24gb", "--preset", "5-30h", "--epochs", "3"], "train")

    assert config.epochs == 3
    assert config.tokens_per_step == 8192
    assert config.tokens_per_pass == CARDS["24gb"].config.tokens_per_pass


@pytest.mark.parametrize("flag", ["--batch-size=4", "--grad_accumulation=2"])
def test_clips_of_a_step_go_before_the_tokens_of_a_preset(flag):
    assert parse(["--preset", "5-30h", flag], "train").tokens_per_step == 0


def test_a_switch_that_is_typed_off_stays_off():
    flags = ["--preset", "12gb", "--preset", "5-30h"]

    assert parse(flags, "train").gradient_checkpointing
    assert not parse([*flags, "--no-gradient-checkpointing"], "train").gradient_checkpointing


def test_hours_that_are_not_named_are_those_of_the_manifests(ten_hours):
    config = parse(["--preset", "auto", "--train-manifest", ten_hours], "train")

    assert (config.epochs, config.patience) == (8, 3)
    assert config.train_manifest == (ten_hours,)


def test_without_a_preset_nothing_depends_on_the_hours(ten_hours):
    assert parse(["--train-manifest", ten_hours], "train") == TrainConfig(
        train_manifest=(ten_hours,)
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset", "25gb"], "no preset is called '25gb'"),
        (["--preset", "8gb", "--preset", "12gb"], "8gb and 12gb do not go together"),
        (["--preset", "24gb"], "there is no manifest to tell the hours by"),
    ],
)
def test_a_preset_that_means_nothing_is_refused(flags, message):
    with pytest.raises(ConfigError, match=message):
        parse(flags, "train")


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        (["--save-every", "20min"], 20.0),
        (["--save_every=1.5h"], 90.0),
        (["--save-every=90min", "--keep", "2"], 90.0),
    ],
)
def test_a_time_between_checkpoints_is_understood(words, minutes):
    config = parse(words, "train")

    assert (config.save_minutes, config.save_every) == (minutes, 0)


def test_a_number_between_checkpoints_is_one_of_steps():
    config = parse(["--save-every", "500", "--amp", "--base=nano"], "train")

    assert (config.save_every, config.save_minutes, config.precision) == (500, 0.0, "bf16")
    assert str(config.base_checkpoint) == "nano"


def test_a_plan_is_asked_for_by_a_flag_that_is_no_setting_of_the_run():
    command = parse_command(["--plan", "--output-name", "ca"], "train")

    assert command.plan
    assert command.settings == TrainConfig(output_name="ca")
