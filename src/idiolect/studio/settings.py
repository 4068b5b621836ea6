"""Everything that a request for speech may say besides its voice and its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from idiolect.base.config import from_mapping, to_mapping
from idiolect.base.errors import SynthesisError
from idiolect.models.emotion import EMOTIONS, normalize_weights
from idiolect.studio.loudness import VOLUME_RANGE
from idiolect.synthesis.request import SEED_RANGE, SPEED_RANGE, checked, checked_weights
from idiolect.synthesis.sampling import SamplingSettings
from idiolect.text.segments import MAX_SEGMENT_TOKENS

ALPHA_RANGE = (0.0, 1.0)
SILENCE_RANGE_MS = (0, 5000)
SEGMENT_TOKENS_RANGE = (20, 400)
"""What the page offers; shorter segments are not sentences any more."""
DEFAULT_SILENCE_MS = 200
NO_WEIGHTS = (0.0,) * len(EMOTIONS)


class EmotionMode(StrEnum):
    """Where the emotion is taken from."""

    VOICE = "voice"
    """The clip of the voice."""
    CLIP = "clip"
    """Another clip."""
    WEIGHTS = "weights"
    """Eight sliders."""
    TEXT = "text"
    """A text, read by the base's reader of emotions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSettings:
    """What :meth:`idiolect.synthesis.pipeline.IndexTTS2.infer` takes, and the volume.

    Raises:
        SynthesisError: A setting is out of range.
    """

    language: str | None = None
    """Of the text; None leaves it to the model."""
    seed: int | None = None
    """Drawn when None."""
    speed: float = 1.0
    target_duration_sec: float | None = None
    """Only for models that learnt durations."""
    interval_silence_ms: int = DEFAULT_SILENCE_MS
    """Between segments."""
    max_segment_tokens: int = MAX_SEGMENT_TOKENS
    emotion: EmotionMode = EmotionMode.VOICE
    emotion_alpha: float = 1.0
    """How much of the emotion that is not the voice's own."""
    emotion_clip: Path | None = None
    emotion_weights: tuple[float, ...] = NO_WEIGHTS
    """Positions of the sliders, in the order of EMOTIONS: how far each reaches and how much all of
    them may be together is applied when it is spoken."""
    emotion_text: str = ""
    """What the reader reads; the text itself when empty."""
    random_emotion: bool = False
    """Draw the rows of the emotion matrix."""
    sampling: SamplingSettings | None = None
    """As the base says when None."""
    volume: float = 1.0

    def __post_init__(self) -> None:
        if self.seed is not None:
            checked("seed", self.seed, SEED_RANGE)
        checked("speed", self.speed, SPEED_RANGE)
        checked("interval_silence_ms", self.interval_silence_ms, SILENCE_RANGE_MS)
        checked("max_segment_tokens", self.max_segment_tokens, SEGMENT_TOKENS_RANGE)
        checked("emotion_alpha", self.emotion_alpha, ALPHA_RANGE)
        checked("volume", self.volume, VOLUME_RANGE)
        for weight in checked_weights(self.emotion_weights):
            checked("emotion_weights", weight, (0.0, 1.0))
        if self.emotion is EmotionMode.CLIP and self.emotion_clip is None:
            raise SynthesisError(
                "there is no clip to take the emotion from",
                fix="give one, or take the emotion of the voice",
            )

    @property
    def mixed_weights(self) -> tuple[float, ...]:
        """What the model is given for the sliders: the published reach and limit applied."""
        return normalize_weights(self.emotion_weights)

    def call(self) -> dict[str, Any]:
        """Return the arguments of ``infer`` that these settings are, all but the text."""
        return {
            "language": self.language,
            "seed": self.seed,
            "speed": self.speed,
            "target_duration": self.target_duration_sec,
            "interval_silence": self.interval_silence_ms,
            "max_text_tokens_per_segment": self.max_segment_tokens,
            **self._emotion_call(),
            **({} if self.sampling is None else asdict(self.sampling)),
        }

    def _emotion_call(self) -> dict[str, Any]:
        if self.emotion is EmotionMode.VOICE:
            return {}
        source: dict[EmotionMode, dict[str, Any]] = {
            EmotionMode.CLIP: {"emo_audio_prompt": self.emotion_clip},
            EmotionMode.WEIGHTS: {
                "emo_vector": self.mixed_weights,
                "use_random": self.random_emotion,
            },
            EmotionMode.TEXT: {
                "use_emo_text": True,
                "emo_text": self.emotion_text.strip() or None,
                "use_random": self.random_emotion,
            },
        }
        return {"emo_alpha": self.emotion_alpha, **source[self.emotion]}


def settings_to_mapping(settings: SpeechSettings) -> dict[str, Any]:
    """Return ``settings`` as plain values, from which :func:`settings_of_mapping` makes them."""
    return to_mapping(settings)


def settings_of_mapping(values: Mapping[str, Any], *, where: str = "settings") -> SpeechSettings:
    """Return the settings that ``values`` are; what else is noted beside them is passed over.

    Raises:
        ConfigError: A value is of the wrong type.
        SynthesisError: A setting is out of range.
    """
    known = {field.name for field in fields(SpeechSettings)}
    ours = {name: value for name, value in values.items() if name in known}
    return from_mapping(SpeechSettings, ours, where=where)
