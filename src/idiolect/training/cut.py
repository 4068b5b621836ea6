"""How an epoch is cut into steps, and a step into forward passes: plain arithmetic on lengths.

Both are pure functions of the lengths, so that a run can go on at any step, and so that many
processes cut alike without a word between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def cut_epoch(lens: Sequence[int], num_steps: int) -> list[slice]:
    """Cut samples into ``num_steps`` runs of about as many tokens each; none is empty.

    Args:
        lens: Tokens of each sample, in the order of the epoch; at least ``num_steps`` of them.
        num_steps: How many runs.
    """
    ends = np.cumsum(lens)
    goals = ends[-1] * np.arange(1, num_steps) / num_steps
    cuts = np.searchsorted(ends, goals, side="left") + 1
    # Each run keeps one sample at least, however long its neighbours are.
    runs = np.arange(1, num_steps)
    cuts = np.maximum.accumulate(np.maximum(cuts, runs) - runs) + runs
    cuts = np.minimum(cuts, len(lens) - num_steps + runs)
    edges = [0, *cuts.tolist(), len(lens)]
    return [slice(start, end) for start, end in pairwise(edges)]


def cut_step(lens: Sequence[int], budget: int, *, multiple_of: int = 1) -> list[list[int]]:
    """Share samples out to passes of at most ``budget`` tokens, all about as long.

    Args:
        lens: Tokens of each sample.
        budget: Tokens in a pass; a longer sample has one of its own.
        multiple_of: So many passes, or a multiple: one for each process. With fewer samples than
            that, some are empty.

    Returns:
        The samples of each pass, by place, in ascending order.
    """
    count = multiple_of * -(-sum(lens) // (budget * multiple_of))
    longest_first = sorted(range(len(lens)), key=lambda place: (-lens[place], place))
    while (passes := _spread(lens, longest_first, count, budget)) is None:
        count += multiple_of
    return [sorted(members) for members in passes]


def _spread(
    lens: Sequence[int], order: Sequence[int], count: int, budget: int
) -> list[list[int]] | None:
    """Put each sample into the emptiest of ``count`` passes; None if one does not fit."""
    passes: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for place in order:
        emptiest = filled.index(min(filled))
        if passes[emptiest] and filled[emptiest] + lens[place] > budget:
            return None
        passes[emptiest].append(place)
        filled[emptiest] += lens[place]
    return passes
