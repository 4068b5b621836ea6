"""``idiolect synth`` as it is typed: a WAV on success, else what is wrong and how to mend it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from clips import write_clip
from idiolect.base.units import SAMPLE_RATE
from idiolect.cli.synth import main

SHORT = ("--device", "cpu", "--max-mel-tokens", "8", "--num-beams", "1")


@pytest.fixture
def voice(tmp_path) -> Path:
    return write_clip(tmp_path / "voice.wav", seconds=0.4)


@pytest.fixture
def say(nano_base, voice, tmp_path):
    """Run the command on the nano base; a later flag overrides an earlier one."""

    def run(*flags: object) -> int:
        settings = ("--base", nano_base, "--voice", voice, "--output", tmp_path / "out.wav")
        return main([str(flag) for flag in (*settings, *SHORT, *flags)])

    return run


@pytest.fixture
def loading_is_a_mistake(monkeypatch) -> None:
    def complain(*_, **__):
        raise AssertionError("the base was loaded before the request was checked")

    monkeypatch.setattr("idiolect.synthesis.pipeline.IndexTTS2", complain)


def test_a_text_becomes_a_mono_16_bit_wav_in_a_new_process(nano_base, voice, tmp_path):
    output = tmp_path / "new" / "out.wav"
    flags = ("--base", nano_base, "--voice", voice, "--output", output, "--seed", "3", *SHORT)
    command = [sys.executable, "-m", "idiolect", "synth", *flags, "--text", "Hello."]

    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert f"wrote {output}" in done.stdout
    assert "seed 3" in done.stderr
    info = soundfile.info(output)
    assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")


def test_the_same_seed_writes_the_same_file(say, tmp_path):
    outputs = [tmp_path / "a.wav", tmp_path / "b.wav"]

    for output in outputs:
        assert say("--text", "Hello.", "--seed", 5, "--output", output) == 0

    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_a_seed_that_was_drawn_is_told_and_gives_the_same_file_again(say, tmp_path, caplog):
    with caplog.at_level("INFO", logger="idiolect"):
        say("--text", "Hello.", "--output", tmp_path / "a.wav")
    told = next(record for record in caplog.records if record.msg.startswith("seed"))

    say("--text", "Hello.", "--seed", told.args[0], "--output", tmp_path / "b.wav")

    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_file_of_text_is_spoken_like_the_text(say, tmp_path):
    (tmp_path / "text.txt").write_text("Hello.\n", "utf-8")

    assert say("--text-file", tmp_path / "text.txt", "--seed", 1) == 0
    assert say("--text", "Hello.", "--seed", 1, "--output", tmp_path / "b.wav") == 0

    assert (tmp_path / "out.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.usefixtures("loading_is_a_mistake")
@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        pytest.param((), "give --text or --text-file, one of them", id="no text"),
        pytest.param(
            ("--text", "Hello.", "--text-file", "text.txt"),
            "give --text or --text-file, one of them",
            id="two texts",
        ),
        pytest.param(("--text-file", "none.txt"), "none.txt", id="no such text"),
        pytest.param(("--text", "Hello.", "--voice", "none.wav"), "none.wav", id="no such voice"),
        pytest.param(("--text", "Hello.", "--output", "."), ". is a folder", id="folder"),
    ],
)
def test_a_wrong_request_is_refused_before_the_base_is_loaded(
    say, capsys, tmp_path, monkeypatch, flags, problem
):
    monkeypatch.chdir(tmp_path)

    assert say(*flags) == 2

    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.usefixtures("loading_is_a_mistake")
def test_a_sound_is_never_written_into_the_base(say, nano_base, capsys):
    assert say("--text", "Hello.", "--output", nano_base / "out.wav") == 2

    assert "would write into the base folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        pytest.param(("--text", " "), "nothing to say", id="nothing to say"),
        pytest.param(("--text", "Hello.", "--speed", "9"), "speed 9.0 is out of range", id="speed"),
        pytest.param(("--text", "Hello.", "--top-p", "2"), "top_p 2.0 is out of range", id="top_p"),
        pytest.param(
            ("--text", "Hello.", "--emo-vector", "1", "0"),
            "emo_vector has 2 weights, not 8",
            id="emotion",
        ),
        pytest.param(
            ("--text", "Hello.", "--model", "catalan"), "'catalan' is not installed", id="model"
        ),
        pytest.param(("--text", "Hello.", "--device", "tpu"), "the device tpu", id="device"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(say, capsys, tmp_path, flags, problem):
    assert say(*flags) == 2

    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()


def test_each_line_of_a_file_becomes_a_file_of_its_own(say, tmp_path, capsys):
    lines, folder = tmp_path / "lines.txt", tmp_path / "spoken"
    lines.write_text("Hello.\n\nGood night.\n", "utf-8")

    code = say("--text-file", lines, "--output-dir", folder, "--seed", "3")

    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["001.wav", "002.wav"]
    assert "2/2  wrote" in capsys.readouterr().out
    assert say("--text", "Good night.", "--seed", "3") == 0
    assert (folder / "002.wav").read_bytes() == (tmp_path / "out.wav").read_bytes()


def test_a_line_that_cannot_be_spoken_does_not_stop_the_others(say, tmp_path, capsys):
    lines, folder = tmp_path / "lines.txt", tmp_path / "spoken"
    lines.write_text(";\nGood night.\n", "utf-8")

    code = say("--text-file", lines, "--output-dir", folder, "--language", "ca")

    assert code == 0
    assert [path.name for path in folder.iterdir()] == ["002.wav"]
    assert "1/2  left out 001.wav: nothing to say" in capsys.readouterr().out


def test_lines_of_which_none_can_be_spoken_are_an_error(say, tmp_path, capsys):
    (tmp_path / "lines.txt").write_text(";\n", "utf-8")

    flags = ("--text-file", tmp_path / "lines.txt", "--output-dir", tmp_path / "spoken")
    code = say(*flags, "--language", "ca")

    assert code == 2
    assert "none of the lines could be spoken" in capsys.readouterr().err


def test_a_folder_for_lines_needs_a_file_of_lines(say, tmp_path, capsys, loading_is_a_mistake):
    assert say("--text", "Hello.", "--output-dir", tmp_path / "spoken") == 2
    assert "give --text-file" in capsys.readouterr().err


def test_a_file_without_a_line_is_refused(say, tmp_path, capsys, loading_is_a_mistake):
    (tmp_path / "lines.txt").write_text("\n \n", "utf-8")

    code = say("--text-file", tmp_path / "lines.txt", "--output-dir", tmp_path / "spoken")

    assert code == 2
    assert "no line to speak" in capsys.readouterr().err


def test_a_duration_is_not_asked_of_a_base_that_does_not_know_any(say, capsys):
    assert say("--text", "Hello.", "--target-duration", "1.5") == 2

    told = capsys.readouterr().err
    assert "base did not learn to keep to a duration" in told
    assert "--speed changes the length of any model" in told
