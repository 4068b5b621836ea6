"""A run that starts from a finished base: what it takes over, what it leaves, what learns on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from idiolect.base.errors import CheckpointError, ConfigError, DataError
from idiolect.models.checkpoint import load_checkpoint, load_tensors
from idiolect.nano.pack import STAGE_FILES, pack_base
from idiolect.nano.recipe import RECIPES, STAGES, Run, stages_to_do, train_nano
from idiolect.nano.unpack import TAKEN, unpack_base, widened
from nano_kit import random_run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    pack_base(random_run(folder / "run"), folder / "base")
    return folder / "base"


def test_every_stage_finds_its_files_in_float32(base: Path, tmp_path: Path):
    unpack_base(base, tmp_path)
    assert all((tmp_path / stage).is_file() for stage in STAGE_FILES.values())
    gpt, _ = load_checkpoint(tmp_path / "voice" / "gpt.pth")
    packed, _ = load_checkpoint(base / "gpt.pth")
    assert {tensor.dtype for tensor in gpt.values()} == {torch.float32}
    assert all(torch.equal(gpt[name], packed[name].float()) for name in packed)
    encoders = [tmp_path / stage / "w2v-bert-2.0" for stage in ("encoder", "hearing")]
    first, second = (load_tensors(folder / "model.safetensors") for folder in encoders)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_a_stage_has_learnt_stays(base: Path, tmp_path: Path):
    learnt = tmp_path / "voice" / "gpt.pth"
    learnt.parent.mkdir()
    learnt.write_bytes(b"learnt")
    unpack_base(base, tmp_path)
    assert learnt.read_bytes() == b"learnt"


def test_a_base_that_is_not_whole_is_refused(base: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="SHA256SUMS"):
        unpack_base(base.parent, tmp_path)


def test_stages_that_others_learnt_from_are_done_only_when_they_are_named():
    from_base = stages_to_do((), is_started=True)
    assert set(STAGES) - set(from_base) == set(TAKEN)
    assert stages_to_do(("encoder",), is_started=True) == ("encoder",)
    assert stages_to_do((), is_started=False) == tuple(STAGES)
    with pytest.raises(ConfigError, match="no such stage"):
        stages_to_do(("enkoder",), is_started=True)


def test_a_run_that_starts_from_a_base_finds_its_networks(base: Path, tmp_path: Path):
    with pytest.raises(DataError):
        train_nano(Run(tmp_path / "run", RECIPES["fast"](), start=base), ("voice",))
    assert (tmp_path / "run/voice/gpt.pth").is_file()
    assert not (tmp_path / "run/voice/state.pth").exists()


@pytest.mark.parametrize("minutes", [0, -3, float("nan")])
def test_a_stage_is_given_some_time(minutes):
    assert RECIPES["fast"]().within(5).voice.pace.minutes == 5
    with pytest.raises(ConfigError, match="--minutes"):
        RECIPES["fast"]().within(minutes)


def test_integers_keep_their_type():
    content = widened({"a": {"half": torch.ones(2, 2).half()}, "count": torch.tensor([3])})
    assert content["a"]["half"].dtype == torch.float32
    assert content["count"].dtype == torch.int64
