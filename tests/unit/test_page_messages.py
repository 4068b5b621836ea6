"""The words of the page: the same in every language, and the one that a browser asks for."""

from __future__ import annotations

import string

import pytest

from idiolect.webui.messages import PAGE_LANGUAGES, Say, preferred_language, read_messages

OTHERS = [code for code in PAGE_LANGUAGES if code != "en"]


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_says_everything_with_the_same_fields(language):
    english, other = read_messages("en"), read_messages(language)

    assert sorted(other) == sorted(english)
    for name, text in english.items():
        assert fields(other[name]) == fields(text), name
        assert other[name].strip(), name


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_is_not_english_again(language):
    english, other = read_messages("en"), read_messages(language)

    sentences = [name for name, text in english.items() if len(text.split()) > 4]
    assert sentences
    assert [name for name in sentences if other[name] == english[name]] == []


def test_a_message_is_said_with_its_values():
    assert Say("en")("head.took", model="catalan", seconds="0.21") == "**catalan** loaded in 0.21 s"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("ca,es;q=0.8,en;q=0.5", "ca"),
        ("de,es;q=0.8,zh;q=0.9", "zh"),
        ("zh-TW,zh;q=0.9", "zh"),
        ("de", "en"),
        ("", "en"),
        ("es;q=0, ca;q=0.1", "ca"),
        ("es;q=much, ca;q=0.1", "ca"),
        ("ES-mx", "es"),
    ],
)
def test_a_browser_gets_the_language_that_it_likes_best(accepted, language):
    assert preferred_language(accepted) == language
