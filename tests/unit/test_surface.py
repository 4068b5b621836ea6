from dataclasses import dataclass
from unittest import mock

import pytest

from idiolect.base.errors import DataError
from idiolect.cli.surface import run_command


@dataclass(frozen=True, kw_only=True)
class Settings:
    output_dir: str = "x"
    """Where it goes."""
    keep: int = 3
    """How many stay,
    the newest first."""


def command(argv, work=lambda _: None):
    return run_command(Settings, work, argv, prog="idiolect test", description="Test.")


@pytest.mark.parametrize("flag", ["--output-dir", "--output_dir"])
def test_both_spellings_of_a_flag_work(flag):
    seen = []

    assert command([flag, "y"], lambda config: seen.append(config.output_dir)) == 0

    assert seen == ["y"]


def test_a_user_error_is_a_message_and_exit_code_2(capsys):
    def work(_):
        raise DataError("no such file: a", fix="check the path")

    assert command([], work) == 2

    assert capsys.readouterr().err == "error: no such file: a\n  fix: check the path\n"


def test_an_unknown_flag_suggests_the_nearest_and_exits_with_2(capsys):
    with pytest.raises(SystemExit) as ended:
        command(["--output-dirr", "y"])

    assert ended.value.code == 2
    assert "--output-dir" in capsys.readouterr().err


def test_ctrl_c_says_that_finished_work_is_kept(capsys):
    def work(_):
        raise KeyboardInterrupt

    assert command([], work) == 130

    assert "what was finished is kept" in capsys.readouterr().err


def test_a_full_disk_is_a_message(capsys):
    def work(_):
        raise OSError(28, "No space left on device", "/x/y")

    assert command([], work) == 2

    assert "No space left on device: /x/y" in capsys.readouterr().err


def test_help_shows_the_text_under_the_field(capsys):
    with pytest.raises(SystemExit):
        command(["--help"])

    assert "Where it goes." in capsys.readouterr().out


def test_a_help_text_of_several_source_lines_is_one_paragraph(capsys):
    with pytest.raises(SystemExit):
        command(["--help"])

    assert "How many stay, the newest first." in capsys.readouterr().out


def test_a_reader_that_has_read_enough_is_no_error(capfd):
    def work(_):
        raise BrokenPipeError(32, "Broken pipe")

    with mock.patch("os.dup2"):
        assert command([], work) == 0

    assert capfd.readouterr().err == ""
