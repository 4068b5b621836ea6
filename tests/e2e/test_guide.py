"""The guide, command by command, as a new user types it: a fresh folder, new processes.

Only what costs time is changed: the step whose checkpoint is installed is the last one that a
small run reaches, the page is given a free port, and dots that stand for "the rest of your flags"
become flags.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs.guide import GUIDES, ROOT, Block, blocks
from idiolect.base.snapshot import BaseSnapshot
from idiolect.data.formants import VOICES, write_corpus
from idiolect.nano.pack import export_base

LATEST = "training/catalan/checkpoints/latest.pth"
REST_OF_THE_FLAGS = f"--resume {LATEST} --epochs 21"
SERVER_START_SEC = 90


def environment() -> dict[str, str]:
    bin_dir = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def shell(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"$ {script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a new user has: the scripts, a base, recordings with transcripts, a clip of a voice."""
    folder = tmp_path_factory.mktemp("guide")
    for name in ("tools", "trainers", "webui.py"):
        (folder / name).symlink_to(ROOT / name)
    export_base(folder / "checkpoints")
    raw = folder / "data/raw"
    write_corpus(raw / "catalan_audio", raw / "catalan_transcripts.txt")
    shutil.copy(raw / "catalan_audio/clara_02.wav", folder / "prompt.wav")
    for language in ("catalan", "spanish", "french"):
        write_corpus(raw / language, raw / f"{language}.txt", voices=VOICES[:1])
        shell(
            f"python tools/prepare_dataset.py --audio-dir data/raw/{language} "
            f"--transcript-file data/raw/{language}.txt "
            f"--output-manifest data/{language}/train.jsonl",
            folder,
        )
    return folder


def fitted(block: Block, folder: Path) -> str:
    """The block with the sizes of a small run."""
    steps = (folder / "training/catalan/checkpoints").glob("model_step*.pth")
    numbers = [int(re.sub(r"\D", "", path.stem)) for path in steps]
    script = block.script.replace("model_step5000", f"model_step{max(numbers, default=0)}")
    return re.sub(r"(?m)^\s*\.\.\.$", f"    {REST_OF_THE_FLAGS}", script)


@contextmanager
def page(command: str, folder: Path) -> Iterator[str]:
    """The running page's text."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["bash", "-c", f"exec {command} --port {port}"], cwd=folder, env=environment()
    )
    try:
        yield _fetch(f"http://127.0.0.1:{port}/en/config", server)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _fetch(url: str, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + SERVER_START_SEC
    while time.monotonic() < deadline:
        assert server.poll() is None, "the page ended at once"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no page at {url} after {SERVER_START_SEC} s")


def test_every_command_of_the_guide_does_its_work_in_order(folder: Path):
    before = BaseSnapshot.take(folder / "checkpoints")

    for block in blocks(GUIDES["es"]):
        if "webui.py" in block.script:
            with page(block.commands[0], folder) as config:
                assert "gpt_catalan.pth" in config
        else:
            shell(fitted(block, folder), folder)

    run = folder / "training/catalan/checkpoints"
    for name in ("best.pth", "latest.pth", "metrics.jsonl", "train.log", "config.yaml", "runs"):
        assert (run / name).exists(), name
    for name in ("gpt_catalan.pth", "catalan_bpe.model", "registry.json"):
        assert (folder / "models" / name).exists(), name
    assert (folder / "out.wav").stat().st_size > 1000
    assert BaseSnapshot.take(folder / "checkpoints").hashes == before.hashes
