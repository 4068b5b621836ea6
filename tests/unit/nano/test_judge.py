"""The judges on a random nano base, which nobody understands, and on scores that are known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from idiolect.audio.io import probe_audio, write_wav
from idiolect.base.errors import DataError
from idiolect.base.files import write_json
from idiolect.base.units import SAMPLE_RATE
from idiolect.data.formants import Voice, speak_formants
from idiolect.data.manifest import Utterance, write_manifest
from idiolect.listening.recogniser import ALPHABET_FILE, HEAD_FILE
from idiolect.listening.spelling import ALPHABET
from idiolect.nano.judge import JudgeConfig, by_voice, in_turn, judge_base, likeness
from idiolect.nano.judge_demos import judge_demos
from idiolect.nano.survey import survey_voices
from idiolect.nano.verdict import Finding, Verdict

TEXTS = {"en": ("Good night.", "Come here."), "es": ("Buenas noches.", "Ven aquí.")}
QUICK = JudgeConfig(copies=1, sentences=1, voices=2, per_voice=1)


def clip(folder: Path, speaker: str, language: str, text: str, pitch_hz: float) -> Utterance:
    name = f"{speaker}-{language}-{len(text)}.wav"
    wave = speak_formants(text, Voice(name=speaker, pitch_hz=pitch_hz))
    write_wav(folder / name, wave, SAMPLE_RATE)
    return Utterance(
        id=Path(name).stem,
        audio=name,
        root=folder,
        text=text,
        speaker=speaker,
        language=language,
        duration_sec=len(wave) / SAMPLE_RATE,
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Two voices a language, each with two sentences; those of both sets are the same."""
    folder = tmp_path_factory.mktemp("corpus")
    clips = [
        clip(folder, f"{language}{number}", language, text, 110.0 + 70 * number)
        for language, texts in TEXTS.items()
        for number in range(2)
        for text in texts
    ]
    for name in ("heldout_voices.jsonl", "unseen_texts.jsonl"):
        write_manifest(folder / name, clips)
    return folder


@pytest.fixture(scope="module")
def spelling_base(nano_base, tmp_path_factory) -> Path:
    """A nano base whose encoder has a head, of random letters."""
    folder = tmp_path_factory.mktemp("spelling") / "base"
    shutil.copytree(nano_base, folder)
    encoder = folder / "hf_cache" / "w2v-bert-2.0"
    width = json.loads((encoder / "config.json").read_text())["hidden_size"]
    chance = torch.Generator().manual_seed(0)
    rows = len(ALPHABET) + 1
    head = {"weight": torch.randn(rows, width, generator=chance), "bias": torch.zeros(rows)}
    save_file(head, encoder / HEAD_FILE)
    (encoder / ALPHABET_FILE).write_text(json.dumps(list(ALPHABET)), "utf-8")
    return folder


@pytest.mark.slow
def test_a_random_base_is_put_to_every_test_and_fails_to_be_understood(
    spelling_base, corpus, tmp_path
):
    verdict = judge_base(spelling_base, corpus, tmp_path, config=QUICK)

    by_test = {(f.test, f.measure): f for f in verdict.findings}
    assert {test for test, _ in by_test} == {"copy", "speech", "voice"}
    assert not by_test["speech", "en: letters wrong"].passed
    assert not by_test["copy", "es: letters wrong"].passed
    assert len(list(tmp_path.rglob("*.wav"))) == 2 + 2 + 2
    assert json.loads((tmp_path / "verdict.json").read_text())["findings"][0]["passed"] is False
    [copy] = (tmp_path / "copy").glob("en*.wav")
    original = probe_audio(corpus / copy.name)
    assert probe_audio(copy).duration_sec == pytest.approx(original.duration_sec, abs=0.05)


