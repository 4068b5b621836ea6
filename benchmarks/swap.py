"""Swap models: how long it takes, how much memory it needs, and whether it comes back.

    python benchmarks/swap.py DIR [cuda:0]

installs in DIR (about 8.5 GB, once) models of the published size with random weights, two in
float32 and one in float16, on the frozen networks of nano; only their text tables are smaller, for
a tokenizer of the tests. The frozen networks are small here, so that what is measured is the swap.
Resident memory is the process's own, its peak is that of the kernel (``VmHWM``), set back before
each swap. On a GPU both are what torch allocated there.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy
import psutil
import torch

from idiolect.base.places import SHIPPED_DIR
from idiolect.models.checkpoint import TEXT_TABLES, save_checkpoint
from idiolect.models.published import locate_base
from idiolect.synthesis.swap import ModelSlot
from idiolect.text.tokenizer import Tokenizer

DATA = Path(__file__).parents[1] / "tests/golden/data"
TYPES = {"one": torch.float32, "two": torch.float32, "half": torch.float16}
GIGABYTE = 1024**3
NANO_SWAPS = 20


def install(folder: Path) -> None:
    """Install the models of the published size that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = json.loads((DATA / "keys/gpt_v2.json").read_text())
    for seed, (name, dtype) in enumerate(TYPES.items()):
        path = folder / f"gpt_{name}.pth"
        if path.exists():
            continue
        noise = torch.Generator().manual_seed(seed)
        rows = Tokenizer.load(DATA / "bpe.model").vocab_size + 1
        weights = {
            key: (
                0.02
                * torch.randn([rows, *shape[1:]] if key in TEXT_TABLES else shape, generator=noise)
            ).to(dtype)
            for key, (shape, _) in shapes.items()
        }
        shutil.copyfile(DATA / "bpe.model", folder / f"{name}_bpe.model")
        shutil.copyfile(DATA / "config_v2_official.yaml", folder / f"{name}_config.yaml")
        save_checkpoint(path, weights)


def resident_bytes(device: str) -> int:
    """Return the memory of this process."""
    if device != "cpu":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


def peak_bytes(device: str) -> int:
    """Return the most that this process had since :func:`forget_peak`."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def forget_peak(device: str) -> None:
    """Let the peak be counted anew."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        return
    Path("/proc/self/clear_refs").write_text("5")


def cat_sec(path: Path) -> float:
    """Return how long ``cat`` takes to read ``path`` and to throw it away."""
    started = time.perf_counter()
    with path.open("rb") as handle:
        subprocess.run(["/bin/cat"], stdin=handle, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def fill_sec(path: Path) -> float:
    """Return how long it takes to read ``path`` into memory of its own."""
    started = time.perf_counter()
    numpy.fromfile(path, dtype=numpy.uint8)
    return time.perf_counter() - started


def forget_file(path: Path) -> None:
    """Let the kernel drop what it keeps of ``path``, so that it is read from the disk again."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def swap(slot: ModelSlot, name: str, device: str) -> tuple[float, int]:
    """Load ``name``; return seconds, and the peak of memory meanwhile."""
    forget_peak(device)
    started = time.perf_counter()
    slot.load(name, device)
    return time.perf_counter() - started, peak_bytes(device)


def row(label: str, value: float, unit: str) -> None:
    """Print a row of the table."""
    print(f"| {label} | {value:.2f} {unit} |", flush=True)


def measure_nano(base: Path, folder: Path, device: str) -> None:
    """Swap two models of nano's size to and fro."""
    for name in ("a", "b"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base / "gpt.pth", folder / f"gpt_{name}.pth")
        shutil.copyfile(base / "bpe.model", folder / f"{name}_bpe.model")
    slot = ModelSlot(locate_base(base), folder)
    slot.load("a", device)
    gc.collect()
    gc.freeze()  # as the page does
    times = [swap(slot, name, device)[0] for name in ("b", "a") * (NANO_SWAPS // 2)]
    row(f"swap of a nano GPT, median of {NANO_SWAPS}", statistics.median(times), "s")
    row("the slowest of them", max(times), "s")


def measure_published(base: Path, folder: Path, device: str) -> None:
    """Swap models of the published size, and unload them."""
    slot = ModelSlot(locate_base(base), folder)
    slot.load("base", device)
    slot.unload("base")
    stack = resident_bytes(device)
    row("resident, frozen networks of nano alone", stack / GIGABYTE, "GB")
    size = 0
    for name in ("one", "two", "one", "two", "half", "one"):
        path = folder / f"gpt_{name}.pth"
        cat_sec(path)  # from here on the file is in memory
        cat, fill = cat_sec(path), fill_sec(path)
        seconds, peak = swap(slot, name, device)
        size = slot.status().models[0].num_bytes
        row(f"load {name}", seconds, "s")
        row("  against reading its file into memory of its own", seconds / fill, "x")
        row("  against reading its file and keeping nothing", seconds / cat, "x")
        row("  peak above the frozen networks", (peak - stack) / size, "GPTs")
        row("  resident above them then", (resident_bytes(device) - stack) / size, "GPTs")
    row("a GPT in memory", size / GIGABYTE, "GB")
    slot.unload(slot.status().models[0].name)
    row(
        "resident above the frozen networks, unloaded",
        (resident_bytes(device) - stack) / size,
        "GPTs",
    )
    measure_cold(slot, folder, device)
    slot.unload()
    row("resident, all unloaded", resident_bytes(device) / GIGABYTE, "GB")


def measure_cold(slot: ModelSlot, folder: Path, device: str) -> None:
    """Swap models whose files the kernel does not keep."""
    for name in ("one", "two", "half"):
        path = folder / f"gpt_{name}.pth"
        forget_file(path)
        cat = cat_sec(path)
        forget_file(path)
        seconds, _ = swap(slot, name, device)
        row(f"load {name} from the disk", seconds, "s")
        row("  against reading its file from the disk", seconds / cat, "x")


def main(folder: Path, device: str) -> None:
    """Print a table."""
    base = SHIPPED_DIR
    install(folder / "published")
    measure_nano(base, folder / "nano", device)
    measure_published(base, folder / "published", device)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(sys.argv[2:] or ["cpu"]))
