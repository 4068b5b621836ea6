"""Leaks of the prompt, for any words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idiolect.evaluation.measures import LEAKED_LETTERS, LEAKED_WORDS, says_prompt

WORDS = st.text("abcdefgh", min_size=1, max_size=6)
SHORT_WORDS = st.text("abcdefgh", min_size=1, max_size=(LEAKED_LETTERS - 1) // 2)
"""Two of them together are too short to be the prompt's for certain."""
OTHER_WORDS = st.text("stuvwxyz", min_size=1, max_size=6)


def texts(words: st.SearchStrategy[str], least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(words, min_size=least, max_size=12)


@given(heard=texts(WORDS), prompt=texts(WORDS))
def test_a_model_that_says_what_it_is_asked_leaks_nothing(heard, prompt):
    said = " ".join(heard)

    assert not says_prompt(said, " ".join(prompt), said, "it")


@given(prompt=texts(WORDS, LEAKED_WORDS), sentence=texts(OTHER_WORDS), data=st.data())
def test_any_run_of_the_prompt_is_found_wherever_it_is_heard(prompt, sentence, data):
    start = data.draw(st.integers(0, len(prompt) - LEAKED_WORDS))
    place = data.draw(st.integers(0, len(sentence)))
    heard = sentence[:place] + prompt[start : start + LEAKED_WORDS] + sentence[place:]

    assert says_prompt(" ".join(heard), " ".join(prompt), " ".join(sentence), "it")


@given(heard=texts(OTHER_WORDS), prompt=texts(WORDS), sentence=texts(WORDS))
def test_words_that_the_prompt_has_not_are_never_its_leak(heard, prompt, sentence):
    assert not says_prompt(" ".join(heard), " ".join(prompt), " ".join(sentence), "it")


@given(prompt=texts(WORDS), sentence=texts(OTHER_WORDS), pair=st.tuples(SHORT_WORDS, SHORT_WORDS))
def test_two_short_words_are_no_run(prompt, sentence, pair):
    heard = " ".join([*sentence, *pair][-len(sentence) - 2 :])

    assert not says_prompt(heard, " ".join([*prompt, *pair]), " ".join(sentence), "it")
