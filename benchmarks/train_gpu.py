#!/usr/bin/env python3
"""Training of the published size on a GPU: speed and memory of each way, and of each preset.

One pass a step; clips as long as those of two real corpora, drawn as in ``train.py``, assembled
before the clock runs (in a run, a thread does that ahead). MFU is the arithmetic of the model, not
that which checkpointing does again, by the second, against what the card is sold for::

    python benchmarks/train_gpu.py --output results.jsonl
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from train import LEARNING_RATE, SEED, Corpus, sample_of, write_corpus

from idiolect.data.batches import GptBatch, make_batch
from idiolect.data.features import FeatureStore
from idiolect.models.adapter import add_adapters
from idiolect.models.config import GptDims
from idiolect.models.gpt import PREFIX_ROWS, UnifiedVoice
from idiolect.training.config import TrainConfig
from idiolect.training.engine import make_accelerator
from idiolect.training.loss import LossWeights, TrainableGpt, count_labels
from idiolect.training.memory import training_memory
from idiolect.training.optimizer import make_optimizer
from idiolect.training.presets import CARDS
from idiolect.training.step import StepBatches, train_step

DIMS = GptDims()
PEAK_FLOPS = 989.4e12
"""Of an H100 or H200 (SXM) in bf16, dense, as NVIDIA's data sheet has it."""
STEPS, WARM_UP = 8, 3
FULL = TrainConfig(device="cuda", dropout=0.1)
WAYS = {
    "all weights": FULL,
    "all weights, compiled": replace(FULL, compile=True),
    "all weights, checkpointing": replace(FULL, gradient_checkpointing=True),
    "all weights, no dropout": replace(FULL, dropout=0.0),
    "LoRA of rank 16": replace(FULL, mode="lora", lora_rank=16, lora_alpha=32.0),
}
TOKENS = {
    "all weights": (4096, 8192, 16384, 32768),
    "all weights, compiled": (16384,),
    "all weights, checkpointing": (16384,),
    "all weights, no dropout": (16384,),
    "LoRA of rank 16": (16384,),
}


def main() -> int:
    """Measure all, a line of JSON each, written at once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    flags = parser.parse_args()
    with TemporaryDirectory() as folder, flags.output.open("a") as out:
        corpus = write_corpus(Path(folder), DIMS)
        for row in _rows(corpus):
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(row, flush=True)
    return 0


def _rows(corpus: Corpus) -> Iterator[dict]:
    for name, card in CARDS.items():
        config = replace(card.config, device="cuda")
        share = card.free_bytes / torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(min(1.0, share))
        row = _measured(corpus, config, int(config.tokens_per_pass))
        yield {"preset": name, "card_bytes": card.free_bytes, **row}
    torch.cuda.set_per_process_memory_fraction(1.0)
    for way, config in WAYS.items():
        for tokens in TOKENS[way]:
            yield {"way": way, **_measured(corpus, config, tokens)}


def _measured(corpus: Corpus, config: TrainConfig, tokens: int) -> dict:
    """Return speed and memory; why not, where that is not possible."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        found = _steps(corpus, config, tokens)
    except Exception as error:  # noqa: BLE001 -- one way that fails must not hide the others
        found = {"error": f"{type(error).__name__}: {error}"[:300]}
    paper = training_memory(DIMS, config).total(tokens)
    return {"tokens_per_pass": tokens, "paper_bytes": paper, **found}


def _steps(corpus: Corpus, config: TrainConfig, tokens: int) -> dict:
    accelerator = make_accelerator(config)
    gpt = UnifiedVoice(DIMS, conditioners=False, dropout=config.dropout)
    gpt.gradient_checkpointing = config.gradient_checkpointing
    if config.mode == "lora":
        add_adapters(gpt, rank=config.lora_rank, alpha=config.lora_alpha, seed=SEED)
    if config.compile:
        gpt.compile_blocks()
    model = TrainableGpt(gpt).to(accelerator.device)
    optimizer = make_optimizer(gpt, weight_decay=config.weight_decay, device=accelerator.device)
    batches = _batches(corpus, tokens)
    model.train()
    marks = []
    for number in range(WARM_UP + STEPS):
        torch.cuda.synchronize()
        marks.append(time.perf_counter())
        batch = batches[number % len(batches)]
        train_step(
            model,
            optimizer,
            StepBatches(
                step=number + 1,
                epoch=1,
                batches=[batch],
                numbers=[0],
                counts=count_labels([batch]),
            ),
            accelerator,
            learning_rate=LEARNING_RATE,
            weights=LossWeights(config.text_loss_weight, config.mel_loss_weight),
            grad_clip=config.grad_clip,
            seed=SEED,
        )
    torch.cuda.synchronize()
    marks.append(time.perf_counter())
    timed = [batches[n % len(batches)] for n in range(WARM_UP, WARM_UP + STEPS)]
    elapsed_sec = marks[-1] - marks[WARM_UP]
    labels = sum(count_labels([b]).text + count_labels([b]).codes for b in timed)
    codes = sum(count_labels([b]).codes for b in timed)
    return {
        "labels_per_sec": round(labels / elapsed_sec),
        "rows_per_sec": round(sum(b.row_len for b in timed) / elapsed_sec),
        "audio_hours_per_hour": round(codes / 50 / elapsed_sec, 1),
        "step_ms": [round(1000 * (b - a)) for a, b in pairwise(marks)],
        "mfu": round(sum(map(_flops, timed)) / elapsed_sec / PEAK_FLOPS, 4),
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
    }


def _batches(corpus: Corpus, tokens: int) -> Sequence[GptBatch]:
    """Return packed passes of at most ``tokens`` rows, drawn from the corpus again and again."""
    store = FeatureStore.open(corpus.folder / "shards")
    names, numbers = list(corpus.texts), np.random.default_rng(SEED)
    batches = []
    for _ in range(4):
        chosen, rows = [], 0
        while True:
            name = names[int(numbers.integers(len(names)))]
            length = PREFIX_ROWS + corpus.num_tokens[name] + 2
            if rows + length > tokens:
                break
            chosen.append(name)
            rows += length
        batches.append(make_batch([sample_of(corpus, store, n) for n in chosen], DIMS, packed=True))
    return batches


def _flops(batch: GptBatch) -> float:
    """Return the arithmetic of a step on ``batch``: 6 a weight and token, 6 L D T² a sample."""
    blocks = 12 * DIMS.num_layers * DIMS.dim**2
    counts = count_labels([batch])
    heads = counts.text * DIMS.text_rows + counts.codes * DIMS.num_codes
    lens = batch.packed_lens or ()
    attention = DIMS.num_layers * DIMS.dim * sum(length**2 for length in lens)
    return 6.0 * (blocks * batch.row_len + heads * DIMS.dim + attention)


if __name__ == "__main__":
    raise SystemExit(main())
