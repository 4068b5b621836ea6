"""The package is light to import and its commands answer."""

import subprocess
import sys

import pytest

import idiolect
from idiolect.cli.main import COMMANDS, main

HEAVY = ("torch", "transformers", "gradio", "pyarrow", "matplotlib", "wetext")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("entry", ["idiolect", "idiolect.cli.main", "idiolect.text.normalize"])
def test_importing_it_does_not_load_a_heavy_library(entry: str):
    done = python(f"import sys, {entry}; print([m for m in {HEAVY!r} if m in sys.modules])")

    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_exported_name_is_there():
    assert all(hasattr(idiolect, name) for name in idiolect.__all__)


def test_a_name_that_is_not_exported_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = idiolect.nothing


def test_the_overview_names_every_command(capsys):
    assert main(["--help"]) == 0

    listing = capsys.readouterr().out
    assert all(f"  {name} " in listing for name in COMMANDS)


def test_an_unknown_command_suggests_the_nearest(capsys):
    assert main(["trian"]) == 2

    assert "did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])

    assert ended.value.code == 0
    assert f"idiolect {name}" in capsys.readouterr().out
