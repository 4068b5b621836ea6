"""Runs of training for real: clips, settings, processes, and what they reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from idiolect.audio.io import write_wav
from idiolect.data.formants import CATALAN_SENTENCES, VOICES, speak_formants
from idiolect.data.manifest import Utterance, write_manifest
from idiolect.training.config import TrainConfig

RATE_HZ = 22_050
WAIT_SEC = 120.0


def write_clips(
    folder: Path, count: int, *, language: str = "ca", stated_sec: float | None = None
) -> Path:
    """Write a raw manifest of ``count`` synthetic clips; return its path.

    It says how long each is, or what is to be ``stated``.
    """
    folder.mkdir(parents=True)
    clips = []
    for number in range(count):
        audio = speak_formants(CATALAN_SENTENCES[number], VOICES[0])
        write_wav(folder / f"{number}.wav", audio, RATE_HZ)
        clips.append(
            Utterance(
                id=f"clip{number}",
                audio=f"{number}.wav",
                root=folder,
                text=CATALAN_SENTENCES[number],
                speaker="biel",
                language=language,
                duration_sec=stated_sec or len(audio) / RATE_HZ,
            )
        )
    write_manifest(folder / "train.jsonl", clips)
    return folder / "train.jsonl"


def config(name: str, **given) -> TrainConfig:
    plain = {
        "train_manifest": ("data/ca/train.jsonl",),
        "output_dir": Path("runs") / name,
        "batch_size": 2,
        "epochs": 2,
        "learning_rate": 1e-3,
        "log_interval": 1,
        "device": "cpu",
    }
    return TrainConfig(**(plain | given))


def trace(folder: Path) -> list[tuple]:
    """What a run reported, without the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    keys = ("kind", "step", "epoch", "loss", "text_loss", "mel_loss", "mel_top1", "lr", "grad_norm")
    return [tuple(line.get(key) for key in keys) for line in lines]


def start_process(*flags: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "idiolect", "train", *flags],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_step(step: int, folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_SEC
    metrics = folder / "metrics.jsonl"
    while time.monotonic() < deadline:
        if metrics.is_file() and f'"train", "step": {step},' in metrics.read_text():
            return
        assert process.poll() is None, f"it ended before step {step}"
        time.sleep(0.02)
    raise AssertionError(f"no step {step} after {WAIT_SEC} s")


def best_step(folder: Path) -> int:
    """The step of the validation that was called the best last."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "val" and line["is_best"]][-1]
