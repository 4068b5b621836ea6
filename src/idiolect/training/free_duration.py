"""Readers of a checkpoint that know nothing of durations still find the row that was learnt."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from idiolect.models.checkpoint import Weights
from idiolect.models.gpt import FREE_ROW, SPEED_ROW

SPEED_TABLE = "speed_emb.weight"


def with_free_speed(weights: Mapping[str, Tensor]) -> Weights:
    """Return ``weights`` that ask for nothing where the published code asks for nothing.

    With durations, training puts the free row where a duration may stand, and never sees the
    speed row, which the published code puts there. So the speed row becomes a copy of the free
    one; a run that goes on does not read it. Adapters, which have no such table, stay as they are.
    """
    if SPEED_TABLE not in weights:
        return dict(weights)
    table = weights[SPEED_TABLE].clone()
    table[SPEED_ROW] = table[FREE_ROW]
    return {**weights, SPEED_TABLE: table}
