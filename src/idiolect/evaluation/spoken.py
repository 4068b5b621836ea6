"""How sentences were spoken: one by one as a record, and together as the scores of a language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from idiolect.evaluation.measures import loses_end, says_prompt
from idiolect.evaluation.probe_set import ProbeSentence
from idiolect.listening.scores import LetterErrors, WordErrors, letter_errors, word_errors
from idiolect.training.probing import LanguageScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One sentence as the model spoke it."""

    sentence: ProbeSentence
    num_codes: int
    is_ended: bool
    """Whether the model stopped by itself."""
    duration_sec: float = 0.0
    similarity: float | None = None
    """Cosine of its voice and the prompt's; None when it spoke too little for a voice."""
    heard: str | None = None
    """None when nobody listened."""

    @property
    def letters(self) -> LetterErrors | None:
        """Letters that were heard wrong."""
        if self.heard is None:
            return None
        return letter_errors(self.sentence.target.text, self.heard, self.sentence.language)

    @property
    def words(self) -> WordErrors | None:
        """Words that were heard wrong; also None where words are not written apart."""
        if self.heard is None:
            return None
        return word_errors(self.sentence.target.text, self.heard, self.sentence.language)

    @property
    def leaks(self) -> bool | None:
        """Whether words of the prompt were heard that are not in the sentence."""
        if self.heard is None:
            return None
        sentence = self.sentence
        return says_prompt(
            self.heard, sentence.prompt.text, sentence.target.text, sentence.language
        )

    @property
    def is_end_lost(self) -> bool | None:
        """Whether the end of the sentence was not what was heard last."""
        if self.heard is None:
            return None
        return loses_end(self.heard, self.sentence.target.text, self.sentence.language)


def scores_of(spoken: Sequence[Spoken], codes_per_letter: float) -> LanguageScores:
    """Return the scores of sentences of one language, whose recordings are so fast.

    Errors are added up, so long sentences count for more; the rest are means over sentences.
    """
    letters = [one.letters for one in spoken if one.letters is not None]
    words = [one.words for one in spoken if one.words is not None]
    expected_codes = codes_per_letter * sum(one.sentence.letters for one in spoken)
    return LanguageScores(
        sentences=len(spoken),
        cer=LetterErrors.total(letters).rate if letters else None,
        wer=sum(e.edits for e in words) / sum(e.words for e in words) if words else None,
        similarity=_mean(one.similarity for one in spoken),
        leak_rate=_mean(one.leaks for one in spoken),
        lost_end_rate=_mean(one.is_end_lost for one in spoken),
        missing_end_rate=fmean(not one.is_ended for one in spoken),
        rate_ratio=sum(one.num_codes for one in spoken) / expected_codes,
        duration_sec=fmean(one.duration_sec for one in spoken),
    )


def record_of(spoken: Spoken) -> dict[str, Any]:
    """Return ``spoken`` as a line of JSON Lines; a sound of no codes is not there."""
    sentence = spoken.sentence
    return {
        "sound": sentence.file_name,
        "language": sentence.language,
        "text": sentence.target.text,
        "heard": spoken.heard,
        "cer": None if spoken.letters is None else spoken.letters.rate,
        "similarity": spoken.similarity,
        "leaks": spoken.leaks,
        "is_end_lost": spoken.is_end_lost,
        "is_ended": spoken.is_ended,
        "codes": spoken.num_codes,
        "target": sentence.target.id,
        "prompt": sentence.prompt.id,
        "prompt_audio": str(sentence.prompt.audio_path),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that were measured; None when none was."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
