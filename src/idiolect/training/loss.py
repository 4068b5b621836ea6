"""The loss of a batch: sums over tokens, so that a step may be cut into batches in any way.

Letters: B samples, R rows, S columns of a row, N tokens of one kind, D width, V classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.data.batches import IGNORE_INDEX, GptBatch
from idiolect.models.gpt import UnifiedVoice

Scalar = TypeVar("Scalar", Tensor, float)


class LossSums(NamedTuple):
    """The losses of a batch, as sums over its tokens."""

    text: Tensor  # scalar float32, nats
    codes: Tensor  # scalar float32, nats
    correct: Tensor  # scalar int64: codes of which the likeliest is the right one


class LossWeights(NamedTuple):
    """What the mean loss of a token of each kind counts for."""

    text: float
    codes: float


class LabelCounts(NamedTuple):
    """How many tokens a loss is a mean over."""

    text: int
    codes: int


class TrainableGpt(nn.Module):
    """A GPT whose forward pass is the loss of a batch, as Accelerate wants to wrap it.

    Args:
        gpt: The network.
        code_noise: Share of the codes it reads that are replaced while it is in training mode.
    """

    def __init__(self, gpt: UnifiedVoice, *, code_noise: float = 0.0) -> None:
        super().__init__()
        self.gpt = gpt
        self.code_noise = code_noise

    def forward(self, batch: GptBatch) -> LossSums:
        """Return the summed losses of ``batch``."""
        if self.training and self.code_noise:
            batch = with_noisy_codes(batch, self.code_noise, self.gpt.dims.start_code)
        return loss_sums(self.gpt, batch)


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


def count_labels(batches: Sequence[GptBatch]) -> LabelCounts:
    """Return the labels of ``batches`` together: the divisors of one optimizer step."""
    return LabelCounts(
        text=sum(batch.text.num_labels for batch in batches),
        codes=sum(batch.codes.num_labels for batch in batches),
    )


def mean_loss(
    text_sum: Scalar, code_sum: Scalar, counts: LabelCounts, weights: LossWeights
) -> Scalar:
    """Return the weighted loss, in nats.

    ``counts`` are those of the whole optimizer step, not of the batch that the sums belong to;
    so the losses of its batches add up to the loss of the step, however it is cut.
    """
    return weights.text * text_sum / counts.text + weights.codes * code_sum / counts.codes


def loss_sums(model: UnifiedVoice, batch: GptBatch) -> LossSums:
    """Run ``model`` over ``batch``; return its summed losses."""
    text_logits, code_logits = token_logits(model, batch)
    return LossSums(
        text=token_loss_sum(text_logits, batch.text.labels),
        codes=token_loss_sum(code_logits, batch.codes.labels),
        correct=(code_logits.argmax(-1) == batch.codes.labels).sum(),
    )


def token_loss_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy summed over the labelled tokens, in nats.

    Args:
        logits: ``[N, V]``, any float type; computed in float32.
        labels: ``[N]`` int64, :data:`IGNORE_INDEX` where nothing is to be learnt.

    Returns:
        Scalar float32.
    """
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE_INDEX, reduction="sum")


def token_logits(model: UnifiedVoice, batch: GptBatch) -> tuple[Tensor, Tensor]:
    """Return the logits at each text token ``[N, V]`` and at each code ``[N', V']``."""
    rows = embed_rows(model, batch)
    hidden = model.transform(rows, packed_lens=batch.packed_lens).flatten(0, 1)  # [R*S, D]
    text = model.text_head(hidden.index_select(0, batch.text.slots))
    codes = model.mel_head(hidden.index_select(0, batch.codes.slots))
    return text, codes


def embed_rows(model: UnifiedVoice, batch: GptBatch) -> Tensor:
    """Return the rows that the transformer reads, ``[R, S, D]``; zeros at their padded ends.

    There is no mask: rows are padded at the right only, where no token looks, or hold packed
    samples, of which attention knows the lengths.
    """
    prefix = model.prefix(batch.latents, batch.emotion).flatten(0, 1)  # [B*34, D]
    text = model.embed_text(batch.text.inputs[None], batch.text.positions[None])[0]  # [N, D]
    codes = model.embed_codes(batch.codes.inputs[None], batch.codes.positions[None])[0]
    slots = torch.cat([batch.prefix_slots.flatten(), batch.text.slots, batch.codes.slots])
    empty = prefix.new_zeros(batch.num_rows * batch.row_len, prefix.shape[-1])
    rows = empty.index_copy(0, slots, torch.cat([prefix, text, codes]))
    return rows.view(batch.num_rows, batch.row_len, -1)
