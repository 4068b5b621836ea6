#!/usr/bin/env python3
"""How long a folder of many models takes to list, and the header of one of published size.

Models are copies of one checkpoint of the base that comes with the package, each with a copy of its
tokenizer; they were installed, and have entries, or were copied by hand. The large checkpoint has
the shapes of the published one, and zeros for weights::

    python benchmarks/models_list.py --output benchmarks/results/models_list.md
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from idiolect.base.files import write_text
from idiolect.base.hashes import sha256_file
from idiolect.base.places import SHIPPED_DIR
from idiolect.base.units import format_bytes
from idiolect.models.checkpoint import CheckpointHeader, load_checkpoint, save_checkpoint
from idiolect.models.config import GptDims
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.published import BaseFiles, locate_base
from idiolect.models.safe_file import save_safe
from idiolect.registry.catalogue import Catalogue
from idiolect.registry.describe import Reader
from idiolect.registry.entry import ModelEntry, checkpoint_name, tokenizer_name, write_entry
from idiolect.registry.weights import outline_of
from idiolect.text.tokenizer import Tokenizer

MACHINE = "2 cores, 24 GB, CPU only"
COUNT = 200
LIMIT_SEC, AGAIN_SEC, HEADER_SEC = 2.0, 0.05, 0.05


def main() -> int:
    """Measure; return 1 when something is beyond its limit."""
    flags = _parse_flags()
    base = locate_base(SHIPPED_DIR)
    rows = []
    with TemporaryDirectory(dir=flags.folder) as made:
        for kind, with_entry in (("installed", True), ("copied by hand", False)):
            folder = Path(made) / kind.split()[0]
            _fill(folder, base, flags.count, with_entry=with_entry)
            rows += _list(folder, base, kind, flags.count)
            shutil.rmtree(folder)
        rows += _large(Path(made))
    for row in rows:
        print(*row, sep=" | ")
    if flags.output:
        write_text(flags.output, _page(flags.count, rows))
    return int(any(row[3] == "no" for row in rows))


def _fill(folder: Path, base: BaseFiles, count: int, *, with_entry: bool) -> None:
    """Make ``count`` models in ``folder``."""
    folder.mkdir()
    weights, _ = load_checkpoint(base.gpt)
    tokenizer = Tokenizer.load(base.tokenizer)
    header = CheckpointHeader(tokenizer_sha256=tokenizer.sha256, languages=("ca",), step=100)
    save_checkpoint(folder / checkpoint_name("m000"), weights, header)
    entry = Reader(base).describe(folder / checkpoint_name("m000"))
    digest = sha256_file(folder / checkpoint_name("m000"))
    for index in range(count):
        name = f"m{index:03d}"
        path = folder / checkpoint_name(name)
        if index:
            shutil.copyfile(folder / checkpoint_name("m000"), path)
        shutil.copyfile(base.tokenizer, folder / tokenizer_name(name))
        if with_entry:
            write_entry(folder, _entry(entry, name, path, digest, tokenizer.sha256))


def _entry(
    like: ModelEntry, name: str, path: Path, digest: str, tokenizer_digest: str
) -> ModelEntry:
    assert like.tokenizer is not None
    status = path.stat()
    return replace(
        like,
        name=name,
        checkpoint=replace(
            like.checkpoint,
            name=path.name,
            size_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
            sha256=digest,
        ),
        tokenizer=replace(like.tokenizer, name=tokenizer_name(name), sha256=tokenizer_digest),
    )


def _list(folder: Path, base: BaseFiles, kind: str, count: int) -> list[tuple[str, ...]]:
    catalogue = Catalogue(folder, base)
    first, again = _seconds(catalogue.entries), min(_seconds(catalogue.entries) for _ in range(5))
    assert len(catalogue.by_label()) == count + 1, catalogue.problems()[:3]
    newest = folder / checkpoint_name("new")
    shutil.copyfile(folder / checkpoint_name("m000"), newest)
    one_more = _seconds(catalogue.entries)
    assert len(catalogue.by_label()) == count + 2
    return [
        _row(f"{count} {kind}, the first time", first, LIMIT_SEC if kind == "installed" else None),
        _row(f"{count} {kind}, again", again, AGAIN_SEC),
        _row(f"{count} {kind}, one file more", one_more, None),
    ]


def _large(folder: Path) -> list[tuple[str, ...]]:
    """Measure the header of a checkpoint with the shapes of the published one."""
    with torch.device("meta"):
        gpt = UnifiedVoice(GptDims())
    weights = {name: torch.zeros(each.shape) for name, each in gpt.state_dict().items()}
    rows = []
    for form, save in (("pth", save_checkpoint), ("safetensors", save_safe)):
        path = folder / f"gpt_large.{form}"
        save(path, weights, CheckpointHeader(step=1))
        outline_of(path)
        seconds = min(_seconds(lambda path=path: outline_of(path)) for _ in range(5))
        what = f"header of one {form}, {format_bytes(path.stat().st_size)}, {len(weights)} tensors"
        rows.append(_row(what, seconds, HEADER_SEC))
        path.unlink()
    return rows


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _row(what: str, seconds: float, limit: float | None) -> tuple[str, ...]:
    verdict = "" if limit is None else "yes" if seconds <= limit else "no"
    return what, f"{1000 * seconds:.1f}", "" if limit is None else f"{1000 * limit:.0f}", verdict


def _page(count: int, rows: list[tuple[str, ...]]) -> str:
    return "\n".join(
        [
            "# Listing models",
            "",
            f"Machine: {MACHINE}, other work beside. Command: `python benchmarks/models_list.py "
            f"--count {count}`.",
            "Wall milliseconds; files in the page cache. An installed model whose size and time",
            "are those of its entry is not opened; one that was copied by hand is, once.",
            "",
            "| what | ms | limit | within |",
            "|---|--:|--:|---|",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
        ]
    )


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--folder", type=Path, help="where models are made, 3.5 GB, and removed")
    parser.add_argument("--output", type=Path, help="markdown file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
