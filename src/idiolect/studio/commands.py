"""Settings to the command line that has them: made of the fields, so that no flag is misspelt."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from idiolect.data.pairs import PairConfig
from idiolect.data.prepare import PrepareConfig
from idiolect.registry.install import InstallConfig
from idiolect.text.train_bpe import TokenizerConfig
from idiolect.training.config import TrainConfig

REPEATED = frozenset({"train_manifest", "val_manifest", "freeze", "base_languages", "tracker"}) | {
    "probe_manifest"
}
"""Flags that are given once for each of their values; of others, the values follow one flag."""

Command = tuple[str, ...]
"""What stands behind ``idiolect``."""


def prepare_command(config: PrepareConfig) -> Command:
    """Return the command that prepares a data set."""
    return ("prepare", *flags_of(config))


def pairs_command(
    manifest: Path, output: Path, config: PairConfig, *, allow_skips: bool = False
) -> Command:
    """Return the command that pairs the clips of ``manifest``."""
    places = (f"--manifest={manifest}", f"--output={output}")
    return ("pairs", *places, *flags_of(config), *(["--allow-skips"] if allow_skips else []))


def tokenizer_command(
    manifests: Collection[str], config: TokenizerConfig, *, language: str | None = None
) -> Command:
    """Return the command that trains a tokenizer, or extends one."""
    sources = [f"--manifest={manifest}" for manifest in manifests]
    told = [f"--language={language}"] if language else []
    return ("tokenizer", *sources, *told, *flags_of(config))


def train_command(
    config: TrainConfig,
    *,
    presets: Collection[str] = (),
    typed: Collection[str] = (),
    plan: bool = False,
) -> Command:
    """Return the command that trains, or with ``plan`` says what training would be.

    Args:
        config: Settings; those that are as by default are left to the presets.
        presets: Names of :data:`idiolect.training.presets.NAMES`.
        typed: Settings that go before a preset's also where they are as by default.
        plan: Train nothing.
    """
    chosen = [f"--preset={name}" for name in presets]
    return ("train", *flags_of(config, typed=typed), *chosen, *(["--plan"] if plan else []))


def install_command(config: InstallConfig) -> Command:
    """Return the command that installs a model."""
    return ("install", *flags_of(config))


def flags_of(config: Any, *, typed: Collection[str] = ()) -> list[str]:
    """Return the settings of ``config`` (a dataclass) that are not as by default, as flags.

    A value stands behind ``=``, so that one with a dash in front is not taken for a flag.
    """
    return [
        flag
        for field in fields(config)
        if field.name in typed or getattr(config, field.name) != _default(field)
        for flag in _flags(field.name, getattr(config, field.name))
    ]


def _flags(name: str, value: Any) -> Iterator[str]:
    flag = f"--{name.replace('_', '-')}"
    if value is None:
        return
    if isinstance(value, bool):
        yield flag if value else f"--no-{flag[2:]}"
    elif isinstance(value, tuple) and name in REPEATED:
        yield from (f"{flag}={each}" for each in value)
    elif isinstance(value, tuple):
        yield from (flag, *map(str, value))
    else:
        yield f"{flag}={value}"


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
