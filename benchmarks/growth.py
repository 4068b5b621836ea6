#!/usr/bin/env python3
"""How cost grows: of a token with the length of clips, and of an epoch with the size of a corpus.

    python benchmarks/growth.py --output benchmarks/results/growth.md

Clips of 1 to 30 s are learnt from in packed passes of about as many tokens; what a pass keeps for
its backward half is counted by autograd's hooks and put beside the formula that plans with it. The
corpora are synthetic manifests; each size runs in a process of its own, so that its peak of
memory is its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from manifest_scale import clips
from torch.autograd.graph import saved_tensors_hooks

from idiolect.base.files import write_text
from idiolect.base.places import SHIPPED_DIR
from idiolect.base.units import CODE_RATE_HZ
from idiolect.data.batches import GptBatch, GptSample, make_batch, rows_of
from idiolect.data.features import Features, FeatureStore, FeatureWriter
from idiolect.data.manifest import SourceSpec
from idiolect.data.pairs import PairBook, PairConfig
from idiolect.data.samples import SampleSource, Source, epoch_order, sample_len
from idiolect.models.config import GptDims
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.published import locate_base
from idiolect.training.config import TrainConfig
from idiolect.training.cut import cut_epoch
from idiolect.training.loss import TrainableGpt
from idiolect.training.memory import PassKind, matrix_copy_bytes, saved_bytes_per_token

CLIP_SEC = (1, 3, 10, 30)
TEXT_TOKENS_PER_SEC = 14
PASS_TOKENS = 4096
REPEATS = 5
CORPORA = (1_000, 10_000, 100_000, 1_000_000)
SPEAKERS = 1000
CLIPS_PER_STEP = 40
STORED_DIM = 2
"""Width of the stored features: opening them does not read them."""
MEGABYTE = 1 << 20
LONGEST = GptDims()
"""The published size, whose positions are enough for 30 s."""


def batch_of(dims: GptDims, clip_sec: float) -> GptBatch:
    """Return a packed pass of random clips of one length."""
    rng = np.random.default_rng(0)
    num_codes, num_text = round(clip_sec * CODE_RATE_HZ), round(clip_sec * TEXT_TOKENS_PER_SEC)
    count = max(1, PASS_TOKENS // sum(rows_of(num_text, num_codes)))
    samples = [
        GptSample(
            text_ids=rng.integers(2, dims.vocab_size, num_text),
            codes=rng.integers(0, dims.start_code, num_codes),
            latents=rng.normal(size=(32, dims.dim)).astype(np.float32),
            emotion=rng.normal(size=dims.dim).astype(np.float32),
        )
        for _ in range(count)
    ]
    return make_batch(samples, dims, packed=True)


def measure_clips(device: torch.device) -> Iterator[str]:
    """Yield a row for each length of a clip."""
    nano = locate_base(SHIPPED_DIR).config.gpt
    dims = replace(nano, max_text_len=LONGEST.max_text_len, max_code_len=LONGEST.max_code_len)
    model = TrainableGpt(UnifiedVoice(dims, conditioners=False)).to(device).train()
    kind = PassKind.of(TrainConfig(precision="fp32"), on_gpu=device.type == "cuda")
    for clip_sec in CLIP_SEC:
        batch = batch_of(dims, clip_sec).to(device)
        kept = kept_bytes(model, batch)
        on_paper = batch.row_len * saved_bytes_per_token(dims, kind)
        on_paper += matrix_copy_bytes(dims, kind)
        seconds = min(_pass_sec(model, batch) for _ in range(REPEATS))
        cells = (
            f"{clip_sec} s",
            f"{len(batch.latents)}",
            f"{batch.row_len}",
            f"{1e6 * seconds / batch.row_len:.0f}",
            f"{kept / batch.row_len / 1024:.1f}",
            f"{on_paper / batch.row_len / 1024:.1f}",
        )
        yield f"| {' | '.join(cells)} |"


def kept_bytes(model: TrainableGpt, batch: GptBatch) -> int:
    """Return what a forward pass keeps, weights aside, each storage once."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in weights:
            kept[place] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        _sums = model(batch)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _pass_sec(model: TrainableGpt, batch: GptBatch) -> float:
    started = time.perf_counter()
    sums = model(batch)
    (sums.text + sums.codes).backward()
    if batch.latents.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


class _Lens(dict[str, int]):
    """A stand-in for features of which only the number of codes is asked."""

    def num_codes(self, utterance_id: str) -> int:
        return self[utterance_id]


