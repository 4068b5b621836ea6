"""Means of weights: over the steps of a run, and over its best checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from idiolect.models.checkpoint import Weights, map_weights

YOUNG_STEPS = 10
"""The mean of a young run forgets faster: else it would keep the start for a thousand steps."""


class RunningMean:
    """A running mean of what a model learns.

    Args:
        model: Whose weights are averaged; they are where the mean begins.
        keep: Share of the mean that each step keeps.

    Source:
        Polyak & Juditsky 1992; the slow start as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, keep: float) -> None:
        self._named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._means = [p.detach().clone() for p in self._named.values()]
        self._keep = keep

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights behind ``step`` in."""
        keep = min(self._keep, (1 + step) / (YOUNG_STEPS + step))
        torch._foreach_lerp_(self._means, self._weights, 1 - keep)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the mean where the weights are, and the weights back afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def held(self) -> dict[str, Tensor]:
        """Return what is not in place, by name: the mean, or the weights while it is."""
        return dict(zip(self._named, self._means, strict=True))

    @torch.no_grad()
    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Go on from ``weights``; what is in the model now is the mean."""
        for parameter, mean, name in zip(self._weights, self._means, self._named, strict=True):
            mean.copy_(parameter)
            parameter.copy_(weights[name])

    @property
    def _weights(self) -> list[Tensor]:
        return list(self._named.values())

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, mean in zip(self._weights, self._means, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(kept)


def mean_of(paths: Sequence[Path]) -> Weights:
    """Return the mean of the weights in ``paths``, which have the same tensors; read one by one."""
    maps = [map_weights(path) for path in paths]
    return {name: _mean([weights[name] for weights in maps]) for name in maps[0]}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].double()
    for tensor in tensors[1:]:
        total = total + tensor
    return (total / len(tensors)).to(tensors[0].dtype)
