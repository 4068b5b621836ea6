"""Two models on a nano base, compared: what is measured, told, resumed and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clips import write_clip
from idiolect.audio.io import read_audio
from idiolect.base.errors import ConfigError, DataError, RegistryError, SynthesisError
from idiolect.base.places import SHIPPED_DIR
from idiolect.base.units import SAMPLE_RATE
from idiolect.cli.compare import main
from idiolect.evaluation.comparing import Comparisons, turns
from idiolect.evaluation.comparison import ComparisonOrder, read_comparison
from idiolect.evaluation.comparison_report import write_report
from idiolect.evaluation.figures import FIGURES, scores_of
from idiolect.evaluation.reading import Reading
from idiolect.evaluation.sound_strip import GAP_ROWS, WAVE_ROWS, sound_strip
from idiolect.listening.scores import LetterErrors
from idiolect.models.published import locate_base
from idiolect.synthesis.pipeline import IndexTTS2
from idiolect.synthesis.swap import ModelSlot
from registry_kit import make_tokenizer, trained_checkpoint

SHORT = {"max_codes": 8, "num_beams": 1}
TEXTS = ("El gat dorm.", "La porta és oberta.")


@pytest.fixture
def prompt(tmp_path) -> Path:
    return write_clip(tmp_path / "voice.wav", seconds=0.4, seed=1)


@pytest.fixture
def models(nano_base, tmp_path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    tokenizer = make_tokenizer(folder / "catalan_bpe.model")
    trained_checkpoint(folder / "gpt_catalan.pth", nano_base, tokenizer)
    return folder


@pytest.fixture
def comparisons(nano_base, models, tmp_path) -> Comparisons:
    files = locate_base(nano_base)
    return Comparisons(ModelSlot(files, models), files, models, tmp_path / "made")


def order(prompt: Path, **changes) -> ComparisonOrder:
    values = {"model_a": "base", "model_b": "catalan", "prompt": prompt, "texts": TEXTS}
    return ComparisonOrder(**{**values, "settings": SHORT, "device": "cpu", **changes})


def reading(sentence: int, side: str, elapsed_sec: float, edits: int = 0) -> Reading:
    return Reading(
        sentence=sentence,
        side=side,
        text="text",
        spoken_first=side == "a",
        sound="x.wav",
        elapsed_sec=elapsed_sec,
        duration_sec=1.0,
        letters=LetterErrors(edits, 10),
    )


def test_each_model_is_first_as_often_as_second_and_swaps_are_few():
    assert [side for _, side, _ in turns(4)] == list("abbaabba")
    assert [sentence for sentence, _, _ in turns(2)] == [1, 1, 2, 2]
    assert [first for _, _, first in turns(2)] == [True, False, True, False]


def test_both_models_say_every_sentence_as_synth_would(comparisons, prompt, nano_base, models):
    *_, (folder, made) = comparisons.run(order(prompt))

    assert made.is_finished
    assert read_comparison(folder) == made
    assert made.language == "ca"
    assert folder.name.endswith("-base-catalan")
    tts = IndexTTS2(
        nano_base / "config.yaml", nano_base, device="cpu", model="catalan", models_dir=models
    )
    tts.infer(prompt, TEXTS[1], folder / "synth.wav", language="ca", seed=1, **SHORT)
    assert (folder / "synth.wav").read_bytes() == (folder / "b" / "002.wav").read_bytes()


def test_what_is_measured_is_that_of_the_sound(comparisons, prompt):
    *_, (folder, made) = comparisons.run(order(prompt, texts=TEXTS[:1]))

    for side in "ab":
        found = made.reading(1, side)
        wave, _ = read_audio(folder / found.sound, SAMPLE_RATE)
        assert found.duration_sec == len(wave) / SAMPLE_RATE
        assert 0 < found.first_sound_sec <= found.elapsed_sec
        assert found.letters_said == len("Elgatdorm")
        assert -1 <= found.similarity <= 1
        assert found.heard is None
        assert found.clipped == (abs(wave) * 32767 >= 32766.5).sum()


def test_an_order_that_was_stopped_goes_on_where_it_was(comparisons, prompt):
    steps = comparisons.run(order(prompt))
    folder, _ = next(steps)
    next(steps)
    steps.close()
    before = (folder / "a" / "001.wav").stat().st_mtime_ns

    again = list(comparisons.run(order(prompt)))

    assert {made_in for made_in, _ in again} == {folder}
    assert [len(made.readings) for _, made in again] == [1, 2, 3, 4]
    assert (folder / "a" / "001.wav").stat().st_mtime_ns == before


@pytest.mark.parametrize("change", [{"seed": 2}, {"texts": TEXTS[::-1]}, {"model_b": "base"}])
def test_another_order_does_not_go_on_in_the_same_folder(comparisons, prompt, change):
    steps = comparisons.run(order(prompt))
    folder, _ = next(steps)
    steps.close()

    other = comparisons.run(order(prompt, **change))
    assert next(other)[0] != folder
    other.close()


def test_a_finished_comparison_is_made_anew(comparisons, prompt):
    *_, (first, _) = comparisons.run(order(prompt, texts=TEXTS[:1]))
    *_, (second, _) = comparisons.run(order(prompt, texts=TEXTS[:1]))

    assert first != second
    assert set(comparisons.names()) == {first.name, second.name}


def test_what_is_cancelled_keeps_what_is_finished(comparisons, prompt):
    asked = []

    def cancelled() -> bool:
        asked.append(1)
        return any(comparisons.folder.glob("*/a/001.wav"))

    *_, (folder, made) = comparisons.run(order(prompt), cancelled=cancelled)

    assert [(r.sentence, r.side) for r in made.readings] == [(1, "a")]
    assert read_comparison(folder) == made
    assert asked


def test_a_sentence_that_fails_is_told_and_the_rest_is_spoken(comparisons, prompt):
    *_, (folder, made) = comparisons.run(order(prompt, texts=("\x07", TEXTS[0])))

    errors = [made.reading(1, side).error for side in "ab"]
    assert all("nothing to say" in error for error in errors)
    assert all("give a text with words" in error for error in errors), "how to mend it"
    assert [r.sentence for pair in made.pairs() for r in pair] == [2, 2]
    assert made.reading(2, "b").sound
    assert "failed: " in write_report(folder, made).read_text(encoding="utf-8")


def test_the_language_is_that_of_the_model_that_speaks_one_or_has_to_be_told(prompt, tmp_path):
    nano = locate_base(SHIPPED_DIR)  # speaks English and Spanish
    tokenizer = make_tokenizer(tmp_path / "models" / "catalan_bpe.model")
    trained_checkpoint(tmp_path / "models" / "gpt_catalan.pth", SHIPPED_DIR, tokenizer)
    slot = ModelSlot(nano, tmp_path / "models")
    comparisons = Comparisons(slot, nano, tmp_path / "models", tmp_path / "made")

    _, made = next(comparisons.run(order(prompt)))

    assert made.language == "ca"
    slot.unload()
    with pytest.raises(SynthesisError, match="base speaks en, es: the text may be any of them"):
        next(comparisons.run(order(prompt, model_b="base")))
    assert slot.status().models == (), "nothing was loaded for it"


def test_when_nothing_can_be_said_at_all_that_is_an_error(comparisons, prompt):
    with pytest.raises(SynthesisError, match="neither model could speak any of the sentences"):
        list(comparisons.run(order(prompt, settings={"max_codes": 8, "colour": 1})))


def test_what_is_wrong_with_an_order_is_told_before_anything_is_spoken(comparisons, prompt):
    with pytest.raises(RegistryError, match="'welsh' is not installed"):
        list(comparisons.run(order(prompt, model_b="welsh")))
    with pytest.raises(DataError, match="no such audio file"):
        list(comparisons.run(order(prompt.with_name("nobody.wav"))))
    with pytest.raises(ConfigError, match="nobody is called 'parrot'"):
        list(comparisons.run(order(prompt, asr="parrot")))
    with pytest.raises(ConfigError, match="there is no text"):
        order(prompt, texts=(" ",))
    assert comparisons.names() == []


def test_a_model_against_itself_says_the_same_and_has_no_winner(comparisons, prompt):
    *_, (folder, made) = comparisons.run(order(prompt, model_b="base", language="en"))

    for number in (1, 2):
        sounds = [(folder / made.reading(number, side).sound).read_bytes() for side in "ab"]
        assert sounds[0] == sounds[1]
    by_name = {score.figure.name: score for score in scores_of(made.readings)}
    assert by_name["similarity"].difference == 0
    assert by_name["duration"].difference == 0


def test_a_difference_that_chance_explains_has_no_winner():
    readings = [reading(n, side, 1.0) for n in range(1, 8) for side in "ab"]
    slower = [reading(n, "b", 1.0 + 0.5 * (-1) ** n) for n in range(1, 8)]

    mixed = scores_of([r for r in readings if r.side == "a"] + slower)

    assert mixed[0].figure.name == "rtf"
    assert mixed[0].interval.holds_zero
    assert mixed[0].verdict == "open"


def test_a_difference_in_every_sentence_has_a_winner_from_six_sentences_on():
    def found(count: int) -> dict[str, str]:
        a = [reading(n, "a", 1.0 + n / 100, edits=3) for n in range(1, count + 1)]
        b = [reading(n, "b", 0.5 + n / 100, edits=1) for n in range(1, count + 1)]
        return {score.figure.name: score.verdict for score in scores_of([*a, *b])}

    assert found(5) == {"rtf": "too few", "letters": "too few", "duration": "neither"}
    assert found(6) == {"rtf": "b", "letters": "b", "duration": "neither"}


def test_only_sentences_of_both_models_count():
    readings = [reading(1, "a", 1.0), reading(1, "b", 2.0), reading(2, "a", 100.0)]

    rtf = scores_of(readings)[0]

    assert (rtf.num_sentences, rtf.a, rtf.b, rtf.interval) == (1, 1.0, 2.0, None)


def test_the_report_has_all_sounds_inside_and_explains_every_figure(comparisons, prompt):
    *_, (folder, made) = comparisons.run(order(prompt, texts=TEXTS[:1]))

    page = write_report(folder, made).read_text(encoding="utf-8")

    assert page.count("<audio") == 2
    assert page.count('src="data:audio/') == 2
    assert page.count('src="data:image/png') == 2
    assert "No letters were counted: nobody listened" in page
    assert all(figure.label in page for figure in FIGURES)


def test_pictures_that_stand_beside_each_other_are_equally_wide():
    import base64
    import io

    import numpy as np
    from matplotlib.image import imread

    shapes = set()
    for seconds in (0.2, 1.0):
        wave = np.sin(np.arange(int(SAMPLE_RATE * seconds)) * 0.1).astype(np.float32)
        address = sound_strip(wave, SAMPLE_RATE)
        pixels = imread(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        shapes.add(pixels.shape[:2])
        drawn = pixels[:WAVE_ROWS].sum(-1)  # the waveform is on top
        loud = drawn[0] == drawn[WAVE_ROWS // 2]  # silence is a line in the middle
        assert loud.mean() == pytest.approx(seconds, abs=0.05)
    assert len(shapes) == 1
    assert shapes.pop()[0] == 80 + GAP_ROWS + WAVE_ROWS


def test_the_command_prints_a_table_and_where_the_report_is(
    prompt, models, nano_base, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    command = ["--model-b", "catalan", "--prompt", str(prompt), "--base", str(nano_base)]
    command += ["--device", "cpu", "--num-beams", "1", "--max-mel-tokens", "8"]

    assert main([*command, "--text-file", str(lines)]) == 0

    told = capsys.readouterr().out
    assert "A: base" in told
    assert "B: catalan" in told
    assert "real-time factor (RTF)" in told
    (report,) = tmp_path.glob("outputs/comparisons/*-base-catalan/report.html")
    assert f"wrote {report.relative_to(tmp_path)}" in told
    kept = json.loads(report.with_name("comparison.json").read_text(encoding="utf-8"))
    assert kept["order"]["texts"] == list(TEXTS)


@pytest.mark.parametrize("given", [[], ["--text", "Hola.", "--text-file", "lines.txt"]])
def test_the_command_takes_its_sentences_from_one_place(given, prompt, capsys):
    assert main(["--model-b", "catalan", "--prompt", str(prompt), *given]) == 2

    assert "give --text or --text-file, one of them" in capsys.readouterr().err
