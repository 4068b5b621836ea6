"""The recipe of nano, from nothing to a base: in new processes, killed on the way, gone on with."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idiolect.audio.io import probe_audio
from idiolect.models.published import locate_base
from idiolect.nano.recipe import STAGES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"),
]
PATIENCE_SEC = 600


def idiolect(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "idiolect", *map(str, args)]


def test_one_command_makes_a_base_also_when_it_was_killed_on_the_way(tmp_path: Path):
    run = tmp_path / "run"
    command = idiolect("nano", "train", "--preset", "fast", "--dir", run)
    first = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_SEC
    while not (run / "encoder" / "state.pth").exists():
        assert first.poll() is None, "it ended before the encoder was trained"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    trained = (run / "vocoder" / "state.pth").stat().st_mtime_ns

    again = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert (run / "vocoder" / "state.pth").stat().st_mtime_ns == trained
    assert all(f"== {stage}" in again.stderr for stage in STAGES)

    base = run / "base"
    locate_base(base)
    prompt = next((run / "corpus" / "audio").rglob("*.flac"))
    said = tmp_path / "said.wav"
    spoken = subprocess.run(
        idiolect(
            *("synth", "--base", base, "--voice", prompt, "--text", "Hello there."),
            *("--language", "en", "--seed", "1", "--max-mel-tokens", "60", "--output", said),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert spoken.returncode == 0, spoken.stderr
    assert probe_audio(said).duration_sec > 0
