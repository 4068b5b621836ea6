"""Durations that are asked for: how many codes each segment of a text should have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idiolect.base.errors import SynthesisError
from idiolect.base.shares import apportion
from idiolect.base.units import CODE_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDuration:
    """How long the sound of one request should be."""

    total_sec: float
    """With the silence between the segments."""
    pause_sec: float
    speed: float
    """Shortens the sound of the codes that are asked for, so that many more are."""

    def __post_init__(self) -> None:
        if not 0 < self.total_sec < float("inf"):
            raise SynthesisError(
                f"target_duration {self.total_sec} is out of range", fix="give seconds above 0"
            )

    def asked_codes(self, segments: Sequence[Sequence[int]], *, most: int) -> list[int]:
        """Return how many codes each of ``segments`` is asked for, in proportion to its tokens.

        Args:
            segments: Token ids.
            most: Codes that the model can be asked for in one segment.

        Raises:
            SynthesisError: There is no time to speak, or more than the model can fill.
        """
        pauses_sec = max(0.0, self.pause_sec) * (len(segments) - 1)
        total = round((self.total_sec - pauses_sec) * CODE_RATE_HZ * self.speed)
        if total < len(segments):
            raise SynthesisError(
                f"target_duration {self.total_sec:g} s leaves no time to speak: {len(segments)} "
                f"segments have {pauses_sec:g} s of silence between them",
                fix="ask for more, or give a shorter interval_silence",
            )
        tokens = {place: float(len(segment)) for place, segment in enumerate(segments)}
        shares = apportion(tokens, total)
        asked = [max(1, shares[place]) for place in range(len(segments))]
        if max(asked) > most:
            raise SynthesisError(
                f"a segment would last {max(asked) / CODE_RATE_HZ:g} s, and the model says at "
                f"most {most / CODE_RATE_HZ:g} s at once",
                fix="ask for less, or lower max_text_tokens_per_segment so that there are more "
                "segments",
            )
        return asked
