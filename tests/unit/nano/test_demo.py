"""The demo's parts: what is done again and what is not, what is said and heard, and the page."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from idiolect.audio.io import probe_audio, write_wav
from idiolect.audio.shown import sound_address
from idiolect.base.errors import ConfigError, SynthesisError, UserError
from idiolect.base.files import read_jsonl, write_jsonl
from idiolect.base.units import SAMPLE_RATE
from idiolect.data.formants import VOICES, speak_formants
from idiolect.data.manifest import read_manifest
from idiolect.nano.demo import (
    DemoResult,
    DoneStep,
    Progress,
    run_step,
    scores_of,
    told_in_short,
)
from idiolect.nano.demo_corpus import CORPUS_DIR, copy_corpus
from idiolect.nano.demo_report import write_report
from idiolect.nano.demo_speech import (
    Line,
    Speaker,
    collect,
    note_said,
    read_lines,
    speak_all,
    write_texts,
)
from idiolect.nano.demo_steps import DemoConfig, Step

MOST_CORPUS_BYTES = 6 << 20


# --- steps ----------------------------------------------------------------------------------------


def step(key: str, *command: str) -> Step:
    return Step(key=key, title=key, command=command or ("--version",), product=Path("made"))


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "made").touch()
    return tmp_path


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """The keys of the steps that were really run."""
    keys: list[str] = []
    monkeypatch.setattr("idiolect.nano.demo.run_step", lambda step, _: keys.append(step.key))
    return keys


def go_through(folder: Path, *steps: Step) -> list[str]:
    told: list[str] = []
    progress = Progress(folder, told.append)
    for one in steps:
        progress.do(one)
    return told


def test_a_step_that_was_finished_is_not_done_again(folder, ran):
    go_through(folder, step("one"), step("two"))
    told = go_through(folder, step("one"), step("two"))

    assert ran == ["one", "two"]
    assert told.count("already done") == 2


def test_a_step_that_changed_is_done_again_and_all_behind_it(folder, ran):
    go_through(folder, step("one"), step("two"), step("three"))
    go_through(folder, step("one"), step("two", "--help"), step("three"))

    assert ran == ["one", "two", "three", "two", "three"]


def test_a_step_whose_material_changed_is_done_again(folder, ran):
    for text in ("Bon dia.", "Bon dia.", "Bona nit."):
        Progress(folder, print).do(step("one"), made_of=text)

    assert ran == ["one", "one"]


def test_a_step_whose_product_is_gone_is_done_again(folder, ran):
    go_through(folder, step("one"))
    (folder / "made").unlink()
    go_through(folder, step("one"))

    assert ran == ["one", "one"]


def test_a_step_that_failed_is_named_and_not_taken_for_done(folder):
    broken = step("one", "pairs", "--manifest", "missing.jsonl")

    for _ in range(2):
        with pytest.raises(UserError, match="exit code 2") as caught:
            go_through(folder, broken)

    assert caught.value.where == "idiolect pairs --manifest missing.jsonl"


def test_ctrl_c_in_a_step_is_ctrl_c_in_the_demo(folder, monkeypatch):
    program = folder / "python"
    program.write_text("#!/bin/sh\nexit 130\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    with pytest.raises(KeyboardInterrupt):
        run_step(step("one"), folder)


def test_what_cannot_be_taught_is_refused():
    with pytest.raises(ConfigError, match="not 'fr'"):
        DemoConfig(language="fr")
    with pytest.raises(ConfigError, match="nothing would be learnt"):
        DemoConfig(epochs=0)


# --- sentences ------------------------------------------------------------------------------------


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Two Catalan sentences and one English, each read by a synthetic voice."""
    texts = [("ca", "Bon dia."), ("en", "Good day."), ("ca", "Bona nit.")]
    records = []
    for number, (language, text) in enumerate(texts):
        wave = speak_formants(text, VOICES[0])
        write_wav(tmp_path / f"{number}.wav", wave, SAMPLE_RATE)
        records.append(
            {
                "id": str(number),
                "audio": f"{number}.wav",
                "text": text,
                "speaker": "biel",
                "language": language,
                "duration": len(wave) / SAMPLE_RATE,
                "prompt": "0.wav",
            }
        )
    write_jsonl(tmp_path / "sentences.jsonl", records)
    return tmp_path / "sentences.jsonl"


