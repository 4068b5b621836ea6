"""The batches of each step, a pure function of seed and number: a run can go on at any step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from idiolect.data.batches import CodePositions, GptBatch, GptSample, make_batch
from idiolect.data.samples import SampleRef, SampleSource, epoch_order, fixed_order, load_sample
from idiolect.models.config import GptDims
from idiolect.training.config import TrainConfig
from idiolect.training.step import StepBatches


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Where batches come from."""

    train: Sequence[SampleSource]
    val: Sequence[SampleSource]
    dims: GptDims
    code_positions: CodePositions
    batch_size: int
    grad_accumulation: int
    seed: int
    num_workers: int
    samples_per_epoch: int
    packed: bool
    """Whether samples share a row: on a CPU, where that saves the padding. Attention takes a call
    for each of them, so elsewhere they do not, until it is measured there."""

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        train: Sequence[SampleSource],
        val: Sequence[SampleSource],
        dims: GptDims,
        device: torch.device,
    ) -> Feed:
        """Return the feed of a run; the first epoch is drawn to find out how long one is."""
        return cls(
            train=train,
            val=val,
            dims=dims,
            code_positions=config.code_positions,
            batch_size=config.batch_size,
            grad_accumulation=config.grad_accumulation,
            seed=config.seed,
            num_workers=config.num_workers,
            samples_per_epoch=len(epoch_order(train, seed=config.seed, epoch=0)),
            packed=device.type == "cpu",
        )

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch; the last one may be smaller."""
        return math.ceil(self.samples_per_epoch / (self.batch_size * self.grad_accumulation))

    def steps(self, first_step: int, last_step: int) -> Iterator[StepBatches]:
        """Yield the batches of ``first_step`` to ``last_step``, both included; steps count from 1.

        Epochs do too: the first step of epoch e is ``(e - 1) * steps_per_epoch + 1``.
        """
        step = first_step
        while step <= last_step:
            epoch, place = divmod(step - 1, self.steps_per_epoch)
            order = epoch_order(
                self.train, seed=self.seed, epoch=epoch, count=self.samples_per_epoch
            )
            rest = order[place * self.batch_size * self.grad_accumulation :]
            batches = self._batches(self.train, rest)
            for group in _grouped(batches, self.grad_accumulation):
                if step > last_step:
                    return
                yield StepBatches(step=step, epoch=epoch + 1, batches=group)
                step += 1

    def validation(self) -> Iterator[GptBatch]:
        """Yield the batches of a validation, always the same."""
        return self._batches(self.val, fixed_order(self.val))

    def _batches(
        self, sources: Sequence[SampleSource], refs: Sequence[SampleRef]
    ) -> Iterator[GptBatch]:
        def collate(samples: list[GptSample]) -> GptBatch:
            return make_batch(
                samples, self.dims, code_positions=self.code_positions, packed=self.packed
            )

        return iter(
            DataLoader(
                _Samples(sources, refs),
                batch_size=self.batch_size,
                num_workers=self.num_workers,
                collate_fn=collate,
            )
        )


class _Samples(Dataset[GptSample]):
    """Samples in the order of ``refs``."""

    def __init__(self, sources: Sequence[SampleSource], refs: Sequence[SampleRef]) -> None:
        self._sources = sources
        self._refs = refs

    def __len__(self) -> int:
        return len(self._refs)

    def __getitem__(self, place: int) -> GptSample:
        return load_sample(self._sources, self._refs[place])


def _grouped(batches: Iterator[GptBatch], size: int) -> Iterator[list[GptBatch]]:
    group: list[GptBatch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