def measure_corpus(count: int, folder: Path) -> str:
    """Return the row of a corpus of ``count`` clips."""
    utterances = {u.id: u for u in clips(count, max(1, count // SPEAKERS))}
    with_manifest = _peak_bytes()
    source = SampleSource(
        source=Source(
            spec=SourceSpec(path=folder, language=None, weight=1.0),
            manifest=folder,
            utterances=utterances,
            pairs=None,
            targets=frozenset(utterances),
        ),
        text_ids=dict.fromkeys(utterances, np.zeros(60, dtype=np.int32)),
        left_out={},
        unknown_tokens=0,
        store=_Lens({i: round(u.duration_sec * CODE_RATE_HZ) for i, u in utterances.items()}),
    )
    book, ready_sec = _timed(lambda: PairBook(utterances.values(), PairConfig()))
    _, draw_sec = _timed(lambda: book.plan(PairConfig(pairs_per_target=1)))
    order, order_sec = _timed(lambda: epoch_order([source], seed=1, epoch=0))
    lens, lens_sec = _timed(lambda: [sample_len([source], ref) for ref in order])
    _, cut_sec = _timed(lambda: cut_epoch(lens, max(1, len(lens) // CLIPS_PER_STEP)))
    peak = _peak_bytes()
    _write_features(folder, list(utterances))
    store, open_sec = _timed(lambda: FeatureStore.open(folder))
    assert len(store) == count
    seconds = (ready_sec, draw_sec, order_sec, lens_sec + cut_sec, open_sec)
    memory = (with_manifest, peak)
    cells = [f"{count}", *(f"{sec:.2f}" for sec in seconds)]
    return f"| {' | '.join([*cells, *(f'{value / MEGABYTE:.0f}' for value in memory)])} |"


def _write_features(folder: Path, ids: list[str]) -> None:
    features = Features(
        codes=np.zeros(100, dtype=np.uint16),
        latents=np.zeros((32, STORED_DIM), dtype=np.float16),
        emotion=np.zeros(STORED_DIM, dtype=np.float16),
    )
    with FeatureWriter(folder) as writer:
        for utterance_id in ids:
            writer.add(utterance_id, 0, features)


def _timed(work):
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def _peak_bytes() -> int:
    """Return the most memory that this process had; getrusage counts what its parent had, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) * 1024


def main() -> int:
    """Measure, print and write the tables."""
    flags = _parse_flags()
    if flags.corpus:
        print(measure_corpus(flags.corpus, flags.folder))
        return 0
    of_clips = list(measure_clips(torch.device(flags.device)))
    print("\n".join(of_clips), flush=True)
    of_corpora = []
    for count in (size for size in CORPORA if size <= flags.most):
        with TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--corpus", str(count), "--folder", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 -- this file
        of_corpora.append(done.stdout.strip())
        print(of_corpora[-1], flush=True)
    if flags.output:
        write_text(flags.output, _page(flags, of_clips, of_corpora))
    return 0


def _page(flags: argparse.Namespace, of_clips: list[str], of_corpora: list[str]) -> str:
    return "\n".join(
        [
            "# How cost grows",
            "",
            f"Machine: {flags.machine}. Command: `python benchmarks/growth.py`;",
            f"torch {torch.__version__}, {flags.device}, float32,",
            f"threads: {torch.get_num_threads()}.",
            "",
            "## With the length of a clip",
            "",
            f"nano's widths, packed passes of {PASS_TOKENS} tokens at most, forward and backward,",
            f"the fastest of {REPEATS}. What a pass keeps for its backward half is counted by",
            "autograd's hooks; beside it what the formula of `idiolect.training.memory` says.",
            "",
            "| clip | clips a pass | tokens | µs a token | KB kept a token | KB on paper |",
            "|--:|--:|--:|--:|--:|--:|",
            *of_clips,
            "",
            "## With the size of a corpus",
            "",
            f"Synthetic clips, {SPEAKERS} a speaker; seconds of the processor. *Ready*: what is",
            "done once for all epochs; *draw*: the prompts of an epoch; *order*: the whole of",
            "`epoch_order` for a manifest without pairs; *cut*: lengths of all clips, and an epoch",
            "cut into steps; *open*: `FeatureStore.open`.",
            "",
            "| clips | ready | draw | order | cut | open | MB with the manifest | MB at most |",
            "|--:|--:|--:|--:|--:|--:|--:|--:|",
            *of_corpora,
            "",
        ]
    )


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="markdown file for the tables")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--machine", default="2 cores, 24 GB, CPU only, other work running")
    parser.add_argument("--most", type=int, default=CORPORA[-1], help="clips of the largest corpus")
    parser.add_argument("--corpus", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
