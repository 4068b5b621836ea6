"""Fixtures that are shared: real things, small."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from idiolect.models.nano import write_nano

# How fast a machine is at the moment is nothing that a test may fail by.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """Let new processes hear Ctrl-C.

    A shell starts what it puts into the background deaf to it, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_handler_stays() -> Iterator[None]:
    """Take away the notices' handler: it would keep the standard error of one test."""
    yield
    logging.getLogger("idiolect").handlers.clear()


@pytest.fixture(scope="session")
def nano_base(tmp_path_factory) -> Path:
    """A nano base with random weights; shared by all tests of a process, so never written to."""
    folder = tmp_path_factory.mktemp("base") / "nano"
    write_nano(folder, seed=0)
    return folder
