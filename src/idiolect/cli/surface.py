"""What every command shares: flags from a dataclass, errors without tracebacks, exit codes."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TypeVar, get_type_hints

import tyro
from docstring_parser import parse_from_object

from idiolect.base.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USER, UserError
from idiolect.base.log import get_logger, set_up_logging

Config = TypeVar("Config")


def run_command(
    config_type: type[Config],
    work: Callable[[Config], int | None],
    argv: Sequence[str] | None,
    *,
    prog: str,
    description: str,
) -> int:
    """Parse ``argv`` into a ``config_type``, do the work, and return the exit code.

    Args:
        config_type: A frozen dataclass; the string under each field is the help of its flag.
        work: Called with the parsed configuration; may return an exit code other than 0.
        argv: The arguments after the command's name; those of the process when None.
        prog: The command as the user typed it.
        description: What the command does, at the top of ``--help``.
    """
    set_up_logging()
    let_help_flow(config_type)
    return run(lambda: work(tyro.cli(config_type, args=argv, prog=prog, description=description)))


def let_help_flow(config_type: type) -> None:
    """Make the help of each flag of ``config_type`` one paragraph.

    Line breaks in a docstring are those of the source; tyro would keep them.
    """
    parents = [kind for kind in reversed(config_type.__mro__) if dataclasses.is_dataclass(kind)]
    params = [param for kind in parents for param in parse_from_object(kind).params]
    texts = {param.arg_name: param.description for param in params}
    for field in dataclasses.fields(config_type):
        if text := texts.get(field.name):
            field.metadata = MappingProxyType({"help": " ".join(text.split())})
    for kind in get_type_hints(config_type).values():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            let_help_flow(kind)


def end_quietly() -> int:
    """Return the exit code where who reads has read enough (``| head``).

    Nothing more can be said, not even at exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OK


def run(command: Callable[[], int | None]) -> int:
    """Run ``command``; turn a :class:`UserError` into a message and Ctrl-C into exit code 130."""
    try:
        return command() or EXIT_OK
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        get_logger().log(logging.DEBUG, "raised here", exc_info=True)
        return EXIT_USER
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return end_quietly()
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or error.args[-1]}{where}", file=sys.stderr)
        return EXIT_USER
