#!/usr/bin/env python3
"""How near a model comes to the number of codes that it is asked for.

The demo's commands teach nano Catalan, with ``--duration-control``. Then each held-out sentence is
spoken after another clip of its speaker, with nothing asked, and with 0.8, 1 and 1.25 times the
codes that its recording has. The same is asked of the base, which knows no durations::

    python benchmarks/duration.py DIR --output benchmarks/results/duration.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import torch

from idiolect.base.files import write_text
from idiolect.base.places import SHIPPED_DIR
from idiolect.data.manifest import Utterance, read_manifest
from idiolect.data.pairs import read_pairs
from idiolect.nano.demo import run_step
from idiolect.nano.demo_corpus import copy_corpus
from idiolect.nano.demo_steps import (
    MODELS,
    NAME,
    PAIRS,
    DemoConfig,
    Step,
    base_step,
    data_steps,
    training_steps,
)
from idiolect.synthesis.pipeline import IndexTTS2
from idiolect.synthesis.request import sampling_settings
from idiolect.synthesis.sampling import generate_codes

FACTORS = (None, 0.8, 1.0, 1.25)
"""Of the natural length; None asks for nothing."""
NEAR = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A held-out sentence."""

    text: str
    prompt: Path
    num_codes: int
    """Of its recording: its natural length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a model did at one factor."""

    model: str
    factor: float | None
    ratios: list[float]
    """Codes said by codes asked; by the natural length where nothing was asked."""

    @property
    def errors(self) -> list[float]:
        """How far each is from what was asked, as a share of it."""
        return [abs(ratio - 1) for ratio in self.ratios]


def main() -> int:
    """Train, measure, and print the table."""
    flags = _parse_flags()
    flags.dir.mkdir(parents=True, exist_ok=True)
    _train(flags.dir, flags.epochs)
    rows = list(_measure(flags.dir, flags.limit, flags.seeds))
    page = _page(rows, flags)
    print(page)
    if flags.output:
        write_text(flags.output, page)
    return 0


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("dir", type=Path, help="folder to work in; what is there is gone on with")
    parser.add_argument("--epochs", type=int, default=DemoConfig().epochs)
    parser.add_argument("--limit", type=int, default=24, help="sentences to speak")
    parser.add_argument("--seeds", type=int, default=1, help="with which each of them is spoken")
    parser.add_argument("--output", type=Path, help="markdown file for the table")
    return parser.parse_args()


def _train(folder: Path, epochs: int) -> None:
    """Run the demo's commands up to the installed model, as it was trained: not blended."""
    config = DemoConfig(dir=folder, epochs=epochs, curve=0, replay=0.0, blend=1.0)
    if not (folder / PAIRS).is_file():
        copy_corpus(folder)
        for step in (base_step(config), *data_steps(config)):
            run_step(step, folder)
    for step in training_steps(config):
        if not (folder / step.product).exists():
            run_step(_with_durations(step), folder)


def _with_durations(step: Step) -> Step:
    if step.key != "train":
        return step
    command = (*step.command, "--duration-control", "--device", "cpu")
    return Step(key=step.key, title=step.title, command=command, product=step.product)


def _measure(folder: Path, limit: int, num_seeds: int) -> Iterator[Row]:
    lines = _held_out(folder)[:limit]
    tts = IndexTTS2(
        SHIPPED_DIR / "config.yaml", SHIPPED_DIR, device="cpu", models_dir=folder / MODELS
    )
    for name in (NAME, "base"):
        tts.use_model(name)
        for factor in FACTORS:
            ratios = [
                _ratio(tts, line, factor, seed)
                for line in lines
                for seed in range(1, num_seeds + 1)
            ]
            yield Row(model=name, factor=factor, ratios=ratios)


def _held_out(folder: Path) -> list[Line]:
    manifest, pairs = read_pairs((folder / PAIRS).with_name("val_paired.jsonl"))
    clips: dict[str, Utterance] = {clip.id: clip for clip in read_manifest(manifest)}
    prompts = {pair.target: pair.prompt for pair in pairs}
    return [
        Line(
            text=clips[target].text,
            prompt=clips[prompt].audio_path,
            num_codes=round(clips[target].duration_sec * 50),
        )
        for target, prompt in sorted(prompts.items())
    ]


@torch.inference_mode()
def _ratio(tts: IndexTTS2, line: Line, factor: float | None, seed: int) -> float:
    """Return how many codes are said, by how many are asked."""
    model, prompt = tts.model, tts.stack.prompt(line.prompt)
    asked = None if factor is None else round(factor * line.num_codes)
    latents = model.gpt.speaker_latents(prompt.features)
    emotion = model.gpt.merge_emotion(prompt.features, prompt.emotion_features)
    codes = generate_codes(
        model.gpt,
        model.prefix(latents, emotion, asked),
        torch.tensor([model.tokenizer.encode(line.text, "ca")]),
        sampling_settings({**tts.files.config.generation}),
        torch.Generator().manual_seed(seed),
    )
    return codes.shape[1] / (asked or line.num_codes)


def _page(rows: Sequence[Row], flags: argparse.Namespace) -> str:
    lines = [
        "# Codes that are asked for, and codes that are said",
        "",
        f"Command: `python benchmarks/duration.py DIR --epochs {flags.epochs}`. Nano learnt the "
        "demo's Catalan corpus",
        "with `--duration-control`;",
        f"{len(rows[0].ratios)} readings of held-out sentences, each after another clip of its "
        "speaker, sampled as the base's",
        "`config.yaml` has it. Natural length: the codes of the recording. The base is asked the "
        "same way, though it",
        "never learnt to answer.",
        "",
        "| model | asked, by the natural length | error, median | error, mean "
        f"| within {NEAR:.0%} | said by asked, median |",
        "|---|--:|--:|--:|--:|--:|",
        *map(_line, rows),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    name = "nano" if row.model == "base" else "tuned"
    asked = "nothing" if row.factor is None else f"{row.factor:g}"
    near = mean(error <= NEAR for error in row.errors)
    return (
        f"| {name} | {asked} | {median(row.errors):.1%} | {mean(row.errors):.1%} | {near:.0%} "
        f"| {median(row.ratios):.2f} |"
    )


if __name__ == "__main__":
    raise SystemExit(main())
