"""A GPT so small that a test builds it in milliseconds."""

from __future__ import annotations

from typing import Any

import torch

from idiolect.models.config import ConformerDims, GptDims
from idiolect.models.gpt import UnifiedVoice

TINY_CONFORMER = ConformerDims(dim=8, ff_dim=12, num_heads=2, num_blocks=1)


def tiny_dims(**given: Any) -> GptDims:
    plain: dict[str, Any] = {
        "dim": 16,
        "num_layers": 2,
        "num_heads": 2,
        "vocab_size": 20,
        "num_codes": 14,
        "max_text_len": 12,
        "max_code_len": 30,
        "start_code": 12,
        "stop_code": 13,
        "feature_dim": 10,
        "emotion_dim": 12,
        "speaker": TINY_CONFORMER,
        "emotion": TINY_CONFORMER,
    }
    return GptDims(**{**plain, **given})


def tiny_gpt(
    *, seed: int = 0, conditioners: bool = True, dropout: float = 0.1, **given: Any
) -> UnifiedVoice:
    """Return a random model in evaluation mode; ``given`` are dimensions."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = UnifiedVoice(tiny_dims(**given), conditioners=conditioners, dropout=dropout)
        # Scratch weights are so small that every code is as likely as the next.
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def random_prefix(model: UnifiedVoice, num_sequences: int = 1, *, seed: int = 0) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(seed)
    dim = model.dims.dim
    latents = torch.randn(num_sequences, 32, dim, generator=numbers)
    emotion = torch.randn(num_sequences, dim, generator=numbers)
    return model.prefix(latents, emotion).detach()
