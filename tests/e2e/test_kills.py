"""A run that is killed again and again ends as one that never was."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import torch

from idiolect.models.checkpoint import load_checkpoint
from idiolect.models.nano import write_nano
from idiolect.training.metrics import METRICS_FILE
from run_kit import WAIT_SEC, start_process, trace, write_clips

KILLS = 20
STEPS = 600
FLAGS = (
    *("--train-manifest", "data/ca/train.jsonl", "--learning-rate", "1e-3", "--device", "cpu"),
    *("--precision", "fp32", "--tokens-per-step", "500", "--epochs", str(STEPS)),
    *("--max-steps", str(STEPS), "--dropout", "0.1", "--code-noise", "0.1", "--ema", "0.9"),
    *("--log-interval", "1", "--save-every", "4", "--val-interval", "6", "--keep-best", "2"),
    *("--probe-sentences", "0"),
)


def straight_run(folder: Path) -> tuple[float, float]:
    """Do the whole run; return the seconds until its first step, and from there to its end."""
    started = time.monotonic()
    process = start_process(*FLAGS, "--output-dir", "runs/straight", folder=folder)
    while not (folder / "runs/straight" / METRICS_FILE).exists():
        assert process.poll() is None
        time.sleep(0.05)
    begun = time.monotonic()
    assert process.wait(timeout=10 * WAIT_SEC) == 0
    return begun - started, time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_twenty_kills_at_any_moment_change_no_bit(tmp_path, seed):
    write_nano(tmp_path / "checkpoints", seed=3)
    write_clips(tmp_path / "data/ca", 8)
    startup_sec, work_sec = straight_run(tmp_path)
    # However fast the machine is, twenty such pieces are less than the whole.
    longest_sec = startup_sec + 1.5 * work_sec / KILLS
    chance = random.Random(seed)
    killed = 0
    while killed < KILLS:
        started = time.monotonic()
        process = start_process(*FLAGS, "--output-dir", "runs/killed", folder=tmp_path)
        # From the first imports to the middle of a step, of a validation, of a file being written.
        time.sleep(chance.uniform(0.5, longest_sec))
        assert process.poll() in (None, 0), f"it failed after {time.monotonic() - started:.1f} s"
        if process.poll() == 0:
            break
        process.kill()
        process.wait()
        killed += 1
    last = start_process(*FLAGS, "--output-dir", "runs/killed", folder=tmp_path)
    assert last.wait(timeout=10 * WAIT_SEC) == 0

    assert killed == KILLS
    runs = [tmp_path / "runs" / name for name in ("straight", "killed")]
    assert trace(runs[0]) == trace(runs[1])
    assert {p.name for p in runs[0].glob("*.pth")} == {p.name for p in runs[1].glob("*.pth")}
    for name in ("latest.pth", "best.pth"):
        weights, others = (load_checkpoint(run / name)[0] for run in runs)
        assert all(torch.equal(weights[key], others[key]) for key in weights)
