#!/usr/bin/env python3
"""How fast the GPT is trained, beside two ways in which it is trained elsewhere.

All three learn the same clips in the same run, turn by turn; counted are tokens to be predicted,
without padding, by the second. The clips are as long as those of two real corpora, of which
``lengths.csv`` has the seconds and the letters; what is in them is drawn, for speed does not depend
on it. ``predecessor`` pads random batches to their longest text and codes, computes each block
again instead of keeping it, holds the conditioners, opens a file for each field of a clip and reads
loss and top-1 back at each step; ``plain`` keeps the blocks and has no conditioners::

    python benchmarks/train.py --device cpu --quick --json
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from idiolect.base.files import write_text
from idiolect.base.places import SHIPPED_DIR
from idiolect.base.units import CODE_RATE_HZ
from idiolect.data.batches import GptSample, make_batch
from idiolect.data.features import Features, FeatureStore, FeatureWriter
from idiolect.models.config import NUM_LATENTS, GptDims, read_base_config
from idiolect.models.gpt import PREFIX_ROWS, UnifiedVoice
from idiolect.training.config import TrainConfig
from idiolect.training.engine import make_accelerator
from idiolect.training.loss import LossWeights, TrainableGpt, count_labels
from idiolect.training.optimizer import make_optimizer
from idiolect.training.step import StepBatches, train_step

LENGTHS = Path(__file__).with_name("lengths.csv")
"""Of the Debian packages asterisk-core-sounds-es and fillets-ng-data-cs, clips of 0.5 to 30 s."""
LETTERS_PER_TOKEN = 2.64
"""As the Czech tokenizer of 1000 pieces had it; see results/real_corpora.md."""
NUM_CLIPS = 320
"""Drawn from the lengths, enough that no turn sees a clip twice."""
WIDTHS = {"nano": (192, 6, 3), "56M": (768, 8, 12), "published": (1280, 24, 20)}
"""Width, layers and heads."""
BATCH_SIZE = 16
"""Clips; the predecessor's is 4 unless told otherwise, and 40 in its script for Catalan."""
LEARNING_RATE = 1e-5
FIELDS = ("text_ids", "codes", "latents", "emotion")
SEED = 1

Step = Callable[[Sequence[str]], None]
"""Learns the clips of these names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The clips, in both forms on disk."""

    folder: Path
    texts: dict[str, np.ndarray]
    num_tokens: dict[str, int]
    """To be predicted: of the text and the codes, each with its stop."""


def main() -> int:
    """Measure every width; print a table, or one line of JSON."""
    flags = _parse_flags()
    rows = []
    with TemporaryDirectory() as folder:
        for label in flags.widths:
            dims = _dims(label)
            corpus = write_corpus(Path(folder) / label, dims)
            rows.append(_measure(label, dims, corpus, flags))
            if not flags.json:
                print(_line(rows[-1]), flush=True)
    ratios = {
        f"ratio_{name}": round(min(row[f"ratio_{name}"] for row in rows), 2)
        for name in ("predecessor", "plain")
    }
    if flags.output:
        write_text(flags.output, _page(rows, flags))
    if flags.json:
        print(json.dumps({**ratios, "widths": rows}))
    return 0


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--widths", nargs="+", choices=WIDTHS, default=["nano", "56M"])
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="clips in a step")
    parser.add_argument("--steps", type=int, default=6, help="in each turn")
    parser.add_argument("--turns", type=int, default=3, help="of each; the median counts")
    parser.add_argument("--quick", action="store_true", help="one turn of two steps")
    parser.add_argument("--json", action="store_true", help="end in one line of JSON")
    parser.add_argument("--output", type=Path, help="markdown file for the table")
    flags = parser.parse_args()
    flags.steps, flags.turns = (2, 1) if flags.quick else (flags.steps, flags.turns)
    return flags


def _dims(label: str) -> GptDims:
    dim, num_layers, num_heads = WIDTHS[label]
    if label == "published":
        return GptDims()
    shipped = read_base_config(SHIPPED_DIR / "config.yaml").gpt
    return replace(shipped, dim=dim, num_layers=num_layers, num_heads=num_heads)


