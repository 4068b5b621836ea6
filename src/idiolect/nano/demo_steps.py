"""The steps of the demo: each a command of the guide, with paths from the demo's folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.base.errors import ConfigError
from idiolect.base.places import SHIPPED_DIR, base_path
from idiolect.nano.demo_speech import Line
from idiolect.registry.describe import BASE_NAME

RECORDINGS = Path("data/raw/catalan_audio")
TRANSCRIPT = Path("data/raw/catalan_transcripts.txt")
SENTENCES = Path("data/sentences")
SENTENCES_FILE = "sentences.jsonl"
REPLAY = Path("data/base_languages/train.jsonl")
DATA = Path("data/catalan_dataset")
MANIFEST = DATA / "train.jsonl"
PAIRS = DATA / "train_paired.jsonl"
TOKENIZER = Path("training/catalan/tokenizer/catalan_bpe")
RUN = Path("training/catalan/checkpoints")
TUNED = RUN / "latest.pth"
"""What is installed: with so little data the loss on held-out clips soon rises, while what is said
still grows clearer to the ear."""
CURVE = Path("training/catalan/curve")
MODELS = Path("models")
NAME = "catalan"
BASE = Path("checkpoints")
SPOKEN = Path("spoken")

APPENDED_PIECES = 16
"""To a tokenizer of nearly letters: what the new language writes, and little more."""
OWN_PIECES = 12000
KEPT = 10
"""Checkpoints of the training that stay: all that it saves, so that the curve has its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """Where the demo is made, of what, and how it trains."""

    dir: Path = Path("demo")
    """Folder to make; the guide's folders appear below it."""
    real: Path | None = None
    """Folder of recordings with their transcript in it, to teach instead of the Catalan corpus
    that comes with the program."""
    language: str = "ca"
    """Language of the recordings."""
    base: Path | None = None
    """Folder of the base to start from; a copy of nano in DIR/checkpoints when left out."""
    epochs: int = 7
    """How often training sees each pair."""
    batch_size: int = 8
    """Clips in one step of training."""
    learning_rate: float = 5e-4
    """Highest learning rate of training; the published base, far larger, wants 2e-5."""
    dropout: float = 0.0
    """Probability of dropping an activation in training: nano learnt without, and loses its way in
    a sentence with it; the published base learnt with 0.1."""
    blend: float = 0.6
    """How far the installed weights go from those of the base to the trained ones."""
    code_noise: float = 0.25
    """Share of the codes that training replaces, against learning so few clips by heart."""
    text_loss_weight: float = 0.0
    """What foretelling the text counts for in training: so few texts are soon known by heart, and
    to learn them further only takes from reading them aloud; the published base wants 0.2."""
    vocab_size: int | None = None
    """Pieces of the tokenizer; of an extension, the most that is appended. By default 16 are
    appended for the corpus that comes with the program, and at most 12000 otherwise."""
    extend: bool = True
    """Extend the tokenizer of the base, so that its own languages stay; otherwise train one of the
    language alone."""
    replay: float = 3.0
    """Weight of the clips of nano's own languages that come with the program in training, against
    forgetting; 0 leaves them out, and so does --real."""
    curve: int = 3
    """Checkpoints that are heard for the learning curve; 0 for none."""
    seed: int = 1
    """Seed of training and of the speech."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: A value is out of range.
        """
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError("nothing would be learnt", where="--epochs, --batch-size")
        if self.curve < 0 or self.replay < 0:
            raise ConfigError("a number below 0", where="--curve, --replay")
        if self.language != "ca" and self.real is None:
            raise ConfigError(
                f"the corpus that comes with the program is not {self.language!r}",
                where="--language",
                fix="name your own recordings: --real DIR",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of the guide."""

    key: str
    title: str
    command: tuple[str, ...]
    """Behind ``idiolect``, with paths from the demo's folder."""
    product: Path
    """What it leaves, from the demo's folder."""

    @property
    def line(self) -> str:
        """The command as it is typed."""
        return f"idiolect {shlex.join(self.command)}"


def base_step(config: DemoConfig) -> Step:
    """Return the command that puts a base into the demo's folder."""
    # A base with random weights shows that everything runs, where none comes with the package.
    shipped = ("nano", "export", str(BASE))
    random = ("nano", "new", str(BASE), "--seed", str(config.seed))
    return Step(
        key="base",
        title="0. A base in the published layout",
        command=shipped if SHIPPED_DIR.is_dir() else random,
        product=BASE / "gpt.pth",
    )


def data_steps(config: DemoConfig) -> Iterator[Step]:
    """Yield what comes before training, in the guide's order."""
    audio = RECORDINGS if config.real is None else config.real.resolve()
    transcript = ("--transcript-file", str(TRANSCRIPT)) if config.real is None else ()
    yield Step(
        key="prepare",
        title="1. Prepare the recordings",
        command=(
            *("prepare", "--audio-dir", str(audio), *transcript),
            *("--output-manifest", str(MANIFEST), "--language", config.language),
        ),
        product=MANIFEST,
    )
    yield Step(
        key="pairs",
        title="2. Pairs of prompt and target",
        command=("pairs", "--manifest", str(MANIFEST), "--output", str(PAIRS)),
        product=PAIRS,
    )
    extension = ("--extend", str(base_of(config) / "bpe.model")) if config.extend else ()
    yield Step(
        key="tokenizer",
        title="3. Tokenizer",
        command=(
            *("tokenizer", "--manifest", str(MANIFEST), "--output-prefix", str(TOKENIZER)),
            *("--vocab-size", str(_vocab_size(config)), *extension, "--overwrite"),
        ),
        product=Path(f"{TOKENIZER}.model"),
    )


def _vocab_size(config: DemoConfig) -> int:
    if config.vocab_size is not None:
        return config.vocab_size
    is_small = config.extend and config.real is None
    return APPENDED_PIECES if is_small else OWN_PIECES


def training_steps(config: DemoConfig) -> Iterator[Step]:
    """Yield the commands that train and install, in the guide's order."""
    has_replay = config.replay > 0 and config.real is None
    replay = ("--train-manifest", f"{REPLAY}@{config.replay:g}") if has_replay else ()
    tokenizer = ("--tokenizer", f"{TOKENIZER}.model")
    yield Step(
        key="train",
        title="4. Fine-tuning",
        command=(
            *("train", "--train-manifest", str(PAIRS), *replay),
            *("--val-manifest", str(PAIRS.with_name("val_paired.jsonl")), *tokenizer),
            *("--base-checkpoint", str(base_of(config) / "gpt.pth"), "--output-dir", str(RUN)),
            *("--epochs", str(config.epochs), "--batch-size", str(config.batch_size)),
            *("--learning-rate", f"{config.learning_rate:g}"),
            *("--dropout", f"{config.dropout:g}", "--code-noise", f"{config.code_noise:g}"),
            *("--text-loss-weight", f"{config.text_loss_weight:g}"),
            *("--keep", str(KEPT), "--seed", str(config.seed), "--probe-sentences", "0"),
        ),
        product=TUNED,
    )
    yield Step(
        key="install",
        title="5. Install the last checkpoint",
        command=(
            *("install", "--checkpoint", str(TUNED), *tokenizer),
            *("--blend", f"{config.blend:g}", "--output-name", NAME),
            *("--output-dir", str(MODELS), "--force", *_base_flag(config)),
        ),
        product=MODELS / f"gpt_{NAME}.pth",
    )


def speaking_steps(config: DemoConfig, lines: Sequence[Line]) -> Iterator[Step]:
    """Yield the commands that say the sentences of the language by the base and by the model."""
    own = [line for line in lines if line.language == config.language]
    prompt = os.path.relpath(own[0].prompt, config.dir)
    for label in (BASE_NAME, NAME):
        model = ("--model", label) if label != BASE_NAME else ()
        yield Step(
            key=f"speak {label}",
            title=f"6. Speak unseen sentences with {label if model else 'the base'}",
            command=(
                *("synth", *model, "--voice", prompt, *_base_flag(config)),
                *("--text-file", str(SENTENCES / f"{config.language}.txt")),
                *("--language", config.language, "--seed", str(config.seed)),
                *("--output-dir", str(SPOKEN / label / config.language)),
            ),
            product=SPOKEN / label / config.language,
        )


def base_of(config: DemoConfig) -> Path:
    """Return the base as the commands name it, from the demo's folder."""
    return BASE if config.base is None else absolute(config.base)


def _base_flag(config: DemoConfig) -> tuple[str, ...]:
    return () if config.base is None else ("--base", str(absolute(config.base)))


def absolute(path: Path) -> Path:
    """Return the folder of a base that ``path`` names."""
    return base_path(path).resolve()
