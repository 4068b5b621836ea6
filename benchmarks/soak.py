"""Speak with several models from many threads while they are swapped, and compare every code.

    python benchmarks/soak.py DIR [--threads 20] [--swaps 50] [--generations 500]

installs in DIR three models of nano's size, each with weights and a tokenizer of its own. First
every request is spoken alone, by its model, with its seed; then all of them at once while other
threads swap models. A request that is lost, late or says other codes ends the run with an error.
Then one thread speaks on and on, with models that change, and the memory is told.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from idiolect.audio.io import write_wav
from idiolect.base.places import SHIPPED_DIR
from idiolect.data.formants import CATALAN_SENTENCES, VOICES, speak_formants
from idiolect.models.checkpoint import load_checkpoint, save_checkpoint, transfer_vocabulary
from idiolect.models.published import locate_base
from idiolect.synthesis.swap import ModelSlot
from idiolect.text.tokenizer import Tokenizer
from idiolect.text.train_bpe import TokenizerConfig, train_tokenizer

NAMES = ("catalan", "breton", "corsican")
VOCAB_SIZES = (60, 70, 80)
TEXTS = CATALAN_SENTENCES[:4]
NUM_CODES = 24
TIMEOUT_SEC = 900.0
MEGABYTE = 1024**2
RATE_HZ = 22_050


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request."""

    model: str
    text: str
    prompt: Path
    seed: int


def install(folder: Path, name: str, vocab_size: int) -> None:
    """Install nano with other weights and another tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = folder / f"{name}_bpe"
    config = TokenizerConfig(output_prefix=prefix, vocab_size=vocab_size, model_type="unigram")
    train_tokenizer([(text, "ca") for text in CATALAN_SENTENCES], config)
    weights, _ = load_checkpoint(SHIPPED_DIR / "gpt.pth")
    tokenizers = (Tokenizer.load(path) for path in (SHIPPED_DIR / "bpe.model", f"{prefix}.model"))
    weights, _ = transfer_vocabulary(weights, *tokenizers)
    noise = torch.Generator().manual_seed(vocab_size)
    moved = {
        key: tensor * (1 + 0.1 * torch.randn(tensor.shape, generator=noise)).to(tensor.dtype)
        for key, tensor in weights.items()
    }
    save_checkpoint(folder / f"gpt_{name}.pth", moved)


def speak(slot: ModelSlot, order: Order) -> list[list[int]]:
    """Return the codes of each segment of ``order``."""
    heard: list[list[int]] = []
    with slot.leased(order.model, "cpu") as voice:
        voice.infer(
            order.prompt,
            order.text,
            language="ca",
            seed=order.seed,
            max_mel_tokens=NUM_CODES,
            num_beams=1,
            on_codes=lambda codes: heard.append(codes.tolist()),
        )
    return heard


def orders(folder: Path) -> list[Order]:
    """Return requests for every model, text and voice."""
    found = []
    for seed, (model, text) in enumerate(itertools.product(("base", *NAMES), TEXTS)):
        prompt = folder / f"voice{seed % 2}.wav"
        write_wav(prompt, speak_formants("bon dia a tothom", VOICES[seed % 2]), RATE_HZ)
        found.append(Order(model=model, text=text, prompt=prompt, seed=seed))
    return found


def swap(slot: ModelSlot, name: str) -> None:
    """Take everything off the shelf, whoever speaks, and load ``name`` from its file."""
    for model in slot.status().models:
        slot.unload(model.name)
    slot.load(name, "cpu")


def compare(
    slot: ModelSlot, asked: Sequence[Order], *, threads: int, swaps: int, generations: int
) -> None:
    """Speak ``asked`` alone, then all at once between swaps; every code must be the same."""
    alone = {order: speak(slot, order) for order in asked}
    said_by = {}
    for order, codes in alone.items():
        said_by.setdefault((order.text, str(codes)), set()).add(order.model)
    assert all(len(models) == 1 for models in said_by.values()), "models that say the same"
    started = time.perf_counter()
    todo = list(itertools.islice(itertools.cycle(asked), generations))
    with ThreadPoolExecutor(threads) as speakers:
        said = [speakers.submit(speak, slot, order) for order in todo]
        for number, name in enumerate(itertools.islice(itertools.cycle(NAMES), swaps)):
            # Spread over the run: requests that speak, wait and come meet each swap.
            said[number * len(said) // swaps].result(TIMEOUT_SEC)
            swap(slot, name)
        swapped_sec = time.perf_counter() - started
        wrong = [
            order
            for order, codes in zip(todo, said, strict=True)
            if codes.result(TIMEOUT_SEC) != alone[order]
        ]
    if wrong:
        raise SystemExit(f"{len(wrong)} of {len(todo)} requests said other codes: {wrong[0]}")
    leases = sum(model.leases for model in slot.status().models)
    print(f"{threads} threads, {len(todo)} requests, {swaps} swaps by one more")
    print(f"all done in {time.perf_counter() - started:.0f} s, the swaps in {swapped_sec:.0f} s")
    print(f"0 lost, 0 with other codes than alone, {leases} leases left")
    print(f"in memory at the end: {[model.name for model in slot.status().models]}")


def soak(slot: ModelSlot, asked: Sequence[Order], generations: int) -> None:
    """Speak on and on, the model changing each time; tell the memory every 50 requests."""
    print("| generations | resident, MB |\n|--:|--:|")
    for number, order in enumerate(itertools.islice(itertools.cycle(asked), generations + 1)):
        if number % 50 == 0:
            resident = psutil.Process().memory_info().rss / MEGABYTE
            print(f"| {number} | {resident:.0f} |", flush=True)
        speak(slot, order)


def main() -> None:
    """Parse, install, compare, soak."""
    parser = argparse.ArgumentParser(description="Many voices, models swapped.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=20)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--requests", type=int, default=160)
    parser.add_argument("--generations", type=int, default=500)
    given = parser.parse_args()
    for name, vocab_size in zip(NAMES, VOCAB_SIZES, strict=True):
        install(given.folder / "models", name, vocab_size)
    slot = ModelSlot(locate_base(SHIPPED_DIR), given.folder / "models")
    asked = orders(given.folder)
    compare(slot, asked, threads=given.threads, swaps=given.swaps, generations=given.requests)
    # Texts and models side by side: the model changes with every request.
    soak(slot, sorted(asked, key=lambda order: order.text), given.generations)


if __name__ == "__main__":
    main()
