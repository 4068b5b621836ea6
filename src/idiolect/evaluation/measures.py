"""What the words that were heard tell: whether they are the prompt's, and whether the end came.

A model that was shown little speech may say what its prompt says, in whole or in part, or may
swallow the end of a sentence. Both can be heard, and neither shows in a loss.
"""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.listening.scores import edit_distance, spoken_letters, writes_words_apart

LEAKED_WORDS = 3
"""So many words of the prompt in a row are no chance."""
LEAKED_LETTERS = 12
"""Or so many letters, wherever the listener put the spaces."""
END_LETTERS = 10
"""How much of the end of a sentence is looked at."""


def says_prompt(heard: str, prompt: str, sentence: str, language: str) -> bool:
    """Return whether a run of ``prompt`` was heard that is not in the ``sentence`` asked for.

    A run is :data:`LEAKED_WORDS` words, where words are written apart, or
    :data:`LEAKED_LETTERS` letters.
    """
    texts = [spoken_letters(text, language) for text in (heard, prompt, sentence)]
    letters = [text.replace(" ", "") for text in texts]
    if _shares_run(*letters, length=LEAKED_LETTERS):
        return True
    words = [text.split() for text in texts]
    return writes_words_apart(language) and _shares_run(*words, length=LEAKED_WORDS)


def _shares_run(
    heard: Sequence[str], prompt: Sequence[str], sentence: Sequence[str], *, length: int
) -> bool:
    """Return whether ``length`` in a row are in ``heard`` and ``prompt``, not in ``sentence``."""
    return bool((_runs(heard, length) & _runs(prompt, length)) - _runs(sentence, length))


def _runs(items: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(items[i : i + length]) for i in range(len(items) - length + 1)}


def loses_end(heard: str, sentence: str, language: str) -> bool:
    """Return whether what was ``heard`` last is not the end of ``sentence``.

    Its last :data:`END_LETTERS` letters are compared; up to half of them may be heard wrong.
    """
    ends = [
        spoken_letters(text, language).replace(" ", "")[-END_LETTERS:] for text in (sentence, heard)
    ]
    return edit_distance(*ends) > len(ends[0]) / 2
