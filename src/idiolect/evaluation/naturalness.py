"""How natural people would find a sound, as a network predicts it: DistillMOS, where installed.

A prediction is no vote: it was learnt from sounds that people had rated, and none of them was
yours. It says something about two models on the same sentences, and little about one by itself.

Source:
    Stahl and Gamper 2025, "Distillation and Pruning for Scalable Self-Supervised Representation-
    Based Speech Quality Assessment" (package ``distillmos``, MIT).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from idiolect.models.checkpoint import load_tensors, load_weights

PACKAGE = "distillmos"
WEIGHTS = "weights/distill_mos_v7.pt"
UNUSED = "torchaudio"
"""Imported by the package for its own command, and on a CPU's torch it does not load."""
HOW_TO_INSTALL = "pip install 'idiolect[eval]'"


class Naturalness:
    """Predicts a mean opinion score, 1 (bad) to 5 (excellent)."""

    name = "DistillMOS"

    def __init__(self) -> None:
        package = _imported()
        network = package.ConvTransformerSQAModel(load_weights=False)
        path = Path(package.__file__).with_name(WEIGHTS.partition("/")[0]) / Path(WEIGHTS).name
        load_weights(network, load_tensors(path, mmap=False)["model"], where=path)
        self._network = network.eval()

    @torch.inference_mode()
    def score(self, audio: Tensor) -> float:
        """Return the score of ``audio`` ``[N]`` at 16 kHz, on the CPU."""
        return float(self._network(audio[None].float().cpu())[0])


def find_naturalness() -> Naturalness | None:
    """Return the predictor; None where its package is not installed."""
    return Naturalness() if find_spec(PACKAGE) is not None else None


def _imported() -> Any:
    with _stand_in_for(UNUSED):
        return import_module(PACKAGE)


@contextmanager
def _stand_in_for(module: str) -> Iterator[None]:
    """Let what is imported within import ``module``, also where it is not there or is broken."""
    try:
        import_module(module)
    except (ImportError, OSError):
        sys.modules[module] = ModuleType(module)
    else:
        yield
        return
    try:
        yield
    finally:
        del sys.modules[module]
