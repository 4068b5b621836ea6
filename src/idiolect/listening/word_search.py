"""What was said, for a listener who knows words: the likeliest letters by sound and by spelling.

A recogniser that writes each sound down as it comes spells what it hears ("elvell mestre"); who
knows the language writes its words. What is known of a language is how often it has each word: from
that comes how likely each letter follows those of the word so far, known words and others alike.

``T`` is code frames, ``A`` the rows of the recogniser's head: 0 is silence, letters from 1.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache

from torch import Tensor

ORDER = 9
"""Letters, the one that follows included, that are looked at: whole words but the longest."""
WORD_WEIGHT = 0.8
"""How much spelling counts, where sound counts 1."""
LETTER_BONUS = 1.0
"""For each letter, in nats: without it spelling, which only ever costs, would leave letters out."""
BEAM_WIDTH = 16
UNLIKELY = 8.0
"""Nats below the likeliest row of a frame from which a row is not looked at."""
BREAK = " "
NEVER = -math.inf


class WordLetters:
    """How likely a letter follows in a word, by the words that a language has.

    Args:
        counts: Word to how often it was met.
        alphabet: All letters that there are.

    Source:
        Witten and Bell 1991: a context that was followed by many different letters is trusted
        less, and the next shorter one more.
    """

    def __init__(self, counts: Mapping[str, int], alphabet: str) -> None:
        self._follow: dict[str, Counter[str]] = defaultdict(Counter)
        self._num_letters = len(alphabet)
        for word, count in counts.items():
            spaced = f"{BREAK}{word}{BREAK}"
            for end in range(1, len(spaced)):
                for start in range(max(0, end - ORDER + 1), end + 1):
                    self._follow[spaced[start:end]][spaced[end]] += count
        self._total = {context: letters.total() for context, letters in self._follow.items()}
        self.log_odds = cache(self._log_odds)

    def _log_odds(self, begun: str, letter: str) -> float:
        """Return the log probability of ``letter`` behind ``begun``, a break and part of a word."""
        odds = 1 / self._num_letters
        for start in range(len(begun), max(0, len(begun) - ORDER + 1) - 1, -1):
            followed = self._follow.get(begun[start:])
            if followed is None:
                break
            count, kinds = self._total[begun[start:]], len(followed)
            odds = (followed[letter] + kinds * odds) / (count + kinds)
        return math.log(odds)


def spell_words(log_probs: Tensor, alphabet: str, words: WordLetters) -> str:
    """Return what ``log_probs`` ``[T, A]`` most likely spell, in the words of a language.

    Source:
        Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using
        bi-directional recurrent DNNs": prefix search, with the odds of letters for those of words.
    """
    beam = {"": _Begun(silent=0.0)}
    for row in log_probs.tolist():
        grown: dict[str, _Begun] = {}
        least = max(row) - UNLIKELY
        heard = [place for place, value in enumerate(row) if value > least]
        for text, begun in beam.items():
            for place in heard:
                _extend(grown, text, begun, (place, row[place]), alphabet, words)
        best = sorted(grown.items(), key=lambda item: -item[1].score)[:BEAM_WIDTH]
        beam = dict(best)
    ended: dict[str, float] = {}
    for text, begun in beam.items():
        score = begun.score + _spelled(text, BREAK, words)
        ended[text.strip()] = _either(ended.get(text.strip(), NEVER), score)
    return max(ended, key=ended.__getitem__)


class _Begun:
    """How likely a text is so far: by paths that end in silence, and by those that do not."""

    __slots__ = ("silent", "spelling", "voiced")

    def __init__(self, silent: float = NEVER, spelling: float = 0.0) -> None:
        self.silent = silent
        self.voiced = NEVER
        self.spelling = spelling

    @property
    def sound(self) -> float:
        return _either(self.silent, self.voiced)

    @property
    def score(self) -> float:
        return self.sound + self.spelling


def _extend(
    grown: dict[str, _Begun],
    text: str,
    begun: _Begun,
    heard: tuple[int, float],
    alphabet: str,
    words: WordLetters,
) -> None:
    """Add to ``grown`` what ``text`` becomes when row ``heard[0]`` is heard, by ``heard[1]``."""
    place, log_prob = heard
    stays = grown.setdefault(text, _Begun(spelling=begun.spelling))
    if place == 0:
        stays.silent = _either(stays.silent, begun.sound + log_prob)
        return
    letter, before = alphabet[place - 1], text[-1:] or BREAK
    path = begun.sound + log_prob
    if letter == text[-1:]:  # the same sound goes on; behind silence it is the letter again
        stays.voiced = _either(stays.voiced, begun.voiced + log_prob)
        path = begun.silent + log_prob
    if letter == before == BREAK:
        stays.voiced = _either(stays.voiced, path)
    elif path > NEVER:
        spelling = begun.spelling + _spelled(text, letter, words)
        longer = grown.setdefault(text + letter, _Begun(spelling=spelling))
        longer.voiced = _either(longer.voiced, path)


def _spelled(text: str, letter: str, words: WordLetters) -> float:
    """Return what ``letter`` behind ``text`` adds; a second break behind a break is none."""
    if letter == (text[-1:] or BREAK) == BREAK:
        return 0.0
    begun = BREAK + text.rpartition(BREAK)[2]
    return WORD_WEIGHT * words.log_odds(begun, letter) + LETTER_BONUS


def _either(first: float, second: float) -> float:
    """Return the log of the sum of two probabilities, given as logs."""
    high, low = max(first, second), min(first, second)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))
