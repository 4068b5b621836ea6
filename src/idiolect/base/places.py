"""Where the base and the models are kept, and the flags that say otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from idiolect.base.guard import BASE_DIR_NAME

MODELS_DIR_NAME = "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePlace:
    """Where the base is."""

    base: Path = Path(BASE_DIR_NAME)
    """Folder of the base."""
    aux_dir: Path | None = None
    """Folder of w2v-bert, the codec, CAMPPlus and BigVGAN, when they are not beside the base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlace(BasePlace):
    """Where the base and the installed models are."""

    model_dir: Path = Path(MODELS_DIR_NAME)
    """Folder of the installed models."""
