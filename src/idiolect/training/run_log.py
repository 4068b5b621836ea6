"""What ``train.log`` tells of a run: when, where, with what; the figures are in metrics.jsonl."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from idiolect.training.state import LOG_FILE

LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ ([A-Z]+) (.*)")
"""Time, level and what was said; lines without a time belong to the one before."""
HEADER = re.compile(r"idiolect (\S+)")
"""First line of what each part of a run begins with."""
WORTH_SHOWING = ("vocabulary: ", "features of ", "validation on ", "going on from ")
MOST_WARNINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """What the log says besides figures."""

    version: str = ""
    """Of idiolect, in the newest part of the run."""
    rows: tuple[tuple[str, str], ...] = ()
    """What, and what it is; in order."""


def read_log_facts(path: Path) -> LogFacts:
    """Return what the log at ``path`` tells; nothing where there is none."""
    if not path.is_file():
        return LogFacts()
    text = path.read_text(encoding="utf-8", errors="replace")
    said = [found.groups() for found in map(LINE.fullmatch, text.splitlines()) if found]
    starts = [(when, found[1]) for when, _, what in said if (found := HEADER.fullmatch(what))]
    if not starts:
        return LogFacts()
    rows = [("begun", starts[0][0]), ("newest line of the log", said[-1][0])]
    if len(starts) > 1:
        rows.append(("gone on with", f"{len(starts) - 1} times, last {starts[-1][0]}"))
    rows += _machine(text)
    rows += [("said", what) for what in _worth_showing(said)]
    return LogFacts(version=starts[-1][1], rows=tuple(rows))


def _machine(text: str) -> Iterator[tuple[str, str]]:
    """Yield what the newest header names."""
    for name in ("device", "seed", "torch", "python", "platform"):
        found = re.findall(rf"^{name} (.+)$", text, re.MULTILINE)
        if found:
            yield name, found[-1]


def _worth_showing(said: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield each sentence once: what was found in the beginning, and every warning."""
    sentences = dict.fromkeys(what for _, _, what in said if what.startswith(WORTH_SHOWING))
    yield from sentences
    warnings = list(dict.fromkeys(what for _, level, what in said if level == "WARNING"))
    yield from warnings[:MOST_WARNINGS]
    if len(warnings) > MOST_WARNINGS:
        yield f"... and {len(warnings) - MOST_WARNINGS} more warnings in {LOG_FILE}"
