"""The published call, and the voice that answers it."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from idiolect.base.errors import SynthesisError
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.models.emotion import scale_weights
from idiolect.synthesis.model import LoadedModel
from idiolect.synthesis.output import finished, streamed
from idiolect.synthesis.request import (
    SEED_RANGE,
    SEGMENT_TOKENS_RANGE,
    SPEED_RANGE,
    Request,
    checked,
    checked_weights,
    sampling_settings,
)
from idiolect.synthesis.speaking import OnCodes, spoken_waves
from idiolect.synthesis.stack import FrozenStack


class PublishedCall(ABC):
    """The published call, for whatever has a voice."""

    @property
    @abstractmethod
    def voice(self) -> Voice:
        """The voice that the next request is spoken with.

        Raises:
            SynthesisError: There is none at present.
        """

    def infer(  # noqa: PLR0913, PLR0917 -- the published signature
        self,
        spk_audio_prompt: str | Path,
        text: str,
        output_path: str | Path | None = None,
        emo_audio_prompt: str | Path | None = None,
        emo_alpha: float = 1.0,
        emo_vector: Sequence[float] | None = None,
        use_emo_text: bool = False,  # noqa: FBT001, FBT002 -- the published signature
        emo_text: str | None = None,
        use_random: bool = False,  # noqa: FBT001, FBT002 -- the published signature
        interval_silence: int = 200,
        verbose: bool = False,  # noqa: FBT001, FBT002 -- the published signature
        max_text_tokens_per_segment: int = 120,
        stream_return: bool = False,  # noqa: FBT001, FBT002 -- the published signature
        more_segment_before: int = 0,
        *,
        language: str | None = None,
        seed: int | None = None,
        speed: float = 1.0,
        target_duration: float | None = None,
        on_codes: OnCodes | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        **generation: float | bool | None,
    ) -> Path | tuple[int, NDArray[np.int16]] | Iterator[Tensor]:
        """Speak ``text`` in the voice of ``spk_audio_prompt``.

        Args:
            spk_audio_prompt: A clip of the voice; its first 15 s are heard.
            text: What to say.
            output_path: A 16-bit WAV at 22 050 Hz is written there; when streaming, at the end.
            emo_audio_prompt: A clip whose emotion is taken instead of the voice's own.
            emo_alpha: How much of that emotion, 0…1.
            emo_vector: Eight weights in the order of :data:`~idiolect.models.emotion.EMOTIONS`.
            use_emo_text: Take the weights from ``emo_text`` by the Qwen reader.
            emo_text: The text that the reader reads; ``text`` when None.
            use_random: Choose the rows of the emotion matrix at random.
            interval_silence: Silence between segments, in milliseconds.
            verbose: Log the seed and the language.
            max_text_tokens_per_segment: Longer texts are cut into segments of at most so many.
            stream_return: Return an iterator of segments as they are made.
            more_segment_before: Keep the first segments short until so many tokens, for streaming.
            language: Code of the language of ``text``; when None, that of the model if it has one.
            seed: Same seed, same sound; drawn when None.
            speed: 0.5…2; the sound is asked to be so much shorter.
            target_duration: Seconds that the whole should last, silences included; the model is
                asked for, and comes near to it. Only for models that learnt durations. At another
                speed it still is how long one listens: at 2 twice as many codes are asked for.
            on_codes: Hears the codes ``[n]`` of each segment before they become sound.
            cancelled: Asked some times a second while codes are chosen; True ends the request.
            **generation: Fields of :class:`~idiolect.synthesis.sampling.SamplingSettings`; and as
                the published call has them ``max_mel_tokens`` for ``max_codes``, and
                ``typical_sampling``. What is not given is as the base says, or as published.

        Returns:
            ``output_path``, or (22050, int16 [n, 1]) without one, or an iterator of float waves
            [1, n] in ±32767, each followed by its silence, when streaming.

        Raises:
            SynthesisError: A setting is out of range or unknown, the model spoke nothing, or did
                not learn durations and was asked for one.
            ConfigError: A setting of the sampling is out of range.
            DataError: A clip cannot be read.
            GuardError: ``output_path`` lies in a base folder.
            Cancelled: ``cancelled`` said so; when streaming, from the iterator.
        """
        voice = self.voice
        model, stack = voice.model, voice.stack
        if output_path is not None:
            check_output(Path(output_path))
        duration = model.duration_of(target_duration, interval_silence, speed)
        weights = _weights(stack, emo_vector, emo_text or text, use_emo_text=use_emo_text)
        segment_tokens = checked(
            "max_text_tokens_per_segment", max_text_tokens_per_segment, SEGMENT_TOKENS_RANGE
        )
        request = Request(
            prompt=Path(spk_audio_prompt),
            text=text,
            language=model.language_of(language),
            emotion_prompt=(
                Path(emo_audio_prompt) if emo_audio_prompt and weights is None else None
            ),
            emotion_alpha=emo_alpha,
            emotion_weights=None if weights is None else scale_weights(weights, emo_alpha),
            random_emotion=use_random,
            max_segment_tokens=int(segment_tokens),
            quick_tokens=more_segment_before,
            seed=secrets.randbits(31) if seed is None else int(checked("seed", seed, SEED_RANGE)),
            speed=checked("speed", speed, SPEED_RANGE),
            duration=duration,
            sampling=sampling_settings({**voice.generation, **generation}),
        )
        if verbose:
            get_logger().info("seed %d, language %s", request.seed, request.language)
        waves = spoken_waves(model, stack, request, on_codes, cancelled)
        if stream_return:
            return streamed(waves, interval_silence, output_path)
        return finished(list(waves), interval_silence, output_path)


class Voice(PublishedCall):
    """One model on the shared networks of one device.

    Whoever lends a voice ends it: the model is then no longer held by it, so that its memory comes
    free, whoever still holds the voice. A request that was begun goes on to its end.

    Args:
        model: What speaks.
        stack: The frozen networks beside it.
        generation: How the base wants its codes to be chosen, where a request says nothing.
    """

    def __init__(
        self, *, model: LoadedModel, stack: FrozenStack, generation: Mapping[str, Any]
    ) -> None:
        self._lent: tuple[LoadedModel, FrozenStack] | None = (model, stack)
        self.generation = generation

    @property
    def voice(self) -> Voice:
        """Itself."""
        return self

    @property
    def model(self) -> LoadedModel:
        """The model that speaks.

        Raises:
            SynthesisError: The voice was given back.
        """
        return self._parts()[0]

    @property
    def stack(self) -> FrozenStack:
        """The frozen networks beside it.

        Raises:
            SynthesisError: The voice was given back.
        """
        return self._parts()[1]

    @property
    def is_ended(self) -> bool:
        """Whether it was given back."""
        return self._lent is None

    def end(self) -> None:
        """Hold the model no longer."""
        self._lent = None

    def _parts(self) -> tuple[LoadedModel, FrozenStack]:
        if self._lent is None:
            raise SynthesisError(
                "this voice was given back", fix="ask for the model again before it speaks"
            )
        return self._lent


def _weights(
    stack: FrozenStack, emo_vector: Sequence[float] | None, emo_text: str, *, use_emo_text: bool
) -> tuple[float, ...] | None:
    """Return the weights of the emotions that were asked for, if any were."""
    if use_emo_text:
        with stack.turns.one():
            return stack.emotion_of_text(emo_text)
    return None if emo_vector is None else checked_weights(emo_vector)
