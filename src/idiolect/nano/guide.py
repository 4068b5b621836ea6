"""Draws one head of the GPT to the piece of the text that is said now, while it begins to learn.

A GPT that starts from zero on few hours learns the rhythm of codes long before it finds out that
they are the text. The recogniser knows when each piece is said (:mod:`idiolect.nano.alignment`);
one head is told so, less and less, until it finds the pieces by itself.

``R`` is rows of a batch, ``S`` their columns, ``D`` the width, ``K`` the width of a head, ``N`` the
codes of all samples, each with its stop.

Source:
    Tachibana et al. 2018, "Efficiently trainable text-to-speech system based on deep convolutional
    networks with guided attention", section 4. There the guide is a diagonal, here it is what was
    heard; and the logarithm of what is near is learnt, so that attention to anything but text
    counts as far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from idiolect.data.batches import GptBatch, Tokens
from idiolect.models.gpt import UnifiedVoice


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideConfig:
    """Which head is drawn, how near, how long."""

    layer: int = 1
    head: int = 0
    width: float = 1.0
    """Standard deviation of what is near, in pieces of the text."""
    weight: float = 0.3
    """Of its loss, in the first step."""
    steps: int = 3600
    """After so many steps nothing is drawn any more."""

    def weight_at(self, step: int) -> float:
        """Return the weight in ``step``, which counts from 1: it falls along a line."""
        return self.weight * max(0.0, 1 - step / self.steps)


class Guide:
    """Looks into one attention of a GPT while it is run."""

    def __init__(self, gpt: UnifiedVoice, config: GuideConfig) -> None:
        self._config = config
        self._heads = gpt.dims.num_heads
        block: Any = gpt.gpt.h[config.layer]
        self._attention = block.attn
        self._attention.register_forward_pre_hook(self._see)
        self._seen: Tensor | None = None

    def _see(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen = inputs[0]

    def loss(self, batch: GptBatch, said: Tensor) -> Tensor:
        """Return how far from the piece that is said the head looks, in nats a code.

        Args:
            batch: What the GPT was run over last.
            said: The piece of its own text at each code, counted from 0, ``[N]`` int64.
        """
        assert self._seen is not None, "the GPT was not run"
        attention = self._weights(self._seen).float()
        # Behind the start token the pieces are one column further on.
        code_place = _laid_out(batch.codes, said + 1, batch)
        text_place = _laid_out(batch.text, batch.text.positions, batch)
        apart = code_place[:, :, None] - text_place[:, None]  # [R, S, S]; NaN where not both are
        near = torch.exp(-0.5 * (apart / self._config.width).square()).nan_to_num(0.0)
        found = (attention * near).sum(dim=-1)[~code_place.isnan()]
        return -found.clamp(min=1e-6).log().mean()

    def _weights(self, x: Tensor) -> Tensor:
        """Return what each row of ``x`` ``[R, S, D]`` sees of the rows before it, ``[R, S, S]``."""
        S, dim = x.shape[1:]
        K = dim // self._heads
        first = self._config.head * K
        weight, bias = self._attention.c_attn.weight, self._attention.c_attn.bias
        q, k = (
            x @ weight[:, start : start + K] + bias[start : start + K]
            for start in (first, dim + first)
        )
        later = torch.ones(S, S, dtype=torch.bool, device=x.device).triu(1)
        scores = (q @ k.mT).float() / math.sqrt(K)
        weights: Tensor = scores.masked_fill(later, -torch.inf).softmax(dim=-1)
        return weights


def _laid_out(tokens: Tokens, places: Tensor, batch: GptBatch) -> Tensor:
    """Return ``places`` (one a token) where the tokens stand, ``[R, S]``; else NaN."""
    rows = torch.full((batch.num_rows * batch.row_len,), torch.nan, device=places.device)
    rows[tokens.slots] = places.float()
    return rows.view(batch.num_rows, batch.row_len)
