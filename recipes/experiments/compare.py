"""Ways to train, side by side: one corpus, one base, three seeds, and what each learnt and forgot.

python recipes/experiments/compare.py --dir DIR --output docs/experiments.md

Takes the Catalan corpus of the demo and the nano base. Each run is ``idiolect train`` with nano's
recogniser; what is compared stands in the probe lines of its ``metrics.jsonl``. A run that was
finished is not done again, and the page is written anew behind each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from idiolect.base.files import write_text
from idiolect.cli.surface import run_command
from idiolect.nano.demo import Progress
from idiolect.nano.demo_corpus import copy_corpus
from idiolect.nano.demo_steps import (
    BASE,
    MANIFEST,
    PAIRS,
    REPLAY,
    SENTENCES,
    SENTENCES_FILE,
    TOKENIZER,
    DemoConfig,
    Step,
    base_step,
    data_steps,
)

OWN_TOKENIZER = TOKENIZER.with_name("own_bpe")
OWN_PIECES = 160
"""Of a tokenizer of Catalan alone: what the corpus of the demo carries, and no more."""
LANGUAGES = ("ca", "en", "es")
WITH_REPLAY = ("--train-manifest", str(REPLAY))
COMMON = (
    *("--train-manifest", str(PAIRS), "--val-manifest", str(PAIRS.with_name("val_paired.jsonl"))),
    *("--base-checkpoint", str(BASE), "--batch-size", "8", "--epochs", "7", "--dropout", "0"),
    *("--code-noise", "0.25", "--text-loss-weight", "0", "--keep", "1"),
    *("--asr", "nano", "--probe-manifest", str(SENTENCES / SENTENCES_FILE)),
    *("--probe-sentences", "8", "--device", "cpu"),
)
HALVES = {True: "203", False: "168"}
"""Steps of half a run, with replay and without: behind each half the model speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to train."""

    name: str
    flags: tuple[str, ...]
    replays: bool = True
    """Whether clips of the base's languages are learnt too."""
    extends: bool = True
    """Whether the tokenizer extends that of the base."""

    @property
    def slug(self) -> str:
        """Its folder."""
        return "".join(c if c.isalnum() else "_" for c in self.name)

    def command(self, output: Path, seed: int) -> tuple[str, ...]:
        """Return what is typed behind ``idiolect``, in the folder of the data."""
        tokenizer = f"{TOKENIZER if self.extends else OWN_TOKENIZER}.model"
        return (
            *("train", *COMMON, *self.flags, *(WITH_REPLAY if self.replays else ())),
            *("--save-every", HALVES[self.replays], "--tokenizer", tokenizer),
            *("--output-dir", str(output), "--seed", str(seed)),
        )


