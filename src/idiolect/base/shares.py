"""Whole numbers in a proportion."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def apportion(shares: Mapping[Key, float], total: int) -> dict[Key, int]:
    """Return whole numbers in the proportion of ``shares``, ``total`` together.

    Each is its exact part rounded down, or one more for those that lose most by that.
    """
    scale = total / math.fsum(shares.values())
    exact = {key: share * scale for key, share in shares.items()}
    whole = {key: math.floor(part) for key, part in exact.items()}
    left = total - sum(whole.values())
    for key in sorted(exact, key=lambda key: whole[key] - exact[key])[:left]:
        whole[key] += 1
    return whole
