"""What chance alone may have done: intervals of differences and of shares, and the test of an ABX.

``n`` is sentences or votes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
MIN_SENTENCES = 6
"""Fewer decide nothing: that five of five differ to one side happens by chance in 1 of 16 cases,
more than the 1 of 20 that an interval of 95 % stands for."""

Measured = tuple[float, float]
"""An amount, and what it is counted on: seconds of work on seconds of sound; a mean counts on 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a figure lies in 95 of 100 repetitions."""

    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        """Whether there may be no difference at all."""
        return self.low <= 0 <= self.high


def ratio(measured: Sequence[Measured]) -> float:
    """Return the amounts of all on what they are counted on: long sentences count for more."""
    return sum(amount for amount, _ in measured) / sum(on for _, on in measured)


def difference_interval(
    first: Sequence[Measured], second: Sequence[Measured], *, seed: int = 0
) -> Interval | None:
    """Return the interval of the ratio of ``second`` less that of ``first``, by the bootstrap.

    Sentences are drawn with replacement, both figures of a sentence together: what is hard in a
    sentence is hard for both, and falls out.

    Args:
        first: Of each sentence, ``n``.
        second: Of the same sentences, in the same order.
        seed: Of the draws.

    Returns:
        The interval; None for fewer than two sentences, of which nothing can be said.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentiles).
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} sentences beside {len(second)}")
    if len(first) < 2:
        return None
    pairs = np.array([first, second], np.float64)  # [2, n, 2]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(first), size=(NUM_RESAMPLES, len(first)))
    sums = np.stack([model[drawn].sum(1) for model in pairs])  # [2, resamples, 2]
    ratios = sums[..., 0] / sums[..., 1]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios[1] - ratios[0], [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def wilson_interval(successes: int, n: int) -> Interval:
    """Return where a share lies of which ``successes`` of ``n`` were seen; 0 to 1 for none.

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if n == 0:
        return Interval(low=0.0, high=1.0)
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, spread = successes / n, z * z / n
    center = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return Interval(low=max(0.0, center - half), high=min(1.0, center + half))


def at_least_by_chance(successes: int, n: int) -> float:
    """Return how likely ``successes`` or more of ``n`` are for who guesses one of two; exact."""
    return sum(comb(n, k) for k in range(successes, n + 1)) / int(2**n)
