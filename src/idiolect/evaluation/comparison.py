"""A comparison of two models: what was asked, what was found, and the folder that keeps both.

::

    outputs/comparisons/20250131-174500-base-catalan/
        comparison.json    this module's Comparison
        a/001.wav  b/001.wav ...
        votes.jsonl        see votes.py
        report.html        see comparison_report.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from idiolect.base.config import from_mapping, to_mapping
from idiolect.base.errors import ConfigError, DataError
from idiolect.base.files import read_json, write_json
from idiolect.evaluation.reading import Reading, Setting, Side
from idiolect.listening.named import NOBODY

COMPARISON_FILE = "comparison.json"
REPORT_FILE = "report.html"
VOTES_FILE = "votes.jsonl"
SIDES: tuple[Side, Side] = ("a", "b")
Hearing = Literal["heard", "nobody", "no_language", "not_known"]
"""Whether letters were counted; else why not: nobody listened, or the language of the texts was not
given, or is not known to who listened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonOrder:
    """What to compare: the same for both models, but for their names."""

    model_a: str
    model_b: str
    prompt: Path
    """A clip of the voice."""
    texts: tuple[str, ...]
    language: str | None = None
    """Of the texts; None takes that of the model that has one."""
    seed: int = 1
    """Each sentence is spoken with it, so ``idiolect synth --seed`` gives the same sound."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Of the published call; what is not given is as the base says."""
    asr: str = NOBODY
    """Who writes down what is heard; see :func:`~idiolect.listening.named.listener_named`."""
    asr_dir: Path | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        """Check that there is something to say.

        Raises:
            ConfigError: There is no text.
        """
        if not any(text.strip() for text in self.texts):
            raise ConfigError("there is no text to speak", fix="give a sentence or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSide:
    """One of the two models, as it was when the comparison began."""

    name: str
    checkpoint: str
    tokenizer: str
    vocab_size: int
    languages: tuple[str, ...]
    weight_bytes: int
    """Of the GPT, as it is in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison, as far as it has come."""

    identity: str
    """Of all that decides what is said: models' files, texts, voice, settings."""
    made: str
    """When it was begun, ISO 8601 in UTC."""
    order: ComparisonOrder
    language: str | None
    """Of the texts, as both models were told."""
    device: str
    """As people call it."""
    a: ModelSide
    b: ModelSide
    hearing: Hearing = "nobody"
    listener: str = ""
    """Who listened, or would have."""
    predictor: str = ""
    """Who predicted naturalness; empty for nobody."""
    readings: tuple[Reading, ...] = ()

    @property
    def num_readings(self) -> int:
        """How many there will be at the end."""
        return 2 * len(self.order.texts)

    @property
    def is_finished(self) -> bool:
        """Whether both models have had their say of every sentence."""
        return len(self.readings) == self.num_readings

    def model(self, side: Side) -> ModelSide:
        """Return the model of ``side``."""
        return self.a if side == "a" else self.b

    def reading(self, sentence: int, side: Side) -> Reading | None:
        """Return what ``side`` made of ``sentence`` (from 1); None when it has not come to it."""
        found = (r for r in self.readings if r.sentence == sentence and r.side == side)
        return next(found, None)

    def pairs(self) -> list[tuple[Reading, Reading]]:
        """Return the readings of the sentences that both models have spoken, in order."""
        both = [
            (self.reading(n, "a"), self.reading(n, "b"))
            for n in range(1, len(self.order.texts) + 1)
        ]
        return [(a, b) for a, b in both if a and b and a.sound and b.sound]


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Keep ``comparison`` in ``folder``.

    Raises:
        GuardError: ``folder`` lies in a base.
    """
    write_json(folder / COMPARISON_FILE, to_mapping(comparison))


def read_comparison(folder: Path) -> Comparison:
    """Return the comparison that is kept in ``folder``.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    path = folder / COMPARISON_FILE
    values = read_json(path)
    if not isinstance(values, dict):
        raise DataError("not a comparison", where=str(path))
    return from_mapping(Comparison, values, where=str(path))
