#!/usr/bin/env python3
"""Write ``docs/reference/cli.md`` from the ``--help`` of every command.

``python docs/build_reference.py`` writes it; ``--check`` only says whether it is up to date.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

from idiolect.cli.main import COMMANDS, main

PAGE = Path(__file__).parent / "reference" / "cli.md"
COLUMNS = 100
"""Width of the help, in characters: that of the machine must not decide."""

HEAD = """\
# Commands

What `--help` of each command prints; made by `python docs/build_reference.py`, not by hand.
`-` and `_` are the same in a flag. Exit codes: 0 done, 2 a message that says what to do, 130
stopped by Ctrl-C; `doctor` ends with 1 when something would fail.
"""


def reference() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_sections()])


def is_up_to_date() -> bool:
    """Return whether the page on disk is what the commands say today."""
    return PAGE.is_file() and PAGE.read_text(encoding="utf-8") == reference()


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
    """Write the page, or check it; return the exit code."""
    if arguments == ["--check"]:
        if is_up_to_date():
            return 0
        sys.stderr.write(f"{PAGE} is not what the commands say: python docs/build_reference.py\n")
        return 1
    PAGE.write_text(reference(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
