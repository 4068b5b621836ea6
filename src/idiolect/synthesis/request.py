"""What one call asks for, checked before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from idiolect.base.errors import SynthesisError, did_you_mean
from idiolect.base.log import get_logger
from idiolect.models.emotion import EMOTIONS
from idiolect.synthesis.durations import TargetDuration
from idiolect.synthesis.model import LoadedModel
from idiolect.synthesis.sampling import SamplingSettings
from idiolect.text.segments import split_segments

SPEED_RANGE = (0.5, 2.0)
"""How many times as fast: the length of the mel is divided by it."""
SEED_RANGE = (0, 2**63 - 1)
SEGMENT_TOKENS_RANGE = (1, 10_000)
PUBLISHED_NAMES = {"max_mel_tokens": "max_codes"}
"""Keywords of the published call that have another name here."""
TYPICAL_MASS = 0.9
"""What the published call takes when typical sampling is asked for without a mass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one call of :meth:`IndexTTS2.infer` asks for, checked."""

    prompt: Path
    text: str
    language: str | None
    emotion_prompt: Path | None
    emotion_alpha: float
    emotion_weights: tuple[float, ...] | None
    random_emotion: bool
    max_segment_tokens: int
    quick_tokens: int
    seed: int
    speed: float
    duration: TargetDuration | None
    sampling: SamplingSettings


def segments_of(model: LoadedModel, request: Request) -> list[list[int]]:
    """Return the token ids of each segment of the request's text.

    Raises:
        SynthesisError: Nothing of the text is left to say, or a segment does not fit the model.
    """
    pieces = model.tokenizer.split(request.text, request.language)
    limit = min(request.max_segment_tokens, model.gpt.dims.max_text_len)
    segments = [
        model.tokenizer.ids_of(segment)
        for segment in split_segments(pieces, limit, request.quick_tokens)
    ]
    segments = [ids for ids in segments if ids]
    if not segments:
        raise SynthesisError(f"nothing to say in {request.text!r}", fix="give a text with words")
    unknown = sum(ids.count(model.tokenizer.unk_id) for ids in segments)
    if unknown:
        get_logger().warning(
            "%d tokens of the text are unknown to the tokenizer and will not be spoken well",
            unknown,
        )
    return segments


def asked_codes(
    model: LoadedModel, request: Request, segments: Sequence[Sequence[int]]
) -> Sequence[int | None]:
    """Return how many codes each segment is asked for; None where it may be as long as it likes.

    Raises:
        SynthesisError: The duration that is asked for cannot be had.
    """
    if request.duration is None:
        return [None] * len(segments)
    # The stop is one of the codes that sampling counts.
    most = min(model.gpt.dims.max_code_len - 1, request.sampling.max_codes - 1)
    return request.duration.asked_codes(segments, most=most)


def sampling_settings(generation: dict[str, float | bool | None]) -> SamplingSettings:
    """Return the settings that the keywords of the published call ask for.

    Raises:
        SynthesisError: A keyword is unknown.
    """
    given = {PUBLISHED_NAMES.get(name, name): value for name, value in generation.items()}
    if "typical_sampling" in given:
        mass = given.pop("typical_mass", None) or TYPICAL_MASS
        given["typical_mass"] = mass if given.pop("typical_sampling") else None
    if given.get("top_k", 0) is None:
        given["top_k"] = 0
    known = {field.name for field in fields(SamplingSettings)}
    for name in given:
        if name not in known:
            names = {*known, *PUBLISHED_NAMES, "typical_sampling"}
            raise SynthesisError(f"unknown setting {name!r}", fix=did_you_mean(name, names))
    return SamplingSettings(**given)  # type: ignore[arg-type]


def checked_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """Return the eight weights of the emotions.

    Raises:
        SynthesisError: There are not eight, or one is no number.
    """
    if len(weights) != len(EMOTIONS):
        raise SynthesisError(
            f"emo_vector has {len(weights)} weights, not {len(EMOTIONS)}",
            fix=f"give one for each of {', '.join(EMOTIONS)}",
        )
    if not all(map(math.isfinite, weights)):
        raise SynthesisError(
            f"emo_vector holds what is no number: {list(weights)}",
            fix="give weights of 0 to 1",
        )
    return tuple(weights)


def checked(name: str, value: float, limits: tuple[float, float]) -> float:
    """Return ``value`` of the setting ``name``.

    Raises:
        SynthesisError: It lies outside ``limits``.
    """
    low, high = limits
    if not low <= value <= high:
        raise SynthesisError(f"{name} {value} is out of range", fix=f"choose {low} to {high}")
    return value
