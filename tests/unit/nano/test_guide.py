"""The guide of the young GPT: what it measures, and that a head follows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from idiolect.data.batches import GptBatch, GptSample, make_batch
from idiolect.models.config import NUM_LATENTS
from idiolect.models.gpt import PREFIX_ROWS, UnifiedVoice
from idiolect.nano.guide import Guide, GuideConfig
from idiolect.training.loss import loss_sums
from tiny_gpt import tiny_dims

DIMS = tiny_dims(max_code_len=60)
CONFIG = GuideConfig(layer=0, head=1, width=0.5, weight=0.3, steps=10)
SAID = torch.cat(
    [torch.cat([torch.arange(n).repeat_interleave(4), torch.tensor([n])]) for n in (10, 6)]
)
"""The piece at each code of both samples, and at their stops."""


def _batch() -> GptBatch:
    rng = np.random.default_rng(0)
    samples = [
        GptSample(
            text_ids=rng.integers(2, 8, num_letters),
            codes=np.repeat(rng.integers(2, 8, num_letters), 4),
            latents=np.zeros((NUM_LATENTS, DIMS.dim), dtype=np.float32),
            emotion=np.zeros(DIMS.dim, dtype=np.float32),
        )
        for num_letters in (10, 6)
    ]
    return make_batch(samples, DIMS)


@pytest.fixture
def gpt() -> UnifiedVoice:
    torch.manual_seed(0)
    return UnifiedVoice(DIMS, dropout=0.0)


def _loss(gpt: UnifiedVoice, guide: Guide, batch: GptBatch) -> Tensor:
    loss_sums(gpt, batch)
    return guide.loss(batch, SAID)


def test_a_head_that_follows_looks_at_the_letter_that_is_spoken(gpt: UnifiedVoice):
    guide, batch = Guide(gpt, CONFIG), _batch()
    optimizer = torch.optim.Adam(gpt.parameters(), lr=1e-2)
    before = float(_loss(gpt, guide, batch).detach())
    for _ in range(200):
        optimizer.zero_grad()
        _loss(gpt, guide, batch).backward()
        optimizer.step()
    loss_sums(gpt, batch)
    assert guide._seen is not None
    seen = guide._weights(guide._seen)[0]  # of the first sample: 12 of text, 41 of codes
    text = slice(PREFIX_ROWS, PREFIX_ROWS + 12)
    for code in (4, 20, 36):
        assert int(seen[PREFIX_ROWS + 12 + code, text].argmax()) == 1 + code // 4
    assert float(_loss(gpt, guide, batch).detach()) < 0.5 * before


def test_what_is_seen_is_what_the_attention_weighs(gpt: UnifiedVoice):
    guide, batch = Guide(gpt, CONFIG), _batch()
    loss_sums(gpt, batch)
    assert guide._seen is not None
    attention, x = gpt.gpt.h[0].attn, guide._seen
    qkv = attention.c_attn(x).unflatten(-1, (3, DIMS.num_heads, -1))
    v = qkv[:, :, 2, CONFIG.head]
    out = torch.nn.functional.scaled_dot_product_attention(
        *qkv.permute(2, 0, 3, 1, 4), is_causal=True
    )[:, CONFIG.head]
    torch.testing.assert_close(guide._weights(x) @ v, out, rtol=1e-4, atol=1e-6)


def test_a_head_that_sees_no_text_is_far_astray(gpt: UnifiedVoice):
    guide, batch = Guide(gpt, CONFIG), _batch()
    loss_sums(gpt, batch)
    S = batch.row_len
    guide._weights = lambda _: torch.eye(S).expand(batch.num_rows, S, S)  # type: ignore[method-assign]
    assert float(guide.loss(batch, SAID)) > 10


def test_the_weight_falls_to_nothing():
    weights = [CONFIG.weight_at(step) for step in (1, 5, 10, 11)]
    assert weights == [pytest.approx(0.27), pytest.approx(0.15), 0.0, 0.0]
