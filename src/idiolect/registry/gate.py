"""What a training took from the languages that the base spoke, and whether that is too much.

A run with an ASR speaks sentences of each language before its first step and at its validations.
Its checkpoints carry the shares of letters wrong, 0 to 1: ``probe_cer_base.en`` before the first
step, ``probe_cer.en`` of these weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.base.errors import RegistryError
from idiolect.base.log import get_logger

AFTER, BEFORE = "probe_cer.", "probe_cer_base."
DEFAULT_POINTS = 3.0
"""How many points of letters wrong a language may lose before it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How a language fared, in shares of letters wrong, 0 to 1."""

    language: str
    before: float
    after: float

    @property
    def lost_points(self) -> float:
        """Letters of a hundred that are wrong now and were not; below 0 when it got better."""
        return 100 * (self.after - self.before)

    def __str__(self) -> str:
        return f"{self.language} {self.before:.1%} -> {self.after:.1%} ({self.lost_points:+.1f})"


def kept_languages(scores: Mapping[str, float]) -> list[Kept]:
    """Return the languages that were heard both before the training and now, by their codes."""
    names = sorted(key.removeprefix(AFTER) for key in scores if key.startswith(AFTER))
    return [
        Kept(language=name, before=scores[BEFORE + name], after=scores[AFTER + name])
        for name in names
        if BEFORE + name in scores
    ]


def check_gate(
    scores: Mapping[str, float], *, gate: float | None, is_blended: bool, where: Path
) -> str:
    """Return a line on what each language lost; empty when nothing was measured.

    Args:
        scores: Of the checkpoint's header.
        gate: Points that a language may lose; None warns above :data:`DEFAULT_POINTS`.
        is_blended: Whether the weights are blended with the base's: these scores are then of other
            weights, so that nothing is refused for them.
        where: The checkpoint.

    Raises:
        RegistryError: ``gate`` is given, and a language lost more, or nothing was measured.
    """
    kept = kept_languages(scores)
    limit = DEFAULT_POINTS if gate is None else gate
    lost = [found for found in kept if found.lost_points > limit]
    if is_blended:
        _tell_blended(kept, asked=gate is not None)
    elif gate is not None and not kept:
        raise _unmeasured(where)
    elif gate is not None and lost:
        raise _refusal(lost, limit, where)
    elif lost:
        get_logger().warning(
            "of %s, the training lost more than %g points: %s; --gate refuses such a model, "
            "--blend 0.5 goes half of the way only",
            where,
            limit,
            _listed(lost),
        )
    return f"letters wrong before and after the training: {_listed(kept)}" if kept else ""


def _tell_blended(kept: Sequence[Kept], *, asked: bool) -> None:
    if not kept and not asked:
        return
    get_logger().warning(
        "nothing is refused for what was forgotten: nobody measured the blend (%s)",
        f"all of the way: {_listed(kept)}" if kept else "nor the weights that it is made of",
    )


def _unmeasured(where: Path) -> RegistryError:
    return RegistryError(
        "nothing tells whether the languages of the base are kept",
        where=f"--gate, {where}",
        fix="train with --asr and a --probe-manifest of each of them, or leave --gate out",
    )


def _refusal(lost: Sequence[Kept], limit: float, where: Path) -> RegistryError:
    return RegistryError(
        f"the training lost more than {limit:g} points of letters: {_listed(lost)}",
        where=f"--gate, {where}",
        fix="install an earlier checkpoint, or with --blend 0.5; train with clips of these "
        "languages among the others (PATH::LANG@0.2) or --mode lora; or give a larger --gate",
    )


def _listed(kept: Sequence[Kept]) -> str:
    return ", ".join(map(str, kept))
