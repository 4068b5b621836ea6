"""Training adapters for real, on a nano base and a few synthetic clips, up to the sound."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idiolect.base.errors import ConfigError, TrainingError
from idiolect.base.hashes import sha256_file
from idiolect.base.snapshot import BaseSnapshot
from idiolect.models.adapter import open_weights
from idiolect.models.checkpoint import load_checkpoint, read_header
from idiolect.models.loading import CONDITIONER_KEYS
from idiolect.models.nano import write_nano
from idiolect.registry.install import InstallConfig, install_model
from idiolect.training import loop
from idiolect.training.config import TrainConfig
from idiolect.training.run import train
from run_kit import config as plain_config
from run_kit import write_clips

BASE = Path("checkpoints/gpt.pth")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a base and six clips."""
    folder = tmp_path_factory.mktemp("workplace")
    write_nano(folder / "checkpoints", seed=3)
    write_clips(folder / "data", 6)
    return folder


@pytest.fixture
def here(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    return workplace


def config(name: str, **given) -> TrainConfig:
    plain = {
        "train_manifest": ("data/train.jsonl",),
        "learning_rate": 3e-3,
        "precision": "fp32",
        "mode": "lora",
        "lora_rank": 4,
        "lora_alpha": 8.0,
    }
    return plain_config(name, **(plain | given))


def losses(name: str) -> list[tuple]:
    lines = (Path("runs") / name / "metrics.jsonl").read_text().splitlines()
    rows = map(json.loads, lines)
    return [(r["kind"], r["step"], r["loss"], r.get("grad_norm")) for r in rows]


@pytest.fixture(scope="module")
def adapters(workplace):
    """The best checkpoint of a finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        return train(config("tuned", epochs=4)).best_path


def test_adapters_learn_and_their_checkpoints_are_small(here, adapters):
    before = BaseSnapshot.take(here / "checkpoints")

    header = read_header(adapters).header
    values = [loss for kind, _, loss, _ in losses("tuned") if kind == "val"]

    assert values[-1] < values[0] - 0.3
    assert adapters.stat().st_size < 0.25 * BASE.stat().st_size
    assert (header.adapter.rank, header.adapter.alpha) == (4, 8.0)
    assert header.adapter.base_sha256 == header.base_sha256 == sha256_file(BASE)
    assert before.verify()


def test_a_stopped_run_of_adapters_goes_on_bit_for_bit(here, monkeypatch):
    straight = train(config("straight", save_every=2)).folder
    real = loop.train_step

    def stop_at_four(model, optimizer, data, *args, **given):
        if data.step == 4:
            raise KeyboardInterrupt
        return real(model, optimizer, data, *args, **given)

    monkeypatch.setattr(loop, "train_step", stop_at_four)
    with pytest.raises(KeyboardInterrupt):
        train(config("stopped", save_every=2))
    monkeypatch.setattr(loop, "train_step", real)
    assert read_header("runs/stopped/latest.pth").header.step == 2
    stopped = train(config("stopped", save_every=2)).folder

    assert losses("stopped") == losses("straight")
    first, second = (load_checkpoint(f / "latest.pth")[0] for f in (straight, stopped))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_installed_run_of_adapters_is_a_whole_model(here, adapters, tmp_path):
    install = InstallConfig(
        checkpoint=adapters,
        tokenizer=Path("checkpoints/bpe.model"),
        output_name="catalan",
        output_dir=tmp_path / "models",
        base=Path("checkpoints"),
    )

    report = install_model(install)

    weights, header = load_checkpoint(install.output_dir / "gpt_catalan.pth")
    base, _ = load_checkpoint(BASE)
    assert "base unchanged" in report.base_sentence
    assert (header.adapter, list(weights)) == (None, list(base))
    frozen = [n for n in base if CONDITIONER_KEYS.match(n)]
    assert all(torch.equal(weights[name], base[name]) for name in frozen)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_new_run_begins_from_adapters_where_they_ended(here, adapters, mode):
    best = min(loss for kind, _, loss, _ in losses("tuned") if kind == "val")

    result = train(config(f"from_{mode}", base_checkpoint=adapters, mode=mode, max_steps=1))

    assert result.first.loss == pytest.approx(best, rel=1e-5)
    weights, header = open_weights(result.best_path, bases=[BASE])
    assert header.base_sha256 == sha256_file(BASE)
    assert list(weights) == list(load_checkpoint(BASE)[0])


def test_frozen_maps_get_no_adapters(here):
    result = train(config("frozen", max_steps=1, freeze=("gpt.h.*.attn.*", "text_head.*")))

    weights, _ = load_checkpoint(result.best_path)
    assert not any(".attn." in name for name in weights)
    assert any(".mlp.c_fc.lora_A." in name for name in weights)
    base, _ = load_checkpoint(BASE)
    assert torch.equal(weights["text_head.weight"], base["text_head.weight"])


def test_a_run_does_not_go_on_with_another_rank(here, adapters):
    with pytest.raises(TrainingError, match="begun with lora_rank = 4, not 8"):
        train(replace(config("tuned", epochs=5), lora_rank=8, resume="auto"))


def test_rows_without_rows_to_learn_are_refused(here):
    with pytest.raises(ConfigError, match="the text rows are frozen"):
        train(config("rows", mode="rows", freeze=("text_*",)))
