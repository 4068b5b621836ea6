"""``idiolect corpus``: real speech with its texts, from a public archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from idiolect.base.units import format_duration
from idiolect.cli.surface import run_command
from idiolect.data.corpora import AUDIO_DIR, CORPORA, LICENCE_FILE, TRANSCRIPT_FILE, fetch_debian


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusCommand:
    """What to fetch, and where to."""

    archive: Positional[Literal["debian"]]
    """Where the corpus lies."""
    name: Annotated[Positional[str], arg(metavar="NAME")]
    """Which corpus: the name of a package."""
    dir: Annotated[Positional[Path], arg(metavar="DIR")]
    """New folder for its audio and transcript."""
    language: str | None = None
    """Which language, of a corpus that has several."""


def main(argv: Sequence[str] | None = None, prog: str = "idiolect corpus") -> int:
    """Fetch a corpus; return the exit code."""
    return run_command(
        CorpusCommand,
        _fetch,
        argv,
        prog=prog,
        description="Fetch a corpus of real speech and lay it out as audio and a transcript. "
        f"Known: {', '.join(CORPORA)}.",
    )


def _fetch(flags: CorpusCommand) -> None:
    report = fetch_debian(flags.name, flags.dir, language=flags.language)
    speakers = ", ".join(f"{name} {count}" for name, count in report.speakers.most_common())
    print(f"{report.num_clips} clips, {format_duration(report.duration_sec)}, in {report.folder}")
    print(f"speakers: {speakers}")
    print(f"licence: {report.licence}; {report.credit} See {report.folder / LICENCE_FILE}")
    print(
        "next: idiolect prepare"
        f" --audio-dir {report.folder / AUDIO_DIR}"
        f" --transcript-file {report.folder / TRANSCRIPT_FILE}"
        f" --language {report.language}"
        f" --output-manifest data/{report.folder.name}/train.jsonl"
    )
