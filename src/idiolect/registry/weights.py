"""The weights of a model, whichever of the forms they have: whole, adapters, safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.models.adapter import open_weights, read_outline
from idiolect.models.checkpoint import CheckpointHeader, CheckpointOutline, Weights
from idiolect.models.safe_file import SAFE_SUFFIX, load_safe, safe_outline


def outline_of(path: Path, *, bases: Sequence[Path] = ()) -> CheckpointOutline:
    """Return what can be told of the weights in ``path`` without reading them.

    Args:
        path: A file of weights.
        bases: What adapters may have been trained beside.

    Raises:
        CheckpointError: They are damaged, or adapters of a base that is not here.
    """
    if path.suffix == SAFE_SUFFIX:
        return safe_outline(path)
    return read_outline(path, bases=bases)


def weights_of(
    path: Path, *, bases: Sequence[Path] = ()
) -> tuple[Weights, CheckpointHeader | None]:
    """Return the whole weights in ``path`` and their header; adapters come merged.

    Raises:
        CheckpointError: As :func:`outline_of`.
    """
    if path.suffix == SAFE_SUFFIX:
        return load_safe(path)
    return open_weights(path, bases=bases)
