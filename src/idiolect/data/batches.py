"""Samples to batches: what the GPT is shown in one forward pass, and what it should say.

A sample is contiguous: prefix, framed text, start and codes. No padding ever stands between them,
since synthesis never sees any. Packed, the samples stand one behind the other in one row, and
nothing is computed for padding; else each has a row of its own, padded only at its end, where
causal attention cannot look. A batch holds its tokens flat, each with its place in the rows, so
that the loss computes heads for real tokens only.

Letters: B samples, P prefix rows, R rows, S columns of a row, N tokens of one kind, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.models.config import GptDims
from idiolect.models.gpt import PREFIX_ROWS, decode_positions

IGNORE_INDEX = -100
"""Label of a token after which nothing is to be learnt."""

CodePositions = Literal["decode", "published"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GptSample:
    """One target with the prompt that it is spoken after."""

    text_ids: NDArray[np.int64]  # [L], without start and stop
    codes: NDArray[np.int64]  # [n], without start and stop
    latents: NDArray[np.float32]  # [32, D], of the prompt
    emotion: NDArray[np.float32]  # [D], of the prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """All tokens of one kind in a batch, sample after sample, without padding."""

    inputs: Tensor  # [N] int64
    positions: Tensor  # [N] int64, rows of the position table
    slots: Tensor  # [N] int64, row * S + column
    labels: Tensor  # [N] int64, IGNORE_INDEX where nothing is to be learnt

    @property
    def num_labels(self) -> int:
        """How many tokens are to be predicted."""
        return int((self.labels != IGNORE_INDEX).sum())

    def to(self, device: torch.device) -> Tokens:
        """Return the tokens on ``device``."""
        return Tokens(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class GptBatch:
    """Samples laid out in rows, or behind each other in one."""

    latents: Tensor  # [B, 32, D] float32
    emotion: Tensor  # [B, D] float32
    prefix_slots: Tensor  # [B, P] int64
    text: Tokens
    codes: Tokens
    num_rows: int
    row_len: int
    packed_lens: tuple[int, ...] | None = None
    """Of the samples that share the one row; None where each has its own."""

    def to(self, device: torch.device) -> GptBatch:
        """Return the batch on ``device``."""
        return replace(
            self,
            latents=self.latents.to(device),
            emotion=self.emotion.to(device),
            prefix_slots=self.prefix_slots.to(device),
            text=self.text.to(device),
            codes=self.codes.to(device),
        )


def make_batch(
    samples: Sequence[GptSample],
    dims: GptDims,
    *,
    code_positions: CodePositions = "decode",
    packed: bool = False,
) -> GptBatch:
    """Lay ``samples`` out, all in one row or one a row.

    Args:
        samples: At least one.
        dims: Of the model; gives the start and stop tokens.
        code_positions: Which rows of the code position table the codes get; see
            :class:`idiolect.training.config.TrainConfig`.
        packed: All in one row, one behind the other, with nothing between.
    """
    text_lens = [len(sample.text_ids) + 2 for sample in samples]  # with start and stop
    code_lens = [len(sample.codes) + 1 for sample in samples]  # with start
    lens = [PREFIX_ROWS + sum(parts) for parts in zip(text_lens, code_lens, strict=True)]
    row_len = sum(lens) if packed else max(lens)
    steps = lens if packed else [row_len] * len(lens)
    sample_starts = [0, *accumulate(steps[:-1])]
    text_starts = [start + PREFIX_ROWS for start in sample_starts]
    code_starts = [start + n for start, n in zip(text_starts, text_lens, strict=True)]
    return GptBatch(
        latents=torch.from_numpy(np.stack([sample.latents for sample in samples])).float(),
        emotion=torch.from_numpy(np.stack([sample.emotion for sample in samples])).float(),
        prefix_slots=torch.stack([_run(start, PREFIX_ROWS) for start in sample_starts]),
        text=_text_tokens(samples, text_starts, dims),
        codes=_code_tokens(samples, code_starts, dims, code_positions),
        num_rows=1 if packed else len(samples),
        row_len=row_len,
        packed_lens=tuple(lens) if packed else None,
    )


def _text_tokens(samples: Sequence[GptSample], starts: Sequence[int], dims: GptDims) -> Tokens:
    """Each input predicts the next; the stop token, which the codes follow, predicts nothing."""
    framed = [[dims.start_text, *sample.text_ids, dims.stop_text] for sample in samples]
    return Tokens(
        inputs=_flat(framed),
        positions=torch.cat([torch.arange(len(ids)) for ids in framed]),
        slots=_runs(starts, [len(ids) for ids in framed]),
        labels=_flat([[*ids[1:], IGNORE_INDEX] for ids in framed]),
    )


def _code_tokens(
    samples: Sequence[GptSample], starts: Sequence[int], dims: GptDims, rule: CodePositions
) -> Tokens:
    lens = [len(sample.codes) + 1 for sample in samples]
    return Tokens(
        inputs=_flat([[dims.start_code, *sample.codes] for sample in samples]),
        positions=torch.cat([code_position_rows(n, rule) for n in lens]),
        slots=_runs(starts, lens),
        labels=_flat([[*sample.codes, dims.stop_code] for sample in samples]),
    )


def code_position_rows(count: int, rule: CodePositions) -> Tensor:
    """Return the rows of the code position table for the start token and ``count - 1`` codes.

    Returns:
        ``[count]`` int64.
    """
    return decode_positions(count) if rule == "decode" else torch.arange(count)


def _flat(rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.from_numpy(np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]))


def _runs(starts: Sequence[int], lens: Sequence[int]) -> Tensor:
    return torch.cat([_run(start, count) for start, count in zip(starts, lens, strict=True)])


def _run(start: int, count: int) -> Tensor:
    return torch.arange(start, start + count)
