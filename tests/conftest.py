"""Fixtures that are shared: real things, small."""

from pathlib import Path

import pytest

from idiolect.models.nano import write_nano


@pytest.fixture(scope="session")
def nano_base(tmp_path_factory) -> Path:
    """A nano base with random weights; shared by all tests of a process, so never written to."""
    folder = tmp_path_factory.mktemp("base") / "nano"
    write_nano(folder, seed=0)
    return folder
