"""The loss of a batch: sums over tokens, so that a step may be cut into batches in any way.

Letters: B samples, R rows, S columns of a row, N tokens of one kind, D width, V classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from idiolect.data.batches import IGNORE_INDEX, GptBatch
from idiolect.data.durations import FREE
from idiolect.models.gpt import UnifiedVoice
from idiolect.training.base_kl import BaseTeacher, kl_sum
from idiolect.training.head_loss import head_loss

Scalar = TypeVar("Scalar", Tensor, float)


class LossSums(NamedTuple):
    """The losses of a batch, as sums over its tokens."""

    text: Tensor  # scalar float32, nats
    codes: Tensor  # scalar float32, nats
    correct: Tensor  # scalar int64: codes of which the likeliest is the right one
    kl: Tensor  # scalar float32, nats: how far the codes are from the base's


class LossWeights(NamedTuple):
    """What the mean loss of a token of each kind counts for."""

    text: float
    codes: float
    kl: float = 0.0
    """Of the distance to the base, per code of its languages."""


class LabelCounts(NamedTuple):
    """How many tokens a loss is a mean over."""

    text: int
    codes: int
    base_codes: int = 0
    """Those of the codes that are in a language of the base."""


class TrainableGpt(nn.Module):
    """A GPT whose forward pass is the loss of a batch, as Accelerate wants to wrap it.

    Args:
        gpt: The network.
        code_noise: Share of the codes it reads that are replaced while it is in training mode.
        teacher: The base that it should stay near to, while it is in training mode.
    """

    def __init__(
        self, gpt: UnifiedVoice, *, code_noise: float = 0.0, teacher: BaseTeacher | None = None
    ) -> None:
        super().__init__()
        self.gpt = gpt
        self.code_noise = code_noise
        self.teacher = teacher

    def forward(self, batch: GptBatch) -> LossSums:
        """Return the summed losses of ``batch``."""
        if self.training and self.code_noise:
            batch = with_noisy_codes(batch, self.code_noise, self.gpt.dims.start_code)
        return loss_sums(self.gpt, batch, self.teacher if self.training else None)


def with_noisy_codes(batch: GptBatch, share: float, num_codes: int) -> GptBatch:
    """Return ``batch`` with ``share`` of the codes that are read replaced; what is learnt stays.

    A network that may not trust what was said so far has to look at the text: it learns a small
    corpus less by heart.

    Source:
        Bowman et al. 2016, "Generating sentences from a continuous space", section 3 (word
        dropout); here by other codes, for the published table has no row for a missing one.
    """
    read = batch.codes.inputs
    is_hit = (torch.rand(read.shape, device=read.device) < share) & (read < num_codes)
    noisy = torch.where(is_hit, torch.randint_like(read, num_codes), read)
    return replace(batch, codes=replace(batch.codes, inputs=noisy))


def silenced(batch: GptBatch) -> GptBatch:
    """Return ``batch`` with nothing in it to be learnt; its loss is zero, and so are gradients."""
    text, codes = (
        replace(tokens, labels=torch.full_like(tokens.labels, IGNORE_INDEX))
        for tokens in (batch.text, batch.codes)
    )
    return replace(batch, text=text, codes=codes, base=None, base_codes=None)


def count_labels(batches: Sequence[GptBatch]) -> LabelCounts:
    """Return the labels of ``batches`` together: the divisors of one optimizer step."""
    return LabelCounts(
        text=sum(batch.text.num_labels for batch in batches),
        codes=sum(batch.codes.num_labels for batch in batches),
    )


def mean_loss(
    text_sum: Scalar,
    code_sum: Scalar,
    counts: LabelCounts,
    weights: LossWeights,
    *,
    kl_sum: Scalar | float = 0.0,
) -> Scalar:
    """Return the weighted loss, in nats.

    ``counts`` are those of the whole optimizer step, not of the batch that the sums belong to;
    so the losses of its batches add up to the loss of the step, however it is cut.
    """
    loss = weights.text * text_sum / counts.text + weights.codes * code_sum / counts.codes
    return loss + weights.kl * kl_sum / max(1, counts.base_codes)


def loss_sums(model: UnifiedVoice, batch: GptBatch, teacher: BaseTeacher | None = None) -> LossSums:
    """Return the summed losses of ``model`` over ``batch``; ``teacher`` reads what it judges."""
    text_states, code_states = token_states(model, batch)
    text, _ = head_loss(text_states, model.text_head, batch.text.labels)
    codes, correct = head_loss(code_states, model.mel_head, batch.codes.labels)
    kl = torch.zeros_like(codes)
    if teacher is not None and batch.base_codes is not None:
        with teacher.reading():
            _, base_states = token_states(teacher.gpt, batch.read_by_base())
        judged = code_states.index_select(0, batch.base_codes)
        kl = kl_sum(judged, model.mel_head, base_states, teacher.gpt.mel_head)
    return LossSums(text=text, codes=codes, correct=correct, kl=kl)


def token_states(model: UnifiedVoice, batch: GptBatch) -> tuple[Tensor, Tensor]:
    """Return what the heads read at each text token ``[N, D]`` and at each code ``[N', D]``."""
    rows = embed_rows(model, batch)
    hidden = model.transform(rows, packed_lens=batch.packed_lens).flatten(0, 1)  # [R*S, D]
    return hidden.index_select(0, batch.text.slots), hidden.index_select(0, batch.codes.slots)


def token_logits(model: UnifiedVoice, batch: GptBatch) -> tuple[Tensor, Tensor]:
    """Return the logits at each text token ``[N, V]`` and at each code ``[N', V']``."""
    text, codes = token_states(model, batch)
    return model.text_head(text), model.mel_head(codes)


def embed_rows(model: UnifiedVoice, batch: GptBatch) -> Tensor:
    """Return the rows that the transformer reads, ``[R, S, D]``; zeros at their padded ends.

    There is no mask: rows are padded at the right only, where no token looks, or hold packed
    samples, of which attention knows the lengths.
    """
    asked = batch.asked_codes
    duration = None if asked is None else model.duration_rows(asked, asked == FREE)  # [B, D]
    prefix = model.prefix(batch.latents, batch.emotion, duration).flatten(0, 1)  # [B*34, D]
    text = model.embed_text(batch.text.inputs[None], batch.text.positions[None])[0]  # [N, D]
    codes = model.embed_codes(batch.codes.inputs[None], batch.codes.positions[None])[0]
    slots = torch.cat([batch.prefix_slots.flatten(), batch.text.slots, batch.codes.slots])
    empty = prefix.new_zeros(batch.num_rows * batch.row_len, prefix.shape[-1])
    rows = empty.index_copy(0, slots, torch.cat([prefix, text, codes]))
    return rows.view(batch.num_rows, batch.row_len, -1)