def write_corpus(folder: Path, dims: GptDims) -> Corpus:
    """Write clips of real lengths, as far as the model has positions for them."""
    numbers = np.random.default_rng(SEED)
    lengths = np.loadtxt(LENGTHS, delimiter=",", skiprows=1)
    lengths = lengths[lengths[:, 0] * CODE_RATE_HZ <= dims.max_code_len]
    texts, num_tokens = {}, {}
    with FeatureWriter(_made(folder / "shards")) as writer:
        for number, (sec, letters) in enumerate(numbers.permutation(lengths)[:NUM_CLIPS]):
            name = f"clip{number}"
            codes = numbers.integers(0, dims.start_code, max(1, round(sec * CODE_RATE_HZ)))
            text = numbers.integers(3, dims.vocab_size, max(1, round(letters / LETTERS_PER_TOKEN)))
            features = Features(
                codes=codes.astype(np.uint16),
                latents=numbers.normal(size=(NUM_LATENTS, dims.dim)).astype(np.float16),
                emotion=numbers.normal(size=dims.dim).astype(np.float16),
            )
            texts[name] = text
            num_tokens[name] = len(text) + 1 + len(codes) + 1
            writer.add(name, 0, features)
            fields = (text, codes, features.latents, features.emotion)
            for field, values in zip(FIELDS, fields, strict=True):
                np.save(_made(folder / field) / f"{name}.npy", values)
    return Corpus(folder=folder, texts=texts, num_tokens=num_tokens)


