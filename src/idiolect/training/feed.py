"""The passes of each step, a pure function of seed and number: a run can go on at any step.

A step is so many clips or so many tokens; it is cut into forward passes that a device has room
for, and the passes are shared out among the processes. The loss is a mean over the whole step, so
neither the room nor the number of processes changes what is learnt.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple, TypeVar

from idiolect.data.batches import GptBatch, make_batch
from idiolect.data.durations import DurationDraw
from idiolect.data.samples import (
    SampleRef,
    SampleSource,
    epoch_order,
    fixed_order,
    languages_of_ref,
    load_sample,
    sample_len,
)
from idiolect.models.config import GptDims
from idiolect.training.config import AUTO, TrainConfig
from idiolect.training.cut import cut_epoch, cut_step
from idiolect.training.loss import LabelCounts, silenced
from idiolect.training.step import StepBatches

FEWEST_STEPS = 100
"""Of an epoch with ``--tokens-per-step auto``: a small corpus needs steps more than long ones."""
READ_AHEAD = 2
"""Steps that are assembled ahead by each thread."""

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which of the passes of a step are this process's."""

    index: int = 0
    count: int = 1


class StepRefs(NamedTuple):
    """A step by the names of its samples."""

    step: int
    epoch: int
    refs: Sequence[SampleRef]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Where passes come from."""

    train: Sequence[SampleSource]
    val: Sequence[SampleSource]
    dims: GptDims
    config: TrainConfig
    share: Share
    samples_per_epoch: int
    steps_per_epoch: int
    tokens_per_step: int
    """0 where a step is a number of clips."""
    tokens_per_pass: int

    @classmethod
    def of(
        cls,
        config: TrainConfig,
        train: Sequence[SampleSource],
        val: Sequence[SampleSource],
        dims: GptDims,
        *,
        tokens_per_pass: int,
        tokens_per_step: int | None = None,
        share: Share | None = None,
    ) -> Feed:
        """Return the feed of a run; its first epoch is drawn to find out how long one is.

        Args:
            config: Of the run.
            train: What is learnt.
            val: What is measured on.
            dims: Of the model.
            tokens_per_pass: Most tokens in a forward pass.
            tokens_per_step: Of a run that goes on; decided here for a new one.
            share: Of the processes.
        """
        order = _order_of(config, train, epoch=0)
        total = sum(sample_len(train, ref) for ref in order)
        if tokens_per_step is None:
            tokens_per_step = _tokens_per_step(config, total, tokens_per_pass)
        num_steps = math.ceil(len(order) / config.clips_per_step)
        if tokens_per_step:
            num_steps = min(len(order), max(1, round(total / tokens_per_step)))
        return cls(
            train=train,
            val=val,
            dims=dims,
            config=config,
            share=share or Share(),
            samples_per_epoch=len(order),
            steps_per_epoch=num_steps,
            tokens_per_step=tokens_per_step,
            tokens_per_pass=tokens_per_pass,
        )

    def steps(self, first_step: int, last_step: int) -> Iterator[StepBatches]:
        """Yield ``first_step`` to ``last_step``, both included; steps count from 1.

        Epochs do too: the first step of epoch e is ``(e - 1) * steps_per_epoch + 1``.
        """
        refs = self._refs(first_step, last_step)
        return ahead(self._assembled, refs, num_threads=self.config.num_workers)

    def recut(self, data: StepBatches, tokens_per_pass: int) -> StepBatches:
        """Return the step of ``data`` in passes of at most ``tokens_per_pass`` tokens."""
        feed = replace(self, tokens_per_pass=tokens_per_pass)
        return feed._assembled(StepRefs(data.step, data.epoch, data.refs))

    def validation(self) -> Iterator[tuple[str, list[GptBatch], LabelCounts]]:
        """Yield what a validation reads, always the same: language by language.

        Each language comes with the passes of this process, and the labels of all processes.
        """
        by_language: dict[str, list[SampleRef]] = {}
        for ref in fixed_order(self.val):
            by_language.setdefault(languages_of_ref(self.val, ref), []).append(ref)
        for language, refs in sorted(by_language.items()):
            batches, _ = self._passes(self.val, refs, epoch=None)
            yield language, batches, _count_labels(self.val, refs)

    def _refs(self, first_step: int, last_step: int) -> Iterator[StepRefs]:
        step = first_step
        while step <= last_step:
            epoch, place = divmod(step - 1, self.steps_per_epoch)
            order = _order_of(self.config, self.train, epoch=epoch, count=self.samples_per_epoch)
            for run in self._runs(order)[place:]:
                if step > last_step:
                    return
                yield StepRefs(step, epoch + 1, order[run])
                step += 1

    def _runs(self, order: Sequence[SampleRef]) -> list[slice]:
        if self.tokens_per_step:
            lens = [sample_len(self.train, ref) for ref in order]
            return cut_epoch(lens, self.steps_per_epoch)
        size = self.config.clips_per_step
        return [slice(start, start + size) for start in range(0, len(order), size)]

    def _assembled(self, step: StepRefs) -> StepBatches:
        batches, numbers = self._passes(self.train, step.refs, epoch=step.epoch)
        return StepBatches(
            step=step.step,
            epoch=step.epoch,
            batches=batches,
            numbers=numbers,
            counts=_count_labels(self.train, step.refs),
            refs=step.refs,
        )

    def _passes(
        self, sources: Sequence[SampleSource], refs: Sequence[SampleRef], *, epoch: int | None
    ) -> tuple[list[GptBatch], list[int]]:
        """Return the passes of this process, and their numbers among those of all.

        ``epoch`` decides of whom durations are asked; None in a validation, where of nobody.
        """
        draw = DurationDraw(seed=self.config.seed, epoch=epoch)
        durations = draw if self.config.duration_control else None
        lens = [sample_len(sources, ref) for ref in refs]
        passes = cut_step(lens, self.tokens_per_pass, multiple_of=self.share.count)
        numbers = list(range(self.share.index, len(passes), self.share.count))
        batches = [
            self._batch(sources, [refs[p] for p in passes[n]], refs[0], durations) for n in numbers
        ]
        return batches, numbers

    def _batch(
        self,
        sources: Sequence[SampleSource],
        refs: Sequence[SampleRef],
        spare: SampleRef,
        durations: DurationDraw | None,
    ) -> GptBatch:
        """Return the pass of ``refs``; of none, one of ``spare`` in which nothing is to be learnt.

        Every process has as many passes as the others, since they wait for each other's gradients.
        """
        batch = make_batch(
            [load_sample(sources, ref, durations) for ref in refs or [spare]],
            self.dims,
            code_positions=self.config.code_positions,
            packed=True,
        )
        return batch if refs else silenced(batch)


def _order_of(
    config: TrainConfig, train: Sequence[SampleSource], *, epoch: int, count: int | None = None
) -> list[SampleRef]:
    return epoch_order(
        train,
        seed=config.seed,
        epoch=epoch,
        count=count,
        language_temperature=config.language_temperature,
    )


def _tokens_per_step(config: TrainConfig, total: int, tokens_per_pass: int) -> int:
    if config.tokens_per_step != AUTO:
        return int(config.tokens_per_step)
    return min(tokens_per_pass, math.ceil(total / FEWEST_STEPS))


def _count_labels(sources: Sequence[SampleSource], refs: Iterable[SampleRef]) -> LabelCounts:
    """Return how many tokens are to be predicted: all of the samples, and their stops."""
    text, codes, base_codes = 0, 0, 0
    for ref in refs:
        source = sources[ref.source]
        text += len(source.text_ids[ref.target]) + 1
        num_codes = source.store.num_codes(ref.target) + 1
        codes += num_codes
        if ref.target in source.base_text_ids:
            base_codes += num_codes
    return LabelCounts(text=text, codes=codes, base_codes=base_codes)


def ahead(
    make: Callable[[Item], Made], items: Iterable[Item], *, num_threads: int
) -> Iterator[Made]:
    """Yield ``make(item)`` for each of ``items`` in order, made ahead by ``num_threads``."""
    if not num_threads:
        yield from map(make, items)
        return
    todo = iter(items)
    with ThreadPoolExecutor(num_threads, thread_name_prefix="feed") as pool:
        coming = deque(pool.submit(make, item) for item in islice(todo, READ_AHEAD * num_threads))
        while coming:
            made = coming.popleft().result()
            coming.extend(pool.submit(make, item) for item in islice(todo, 1))
            yield made
