"""``idiolect download``: the published base, complete and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from idiolect.base.guard import BASE_DIR_NAME
from idiolect.cli.surface import run_command
from idiolect.models.download import DownloadConfig, download_base


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadCommand:
    """Where to put the base, and where from."""

    config: Annotated[DownloadConfig, tyro.conf.arg(name="")]
    dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="[DIR]")] = Path(BASE_DIR_NAME)
    """Folder of the base."""


def main(argv: Sequence[str] | None = None, prog: str = "idiolect download") -> int:
    """Run the command; return its exit code."""
    return run_command(
        DownloadCommand, _download, argv, prog=prog, description="Fetch the published base."
    )


def _download(command: DownloadCommand) -> None:
    report = download_base(command.dir, command.config)
    total = len(report.fetched) + len(report.present)
    print(f"{command.dir} is complete: {total} files, {len(report.fetched)} of them fetched now")
    print(f"their SHA-256 are in {report.sums}")
