"""What speech is measured by: letters heard, voices compared, spectra aligned.

``N`` is samples at 22 050 Hz, ``T`` mel frames, ``C`` cepstral coefficients.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idiolect.audio.dims import MelDims
from idiolect.audio.mel import LogMel
from idiolect.text.normalize import prepare_text

NUM_CEPSTRA = 13
"""Coefficients that are compared; the one of loudness is left out."""
DB_PER_CEPSTRUM = 10 / np.log(10)
SILENCE_DB = 50.0
"""Frames so far below the loudest are not compared: they hold noise of the machine."""

UNSPACED = frozenset(["zh", "yue", "ja", "th", "lo", "km", "my", "bo"])
"""Languages that are written without spaces between words."""

_JOINED = re.compile(r"['’·\-]")
_NO_LETTER = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class LetterErrors:
    """Letters that were heard wrong, of so many that were to be said."""

    edits: int
    letters: int

    @property
    def rate(self) -> float:
        """Return the character error rate; above 1 when more was heard than was to be said."""
        return self.edits / max(1, self.letters)

    @classmethod
    def total(cls, parts: Iterable[LetterErrors]) -> LetterErrors:
        """Return the errors of all texts together: long texts count for more."""
        found = list(parts)
        return cls(sum(part.edits for part in found), sum(part.letters for part in found))


def letter_errors(said: str, heard: str, language: str) -> LetterErrors:
    """Return how the letters of what was ``heard`` differ from those of the text to be ``said``.

    Both are first written out as they are spoken (numbers, abbreviations), in capitals, without
    punctuation; a space counts as a letter. Apostrophes, hyphens and the middle dot are dropped.
    """
    reference, found = spoken_letters(said, language), spoken_letters(heard, language)
    return LetterErrors(edit_distance(reference, found), len(reference))


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Words that were heard wrong, of so many that were to be said."""

    edits: int
    words: int


def word_errors(said: str, heard: str, language: str) -> WordErrors | None:
    """Return how the words of what was ``heard`` differ; None where words are not written apart."""
    if not writes_words_apart(language):
        return None
    reference, found = (spoken_letters(text, language).split() for text in (said, heard))
    return WordErrors(edit_distance(reference, found), len(reference))


def writes_words_apart(language: str) -> bool:
    """Return whether ``language`` puts spaces between words."""
    return re.split("[-_]", language.lower())[0] not in UNSPACED


def spoken_letters(text: str, language: str) -> str:
    """Return ``text`` as letters and single spaces, in capitals."""
    said = prepare_text(text, language) if text.strip() else ""
    return _NO_LETTER.sub(" ", _JOINED.sub("", said)).strip()


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the fewest insertions, deletions and replacements that turn one into the other."""
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(second, start=1):
            kept = diagonal + (left != right)
            diagonal, row[j] = row[j], min(kept, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def cosine(first: Tensor, second: Tensor) -> float:
    """Return the cosine of two embeddings ``[D]``."""
    return float(torch.nn.functional.cosine_similarity(first.float(), second.float(), dim=0))


def mel_cepstral_distortion(reference: Tensor, candidate: Tensor) -> float:
    """Return how far the spectrum of ``candidate`` is from that of ``reference``, in dB.

    Cepstra are the cosine transform of the log-mel spectrum of the published base (80 bands at
    22 050 Hz), scaled so that a log amplitude is their plain sum of cosines; coefficients 1 to
    :data:`NUM_CEPSTRA` are compared, by ``10 / ln 10 * sqrt(2 * sum of squares)`` for a pair of
    frames, along the cheapest alignment in time, as a mean over its pairs. Frames more than
    :data:`SILENCE_DB` below the loudest of their clip are taken out first.

    Args:
        reference: ``[N]``.
        candidate: ``[N]``; another length is fine.

    Source:
        Kubichek 1993, "Mel-cepstral distance measure for objective speech quality assessment".
    """
    first, second = _voiced_cepstra(reference), _voiced_cepstra(candidate)
    gaps = first[:, None] - second[None]  # [T, T', C]
    cost = DB_PER_CEPSTRUM * np.sqrt(2 * np.square(gaps).sum(-1))
    path = cheapest_path(cost)
    return float(np.mean([cost[i, j] for i, j in path]))


def _voiced_cepstra(wave: Tensor) -> NDArray[np.float64]:
    """Return the cepstra ``[T, C]`` of the frames of ``wave`` ``[N]`` that have sound."""
    with torch.inference_mode():
        mel = _log_mel()(wave[None].float())[0].T.double().numpy()  # [T, n_mels]
    loudness_db = 20 / np.log(10) * np.log(np.exp(mel).mean(1))
    mel = mel[loudness_db > loudness_db.max() - SILENCE_DB]
    n_mels = mel.shape[1]
    phase = np.pi * (np.arange(n_mels) + 0.5)[:, None] * np.arange(1, NUM_CEPSTRA + 1) / n_mels
    cepstra: NDArray[np.float64] = mel @ np.cos(phase) * (2 / n_mels)
    return cepstra


@cache
def _log_mel() -> LogMel:
    return LogMel(MelDims())


def cheapest_path(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the alignment through ``cost`` ``[T, T']`` with the least sum, by steps of one."""
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for turn in range(rows + columns - 1):  # one diagonal after the other: no cell needs its own
        i = np.arange(max(0, turn - columns + 1), min(rows, turn + 1))
        j = turn - i
        before = np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
        total[i + 1, j + 1] = cost[i, j] + before
    i, j = rows, columns
    path = []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        steps = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        i, j = min(steps, key=lambda step: total[step])
    return path[::-1]