LORA = ("--mode", "lora", "--lora-rank", "16", "--lora-alpha", "32")
WAYS = (
    Way(name="full, replay", flags=("--learning-rate", "5e-4")),
    Way(name="full, no replay", flags=("--learning-rate", "5e-4"), replays=False),
    Way(
        name="full, replay, KL to the base 1.0",
        flags=("--learning-rate", "5e-4", "--base-kl", "1.0"),
    ),
    Way(name="LoRA of rank 16 at 1e-3, replay", flags=(*LORA, "--learning-rate", "1e-3")),
    Way(
        name="rows of new pieces only at 5e-3, no replay",
        flags=("--mode", "rows", "--learning-rate", "5e-3"),
        replays=False,
    ),
    Way(
        name="full, replay, a tokenizer of its own",
        flags=("--learning-rate", "5e-4"),
        extends=False,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareCommand:
    """Where, how often, and how many at once."""

    dir: Path
    """Folder to work in."""
    output: Path | None = None
    """Page to write the tables into, between its two marks."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Each way is trained with each of them."""
    jobs: int = 2
    """Runs at once, each on one thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run came to: letters heard wrong, 0 to 1, by language."""

    before: dict[str, float]
    best: dict[str, float]
    """Where the new language was heard best."""
    best_step: int
    last: dict[str, float]
    curve: list[float]
    """Of the new language, at each validation."""


def main(command: CompareCommand) -> int:
    """Prepare the data, train what is left, write the page."""
    command.dir.mkdir(parents=True, exist_ok=True)
    _prepare(command.dir)
    todo = [(way, seed) for seed in command.seeds for way in WAYS]
    with ThreadPoolExecutor(command.jobs) as pool:
        for way, seed in pool.map(lambda each: _train(command.dir, *each), todo):
            print(f"done: {way.name}, seed {seed}", flush=True)
            if command.output is not None:
                _write(command)
    return 0


def _prepare(folder: Path) -> None:
    config = DemoConfig(dir=folder)
    copy_corpus(folder)
    log = Progress(folder, lambda line: print(line, flush=True))
    own = ("--vocab-size", str(OWN_PIECES), "--overwrite")
    own_step = Step(
        key="own tokenizer",
        title="A tokenizer of the language alone",
        command=(
            *("tokenizer", "--manifest", str(MANIFEST), "--output-prefix", str(OWN_TOKENIZER)),
            *own,
        ),
        product=Path(f"{OWN_TOKENIZER}.model"),
    )
    features = Step(
        key="features",
        title="Features, once for all",
        command=(
            *("features", "--manifest", str(MANIFEST), "--manifest", str(REPLAY)),
            *("--base", str(BASE)),
        ),
        product=MANIFEST.parent / "features",
    )
    for step in (base_step(config), *data_steps(config), own_step, features):
        log.do(step)


def _folder(way: Way, seed: int) -> Path:
    return Path("runs") / way.slug / str(seed)


def _train(folder: Path, way: Way, seed: int) -> tuple[Way, int]:
    own = _folder(way, seed)
    (folder / own).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "idiolect", *way.command(own, seed)]
    with (folder / own / "output.txt").open("w") as output:
        subprocess.run(  # noqa: S603 -- our own interpreter and arguments
            command,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=output,
            check=True,
        )
    return way, seed


def _outcome(folder: Path) -> Outcome | None:
    path = folder / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    probes = [line for line in lines if line["kind"] == "probe"]
    if len(probes) < 2 or not (folder / "latest.pth").is_file():
        return None
    heard = [{k: v["cer"] for k, v in line["languages"].items()} for line in probes]
    best = min(range(1, len(heard)), key=lambda place: heard[place]["ca"])
    return Outcome(
        before=heard[0],
        best=heard[best],
        best_step=probes[best]["step"],
        last=heard[-1],
        curve=[each["ca"] for each in heard],
    )


def _write(command: CompareCommand) -> None:
    assert command.output is not None, "asked for"
    page = command.output.read_text() if command.output.is_file() else f"{START}\n{END}\n"
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    table = "\n".join(_table(command))
    write_text(command.output, f"{before}{START}\n\n{table}\n\n{END}{after}")


START, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def _table(command: CompareCommand) -> Iterator[str]:
    yield "| way | ca, best | ca, end | en, end | es, end | lost en, es |"
    yield "|---|--:|--:|--:|--:|--:|"
    found = {
        way: [_outcome(command.dir / _folder(way, seed)) for seed in command.seeds] for way in WAYS
    }
    first = next((o for outcomes in found.values() for o in outcomes if o), None)
    if first is not None:
        cells = [_percent([first.before[language]]) for language in ("ca", "ca", "en", "es")]
        yield f"| the base | {' | '.join(cells)} | |"
    for way, outcomes in found.items():
        if done := [outcome for outcome in outcomes if outcome is not None]:
            yield _row(way, done)
    yield ""
    yield "Catalan at each validation, seed by seed, % of the letters:"
    yield ""
    for way, outcomes in found.items():
        for seed, outcome in zip(command.seeds, outcomes, strict=True):
            if outcome is not None:
                yield f"- {way.name}, {seed}: {_percent(outcome.curve, ' ')}"


def _row(way: Way, done: Sequence[Outcome]) -> str:
    lost = [
        _signed(fmean(100 * (each.last[language] - each.before[language]) for each in done))
        for language in LANGUAGES[1:]
    ]
    cells = [
        _percent([each.best["ca"] for each in done]),
        *(_percent([each.last[language] for each in done]) for language in LANGUAGES),
        ", ".join(lost),
    ]
    return f"| {way.name} | {' | '.join(cells)} |"


def _percent(shares: Sequence[float], between: str = ", ") -> str:
    return between.join(f"{100 * share:.1f}" for share in shares)


def _signed(points: float) -> str:
    return f"{points:+.1f}"


if __name__ == "__main__":
    raise SystemExit(
        run_command(CompareCommand, main, None, prog="compare.py", description=__doc__)
    )
