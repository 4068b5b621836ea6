#!/usr/bin/env python3
"""How a manifest of a million lines is carried: read back, paired, and its pairs loaded.

Each stage runs in a process of its own, so that its time and its peak of memory are its own.
Limits hold for the seconds of the processor: other work on the machine does not count in them::

    python benchmarks/manifest_scale.py --output benchmarks/results/manifest_scale.md
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from idiolect.base.files import write_text
from idiolect.data.manifest import Utterance, read_manifest, write_manifest
from idiolect.data.pairs import PairConfig, plan_pairs, read_pairs, write_pairs

LIMIT_SEC = 60
LIMIT_BYTES = 4 << 30
MACHINE = "2 cores, 24 GB, CPU only"
WORDS = ("la", "casa", "gran", "mira", "cap", "al", "mar", "quan", "el", "sol", "surt", "i")
NUM_RECORDINGS = 7
"""Of each speaker."""
CLIPS_PER_SPEAKER = (1_000_000, 1000, 2)


def clips(count: int, num_speakers: int) -> Iterator[Utterance]:
    """Yield ``count`` clips with texts of their own, from several recordings of each speaker."""
    for index in range(count):
        words = (WORDS[(index * step + index // 7) % len(WORDS)] for step in range(1, 11))
        yield Utterance(
            id=f"clip-{index:08d}",
            audio=f"wavs/{index % 1000:03d}/clip-{index:08d}.wav",
            root=Path(),
            text=f"{' '.join(words)} {index}",
            speaker=f"speaker-{index % num_speakers:06d}",
            language="ca",
            duration_sec=1.0 + index % 120 / 10,
            source=f"tape-{index % num_speakers}-{index // num_speakers % NUM_RECORDINGS}",
        )


def write(folder: Path, count: int, num_speakers: int) -> None:
    """Write the manifest."""
    write_manifest(folder / "train.jsonl", clips(count, num_speakers))


def read_back(folder: Path, *_: int) -> None:
    """Read the manifest into memory, as training does."""
    list(read_manifest(folder / "train.jsonl"))


def pair(folder: Path, *_: int) -> None:
    """Read the manifest, plan the pairs and write them."""
    manifest = folder / "train.jsonl"
    write_pairs(folder / "pairs.jsonl", plan_pairs(read_manifest(manifest), PairConfig()), manifest)


def load(folder: Path, *_: int) -> None:
    """Read the pairs."""
    read_pairs(folder / "pairs.jsonl")


STAGES: dict[str, Callable[..., None]] = {
    "write the manifest": write,
    "read it back": read_back,
    "plan and write the pairs": pair,
    "load the pairs": load,
}


def main() -> int:
    """Measure every stage; return 1 when one is beyond its limit."""
    flags = _parse_flags()
    if flags.stage:
        return _do_stage(flags)
    rows, missed = [], False
    for per_speaker in CLIPS_PER_SPEAKER:
        num_speakers = max(1, flags.lines // per_speaker)
        with TemporaryDirectory() as folder:
            for stage in STAGES:
                cpu_sec, wall_sec, peak_bytes = _measure(stage, folder, flags.lines, num_speakers)
                missed |= cpu_sec > LIMIT_SEC or peak_bytes > LIMIT_BYTES
                cells = (f"{cpu_sec:.1f}", f"{wall_sec:.1f}", f"{peak_bytes / (1 << 30):.2f}")
                rows.append(f"| {num_speakers} | {stage} | {' | '.join(cells)} |")
                print(rows[-1], flush=True)
    if flags.output:
        write_text(flags.output, _page(flags.lines, rows))
    return int(missed)


def _page(lines: int, rows: list[str]) -> str:
    return "\n".join(
        [
            f"# A manifest of {lines} lines",
            "",
            f"Machine: {MACHINE}. Command: `python benchmarks/manifest_scale.py --lines {lines}`.",
            "Each stage is one process on one core. Every target gets two prompts where there are",
            f"two. Limits: {LIMIT_SEC} s and {LIMIT_BYTES >> 30} GB a stage.",
            "",
            "| speakers | stage | CPU seconds | wall seconds | peak GB |",
            "|--:|---|--:|--:|--:|",
            *rows,
            "",
        ]
    )


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, help="markdown file for the table")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--speakers", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(stage: str, folder: str, lines: int, num_speakers: int) -> tuple[float, float, int]:
    command = [sys.executable, __file__, "--stage", stage, "--folder", folder]
    command += ["--lines", str(lines), "--speakers", str(num_speakers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 -- this file
    cpu_sec, wall_sec, peak_bytes = done.stdout.split()
    return float(cpu_sec), float(wall_sec), int(peak_bytes)


def _do_stage(flags: argparse.Namespace) -> int:
    started_cpu, started = time.process_time(), time.perf_counter()
    STAGES[flags.stage](flags.folder, flags.lines, flags.speakers)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(time.process_time() - started_cpu, time.perf_counter() - started, peak_bytes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