def sample_of(corpus: Corpus, store: FeatureStore, name: str) -> GptSample:
    """Return a clip as training takes it."""
    found = store.get(name)
    return GptSample(
        text_ids=corpus.texts[name],
        codes=found.codes.astype(np.int64),
        latents=found.latents.astype(np.float32),
        emotion=found.emotion.astype(np.float32),
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _measure(label: str, dims: GptDims, corpus: Corpus, flags: argparse.Namespace) -> dict:
    ways = {
        "idiolect": _our_step(dims, corpus, flags.device),
        "plain": _padded_step(dims, corpus, flags.device, everything=False),
        "predecessor": _padded_step(dims, corpus, flags.device, everything=True),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(flags.turns + 1):
        for name, step in ways.items():
            rate = _rate(step, corpus, flags, seed=turn)
            if turn:  # the first one warms up
                rates[name].append(rate)
    medians = {name: round(median(found)) for name, found in rates.items()}
    ratios = [mine / other for mine, other in zip(rates["idiolect"], rates["plain"], strict=True)]
    older = zip(rates["idiolect"], rates["predecessor"], strict=True)
    return {
        "width": label,
        "tokens_per_sec": medians,
        "ratio_plain": median(ratios),
        "ratio_predecessor": median(mine / other for mine, other in older),
    }


def _rate(step: Step, corpus: Corpus, flags: argparse.Namespace, *, seed: int) -> float:
    """Return how many tokens a second ``step`` learns."""
    names = list(corpus.texts)
    order = np.random.default_rng(seed).permutation(len(names))[: flags.steps * flags.batch_size]
    batches = [[names[i] for i in part] for part in np.split(order, flags.steps)]
    started = time.perf_counter()
    for batch in batches:
        step(batch)
    if flags.device == "cuda":
        torch.cuda.synchronize()
    elapsed_sec = time.perf_counter() - started
    return sum(corpus.num_tokens[name] for batch in batches for name in batch) / elapsed_sec


def _our_step(dims: GptDims, corpus: Corpus, device: str) -> Step:
    """Return a step of this project's training."""
    config = TrainConfig(device=device)
    accelerator = make_accelerator(config)
    store = FeatureStore.open(corpus.folder / "shards")
    model = TrainableGpt(UnifiedVoice(dims, conditioners=False)).to(accelerator.device)
    optimizer = make_optimizer(model, weight_decay=config.weight_decay, device=accelerator.device)
    model.train()
    number = 0

    def step(names: Sequence[str]) -> None:
        nonlocal number
        number += 1
        made = make_batch([sample_of(corpus, store, name) for name in names], dims, packed=True)
        train_step(
            model,
            optimizer,
            StepBatches(
                step=number, epoch=1, batches=[made], numbers=[0], counts=count_labels([made])
            ),
            accelerator,
            learning_rate=LEARNING_RATE,
            weights=LossWeights(config.text_loss_weight, config.mel_loss_weight),
            grad_clip=config.grad_clip,
            seed=SEED,
        )

    return step


class _Padded(nn.Module):
    """The GPT as it is trained elsewhere: transformers' GPT-2, texts and codes padded apart."""

    def __init__(self, dims: GptDims, *, everything: bool) -> None:
        super().__init__()
        self.voice = UnifiedVoice(dims, conditioners=everything)
        rows = PREFIX_ROWS + dims.text_positions + dims.code_positions
        self.gpt = GPT2Model(
            GPT2Config(
                vocab_size=1,
                n_positions=rows,
                n_embd=dims.dim,
                n_layer=dims.num_layers,
                n_head=dims.num_heads,
                use_cache=False,
            )
        )
        del self.voice.gpt
        self.gpt.wpe = _NoPositions()
        if everything:
            self.gpt.gradient_checkpointing_enable()

    def forward(self, fields: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean losses of text and codes, and the share of codes that are right."""
        voice = self.voice
        text_in, text_out = voice.frame_text(fields["text_ids"], fields["text_lens"])
        code_in, code_out = voice.frame_codes(fields["codes"], fields["code_lens"])
        prefix = voice.prefix(fields["latents"], fields["emotion"])
        rows = [prefix, voice.embed_text(text_in), voice.embed_codes(code_in)]
        states = self.gpt(inputs_embeds=torch.cat(rows, dim=1)).last_hidden_state
        states = voice.final_norm(states[:, prefix.shape[1] :])
        text = voice.text_head(states[:, : text_in.shape[1]])
        codes = voice.mel_head(states[:, text_in.shape[1] :])
        right = (codes.argmax(-1) == code_out).float().mean()
        losses = [
            F.cross_entropy(x.mT.float(), y) for x, y in ((text, text_out), (codes, code_out))
        ]
        return losses[0], losses[1], right


class _NoPositions(nn.Module):
    def forward(self, positions: Tensor) -> Tensor:
        """Return nothing to add: texts and codes have position tables of their own."""
        return torch.zeros((), device=positions.device)


def _padded_step(dims: GptDims, corpus: Corpus, device: str, *, everything: bool) -> Step:
    model = _Padded(dims, everything=everything).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    on_gpu = device == "cuda"
    scaler = torch.amp.GradScaler(enabled=on_gpu)

    def step(names: Sequence[str]) -> None:
        fields = {key: value.to(device) for key, value in _padded(corpus, names)}
        with torch.autocast(device, torch.float16, enabled=on_gpu):
            text, codes, right = model(fields)
            loss = 0.2 * text + 0.8 * codes
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        _ = loss.item(), right.item()

    return step


def _padded(corpus: Corpus, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the fields of a batch: a file for each field of a clip, padded to the longest."""
    for field in FIELDS:
        values = [torch.from_numpy(np.load(corpus.folder / field / f"{n}.npy")) for n in names]
        if field in ("text_ids", "codes"):
            lens = torch.tensor([len(value) for value in values])
            yield ("text_lens" if field == "text_ids" else "code_lens"), lens
            yield field, nn.utils.rnn.pad_sequence(values, batch_first=True)
        else:
            yield field, torch.stack(values).float()


def _line(row: dict) -> str:
    rates = " | ".join(str(row["tokens_per_sec"][n]) for n in ("idiolect", "plain", "predecessor"))
    return (
        f"| {row['width']} | {rates} | {row['ratio_plain']:.2f} | {row['ratio_predecessor']:.2f} |"
    )


def _page(rows: Sequence[dict], flags: argparse.Namespace) -> str:
    return "\n".join(
        [
            "# Tokens a second in training",
            "",
            f"Machine: {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}; "
            f"{torch.get_num_threads()} threads, torch {torch.__version__}. Command:",
            f"`python benchmarks/train.py --device {flags.device} --batch-size {flags.batch_size} "
            f"--steps {flags.steps} --turns {flags.turns}`. Clips as long as those of two real",
            "corpora; medians of the turns. What is compared: the head of that file.",
            "",
            "| width | idiolect | plain | predecessor | times plain | times predecessor |",
            "|---|--:|--:|--:|--:|--:|",
            *map(_line, rows),
            "",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
