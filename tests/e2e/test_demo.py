"""``idiolect demo`` on recordings of the user's own: interrupted, gone on with, and done again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from idiolect.base.errors import EXIT_INTERRUPTED
from idiolect.base.files import read_json
from idiolect.base.snapshot import BaseSnapshot
from idiolect.cli.demo import main
from idiolect.data.formants import write_corpus


def start(folder: Path, base: Path) -> subprocess.Popen[str]:
    """The demo in a process group of its own, as a shell starts it."""
    flags = ("--dir", "demo", "--real", "mine", "--base", base, "--epochs", "1", "--curve", "1")
    return subprocess.Popen(
        [sys.executable, "-m", "idiolect", "demo", *map(str, flags)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_demo_that_was_interrupted_goes_on_and_is_not_done_twice(nano_base, tmp_path):
    write_corpus(tmp_path / "mine", tmp_path / "mine/transcripts.txt")
    before = BaseSnapshot.take(nano_base)

    first = start(tmp_path, nano_base)
    assert first.stdout is not None
    told = ""
    while "4. Fine-tuning" not in told:
        line = first.stdout.readline()
        assert line, told
        told += line
    os.killpg(first.pid, signal.SIGINT)
    told += first.communicate(timeout=120)[0]
    assert first.returncode == EXIT_INTERRUPTED, told
    assert "Traceback" not in told

    second = start(tmp_path, nano_base)
    told = second.communicate(timeout=1200)[0]
    assert second.returncode == 0, told[-3000:]
    assert told.count("already done") == 3  # prepare, pairs, tokenizer
    assert "base unchanged" in told

    third = start(tmp_path, nano_base)
    told = third.communicate(timeout=300)[0]
    assert third.returncode == 0, told[-3000:]
    assert told.count("already done") == 7

    demo = tmp_path / "demo"
    html = (demo / "report.html").read_text("utf-8")
    assert html.count("data:audio/") >= 3 * 2
    labels = [speech["label"] for speech in read_json(demo / "scores.json")["speeches"]]
    assert labels[0] == "base"
    assert labels[-2:] == ["catalan", "reference"]
    assert (demo / "models/gpt_catalan.pth").is_file()
    assert not (demo / "checkpoints").exists()
    assert BaseSnapshot.take(nano_base).hashes == before.hashes


def test_a_folder_that_is_a_base_is_refused(nano_base, capsys):
    assert main(["--dir", str(nano_base / "demo")]) == 2
    assert "the base models are never modified" in capsys.readouterr().err


def test_too_few_recordings_to_hold_any_out_are_refused_before_training(
    nano_base, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_corpus(Path("mine"), Path("mine/transcripts.txt"), sentences=["Bon dia a tothom."])

    code = main(["--dir", "demo", "--real", "mine", "--base", str(nano_base)])

    assert code == 2
    assert not Path("demo/training").exists()
