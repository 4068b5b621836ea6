"""``--base nano``: every command finds the base of the package, and leaves it as it is."""

from pathlib import Path

import pytest

from clips import write_clip
from idiolect.audio.io import probe_audio
from idiolect.base import places
from idiolect.base.snapshot import BaseSnapshot
from idiolect.cli.main import main
from idiolect.data.formants import CATALAN_SENTENCES, write_corpus
from idiolect.models.checkpoint import read_header
from idiolect.models.published import DERIVATIVE_NOTICE
from idiolect.models.terms import NANO_LICENCE, NANO_NOTICE
from idiolect.nano.pack import pack_base
from nano_kit import random_run
from registry_kit import make_tokenizer


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """A packed base in the place of the one that comes with the package."""
    folder = tmp_path_factory.mktemp("package") / "assets" / "nano"
    pack_base(random_run(tmp_path_factory.mktemp("nano") / "run"), folder)
    return folder


@pytest.fixture(autouse=True)
def project(shipped, tmp_path, monkeypatch) -> Path:
    """A working folder without a base."""
    monkeypatch.setattr(places, "SHIPPED_DIR", shipped)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _nothing_in_the_package_changes(shipped):
    before = BaseSnapshot.take(shipped).hashes
    yield
    assert BaseSnapshot.take(shipped).hashes == before


def test_the_doctor_finds_it_whole_and_says_its_licence(capsys):
    assert main(["doctor", "--base", "nano", "--verify"]) == 0

    said = capsys.readouterr().out
    assert "the base is nano, under the Apache-2.0" in said
    assert "files are as SHA256SUMS says" in said
    assert "everything works" in said


def test_the_list_shows_it_with_its_languages(capsys):
    assert main(["models", "--base", "nano"]) == 0

    assert "v2.0, en/es)" in capsys.readouterr().out


def test_it_speaks(project, capsys):
    write_clip(project / "voice.wav", seconds=0.6)
    short = ("--max-mel-tokens", "8", "--language", "en", "--seed", "1")

    code = main(["synth", "--base", "nano", "--voice", "voice.wav", "--text", "Hello.", *short])

    assert code == 0, capsys.readouterr().err
    # Untaught weights end when they like, the taught ones are heard in test_trained_nano.py.
    assert probe_audio(project / "output.wav").duration_sec > 0


def test_it_asks_for_a_language_for_it_speaks_two(project, capsys):
    write_clip(project / "voice.wav", seconds=0.6)

    assert main(["synth", "--base", "nano", "--voice", "voice.wav", "--text", "Hello."]) == 2

    assert "base speaks en, es" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_tuned_on_it_is_installed_with_its_terms(project, capsys):
    write_corpus(project / "audio", project / "texts.txt", sentences=CATALAN_SENTENCES[:5])
    steps = [
        *("prepare", "--audio-dir", "audio", "--transcript-file", "texts.txt"),
        *("--language", "ca", "--output-manifest", "data/train.jsonl"),
    ]
    assert main(steps) == 0, capsys.readouterr().err
    make_tokenizer(project / "ca_bpe.model")
    training = [
        *("train", "--base", "nano", "--train-manifest", "data/train.jsonl"),
        *("--tokenizer", "ca_bpe.model", "--output-dir", "run", "--max-steps", "2"),
        *("--allow-skips",),
    ]
    assert main(training) == 0, capsys.readouterr().err

    installing = ["install", "--base", "nano", "--checkpoint", "run/best.pth"]
    installing += ["--tokenizer", "ca_bpe.model", "--output-name", "catalan"]
    assert main(installing) == 0, capsys.readouterr().err

    card = (project / "models" / "catalan_README.md").read_text()
    assert NANO_NOTICE in card
    assert DERIVATIVE_NOTICE not in card
    header = read_header(project / "models" / "gpt_catalan.pth").header
    assert header is not None
    assert (header.base_name, header.licence) == ("nano", NANO_LICENCE)
    assert header.settings["base_checkpoint"] == "nano"
    write_clip(project / "voice.wav", seconds=0.6)
    short = ("--max-mel-tokens", "8", "--num-beams", "1")
    speaking = ["synth", "--base", "nano", "--model", "catalan", "--voice", "voice.wav"]
    assert main([*speaking, "--text", "Bon dia.", *short]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["nano", "new"],
        ["nano", "export"],
        ["models", "--base", "nano", "--rebuild", "--model-dir"],
    ],
)
def test_nothing_is_written_into_it(shipped, capsys, command):
    assert main([*command, str(shipped / "inner")]) == 2

    assert "would write into the base folder" in capsys.readouterr().err


def test_it_is_exported_where_the_guide_keeps_its_base(project, shipped, capsys):
    assert main(["nano", "export", "checkpoints"]) == 0

    assert "copied the nano base to checkpoints" in capsys.readouterr().out
    copied = BaseSnapshot.take(project / "checkpoints").hashes
    assert copied == BaseSnapshot.take(shipped).hashes
    assert main(["nano", "export", "checkpoints"]) == 2
    assert "no base is ever overwritten" in capsys.readouterr().err


def test_a_package_without_it_says_what_to_do(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(places, "SHIPPED_DIR", tmp_path / "nowhere")

    assert main(["models", "--base", "nano", "--json"]) == 0
    assert main(["doctor", "--base", "nano"]) == 1
    assert "install idiolect again" in capsys.readouterr().out


def test_the_actions_of_nano_are_listed_and_a_misspelt_one_is_told_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["nano", "--help"])
    assert ended.value.code == 0
    assert "export" in capsys.readouterr().out
    assert main(["nano", "exprot", "x"]) == 2
    assert "did you mean 'export'?" in capsys.readouterr().err
