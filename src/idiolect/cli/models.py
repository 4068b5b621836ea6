"""``idiolect models``: what is installed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.base.config import to_mapping
from idiolect.base.errors import RegistryError, UserError
from idiolect.base.places import ModelPlace
from idiolect.cli.surface import run_command
from idiolect.models.published import BaseFiles, locate_base
from idiolect.registry.entry import ModelEntry, entry_path
from idiolect.registry.store import base_entry, list_models, rebuild_index, verify_model


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig(ModelPlace):
    """Which models to show, and how."""

    json: bool = False
    """Print the entries as JSON."""
    verify: bool = False
    """Hash the files of every installed model and compare."""
    rebuild: bool = False
    """Write registry.json anew from the entries."""


def main(argv: Sequence[str] | None = None, prog: str = "idiolect models") -> int:
    """Run the command; return its exit code."""
    return run_command(ModelsConfig, _models, argv, prog=prog, description="List the models.")


def _models(config: ModelsConfig) -> None:
    base = _base(config)
    entries = [base_entry(base)] if base else []
    installed = list_models(config.model_dir, base)
    if config.json:
        values = [{"label": entry.label, **to_mapping(entry)} for entry in entries + installed]
        print(json.dumps(values, ensure_ascii=False, indent=2))
        return
    for entry in entries + installed:
        print(_describe(entry))
    if not installed:
        print(f"no models in {config.model_dir}; idiolect install puts them there")
    if config.rebuild:
        print(f"wrote {rebuild_index(config.model_dir)}")
    if config.verify:
        _verify(installed, config.model_dir)


def _base(config: ModelsConfig) -> BaseFiles | None:
    try:
        return locate_base(config.base, aux_dir=config.aux_dir)
    except UserError:
        if not config.json:
            print(f"no whole base in {config.base}: idiolect doctor --base {config.base}")
        return None


def _describe(entry: ModelEntry) -> str:
    if entry.problem:
        return f"{entry.label}\n  cannot be loaded: {entry.problem}"
    lines = [entry.label, entry.tokenizer_line, entry.vram_line, entry.description]
    return "\n  ".join(line for line in lines if line)


def _verify(entries: list[ModelEntry], model_dir: Path) -> None:
    recorded = [entry for entry in entries if entry_path(model_dir, entry.name).is_file()]
    faults = [fault for entry in recorded for fault in verify_model(entry.name, model_dir)]
    if faults:
        raise RegistryError(
            "; ".join(faults), where=str(model_dir), fix="install these models again"
        )
    print(f"verified: {len(recorded)} installed models are as they were installed")
