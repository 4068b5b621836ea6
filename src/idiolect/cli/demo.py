"""``idiolect demo``: the guide's steps, one after the other, on a small synthetic corpus."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.base.errors import UserError
from idiolect.base.guard import check_output
from idiolect.base.units import format_duration
from idiolect.cli.surface import run_command
from idiolect.data.formants import write_corpus

UNSEEN_SENTENCE = "Bona nit, fins demà."
RECORDINGS = Path("data/raw/catalan_audio")
TRANSCRIPT = Path("data/raw/catalan_transcripts.txt")
MANIFEST = Path("data/catalan_dataset/train.jsonl")
PAIRS = Path("data/catalan_dataset/train_paired.jsonl")
TOKENIZER = Path("training/catalan/tokenizer/catalan_bpe")
RUN = Path("training/catalan/checkpoints")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """Where the demo is made and how long it trains."""

    dir: Path = Path("demo")
    """Folder to make; the guide's folders appear below it."""
    epochs: int = 6
    """How often training sees each pair."""
    seed: int = 1
    """Seed of the random base, of training and of the speech."""


def main(argv: Sequence[str] | None = None, prog: str = "idiolect demo") -> int:
    """Run the command; return its exit code."""
    return run_command(
        DemoConfig,
        _demo,
        argv,
        prog=prog,
        description=(
            "Run the whole way on a small synthetic corpus: a base with random weights, "
            "recordings made of formants, and every step of the guide with its real command. "
            "It shows that everything works, not what it sounds like."
        ),
    )


def _demo(config: DemoConfig) -> None:
    started = time.monotonic()
    folder = check_output(config.dir)
    folder.mkdir(parents=True, exist_ok=True)
    clips = write_corpus(folder / RECORDINGS, folder / TRANSCRIPT)
    print(f"made {clips} synthetic clips in {folder / RECORDINGS}")
    for title, command in _steps(config, folder):
        print(f"\n== {title}\n$ idiolect {shlex.join(command)}", flush=True)
        _run(command, folder)
    print(f"\ndemo finished in {format_duration(time.monotonic() - started)}; look at:")
    for name in ("data/catalan_dataset/report.html", RUN, "models", "base.wav", "catalan.wav"):
        print(f"  {folder / name}")
    print(f"next: cd {folder} && idiolect webui --model-dir models")


def _steps(config: DemoConfig, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each step's title and command, in the guide's order."""
    seed = str(config.seed)
    if not (folder / "checkpoints/gpt.pth").exists():
        yield "0. A base in the published layout", ["nano", "new", "checkpoints", "--seed", seed]
    yield (
        "1. Prepare the recordings",
        [
            *("prepare", "--audio-dir", str(RECORDINGS), "--transcript-file", str(TRANSCRIPT)),
            *("--output-manifest", str(MANIFEST)),
        ],
    )
    yield "2. Pairs", ["pairs", "--manifest", str(MANIFEST), "--output", str(PAIRS)]
    yield (
        "3. Tokenizer",
        ["tokenizer", "--manifest", str(MANIFEST), "--output-prefix", str(TOKENIZER)],
    )
    yield (
        "4. Fine-tuning",
        [
            *("train", "--train-manifest", str(PAIRS)),
            *("--val-manifest", str(PAIRS.with_name("val_paired.jsonl"))),
            *("--tokenizer", f"{TOKENIZER}.model", "--base-checkpoint", "checkpoints/gpt.pth"),
            *("--output-dir", str(RUN), "--epochs", str(config.epochs), "--seed", seed),
            *("--learning-rate", "1e-3"),
        ],
    )
    yield (
        "5. Install the best checkpoint",
        [
            *("install", "--checkpoint", str(RUN / "best.pth"), "--force"),
            *("--tokenizer", f"{TOKENIZER}.model", "--output-name", "catalan"),
        ],
    )
    for model, output in ((None, "base.wav"), ("catalan", "catalan.wav")):
        chosen = ["--model", model] if model else []
        yield (
            f"6. Speak an unseen sentence with {model or 'the base'}",
            [
                *("synth", *chosen, "--voice", str(RECORDINGS / "clara_02.wav")),
                *("--text", UNSEEN_SENTENCE, "--language", "ca", "--seed", seed),
                *("--max-mel-tokens", "200", "--output", output),
            ],
        )


def _run(command: list[str], folder: Path) -> None:
    """Run ``idiolect command`` in ``folder`` as a new process, as a user would.

    Raises:
        UserError: The command failed.
    """
    done = subprocess.run(  # noqa: S603 -- our own interpreter and arguments
        [sys.executable, "-m", "idiolect", *command],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    if done.returncode:
        raise UserError(
            f"this step ended with exit code {done.returncode}",
            where=f"idiolect {shlex.join(command)}",
            fix="see the message above; the same command goes on where it stopped",
        )
