"""Which clips are kept: judged by their sound, their text, and both against all the others."""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from idiolect.audio.checks import AUDIO_MENDS, AudioLimits, ClipMeasures, faults_of
from idiolect.data.measurements import Measured
from idiolect.data.sources import SOURCE_MENDS, Clip
from idiolect.text.languages import NEUTRAL, find_language

DAMAGED_TEXT = "the text holds damaged characters"
NO_WORDS = "the text has no word"
NOTES = "the text holds notes that nobody says"
FOREIGN = "the text is in the letters of another language"
SAME_SOUND = "another clip has the same sound"
SAME_SOUND_OTHER_TEXT = "the same sound has different texts"
REPEATED_TEXT = "the speaker says this text often enough"
TOO_FAST = "the text is too long for the sound"
TOO_SLOW = "the text is too short for the sound"

MENDS = (
    SOURCE_MENDS
    | AUDIO_MENDS
    | {
        DAMAGED_TEXT: "read the file in the encoding it was written in, and save it as UTF-8",
        NO_WORDS: "write what is said",
        NOTES: "write only what is said: no [laughter], no <unk>, no {comment}",
        FOREIGN: "check the language of the line; --max-foreign sets how much is allowed",
        SAME_SOUND: "delete one of the two files",
        SAME_SOUND_OTHER_TEXT: "listen, and keep the line that is right",
        REPEATED_TEXT: "raise --max-same-text, or leave it so",
        TOO_FAST: "listen: the recording may be cut, or the text of another clip",
        TOO_SLOW: "listen: words may be missing from the text, or it is of another clip",
    }
)
"""What to do about each reason; any other is a file that cannot be heard: :func:`mend_of`."""

MOJIBAKE = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac|\ufffd|[\x00-\x08\x0e-\x1f]")
"""UTF-8 that was read as Latin-1, replacement marks, control characters."""
NOTE = re.compile(r"\[[^\]]*\]|<[^>]*>|\{[^}]*\}")
NOT_A_LETTER = re.compile(r"[\W\d_]+")
DIGIT = re.compile(r"\d")
ASCII_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")

LETTERS_A_DIGIT = 4
"""A digit takes as long to say as so many letters."""
MIN_SPEECH_SEC = 0.1
MIN_CLIPS_FOR_RATE = 20
"""Fewer clips say nothing about how fast a language is spoken."""
MIN_CLIPS_FOR_SPEAKER = 50
"""From so many clips on, a speaker is compared with himself."""
RATE_SPREADS = 4.0
MIN_RATE_RATIO = 1.8
"""Up to this many times faster or slower than the middle is never an outlier."""
MAX_RATE_RATIO = 2.5
"""Beyond it is always one: a corpus with many wrong texts must not widen its own limits."""
SHORT_TEXT_LETTERS = 8
"""A text of so many letters may differ twice as much: pauses weigh more in it."""
MAD_TO_SPREAD = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""
MAX_LETTERS_A_SEC = 30.0
"""Over sound without its pauses; fast speech stays below 25, and nobody can be followed at 30."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a clip must be like to be kept."""

    audio: AudioLimits
    max_foreign: float
    max_same_text: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found about one clip."""

    clip: Clip
    measures: ClipMeasures | None
    """None when it could not be heard."""
    reason: str = ""
    """Why it is left out; empty when it is kept."""
    detail: str = ""
    rate: float = 0.0
    """Letters a second of speech."""
    oddness: float = 0.0
    """How far the rate is from the usual: below 0 when slow, 1 at the limit."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The middle of the logarithm of a rate, and how far from it is too far."""

    middle: float
    reach: float

    def oddness(self, rate: float, letters: int) -> float:
        """Return the distance of ``rate`` from the middle: below 0 when slow, 1 at the limit."""
        reach = self.reach * (1.0 + SHORT_TEXT_LETTERS / max(1, letters))
        return (math.log(rate) - self.middle) / reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Norms:
    """What all clips together say about one."""

    rates: dict[tuple[str, str], Rate]
    """How fast a language (with speaker ``""``), or one speaker of it, speaks."""
    disputed: set[int]
    """Sounds that come with different texts."""

    def rate_of(self, clip: Clip) -> Rate | None:
        """Return how fast ``clip`` should be, if enough clips tell."""
        key = clip.language
        return self.rates.get((key, clip.speaker)) or self.rates.get((key, ""))


def learn_norms(clips: Iterable[tuple[Clip, Measured]], limits: Limits) -> Norms:
    """Return what ``clips`` have in common; those with a fault of their own do not count."""
    rates: defaultdict[tuple[str, str], array[float]] = defaultdict(lambda: array("f"))
    texts: dict[int, int] = {}
    disputed: set[int] = set()
    for clip, measured in clips:
        if not isinstance(measured, ClipMeasures) or own_fault(clip, measured, limits):
            continue
        sound, text = _sound_key(measured), _text_key(clip.text)
        if texts.setdefault(sound, text) != text:
            disputed.add(sound)
        rates[clip.language, clip.speaker].append(math.log(rate_of(clip.text, measured)))
    return Norms(rates=_usual_rates(rates), disputed=disputed)


def judge_clips(
    clips: Iterable[tuple[Clip, Measured]], norms: Norms, limits: Limits
) -> Iterator[Verdict]:
    """Yield the verdict on each of ``clips``; of equal sounds the first is kept."""
    first_of_sound: dict[int, str] = {}
    said: Counter[tuple[str, int]] = Counter()
    for clip, measured in clips:
        if not isinstance(measured, ClipMeasures):
            yield Verdict(clip=clip, measures=None, reason=measured[0], detail=measured[1])
            continue
        rate = rate_of(clip.text, measured)
        oddness, usual = _oddness(clip, rate, norms)
        fault = own_fault(clip, measured, limits)
        fault = fault or _sound_fault(clip, measured, norms, first_of_sound)
        fault = fault or _rate_fault(rate, oddness, usual)
        fault = fault or _repetition_fault(clip, said, limits.max_same_text)
        reason, detail = fault or ("", "")
        yield Verdict(
            clip=clip, measures=measured, reason=reason, detail=detail, rate=rate, oddness=oddness
        )


