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
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.models.config import GptDims
from idiolect.models.gpt import PREFIX_ROWS, decode_positions

IGNORE_INDEX = -100
"""Label of a token after which nothing is to be learnt."""

ROW_MULTIPLE = 128
"""Packed rows are filled up to a multiple of this: bfloat16 kernels of a processor are made for one
length, and rows of any length would have them made anew in each step."""

CodePositions = Literal["decode", "published"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GptSample:
    """One target with the prompt that it is spoken after."""

    text_ids: NDArray[np.int64]  # [L], without start and stop
    codes: NDArray[np.int64]  # [n], without start and stop
    latents: NDArray[np.float32]  # [32, D], of the prompt
    emotion: NDArray[np.float32]  # [D], of the prompt
    language: str = ""
    """Of the text; empty where nobody asks."""
    asked_codes: int | None = None
    """How many codes are asked for, or :data:`~idiolect.data.durations.FREE`; None in a run that
    does not learn durations."""
    base_text_ids: NDArray[np.int64] | None = None
    """``[L']``, the text by the base's tokenizer, where the base is to judge it."""


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
    """Of the samples that share the one row, and of what fills it up; None if they share none."""
    languages: tuple[str, ...] = ()
    """Of the samples, in their order."""
    asked_codes: Tensor | None = None
    """``[B]`` int64, codes that are asked for, or FREE; None where durations are not learnt."""
    base: GptBatch | None = None
    """The samples that the base is to judge, as it would have read them; None without any."""
    base_codes: Tensor | None = None
    """``[M]`` int64, which of ``codes`` they are, in the order of those of ``base``."""

    def to(self, device: torch.device) -> GptBatch:
        """Return the batch on ``device``."""
        return replace(
            self,
            latents=self.latents.to(device),
            emotion=self.emotion.to(device),
            prefix_slots=self.prefix_slots.to(device),
            text=self.text.to(device),
            codes=self.codes.to(device),
            asked_codes=None if self.asked_codes is None else self.asked_codes.to(device),
            base=None if self.base is None else self.base.to(device),
            base_codes=None if self.base_codes is None else self.base_codes.to(device),
        )

    def read_by_base(self) -> GptBatch:
        """Return ``base`` with the codes that are read here, which may have been changed."""
        assert self.base is not None, "nothing is for the base"
        assert self.base_codes is not None, "codes that are in no batch"
        inputs = self.codes.inputs[self.base_codes]
        return replace(self.base, codes=replace(self.base.codes, inputs=inputs))


class SampleRows(NamedTuple):
    """How many rows a sample has of each kind."""

    prefix: int
    text: int
    codes: int


def rows_of(num_text_ids: int, num_codes: int) -> SampleRows:
    """Return the rows of a sample; its text gets a start and a stop, its codes a start."""
    return SampleRows(PREFIX_ROWS, num_text_ids + 2, num_codes + 1)


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
    parts = [rows_of(len(sample.text_ids), len(sample.codes)) for sample in samples]
    lens = [sum(rows) for rows in parts]
    row_len = sum(lens) if packed else max(lens)
    filler = -row_len % ROW_MULTIPLE if packed else 0
    steps = lens if packed else [row_len] * len(lens)
    sample_starts = [0, *accumulate(steps[:-1])]
    text_starts = [start + PREFIX_ROWS for start in sample_starts]
    code_starts = [start + rows.text for start, rows in zip(text_starts, parts, strict=True)]
    for_base = [as_base_reads(s) for s in samples if s.base_text_ids is not None]
    return GptBatch(
        latents=torch.from_numpy(np.stack([sample.latents for sample in samples])).float(),
        emotion=torch.from_numpy(np.stack([sample.emotion for sample in samples])).float(),
        prefix_slots=torch.stack([_run(start, PREFIX_ROWS) for start in sample_starts]),
        text=_text_tokens(samples, text_starts, dims),
        codes=_code_tokens(samples, code_starts, dims, code_positions),
        num_rows=1 if packed else len(samples),
        row_len=row_len + filler,
        packed_lens=_with_filler(lens, filler) if packed else None,
        languages=tuple(sample.language for sample in samples),
        asked_codes=_asked_codes(samples),
        base=(
            make_batch(for_base, dims, code_positions=code_positions, packed=packed)
            if for_base
            else None
        ),
        base_codes=_base_codes(samples) if for_base else None,
    )


def _with_filler(lens: Sequence[int], filler: int) -> tuple[int, ...]:
    return (*lens, filler) if filler else tuple(lens)


def as_base_reads(sample: GptSample) -> GptSample:
    """Return ``sample`` for the base: in its own pieces, and asked for no duration.

    The base knows the row that is there when nothing is asked, and no other.
    """
    assert sample.base_text_ids is not None, "the base has no text of this sample"
    return replace(sample, text_ids=sample.base_text_ids, base_text_ids=None, asked_codes=None)


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


def _asked_codes(samples: Sequence[GptSample]) -> Tensor | None:
    asked = [sample.asked_codes for sample in samples]
    if all(count is None for count in asked):
        return None
    if any(count is None for count in asked):
        raise ValueError("some samples of a batch are asked for durations, and some are not")
    return torch.tensor(asked)


def _base_codes(samples: Sequence[GptSample]) -> Tensor:
    """Return which codes of the batch, starts included, belong to samples that the base judges."""
    is_judged = [
        torch.full((len(sample.codes) + 1,), sample.base_text_ids is not None) for sample in samples
    ]
    return torch.cat(is_judged).nonzero()[:, 0]


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
