"""What was said, for a listener who knows words."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.listening import word_search
from idiolect.listening.spelling import ALPHABET, from_rows, to_rows
from idiolect.listening.word_search import WordLetters, spell_words

CATALAN = {"el": 50, "vell": 5, "mestre": 7, "cada": 9, "diumenge": 4, "pa": 6, "amb": 8}
SURE, DOUBTED = 0.0, -0.5


def heard(*frames: str) -> torch.Tensor:
    """Log probabilities of frames: the first letter of each is likeliest, ``_`` is silence."""
    rows = torch.full((len(frames), len(ALPHABET) + 1), -12.0)
    for row, letters in zip(rows, frames, strict=True):
        for place, letter in enumerate(letters):
            number = 0 if letter == "_" else ALPHABET.index(letter) + 1
            row[number] = SURE if place == 0 else DOUBTED
    return rows.log_softmax(dim=-1)


def spell(*frames: str, words: dict[str, int] = CATALAN) -> str:
    return spell_words(heard(*frames), ALPHABET, WordLetters(words, ALPHABET))


def test_of_two_letters_that_sound_alike_the_one_of_a_known_word_is_written():
    frames = ("c", "a", "_", "d", "ea")

    assert spell(*frames) == "cada"
    assert from_rows(heard(*frames).argmax(dim=-1).tolist()) == "cade"


def test_words_that_were_heard_as_one_are_written_apart():
    assert spell("e", "l", "_ ", "v", "e", "l", "_", "l") == "el vell"


def test_what_was_heard_clearly_is_written_in_no_known_word_too():
    assert spell("x", "u", "_", "z", "i") == "xuzi"


def test_a_letter_is_doubled_only_behind_silence():
    assert spell("v", "e", "l", "l") == "vel"
    assert spell("v", "e", "l", "_", "l") == "vell"


def test_silence_is_no_text():
    assert spell("_", "_", " ", "_") == ""
    assert spell() == ""


@pytest.mark.parametrize("begun", [" ", " v", " ve", " xu", " diumeng", " diumengediumenge"])
def test_the_odds_of_all_letters_are_one_in_sum(begun):
    words = WordLetters(CATALAN, ALPHABET)

    total = sum(math.exp(words.log_odds(begun, letter)) for letter in ALPHABET)

    assert total == pytest.approx(1.0)


def test_a_letter_of_a_known_word_is_likelier_than_any_other():
    words = WordLetters(CATALAN, ALPHABET)

    assert max(ALPHABET, key=lambda letter: words.log_odds(" diumen", letter)) == "g"


def test_without_words_no_letter_is_likelier():
    words = WordLetters({}, ALPHABET)

    assert {words.log_odds(" a", letter) for letter in ALPHABET} == {-math.log(len(ALPHABET))}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10_000))
def test_the_search_finds_the_likeliest_text_of_all_paths(num_frames, seed):
    alphabet = " ab"
    chance = torch.Generator().manual_seed(seed)
    rows = torch.randn(num_frames, len(alphabet) + 1, generator=chance).log_softmax(dim=-1)
    words = WordLetters({"ab": 3, "ba": 1}, alphabet)
    sound: dict[str, float] = {}
    for path in itertools.product(range(len(alphabet) + 1), repeat=num_frames):
        text = from_rows(path, alphabet)
        odds = math.exp(sum(float(rows[frame, row]) for frame, row in enumerate(path)))
        sound[text] = sound.get(text, 0.0) + odds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_search, "BEAM_WIDTH", 10_000)
        patch.setattr(word_search, "UNLIKELY", math.inf)
        patch.setattr(word_search, "WORD_WEIGHT", 0.0)
        patch.setattr(word_search, "LETTER_BONUS", 0.0)
        found = spell_words(rows, alphabet, words)

    assert sound[found] == pytest.approx(max(sound.values()))


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet="abcdeé'", min_size=1, max_size=12), st.sampled_from([{}, CATALAN]))
def test_any_letters_that_are_clear_are_written_as_they_are(text, words):
    rows = to_rows(text)
    frames = [part for row in rows for part in (ALPHABET[row - 1], "_")]

    assert spell(*frames, words=words) == text
