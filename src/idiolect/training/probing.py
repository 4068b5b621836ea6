"""What training may ask of a model that speaks: the sentences of a probe, and how they came out.

Training knows no synthesis and no recogniser. Who starts a run hands it a :data:`MakeProbe`; what
that makes is asked at each validation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import torch

from idiolect.data.samples import Source
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.published import BaseFiles
from idiolect.text.tokenizer import Tokenizer
from idiolect.training.config import TrainConfig

SAMPLES_DIR = "samples"
"""Below the folder of a run: what was spoken at each validation."""
SPOKEN_FILE = "spoken.jsonl"
"""In the folder of a step: each sentence and how it was heard, one a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageScores:
    """How the sentences of one language were spoken; shares are of 1, None was not measured."""

    sentences: int
    cer: float | None
    """Letters that the listener heard wrong, of those that were to be said; may exceed 1."""
    wer: float | None
    similarity: float | None
    """Mean cosine of the speaker embeddings of what was said and of its prompt."""
    leak_rate: float | None
    """Share of sentences in which words of the prompt were heard that are not in the sentence."""
    lost_end_rate: float | None
    """Share of sentences whose end was not what was heard last."""
    missing_end_rate: float
    """Share of sentences that did not come to an end by themselves."""
    rate_ratio: float
    """Codes a letter, over those of the recordings: above 1 is slower than they are."""
    duration_sec: float
    """Mean length of a sentence as it was spoken."""

    def summary(self) -> str:
        """Return what was measured as a line of the log has it."""
        parts = [
            ("letters wrong", self.cer, "{:.1%}"),
            ("words wrong", self.wer, "{:.1%}"),
            ("likeness", self.similarity, "{:.2f}"),
            ("prompt heard", self.leak_rate, "{:.0%}"),
            ("end not heard", self.lost_end_rate, "{:.0%}"),
            ("endless", self.missing_end_rate, "{:.0%}"),
            ("pace", self.rate_ratio, "{:.2f}"),
            ("mean length", self.duration_sec, "{:.1f} s"),
        ]
        said = [f"{name} {form.format(value)}" for name, value, form in parts if value is not None]
        return f"{self.sentences} sentences: {', '.join(said)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeScores:
    """How a model spoke, by language."""

    languages: dict[str, LanguageScores]

    def cer(self, languages: Collection[str] | None = None) -> float | None:
        """Return the mean share of letters heard wrong over ``languages``, or over all.

        None when nobody listened to any of them.
        """
        rates = [
            scores.cer
            for language, scores in self.languages.items()
            if scores.cer is not None and (languages is None or language in languages)
        ]
        return sum(rates) / len(rates) if rates else None

    def values(self) -> dict[str, float]:
        """Return each number that was measured, by ``<language>/<name>``."""
        found = {}
        for language, scores in self.languages.items():
            for field in fields(scores):
                value = getattr(scores, field.name)
                if value is not None:
                    found[f"{language}/{field.name}"] = float(value)
        return found


class Probe(Protocol):
    """Lets a model speak, and measures what it says."""

    def measure(self, gpt: UnifiedVoice, step: int, folder: Path) -> ProbeScores:
        """Return how ``gpt`` speaks the sentences, which are always the same.

        Neither the model nor torch's source of chance is any different afterwards.

        Args:
            gpt: With or without conditioners; on the device that the probe was made for.
            step: Behind which it is.
            folder: Of the run; sounds go to ``samples/step<step>`` in it, beside
                :data:`SPOKEN_FILE`.
        """


MakeProbe = Callable[
    [TrainConfig, BaseFiles, Tokenizer, Sequence[Source], torch.device], Probe | None
]
"""Makes the probe of a run, from its validation sources; None when none is wanted."""
