"""Parity of the text front-end with the published one: every case of ``text.json``, exactly.

Where the two grammars of the published code differ (``normalized`` and ``normalized_wetext``),
ours is the second, and the tokens are those of the first: they are compared from its string.
"""

import re

import pytest

from golden.fixtures import FOLDER, read_json
from idiolect.text.normalize import normalize, prepare_text
from idiolect.text.segments import split_segments
from idiolect.text.tokenizer import Tokenizer

TEXT = read_json("text.json")
CASES = [
    pytest.param(case, id=f"{i}: {case['raw'][:40]!r}") for i, case in enumerate(TEXT["cases"])
]
LATIN_PHRASE = re.compile(r"[A-Za-z]+(?:(?:'|[\s-]+)[A-Za-z]+)*")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(FOLDER / TEXT["bpe_model"])


def prepared(case: dict) -> str:
    """What the tokenizer sees, from the recorded string where the grammars differ."""
    if case["normalized"] == case["normalized_wetext"]:
        return prepare_text(case["raw"], None)
    return re.sub(r"\s+", " ", case["normalized"]).strip().upper()


def test_the_vocabulary_and_its_special_ids_are_read(tokenizer):
    special = TEXT["special_ids"]

    assert tokenizer.vocab_size == TEXT["vocab_size"]
    assert tokenizer.unk_id == special["unk"]
    assert tokenizer.ids_of(["<s>", "</s>"]) == [special["bos"], special["eos"]]


@pytest.mark.parametrize("case", CASES)
def test_text_is_normalized_as_published(case):
    assert normalize(case["raw"], None) == case["normalized_wetext"]


@pytest.mark.parametrize("case", CASES)
def test_pieces_and_ids_are_the_published_ones(case, tokenizer):
    text = prepared(case)
    pieces = tokenizer.split_prepared(text)

    assert pieces == case["tokens"]
    assert tokenizer.ids_of(pieces) == case["ids"]
    assert tokenizer.encode_prepared(text) == case["encode_ids"]


@pytest.mark.parametrize("case", CASES)
def test_ids_spell_the_published_text_again(case, tokenizer):
    assert as_displayed(tokenizer.decode(case["encode_ids"])) == case["decoded"]


@pytest.mark.parametrize("case", CASES)
def test_long_text_is_cut_as_published(case):
    for setting in case["segmentation"]:
        segments = split_segments(
            case["tokens"],
            setting["max_text_tokens_per_segment"],
            setting["quick_streaming_tokens"],
        )
        assert segments == setting["segments"], setting


@pytest.mark.parametrize("case", TEXT["glossary_cases"]["cases"], ids=lambda case: case["raw"])
def test_glossary_terms_are_said_as_given(case):
    glossary = TEXT["glossary_cases"]["glossary"]

    assert normalize(case["raw"], None, glossary=glossary) == case["normalized"]


def as_displayed(text: str) -> str:
    """Take the spaces out as the recorded display does, which loses most Latin phrases.

    It puts a mark in the place of each phrase, and the phrase back only where a word of the
    result holds two marks or more. Ours shows the text; this oracle lets the two be compared.
    """
    phrases = LATIN_PHRASE.findall(text)
    for index, phrase in enumerate(phrases):
        text = text.replace(phrase, f"<sent_{index}>")
    words = text.split()
    for place, word in enumerate(words):
        if word.count("<sent_") > 1:
            words[place] = re.sub(r"<sent_(\d+)>", lambda mark: phrases[int(mark[1])], word)
    return "".join(words)
