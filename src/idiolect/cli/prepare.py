"""``idiolect prepare``: recordings and transcripts in, a checked manifest out."""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.base.units import format_duration
from idiolect.cli.surface import run_command
from idiolect.data.prepare import PrepareConfig, PrepareReport, prepare

SPLITS = {
    "speaker": "speakers who are not in training",
    "sentence": "sentences that are not in training",
}


def main(argv: Sequence[str] | None = None, prog: str = "idiolect prepare") -> int:
    """Prepare a data set; return the exit code."""
    return run_command(
        PrepareConfig,
        lambda config: _print(prepare(config)),
        argv,
        prog=prog,
        description="Check recordings and what is said in them, and write the manifests for "
        "training and validation. The same command goes on after an interruption.",
    )


def _print(report: PrepareReport) -> None:
    speech, languages = format_duration(report.kept_sec), ", ".join(report.languages)
    print(f"found     {report.found:,} clips and lines")
    print(f"kept      {report.kept:,} clips: {speech}, {languages}, speakers: {report.speakers:,}")
    print(f"left out  {report.left_out.total():,}")
    for reason, count in report.left_out.most_common():
        print(f"  {count:>8,}  {reason}")
    print(f"training    {report.num_train:,} clips  {report.train}")
    if report.validation:
        kind = SPLITS[report.split_by]
        print(f"validation  {report.num_validation:,} clips  {report.validation} ({kind})")
    else:
        print("validation  none: too few clips to hold any out")
    print(f"left out    {report.rejected}")
    print(f"report      {report.page}")
    print(f"next: idiolect pairs --manifest {report.train}")
