"""The one set-up of logging, and the header that every long run begins with."""

from __future__ import annotations

import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from idiolect.base.guard import check_output

LOGGER_NAME = "idiolect"
REPORTED_PACKAGES = ("torch", "transformers", "sentencepiece", "numpy", "pyarrow")


def package_version(name: str = LOGGER_NAME) -> str:
    """Return the installed version of ``name``, or ``not installed``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def get_logger() -> logging.Logger:
    """Return the project's logger."""
    return logging.getLogger(LOGGER_NAME)


def set_up_logging(*, verbose: bool = False) -> None:
    """Send the project's notices to standard error, one line each; call once a process."""
    logger = get_logger()
    if not logger.handlers:
        handler = logging.StreamHandler(_StandardError())
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)


class _StandardError:
    """Standard error as it is when a line is written: a progress bar puts its own in its place,
    which writes above the bar.
    """

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@contextmanager
def only_errors() -> Iterator[None]:
    """Keep the log silent but for errors: of several processes, one tells."""
    logger = get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def log_to_file(path: Path) -> logging.Handler:
    """Append the project's notices to ``path`` too, with times; return the handler to remove."""
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    get_logger().addHandler(handler)
    return handler


def run_header(*, device: str, seed: int) -> str:
    """Return what ran: versions, machine, device and seed, one a line."""
    lines = [f"idiolect {package_version()}", f"python {platform.python_version()}"]
    lines += [f"{name} {package_version(name)}" for name in REPORTED_PACKAGES]
    lines += [f"platform {platform.platform()}", f"device {device}", f"seed {seed}"]
    return "\n".join(lines)
