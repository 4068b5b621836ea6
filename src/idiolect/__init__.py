"""Teach IndexTTS-2 a new language, and leave the base exactly as it was.

The names below are loaded when they are first asked for, so that ``import idiolect`` is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idiolect.base.errors import UserError
    from idiolect.data.manifest import Utterance, read_manifest
    from idiolect.data.prepare import PrepareConfig, prepare
    from idiolect.synthesis.pipeline import IndexTTS2
    from idiolect.text.tokenizer import Tokenizer
    from idiolect.training.config import TrainConfig

_HOMES = {
    "IndexTTS2": "idiolect.synthesis.pipeline",
    "PrepareConfig": "idiolect.data.prepare",
    "Tokenizer": "idiolect.text.tokenizer",
    "TrainConfig": "idiolect.training.config",
    "UserError": "idiolect.base.errors",
    "Utterance": "idiolect.data.manifest",
    "prepare": "idiolect.data.prepare",
    "read_manifest": "idiolect.data.manifest",
}

__all__ = [
    "IndexTTS2",
    "PrepareConfig",
    "Tokenizer",
    "TrainConfig",
    "UserError",
    "Utterance",
    "prepare",
    "read_manifest",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'idiolect' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
