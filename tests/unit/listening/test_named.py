"""Who listens, by the name that a user gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from idiolect.audio.io import read_audio
from idiolect.base.errors import CheckpointError, ConfigError, DataError, UserError
from idiolect.base.places import SHIPPED_DIR
from idiolect.base.units import SEMANTIC_SAMPLE_RATE
from idiolect.listening import named
from idiolect.listening.named import listener_named
from idiolect.listening.scores import letter_errors

CLIPS = SHIPPED_DIR.parent / "catalan" / "base_languages"
SAID = "We shared some hot chocolate, because their aunts lost my suitcases."


def listener(asr: str, folder: Path | None = None, base: Path = Path("nowhere")):
    return listener_named(asr, folder=folder, base_semantic_dir=base)


def test_none_is_nobody():
    assert listener("none") is None


def test_nano_hears_a_clip_also_where_the_base_has_no_recogniser():
    audio, _ = read_audio(CLIPS / "us3_001.opus", SEMANTIC_SAMPLE_RATE)

    heard = listener("nano").hear(audio, "en")

    assert letter_errors(SAID, heard, "en").rate < 0.2


def test_nano_is_refused_where_neither_base_nor_package_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(named, "SHIPPED_DIR", tmp_path)

    with pytest.raises(CheckpointError, match="neither the base nor the package") as caught:
        listener("nano", base=tmp_path)

    assert "faster-whisper:MODEL" in caught.value.fix


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="nobody is called 'whisper-bass'") as caught:
        listener("whisper-bass")

    assert "did you mean 'whisper-base'?" in caught.value.fix


@pytest.mark.parametrize("asr", ["whisper-base", "whisper-small", "moonshine"])
def test_a_judge_without_a_folder_asks_for_one(asr):
    with pytest.raises(ConfigError, match=f"where {asr} lies is not known") as caught:
        listener(asr)

    assert caught.value.where == "--asr-dir"


def test_a_judge_is_looked_for_in_the_folder_that_is_named(tmp_path):
    with pytest.raises(DataError, match=str(tmp_path / "whisper-base")):
        listener("whisper-base", tmp_path)


@pytest.mark.parametrize("asr", ["faster-whisper", "faster-whisper:"])
def test_faster_whisper_wants_a_model(asr):
    with pytest.raises(ConfigError, match="faster-whisper:MODEL"):
        listener(asr)


def test_without_its_package_faster_whisper_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)

    with pytest.raises(UserError, match="faster_whisper is not installed") as caught:
        listener("faster-whisper:small")

    assert "idiolect[asr]" in caught.value.fix


def test_a_folder_without_a_model_is_no_whisper(tmp_path):
    pytest.importorskip("faster_whisper")

    with pytest.raises(DataError, match="faster-whisper cannot read"):
        listener(f"faster-whisper:{tmp_path}")