@pytest.fixture
def lines(manifest) -> list[Line]:
    return read_lines(manifest)


def test_lines_are_numbered_within_their_language_as_synth_numbers_them(lines, tmp_path):
    write_texts(lines, tmp_path / "texts")

    assert [line.file_name for line in lines] == ["ca/001.wav", "en/001.wav", "ca/002.wav"]
    assert (tmp_path / "texts/ca.txt").read_text("utf-8") == "Bon dia.\nBona nit.\n"


class Voice:
    """Says everything as a tone, but cannot say "Bona nit."; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.name = ""

    def use_model(self, name: str) -> None:
        self.name = name

    def infer(self, prompt, text, output, *, language, seed) -> None:
        self.asked.append((self.name, text))
        if text == "Bona nit.":
            raise SynthesisError("the model spoke nothing")
        write_wav(output, np.full(4000, 0.1, np.float32), SAMPLE_RATE)


class Echo:
    """Hears "bon dia" in everything."""

    name = "echo"

    def speaks(self, language: str) -> bool:
        return language == "ca"

    def hear(self, audio, language) -> str:
        return "bon dia"


BASE, TUNED = Speaker(label="base", model="base", step=0), Speaker(label="catalan", model="catalan")


def test_what_was_said_is_not_said_again_unless_something_changed(lines, tmp_path):
    voice = Voice()

    speak_all(voice, [BASE], lines, tmp_path / "spoken", made_of="x", seed=1)
    speak_all(voice, [BASE], lines, tmp_path / "spoken", made_of="x", seed=1)
    assert len(voice.asked) == 3

    speak_all(voice, [BASE, TUNED], lines, tmp_path / "spoken", made_of="y", seed=1)
    assert len(voice.asked) == 3 + 6


def test_what_the_command_said_is_not_said_again(lines, tmp_path):
    voice = Voice()
    catalan = [line for line in lines if line.language == "ca"]

    note_said(tmp_path / "spoken/base", catalan, made_of="x")
    speak_all(voice, [BASE], lines, tmp_path / "spoken", made_of="x", seed=1)

    assert voice.asked == [("base", "Good day.")]


def test_a_line_that_a_model_cannot_say_is_heard_as_silence(lines, tmp_path):
    speak_all(Voice(), [BASE], lines, tmp_path, made_of="x", seed=1)

    base, reference = collect([BASE], lines, tmp_path, Echo())

    assert [reading.sound is None for reading in base.readings] == [False, False, True]
    assert base.errors("ca").edits == len("BONA NIT")
    assert base.errors("en") is None
    assert reference.errors("ca").edits == 3  # "bon dia" for "bona nit"


# --- the page -------------------------------------------------------------------------------------


@pytest.fixture
def result(lines, tmp_path) -> DemoResult:
    speakers = [BASE, Speaker(label="step5", model="x", step=5), TUNED]
    speak_all(Voice(), speakers, lines, tmp_path / "spoken", made_of="x", seed=1)
    run = tmp_path / "training/catalan/checkpoints"
    run.mkdir(parents=True)
    records = [{"kind": "val", "step": n, "loss": 5.0 - n} for n in range(3)]
    write_jsonl(run / "metrics.jsonl", records)
    return DemoResult(
        folder=tmp_path,
        config=DemoConfig(dir=tmp_path),
        steps=[DoneStep(step=step("one", "pairs", "--manifest", "<b>.jsonl"), sec=61.0)],
        lines=lines,
        speeches=collect(speakers, lines, tmp_path / "spoken", Echo()),
        listener="echo",
        base_unchanged="base unchanged: 17 files in checkpoints",
        num_base_files=17,
        num_clips=12,
        speech_sec=60.0,
        total_sec=300.0,
    )


def test_the_page_needs_nothing_beside_it(result):
    html = write_report(result).read_text("utf-8")

    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "<link" not in html
    assert "<script" not in html


def test_the_page_shows_every_model_and_tells_what_was_heard(result):
    html = write_report(result).read_text("utf-8")

    assert html.count("<audio") == (2 * 3 + 1 * 3) - 2  # two models could not say one of them
    assert html.count("the model said nothing") == 2
    assert "“Bona nit.”" in html
    assert "100% wrong" in html
    assert "heard: “bon dia”" in html
    assert "pairs --manifest &#39;&lt;b&gt;.jsonl&#39;" in html
    assert "17 files, same SHA-256" in html
    assert "idiolect webui --model-dir models" in html


def test_without_a_recogniser_the_page_says_so_and_shows_no_rates(result, lines, tmp_path):
    from dataclasses import replace

    deaf = collect([BASE, TUNED], lines, tmp_path / "spoken", None)
    html = write_report(replace(result, speeches=deaf, listener=None)).read_text("utf-8")

    assert "Nobody counted the letters" in html
    assert "% wrong" not in html
    assert "validation loss" in html


def test_a_sound_in_the_page_is_small_and_whole():
    wave = speak_formants("Bon dia a tothom.", VOICES[0])

    address = sound_address(wave)

    assert address.startswith("data:audio/")
    assert len(address) < 2 * len(wave)


def test_scores_are_kept_for_those_who_judge(result):
    scores = json.loads(json.dumps(scores_of(result)))

    assert [speech["label"] for speech in scores["speeches"]] == [
        "base",
        "step5",
        "catalan",
        "reference",
    ]
    assert scores["speeches"][0]["readings"][0]["errors"] == {"edits": 0, "letters": 7}
    assert scores["speeches"][0]["readings"][1]["errors"] is None


def test_sounds_are_told_from_the_folder_of_the_demo_wherever_it_was_started(
    result, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path.parent)
    sounds = [
        reading["sound"]
        for speech in scores_of(result)["speeches"]
        for reading in speech["readings"]
        if reading["sound"]
    ]

    assert sounds
    assert all((result.folder / sound).is_file() for sound in sounds)
    assert not any(Path(sound).is_absolute() for sound in sounds)


def test_the_end_tells_what_changed_and_what_to_do_next(result):
    told = "\n".join(told_in_short(result))

    assert "letters heard wrong, ca: 53% before, 53% after" in told
    assert "base unchanged: 17 files" in told
    assert "report.html" in told
    assert "idiolect webui" in told


# --- the corpus that comes with the program -------------------------------------------------------


def test_the_corpus_is_whole_and_small():
    rows = [
        row.split("|") for row in (CORPUS_DIR / "transcripts.txt").read_text("utf-8").splitlines()
    ]

    assert len(rows) >= 60
    assert len({speaker for _, speaker, _ in rows}) >= 3
    for file, _, text in rows:
        assert (CORPUS_DIR / "recordings" / file).is_file()
        assert text.strip()
    total = sum(path.stat().st_size for path in CORPUS_DIR.rglob("*") if path.is_file())
    assert total <= MOST_CORPUS_BYTES
    assert "Apache-2.0" in (CORPUS_DIR / "README.md").read_text("utf-8")


def test_no_sentence_that_is_heard_was_learnt():
    learnt = (CORPUS_DIR / "transcripts.txt").read_text("utf-8").lower()
    replayed = [u.text for u in read_manifest(CORPUS_DIR / "base_languages/train.jsonl")]

    lines = read_lines(CORPUS_DIR / "sentences/sentences.jsonl")

    assert {line.language for line in lines} == {"ca", "en", "es"}
    for line in lines:
        assert line.text.lower() not in learnt
        assert line.text not in replayed
        assert 0.5 < probe_audio(line.reference).duration_sec < 8
        assert probe_audio(line.prompt).duration_sec > 1


def test_the_corpus_is_copied_once(tmp_path):
    count = copy_corpus(tmp_path)
    copied = sorted((tmp_path / "data").rglob("*.opus"))
    times = [path.stat().st_mtime_ns for path in copied]

    assert copy_corpus(tmp_path) == count == len(list((CORPUS_DIR / "recordings").iterdir()))
    assert [path.stat().st_mtime_ns for path in copied] == times
    names = [
        record["audio"] for _, record in read_jsonl(tmp_path / "data/sentences/sentences.jsonl")
    ]
    assert all((tmp_path / "data/sentences" / name).is_file() for name in names)