def own_fault(clip: Clip, measures: ClipMeasures, limits: Limits) -> tuple[str, str] | None:
    """Return (reason, detail) for what is wrong with a clip whatever the others are like."""
    faults = faults_of(measures, limits.audio)
    return faults[0] if faults else text_fault(clip.text, clip.language, limits.max_foreign)


def text_fault(text: str, language: str, max_foreign: float) -> tuple[str, str] | None:
    """Return (reason, detail) for a text that cannot be what is said, or None."""
    if damage := MOJIBAKE.search(text):
        return DAMAGED_TEXT, f"{damage[0]!r} in {text[:60]!r}"
    if note := NOTE.search(text):
        return NOTES, note[0]
    num_letters = len(NOT_A_LETTER.sub("", text))
    if not num_letters and not DIGIT.search(text):
        return NO_WORDS, repr(text[:60])
    foreign = foreign_letters(text, language)
    if len(foreign) > max_foreign * max(1, num_letters):
        return FOREIGN, f"{''.join(sorted(set(foreign)))} is not written in {language}"
    return None


def foreign_letters(text: str, language: str) -> str:
    """Return the letters of ``text`` that ``language`` does not write; none if it has no row."""
    known = _letters_of(language)
    if known is None:
        return ""
    composed = unicodedata.normalize("NFC", text.lower())
    return "".join(c for c in composed if c not in known and c.isalpha())


def mend_of(reason: str) -> str:
    """Return what to do about ``reason``."""
    return MENDS.get(reason, "copy, convert or download the file again, or leave it out")


def rate_of(text: str, measures: ClipMeasures) -> float:
    """Return the letters a second of speech; never 0."""
    return max(1, letters_to_say(text)) / max(MIN_SPEECH_SEC, measures.speech_sec)


def letters_to_say(text: str) -> int:
    """Return how many letters it takes to say ``text``, a digit counted as several."""
    num_digits = len(text) - len(DIGIT.sub("", text))
    return len(NOT_A_LETTER.sub("", text)) + LETTERS_A_DIGIT * num_digits


@lru_cache(maxsize=32)
def _letters_of(language: str) -> frozenset[str] | None:
    row = find_language(language)
    return None if row is NEUTRAL else ASCII_LETTERS | frozenset(row.letters)


def _sound_key(measures: ClipMeasures) -> int:
    return int(measures.sound_hash, 16)


def _text_key(text: str) -> int:
    """Return a number that is equal for texts of the same letters and digits."""
    letters = "".join(c for c in text.casefold() if c.isalnum())
    return int.from_bytes(blake2b(letters.encode("utf-8"), digest_size=8).digest(), "big")


def _usual_rates(rates: Mapping[tuple[str, str], array[float]]) -> dict[tuple[str, str], Rate]:
    usual: dict[tuple[str, str], Rate] = {}
    by_language: defaultdict[str, array[float]] = defaultdict(lambda: array("f"))
    for (language, speaker), values in rates.items():
        by_language[language].extend(values)
        if len(values) >= MIN_CLIPS_FOR_SPEAKER:
            usual[language, speaker] = _usual(values)
    for language, values in by_language.items():
        if len(values) >= MIN_CLIPS_FOR_RATE:
            usual[language, ""] = _usual(values)
    return usual


def _usual(log_rates: array[float]) -> Rate:
    values = np.asarray(log_rates)
    middle = float(np.median(values))
    spread = MAD_TO_SPREAD * float(np.median(np.abs(values - middle)))
    least, most = math.log(MIN_RATE_RATIO), math.log(MAX_RATE_RATIO)
    return Rate(middle, min(max(RATE_SPREADS * spread, least), most))


def _oddness(clip: Clip, rate: float, norms: Norms) -> tuple[float, str]:
    """Return (how odd the rate is, what would be usual)."""
    usual = norms.rate_of(clip)
    if rate > MAX_LETTERS_A_SEC:
        return rate / MAX_LETTERS_A_SEC, f"nobody says more than {MAX_LETTERS_A_SEC:g}"
    if usual is None:
        return 0.0, ""
    return usual.oddness(rate, letters_to_say(clip.text)), f"usual are {math.exp(usual.middle):.0f}"


def _rate_fault(rate: float, oddness: float, usual: str) -> tuple[str, str] | None:
    if abs(oddness) <= 1.0:
        return None
    return (TOO_FAST if oddness > 0 else TOO_SLOW), f"{rate:.1f} letters a second, {usual}"


def _sound_fault(
    clip: Clip, measures: ClipMeasures, norms: Norms, first_of_sound: dict[int, str]
) -> tuple[str, str] | None:
    sound = _sound_key(measures)
    first = first_of_sound.setdefault(sound, clip.where)
    if sound in norms.disputed:
        return SAME_SOUND_OTHER_TEXT, f"as {first}" if first != clip.where else "and later ones"
    return (SAME_SOUND, f"as {first}") if first != clip.where else None


def _repetition_fault(
    clip: Clip, said: Counter[tuple[str, int]], most: int
) -> tuple[str, str] | None:
    if not most:
        return None
    key = clip.speaker, _text_key(clip.text)
    said[key] += 1
    return (REPEATED_TEXT, f"{said[key]} times, most {most}") if said[key] > most else None
