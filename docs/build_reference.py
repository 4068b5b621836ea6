#!/usr/bin/env python3
"""Write the pages of ``docs/reference`` that the code decides: commands, and presets.

``python docs/build_reference.py`` writes them; ``--check`` only says whether they are up to date.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

from idiolect.base.units import format_bytes
from idiolect.cli.main import COMMANDS, main
from idiolect.training.presets import BY_HOURS, CARDS, choices

FOLDER = Path(__file__).parent / "reference"
COLUMNS = 100
"""Width of the help, in characters: that of the machine must not decide."""

HEAD = """\
# Commands

What `--help` of each command prints; made by `python docs/build_reference.py`, not by hand.
`-` and `_` are the same in a flag. Exit codes: 0 done, 2 a message that says what to do, 130
stopped by Ctrl-C; `doctor` ends with 1 when something would fail.
"""

PRESETS_HEAD = """\
# Presets of training

What `idiolect train --preset` sets; made by `python docs/build_reference.py`, not by hand. A preset
gives defaults: what is typed beside it goes before it. `--preset 24gb` is for a card, and the hours
of speech are then found out; `--preset 24gb --preset 5-30h` names both; `--preset auto` finds out
both. `idiolect train --plan` says what they would set for your data.

## For a card

Computed for the published size, in bf16, from what the network keeps; an estimate, which leaves
a tenth of the card's memory free, with adapters a fifth. Not measured on the cards themselves, but
on an H100 whose memory was capped to theirs, with the passes of an earlier count: at 12, 16, 24
and 48 GB, 8192, 3584, 9472 and 26880 tokens stayed within, with peaks of 8.5, 11.4, 18.3 and
38.6GB. At 8 GB, 16896 tokens ran out of memory; the smaller pass below is not measured anew, and
neither are the somewhat larger ones for 24 and 48 GB.

| preset | learns | checkpointing | tokens a pass | memory on paper |
|---|---|---|--:|--:|
"""
HOURS_HEAD = """
## For the hours of speech

Choices, not measurements: the reasons say what is known. Where the card asks for adapters, the
learning rate is that of adapters.
"""


def reference() -> str:
    """Return the page of commands."""
    return "\n".join([HEAD, *_sections()])


def presets() -> str:
    """Return the page of presets."""
    return PRESETS_HEAD + "\n".join([*_cards(), HOURS_HEAD, *_hours()])


PAGES: dict[Path, Callable[[], str]] = {
    FOLDER / "cli.md": reference,
    FOLDER / "presets.md": presets,
}


def stale() -> list[Path]:
    """Return the pages on disk that are not what the code says today."""
    return [
        page
        for page, build in PAGES.items()
        if not page.is_file() or page.read_text(encoding="utf-8") != build()
    ]


def _cards() -> Iterator[str]:
    for name, card in CARDS.items():
        tokens = card.config.tokens_per_pass
        learns = "all weights" if card.mode == "full" else "adapters"
        checkpointing = "yes" if card.checkpointing else "no"
        total = format_bytes(card.memory.total(int(tokens)))
        yield f"| `{name}` | {learns} | {checkpointing} | {tokens} | {total} |"


def _hours() -> Iterator[str]:
    for name in BY_HOURS:
        yield from (f"### {name}\n", "| flag | why |", "|---|---|")
        for choice in choices(None, name):
            yield f"| `{choice.flag}` | {choice.why} |"
        yield ""


def _sections() -> Iterator[str]:
    with _fixed_width():
        yield _fenced(_help_of([]))
        for name in COMMANDS:
            yield f"## {name}\n"
            yield _fenced(_help_of([name]))
            for action in _actions_of(name):
                yield _fenced(_help_of([name, action]))


def _actions_of(name: str) -> list[str]:
    """Return the actions of a command that has several, each with flags of its own."""
    return list(getattr(importlib.import_module(f"idiolect.cli.{name}"), "ACTIONS", {}))


def _help_of(command: list[str]) -> str:
    if command:
        importlib.import_module(f"idiolect.cli.{command[0]}")  # what it says on import is no help
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        main([*command, "--help"])
    return out.getvalue()


def _fenced(text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return f"```text\n{lines}\n```\n"


@contextmanager
def _fixed_width() -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(COLUMNS)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def run(arguments: list[str]) -> int:
    """Write the pages, or check them; return the exit code."""
    if arguments == ["--check"]:
        for page in stale():
            sys.stderr.write(f"{page} is not what the code says: python docs/build_reference.py\n")
        return int(bool(stale()))
    for page, build in PAGES.items():
        page.write_text(build(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
