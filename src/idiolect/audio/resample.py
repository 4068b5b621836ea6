"""22 050 Hz to 16 000 Hz with the windowed sinc that the published inference uses.

Prompts of a voice are read at 22 050 Hz and only then brought to 16 000 Hz, with this filter and
not soxr; the networks behind it hear the difference. ``B`` is batch, ``N`` samples.

Source:
    Spec 1.1; golden/test_features.py.
"""

from __future__ import annotations

from functools import cache
from math import ceil, gcd

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.base.units import SAMPLE_RATE, SEMANTIC_SAMPLE_RATE

STEP = SAMPLE_RATE // gcd(SAMPLE_RATE, SEMANTIC_SAMPLE_RATE)
"""Samples in for each group of :data:`PHASES` samples out."""
PHASES = SEMANTIC_SAMPLE_RATE // gcd(SAMPLE_RATE, SEMANTIC_SAMPLE_RATE)
ZERO_CROSSINGS = 6
"""Of the sinc, on either side of its middle."""
ROLLOFF = 0.99
"""Share of the lower Nyquist frequency that is passed."""
BANDWIDTH = min(STEP, PHASES) * ROLLOFF
REACH = ceil(ZERO_CROSSINGS * STEP / BANDWIDTH)
"""Samples in that the filter sees beyond its group, on either side."""


def resample_22k_to_16k(audio: Tensor) -> Tensor:
    """Return ``audio`` ``[B, N]`` at 16 000 Hz, ``[B, ceil(N * 320 / 441)]`` float32."""
    padded = F.pad(audio.float(), (REACH, REACH + STEP))
    phases = F.conv1d(padded[:, None], _kernel().to(audio.device), stride=STEP)  # [B, PHASES, G]
    num_samples = ceil(audio.shape[-1] * PHASES / STEP)
    return phases.transpose(1, 2).flatten(1)[:, :num_samples]


@cache
def _kernel() -> Tensor:
    """Return one filter a phase, ``[PHASES, 1, STEP + 2 * REACH]``."""
    # The published filter rounds this one quotient to float32 before it goes on in float64.
    phase = (torch.arange(0, -PHASES, -1, dtype=torch.float32) / PHASES).double()
    tap = torch.arange(-REACH, REACH + STEP, dtype=torch.float64) / STEP
    t = ((phase[:, None] + tap) * BANDWIDTH).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = torch.cos(torch.pi * t / ZERO_CROSSINGS / 2) ** 2
    kernel = torch.sinc(t) * window * (BANDWIDTH / STEP)
    return kernel.float()[:, None]
