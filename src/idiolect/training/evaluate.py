"""Measuring a model: no chance in it, and a mean over all tokens, of all processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from accelerate import Accelerator
from torch import nn

from idiolect.data.batches import GptBatch
from idiolect.training.loss import LabelCounts
from idiolect.training.metrics import LanguageMeters


@torch.no_grad()
def evaluate(
    model: nn.Module,
    languages: Iterable[tuple[str, Sequence[GptBatch], LabelCounts]],
    accelerator: Accelerator,
) -> LanguageMeters:
    """Return the sums over the tokens of each language; ``model`` drops nothing meanwhile.

    Args:
        model: Whose forward pass is the loss of a batch.
        languages: Of :meth:`idiolect.training.feed.Feed.validation`.
        accelerator: Of the process.
    """
    was_training = model.training
    model.eval()
    meters = LanguageMeters()
    for language, batches, counts in languages:
        totals = torch.zeros(3, dtype=torch.float64, device=accelerator.device)
        for batch in batches:
            with accelerator.autocast():
                sums = model(batch.to(accelerator.device))
            totals += torch.stack([sums.text, sums.codes, sums.correct]).double()
        text_sum, code_sum, num_correct = accelerator.reduce(totals).tolist()
        meters.add(language, text_sum, code_sum, int(num_correct), counts)
    model.train(was_training)
    return meters
