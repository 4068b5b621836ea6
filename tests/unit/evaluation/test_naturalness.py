"""The predictor of naturalness, where its package is installed."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from idiolect.base.places import SHIPPED_DIR
from idiolect.evaluation.naturalness import PACKAGE, UNUSED, find_naturalness
from idiolect.listening.listeners import read_16k


def test_without_the_package_there_is_no_predictor(monkeypatch):
    monkeypatch.setattr("idiolect.evaluation.naturalness.find_spec", lambda _: None)

    assert find_naturalness() is None


@pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="distillmos is not installed: idiolect[eval]"
)
def test_noise_over_speech_lowers_the_score_and_nothing_stands_in_afterwards():
    wave = torch.from_numpy(
        read_16k(SHIPPED_DIR.parent / "catalan" / "recordings" / "anna_001.opus")
    )
    noise = torch.randn(len(wave), generator=torch.Generator().manual_seed(0))

    predictor = find_naturalness()
    clean, noisy = predictor.score(wave), predictor.score(wave + 0.3 * noise)

    assert 1 <= noisy < clean <= 5
    assert getattr(sys.modules.get(UNUSED), "__file__", "") is not None
