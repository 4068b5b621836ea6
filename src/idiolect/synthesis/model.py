"""A model that speaks: a GPT and the tokenizer it was trained with, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from idiolect.base.errors import SynthesisError
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.loading import load_gpt
from idiolect.registry.describe import spoken_language
from idiolect.registry.store import ModelFiles
from idiolect.synthesis.devices import tensor_bytes
from idiolect.synthesis.durations import TargetDuration
from idiolect.text.tokenizer import Tokenizer

Stamp = tuple[Path, int, int]
"""A file, when it was written (ns), and how long it is."""
Version = tuple[Stamp, ...]
"""Of the files that a model was read from: an installation may replace them under their names."""

MISSING: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A GPT and the tokenizer it was trained with."""

    name: str
    version: Version
    gpt: UnifiedVoice
    tokenizer: Tokenizer
    languages: tuple[str, ...]
    knows_durations: bool = False
    """Whether it was trained with ``--duration-control``."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights, as they are in memory."""
        return tensor_bytes([self.gpt])

    def duration_of(
        self, total_sec: float | None, interval_ms: int, speed: float
    ) -> TargetDuration | None:
        """Return what is asked of a request that should last ``total_sec``; None leaves it free.

        Raises:
            SynthesisError: The model did not learn to keep to a duration, or it is no duration.
        """
        if total_sec is None:
            return None
        if not self.knows_durations:
            raise SynthesisError(
                f"{self.name} did not learn to keep to a duration",
                where="target_duration",
                fix="--speed changes the length of any model; training with --duration-control "
                "teaches durations",
            )
        return TargetDuration(total_sec=total_sec, pause_sec=interval_ms / 1000, speed=speed)

    @torch.inference_mode()
    def prefix(self, latents: Tensor, emotion: Tensor, num_codes: int | None) -> Tensor:
        """Return the rows ``[1, 34, D]`` before the text of a segment that should have
        ``num_codes``.

        None leaves the duration free. A model that learnt durations knows that by another row
        than others do: the one that it saw whenever nothing was asked in training.
        """
        if num_codes is not None:
            return self.gpt.prefix(latents, emotion, self.gpt.requested_duration(num_codes))
        if not self.knows_durations:
            return self.gpt.prefix(latents, emotion)
        nothing = torch.zeros(1, dtype=torch.int64, device=latents.device)
        return self.gpt.prefix(latents, emotion, self.gpt.duration_rows(nothing, nothing == 0))

    def language_of(self, asked: str | None) -> str | None:
        """Return the language of a request's text; see :func:`spoken_language`.

        Raises:
            SynthesisError: None was asked for, and the model speaks several of its own.
        """
        return spoken_language(self.name, self.languages, asked)


def load_model(found: ModelFiles, device: torch.device, *, half: bool) -> LoadedModel:
    """Read a model onto ``device``; nothing of it is there unless all of it is right.

    Args:
        found: Its files.
        device: Where it will speak.
        half: In half precision.

    Raises:
        CheckpointError: The weights are damaged, or do not fit the configuration.
        TokenizerError: The tokenizer is damaged.
    """
    version = version_of(found)
    tokenizer = Tokenizer.load(found.tokenizer)
    gpt = load_gpt(found.gpt, found.config.gpt, bases=[found.base.gpt])
    # Halved before it is moved: a GPU need not have room for the float32 weights.
    gpt = (gpt.half() if half else gpt).to(device)
    return LoadedModel(
        name=found.name,
        version=version,
        gpt=gpt.eval(),
        tokenizer=tokenizer,
        languages=found.languages,
        knows_durations=found.learnt_durations,
    )


def version_of(found: ModelFiles) -> Version:
    """Return what the files of a model are at present."""
    return (stamp_of(found.gpt), stamp_of(found.tokenizer))


def stamp_of(path: Path) -> Stamp:
    """Return what is told of ``path`` without reading it; a file may be missing."""
    try:
        status = path.stat()
    except OSError:
        return path, MISSING, MISSING
    return path, status.st_mtime_ns, status.st_size
