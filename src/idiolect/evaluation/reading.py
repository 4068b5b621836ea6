"""One sentence as one model said it, and all that is measured of it.

``N`` is samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor

from idiolect.audio.fbank import MIN_SAMPLES, speaker_fbank
from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.errors import SynthesisError
from idiolect.base.units import SAMPLE_RATE
from idiolect.evaluation.naturalness import Naturalness
from idiolect.evaluation.working_memory import working_memory
from idiolect.listening.listeners import Listener
from idiolect.listening.scores import (
    LetterErrors,
    WordErrors,
    cosine,
    letter_errors,
    word_errors,
)
from idiolect.synthesis.output import FULL_SCALE
from idiolect.synthesis.stack import FrozenStack
from idiolect.synthesis.voice import Voice
from idiolect.text.normalize import prepare_text

Side = Literal["a", "b"]
Setting = float | int | bool | None
LOUDEST = FULL_SCALE - 0.5
"""Samples that would be written as the largest number that there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One sentence as one model said it; what was not measured is None."""

    sentence: int
    """From 1."""
    side: Side
    text: str
    spoken_first: bool
    """Whether this model spoke the sentence before the other one did."""
    sound: str | None = None
    """WAV, by its path from the folder of the comparison."""
    error: str = ""
    """Why there is no sound."""
    elapsed_sec: float | None = None
    first_sound_sec: float | None = None
    duration_sec: float | None = None
    peak_bytes: int | None = None
    letters_said: int | None = None
    """Letters of the text as it is read out, without spaces."""
    heard: str | None = None
    letters: LetterErrors | None = None
    words: WordErrors | None = None
    similarity: float | None = None
    naturalness: float | None = None
    clipped: int | None = None
    """Samples at full scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is asked of both models in the same words."""

    prompt: Path
    language: str | None
    seed: int
    settings: Mapping[str, Setting]
    """Of :meth:`~idiolect.synthesis.voice.PublishedCall.infer`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A sound and what it took."""

    wave: Tensor  # [N] in ±32767
    elapsed_sec: float
    first_sound_sec: float
    peak_bytes: int


def speak_timed(voice: Voice, text: str, said: Said, cancelled: Callable[[], bool]) -> Timed:
    """Return the sound of ``text``, and what it took.

    Raises:
        SynthesisError: The model cannot say it.
        DataError: The prompt cannot be read.
        Cancelled: Nobody waits for it any more.
    """
    waves, first_sound_sec = [], 0.0
    with working_memory(voice.stack.device) as memory:
        started = time.perf_counter()
        stream = voice.infer(
            said.prompt,
            text,
            stream_return=True,
            language=said.language,
            seed=said.seed,
            cancelled=cancelled,
            **said.settings,  # type: ignore[arg-type]  # by name, checked by the call
        )
        for wave in cast(Iterator[Tensor], stream):
            first_sound_sec = first_sound_sec or time.perf_counter() - started
            waves.append(wave)
        elapsed_sec = time.perf_counter() - started
    if not waves:
        raise SynthesisError("the model spoke nothing", where=f"text {text[:60]!r}")
    return Timed(
        wave=torch.cat(waves[:-1], dim=1)[0],  # the last is the silence behind the end
        elapsed_sec=elapsed_sec,
        first_sound_sec=first_sound_sec,
        peak_bytes=memory.peak_bytes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Who judges what was said, besides the clock."""

    listener: Listener | None
    """None when nobody writes down what is heard."""
    naturalness: Naturalness | None

    def judged(self, reading: Reading, timed: Timed, stack: FrozenStack, said: Said) -> Reading:
        """Return ``reading`` with all that is heard in the sound of ``timed``."""
        audio = resample_22k_to_16k(timed.wave[None] / FULL_SCALE)[0]  # [N] at 16 kHz
        language = said.language
        listens = self.listener is not None and language and self.listener.speaks(language)
        is_long_enough = len(audio) >= MIN_SAMPLES
        heard = None
        if self.listener is not None and language and listens:
            heard = self.listener.hear(audio.numpy(), language) if is_long_enough else ""
        return replace(
            reading,
            elapsed_sec=timed.elapsed_sec,
            first_sound_sec=timed.first_sound_sec,
            duration_sec=len(timed.wave) / SAMPLE_RATE,
            peak_bytes=timed.peak_bytes,
            letters_said=sum(map(str.isalnum, prepare_text(reading.text, language))),
            clipped=int((timed.wave.abs() >= LOUDEST).sum()),
            heard=heard,
            letters=None if heard is None else letter_errors(reading.text, heard, language or ""),
            words=None if heard is None else word_errors(reading.text, heard, language or ""),
            similarity=_similarity(audio, stack, said.prompt) if is_long_enough else None,
            naturalness=self.naturalness.score(audio)
            if self.naturalness is not None and is_long_enough
            else None,
        )


@torch.inference_mode()
def _similarity(audio: Tensor, stack: FrozenStack, prompt: Path) -> float:
    """Return the cosine of the voice of ``audio`` ``[N]`` at 16 kHz and that of ``prompt``."""
    style = stack.speaker(speaker_fbank(audio.to(stack.device))[None])[0]
    return cosine(style, stack.prompt(prompt).style[0])
