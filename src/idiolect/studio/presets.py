"""Emotions that have a name of their own, as positions of the eight sliders, and mixes of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from idiolect.models.emotion import EMOTIONS

Weights = tuple[float, ...]
"""One for each of :data:`~idiolect.models.emotion.EMOTIONS`, in their order."""


def weights_of(**named: float) -> Weights:
    """Return the eight weights of emotions given by name; those that are not are 0."""
    unknown = named.keys() - set(EMOTIONS)
    if unknown:
        raise ValueError(f"no such emotions: {', '.join(sorted(unknown))}")
    return tuple(named.get(emotion, 0.0) for emotion in EMOTIONS)


PRESETS: Final[Mapping[str, Weights]] = MappingProxyType(
    {
        "neutral": weights_of(),
        "happy": weights_of(happy=0.8),
        "excited": weights_of(happy=0.6, surprised=0.4),
        "sad": weights_of(sad=0.6, melancholic=0.3),
        "angry": weights_of(angry=0.8),
        "fearful": weights_of(afraid=0.8),
        "calm": weights_of(calm=0.8),
        "surprised": weights_of(surprised=0.8),
        "disgusted": weights_of(disgusted=0.8),
        "confident": weights_of(happy=0.2, angry=0.15, calm=0.4),
        "tender": weights_of(happy=0.25, melancholic=0.1, calm=0.45),
    }
)
"""Neutral leaves the voice its own emotion. Starting points: no listening test chose them."""


def mix(first: Sequence[float], second: Sequence[float], share: float) -> Weights:
    """Return the weights on the way from ``first`` (share 0) to ``second`` (share 1)."""
    share = min(max(share, 0.0), 1.0)
    return tuple(
        (1 - share) * one + share * other for one, other in zip(first, second, strict=True)
    )
