"""What a speaker of each language reads aloud, example by example, and what no language does."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idiolect.text.languages import LANGUAGES, NEUTRAL, find_language
from idiolect.text.speak import speak

EXAMPLES = Path(__file__).parent / "text_examples"
CODES = ("ca", "es", "fr", "pt", "it", "de")


def read_examples(code):
    """Yield raw text and what is read; a line without a tab is read as it is written."""
    for number, line in enumerate((EXAMPLES / f"{code}.tsv").read_text("utf-8").splitlines(), 1):
        raw, _, expected = line.partition("\t")
        yield pytest.param(code, raw, expected or raw, id=f"{code}-{number}")


@pytest.mark.parametrize(
    ("code", "raw", "expected"), [example for code in CODES for example in read_examples(code)]
)
def test_a_sentence_is_read_as_a_speaker_reads_it(code, raw, expected):
    spoken = speak(raw, LANGUAGES[code])
    assert spoken == expected
    assert speak(spoken, LANGUAGES[code]) == spoken


@pytest.mark.parametrize("code", CODES)
def test_every_language_has_150_examples(code):
    assert len({example.values[1] for example in read_examples(code)}) >= 150


@pytest.mark.parametrize("code", CODES)
def test_the_examples_need_no_letter_that_the_row_does_not_list(code):
    written = "".join(example.values[2].lower() for example in read_examples(code))
    letters = {character for character in written if character.isalpha()}
    assert letters <= set("abcdefghijklmnopqrstuvwxyz" + LANGUAGES[code].letters)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Tinc 3 gats a 2,50 €.", "Tinc 3 gats a 2,50 €."),
        ("It costs $5 & more", "It costs $5 & more"),
        ("Det är 25 %", "Det är 25 %"),
        ("中文 25", "中文 25"),
        ("Dr. No, 12/03/2024", "Dr. No, 12/03/2024"),
        ("za\u0142o\u0308z\u0307yc\u0301", "załöżyć"),
        ("a\u200bb\u00adc\ufeffd\x07e", "abcde"),
        ("un\u00a0 deux\t\r\ntrois", "un deux trois"),
        ("\u201cx\u201d it\u2019s", '"x" it\'s'),
        ("party 🎉🎉 time", "party time"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("", ""),
    ],
)
def test_the_neutral_row_cleans_and_expands_nothing(raw, expected):
    assert speak(raw, NEUTRAL) == expected


@pytest.mark.parametrize(
    ("code", "row"),
    [("ca", "ca"), ("pt-BR", "pt-br"), ("pt_PT", "pt"), ("es_MX", "es"), ("CA", "ca"), ("xx", "")],
)
def test_a_language_is_found_by_any_spelling_of_its_code(code, row):
    assert find_language(code).code == row


@pytest.mark.parametrize(
    ("raw", "portugal", "brazil"),
    [
        ("16", "dezasseis", "dezesseis"),
        ("1 de maio", "um de maio", "primeiro de maio"),
        ("10 km", "dez quilómetros", "dez quilômetros"),
        ("3.000.000.000", "três mil milhões", "três bilhões"),
    ],
)
def test_brazil_counts_its_own_way(raw, portugal, brazil):
    assert speak(raw, LANGUAGES["pt"]) == portugal
    assert speak(raw, LANGUAGES["pt-br"]) == brazil


@pytest.mark.parametrize("code", CODES)
def test_every_number_to_ten_thousand_has_letters_only(code):
    words = LANGUAGES[code].speech.numbers
    for number in [*range(1200), *range(1990, 10_000, 97), 10**6, 10**9, 10**12, 999_999_999]:
        for form in ("masculine", "feminine", "counting", "naming"):
            assert re.fullmatch(r"[^\W\d_]+(?:[ -][^\W\d_]+)*", words.cardinal(number, form))
        if 0 < number < 1000:
            assert re.fullmatch(r"[^\W\d_]+(?:[ -][^\W\d_]+)*", words.ordinal(number, "feminine"))


def test_a_number_of_a_thousand_digits_is_read_out():
    assert speak("9" * 1000, LANGUAGES["de"]) == " ".join(["neun"] * 1000)


def test_text_without_digits_does_not_load_the_number_library():
    program = (
        "import sys; from idiolect.text.languages import LANGUAGES;"
        "from idiolect.text.speak import speak; speak('Bon dia, Sr. Puig!', LANGUAGES['ca']);"
        "print('num2words' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("code", CODES)
def test_plain_sentences_pass_quickly(code):
    plain = [raw for _, raw, read in (p.values for p in read_examples(code)) if raw == read] * 20
    start = time.perf_counter()
    for text in plain:
        speak(text, LANGUAGES[code])
    rate = len(plain) / (time.perf_counter() - start)
    assert rate > 4_000, json.dumps({"sentences_per_sec": rate})  # 20 000 on an idle core


@pytest.mark.parametrize(
    "text",
    ["'" * 3000, "1" * 3000, "1.1" * 2000, "a-" * 3000, "1 " * 2000, ", ." * 2000, "X" * 3000],
)
def test_hostile_repetition_takes_no_time(text):
    start = time.perf_counter()
    speak(text, LANGUAGES["ca"])
    assert time.perf_counter() - start < 5
