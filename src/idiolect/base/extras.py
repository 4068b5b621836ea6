"""Packages that only some commands need: imported where they are used, named when they lack."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from idiolect.base.errors import ConfigError

TALKATIVE = ("bitsandbytes.backends.cpu.ops",)
"""Loggers that speak while their package is imported, of what is not used here: bitsandbytes asks
for a package of 4-bit products on processors with bfloat16."""


def import_extra(module: str, *, extra: str, where: str) -> Any:
    """Return ``module``, which the extra ``extra`` of this package installs.

    Args:
        module: Its name, with dots.
        extra: As in ``idiolect[extra]``.
        where: The setting that needs it.

    Raises:
        ConfigError: It is not installed.
    """
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ConfigError(
            f"this needs {package}, which is not installed",
            where=where,
            fix=f"pip install 'idiolect[{extra}]', or leave {where.partition(' ')[0]} out",
        ) from error
