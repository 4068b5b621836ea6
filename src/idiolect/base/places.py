"""Where the base and the models are kept, and the flags that say otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from idiolect.base.guard import BASE_DIR_NAME

MODELS_DIR_NAME = "models"
SHIPPED_NAME = "nano"
"""What names the base that comes with the package, where there is no folder of that name."""
SHIPPED_DIR = Path(__file__).resolve().parents[1] / "assets" / SHIPPED_NAME


def base_path(named: Path) -> Path:
    """Return where ``named`` is: ``nano``, or a file below it, may be in the package."""
    first, *rest = named.parts or ("",)
    if first != SHIPPED_NAME or Path(SHIPPED_NAME).is_dir():
        return named
    return SHIPPED_DIR.joinpath(*rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePlace:
    """Where the base is."""

    base: Path = Path(BASE_DIR_NAME)
    """Folder of the base; nano is the small one that comes with the package."""
    aux_dir: Path | None = None
    """Folder of w2v-bert, the codec, CAMPPlus and BigVGAN, when they are not beside the base."""

    def __post_init__(self) -> None:
        """Find the base that comes with the package by its name."""
        object.__setattr__(self, "base", base_path(self.base))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlace(BasePlace):
    """Where the base and the installed models are."""

    model_dir: Path = Path(MODELS_DIR_NAME)
    """Folder of the installed models."""
