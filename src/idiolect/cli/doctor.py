"""``idiolect doctor``: what is there, what is missing, what would fail, what fits."""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.base.errors import EXIT_OK
from idiolect.cli.surface import run_command
from idiolect.registry.checkup import DoctorConfig, examine

EXIT_FAULTS = 1
MARKS = {"ok": "ok   ", "note": "note ", "fault": "FAULT"}


def main(argv: Sequence[str] | None = None, prog: str = "idiolect doctor") -> int:
    """Run the command; return its exit code: 1 when something would fail."""
    return run_command(
        DoctorConfig,
        _examine,
        argv,
        prog=prog,
        description="Say what is there, what is missing, what would fail, and what fits.",
    )


def _examine(config: DoctorConfig) -> int:
    num_faults = 0
    for finding in examine(config):
        num_faults += finding.level == "fault"
        indent = "\n" + " " * 6
        print(MARKS[finding.level], finding.text.replace("\n", indent))
        if finding.fix:
            print(f"{indent[1:]}{finding.fix}")
    print("everything works" if not num_faults else f"faults to mend: {num_faults}")
    return EXIT_FAULTS if num_faults else EXIT_OK
