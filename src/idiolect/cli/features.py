"""``idiolect features``: codes and prompt features of a manifest, ahead of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from idiolect.base.errors import ConfigError
from idiolect.base.guard import check_output
from idiolect.base.places import BasePlace
from idiolect.cli.surface import run_command
from idiolect.data.extraction import FeatureConfig, extract_manifests
from idiolect.data.extractor import Extractor
from idiolect.data.features import FEATURES_DIR
from idiolect.data.manifest import read_manifest
from idiolect.data.pairs import is_paired, read_pairs
from idiolect.models.published import locate_base


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesCommand:
    """Which clips to listen to, with which networks, and how."""

    manifest: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """Manifest whose clips are listened to, raw or paired; repeatable."""
    config: Path | None = None
    """config.yaml of the base, when it is not in its folder."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto is the GPU where there is one."""
    place: Annotated[BasePlace, tyro.conf.arg(name="")]
    extraction: Annotated[FeatureConfig, tyro.conf.arg(name="")]


def main(argv: Sequence[str] | None = None, prog: str = "idiolect features") -> int:
    """Extract the features; return the exit code."""
    return run_command(
        FeaturesCommand,
        _extract,
        argv,
        prog=prog,
        description="Extract semantic codes and prompt features. Training does this on its way; "
        "what is there already is not done again.",
    )


def _extract(flags: FeaturesCommand) -> None:
    import torch

    if not flags.manifest:
        raise ConfigError("no manifest is given", where="--manifest", fix="name one at least")
    device = flags.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    manifests = dict.fromkeys(map(_raw, flags.manifest))
    for manifest in manifests:
        check_output(manifest.parent / FEATURES_DIR)
    files = locate_base(flags.place.base, config_path=flags.config, aux_dir=flags.place.aux_dir)
    extractor = Extractor.from_base(files, device)
    clips = {manifest: list(read_manifest(manifest)) for manifest in manifests}
    for report in extract_manifests(clips, extractor, flags.extraction):
        print(report.summary())


def _raw(path: Path) -> Path:
    """Return the manifest of a file of pairs, or ``path`` itself."""
    return read_pairs(path)[0] if is_paired(path) else path