def test_a_corpus_of_one_language_is_refused_before_it_is_heard(spelling_base, corpus, tmp_path):
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    for name in ("heldout_voices.jsonl", "unseen_texts.jsonl"):
        lines = (folder / name).read_text("utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(line for line in lines if '"es"' in line), "utf-8")

    with pytest.raises(DataError, match="no clip of en"):
        judge_base(spelling_base, folder, tmp_path / "out", config=QUICK)


def test_voices_take_turns():
    order = ["a1", "a2", "a3", "b1", "c1", "c2"]
    clips = [
        Utterance(
            id=name,
            audio="",
            root=Path(),
            text=name,
            speaker=name[0],
            language="en",
            duration_sec=1.0,
        )
        for name in order
    ]

    assert [c.id for c in in_turn(clips)] == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert {name: len(own) for name, own in by_voice(clips).items()} == {"a": 3, "b": 1, "c": 2}


class Pitch:
    """Knows a voice by how often it crosses zero."""

    name = "pitch"

    def embed(self, audio: torch.Tensor) -> torch.Tensor:
        crossings = (audio[1:] * audio[:-1] < 0).float().mean()
        return torch.tensor([crossings, 0.05])


def test_a_voice_is_most_like_itself(corpus):
    low, high = corpus / "en0-en-11.wav", corpus / "en1-en-11.wav"

    table = likeness(Pitch(), [low, high], [high, low])

    assert table.argmax(dim=1).tolist() == [1, 0]
    assert table.max() == pytest.approx(1.0)


class Echo:
    """Hears what it was told to."""

    name = "echo"

    def __init__(self, text: str) -> None:
        self.text = text

    def speaks(self, language: str) -> bool:
        return language == "en"

    def hear(self, audio, language) -> str:
        return self.text


def test_a_survey_hears_each_voice_by_each_judge_that_knows_its_language(corpus):
    from idiolect.data.manifest import read_manifest

    clips = list(read_manifest(corpus / "unseen_texts.jsonl"))

    scores = list(survey_voices(clips, [Echo("good night"), Echo("")], per_voice=1))

    assert [(s.speaker, s.errors.rate) for s in scores] == [
        ("en0", 0.0),
        ("en0", 1.0),
        ("en1", 0.0),
        ("en1", 1.0),
    ]


@pytest.mark.parametrize(
    ("value", "at_least", "passed"),
    [(0.3, False, True), (0.31, False, False), (0.3, True, True), (0.29, True, False)],
)
def test_a_finding_passes_on_its_own_side_of_the_limit(value, at_least, passed):
    found = Finding(test="t", measure="m", judge="j", value=value, limit=0.3, at_least=at_least)

    assert found.passed is passed
    assert found.line().startswith("ok" if passed else "MISS")


def demo(folder: Path, after: int, spanish_after: int = 1) -> Path:
    """A finished demo: of 40 letters 32 were wrong before, and ``after`` are now."""

    def reading(language: str, edits: int) -> dict[str, object]:
        errors = {"edits": edits, "letters": 40}
        return {"language": language, "text": "x", "sound": None, "errors": errors}

    speeches = [
        {"label": "base", "readings": [reading("ca", 32), reading("es", 1)]},
        {"label": "catalan", "readings": [reading("ca", after), reading("es", spanish_after)]},
    ]
    scores = {"seed": 1, "language": "ca", "listener": "ours", "speeches": speeches}
    write_json(folder / "scores.json", scores)
    return folder


def test_a_demo_that_taught_and_kept_passes(tmp_path):
    verdict = judge_demos([demo(tmp_path, after=10, spanish_after=2)], [])

    assert [f.passed for f in verdict.findings] == [True, True, True]


@pytest.mark.parametrize(
    ("after", "spanish_after", "missed"),
    [(13, 1, ["ca after", "ca, of before"]), (10, 3, ["lost of es"])],
)
def test_a_demo_that_taught_too_little_or_lost_too_much_does_not(
    tmp_path, after, spanish_after, missed
):
    verdict = judge_demos([demo(tmp_path, after, spanish_after)], [])

    assert [f.measure for f in verdict.findings if not f.passed] == [
        f"seed 1: {measure}" for measure in missed
    ]


def test_silence_is_judged_as_all_wrong_by_others_too(tmp_path):
    listener = Echo("x")
    listener.speaks = lambda language: language == "ca"

    verdict = judge_demos([demo(tmp_path, after=10)], [listener])

    assert {f.judge: f.value for f in verdict.findings if f.measure.endswith("ca after")} == {
        "ours": 0.25,
        "echo": 1.0,
    }


def test_a_verdict_is_kept_whole(tmp_path):
    verdict = Verdict()
    verdict.find("copy", "en", "ours", 0.05, 0.08)
    verdict.details["why"] = {"clips": 3}

    verdict.write(tmp_path / "verdict.json")

    kept = json.loads((tmp_path / "verdict.json").read_text())
    assert kept["findings"][0]["value"] == 0.05
    assert kept["details"] == {"why": {"clips": 3}}
