"""What the words that were heard tell of the prompt and of the end."""

from __future__ import annotations

import pytest

from idiolect.evaluation.measures import loses_end, says_prompt

PROMPT = "El vell mestre ve al bar cada diumenge al matí."
SENTENCE = "La pescadora venia una mica d'orxata."


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param("ve al bar la pescadora venia", id="three words"),
        pytest.param("la pescadora venia cadadiumenge una mica", id="twelve letters, unspaced"),
        pytest.param(PROMPT, id="all of it"),
    ],
)
def test_a_run_of_the_prompt_is_a_leak(heard):
    assert says_prompt(heard, PROMPT, SENTENCE, "ca")


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param(SENTENCE, id="the sentence"),
        pytest.param("el vell la pescadora mestre venia", id="two words in a row at most"),
        pytest.param("", id="nothing"),
    ],
)
def test_less_than_a_run_is_chance(heard):
    assert not says_prompt(heard, PROMPT, SENTENCE, "ca")


def test_what_prompt_and_sentence_share_may_be_heard():
    shared = "El vell mestre no venia."

    assert not says_prompt(shared, PROMPT, shared, "ca")


def test_numbers_leak_as_they_are_said():
    assert says_prompt("tinc vint-i-tres gats negres", "Tinc 23 gats negres.", SENTENCE, "ca")


def test_characters_are_no_words_where_none_are_written_apart():
    prompt, sentence = "今天天气很好", "我们去公园散步"

    assert not says_prompt("今 天 天 我们去公园", prompt, sentence, "zh")


@pytest.mark.parametrize(
    ("heard", "is_lost"),
    [
        pytest.param("la pescadora venia una mica d'orxata", False, id="whole"),
        pytest.param("una mica dorzat", False, id="its last letters, two of them wrong"),
        pytest.param("la pescadora venia una", True, id="cut"),
        pytest.param("la pescadora venia una mica d'orxata i després molt més", True, id="more"),
        pytest.param("", True, id="nothing"),
    ],
)
def test_an_end_is_what_is_heard_last(heard, is_lost):
    assert loses_end(heard, SENTENCE, "ca") is is_lost
