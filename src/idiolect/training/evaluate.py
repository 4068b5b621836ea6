"""Measuring a model: no chance in it, and a mean over all tokens."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from idiolect.data.batches import GptBatch
from idiolect.training.loss import LossWeights, TrainableGpt, count_labels
from idiolect.training.metrics import Meter, Scores


@torch.no_grad()
def evaluate(
    model: TrainableGpt, batches: Iterable[GptBatch], weights: LossWeights, device: torch.device
) -> Scores:
    """Return the means over all tokens of ``batches``; ``model`` drops nothing meanwhile."""
    was_training = model.training
    model.eval()
    meter = Meter()
    for batch in batches:
        text_sum, code_sum, num_correct = model(batch.to(device))
        meter.add(text_sum.item(), code_sum.item(), int(num_correct), count_labels([batch]))
    model.train(was_training)
    return meter.scores(weights)
