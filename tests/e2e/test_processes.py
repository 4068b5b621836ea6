"""Several processes train what one trains, and share out what does not fit into one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from idiolect.models.checkpoint import load_checkpoint
from idiolect.models.loading import load_gpt
from idiolect.models.nano import write_nano
from idiolect.models.published import locate_base
from run_kit import WAIT_SEC, trace, write_clips

FLAGS = (
    *("--train-manifest", "data/ca/train.jsonl", "--learning-rate", "1e-3", "--device", "cpu"),
    *("--precision", "fp32", "--batch-size", "3", "--epochs", "2", "--log-interval", "1"),
    *("--save-every", "2", "--dropout", "0", "--probe-sentences", "0"),
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workplace")
    write_nano(folder / "checkpoints", seed=3)
    write_clips(folder / "data/ca", 8)
    run(folder, "one")
    return folder


def run(folder: Path, name: str, *flags: str, processes: int = 1) -> Path:
    """Train in ``processes`` processes, as torchrun starts them; return the folder of the run."""
    launcher = ("torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", "-m")
    command = [*(launcher if processes > 1 else ()), "idiolect", "train"]
    done = subprocess.run(
        [sys.executable, "-m", *command, *FLAGS, *flags, "--output-dir", f"runs/{name}"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=WAIT_SEC,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs" / name


def assert_same_course(first: Path, second: Path) -> None:
    """Floating-point sums may be taken in another order; nothing else may differ."""
    rows, others = trace(first), trace(second)
    assert [row[:3] for row in rows] == [row[:3] for row in others]
    for row, other in zip(rows, others, strict=True):
        assert [value is None for value in row] == [value is None for value in other]
        numbers, wanted = ([v for v in each[3:] if v is not None] for each in (row, other))
        assert numbers == pytest.approx(wanted, rel=1e-4)


def assert_same_weights(first: Path, second: Path) -> None:
    weights, others = (load_checkpoint(path / "latest.pth")[0] for path in (first, second))
    assert weights.keys() == others.keys()
    for name in weights:
        torch.testing.assert_close(weights[name], others[name], rtol=1e-3, atol=1e-4)


def test_two_processes_take_the_steps_of_one(workplace):
    two = run(workplace, "two", processes=2)

    assert_same_course(workplace / "runs/one", two)
    assert_same_weights(workplace / "runs/one", two)


def test_what_is_left_to_chance_is_the_same_however_many_draw_it(workplace):
    chance = ("--dropout", "0.3", "--code-noise", "0.3", "--tokens-per-pass", "150")
    one = run(workplace, "one-chance", *chance)

    two = run(workplace, "two-chance", *chance, processes=2)

    assert_same_course(one, two)


def test_a_model_in_shards_learns_as_a_whole_one_and_its_checkpoint_loads(workplace):
    shards = run(workplace, "shards", "--fsdp", processes=2)

    assert_same_course(workplace / "runs/one", shards)
    assert_same_weights(workplace / "runs/one", shards)
    files = locate_base(workplace / "checkpoints", gpt=shards / "latest.pth")
    assert load_gpt(files.gpt, files.config.gpt).dims.num_layers


def test_one_process_goes_on_with_what_two_shards_began(workplace):
    run(workplace, "begun", "--fsdp", "--max-steps", "4", processes=2)

    # 3 steps an epoch: the run is in the middle of its second one.
    run(workplace, "begun")

    assert_same_weights(workplace / "runs/one", workplace / "runs/begun")
