"""``idiolect nano``: a base of pocket size, to try and to test without the published weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from idiolect.base.units import format_bytes
from idiolect.cli.surface import run_command
from idiolect.models.nano import write_nano


@dataclass(frozen=True, slots=True, kw_only=True)
class NanoCommand:
    """What to make, and where."""

    action: tyro.conf.Positional[Literal["new"]]
    """new: make a base with random weights."""
    dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """A new folder for it."""
    seed: int = 0
    """Equal seeds give equal weights."""


def main(argv: Sequence[str] | None = None, prog: str = "idiolect nano") -> int:
    """Run the command; return its exit code."""
    return run_command(
        NanoCommand,
        _make,
        argv,
        prog=prog,
        description="Make a base of pocket size in the published layout: idiolect nano new DIR.",
    )


def _make(command: NanoCommand) -> None:
    write_nano(command.dir, seed=command.seed)
    size_bytes = sum(file.stat().st_size for file in command.dir.rglob("*") if file.is_file())
    print(f"made a nano base in {command.dir}: {format_bytes(size_bytes)}, random weights")
