"""Text as it is written to text as it is read aloud, for one language.

First the Unicode clean-up, then addresses, abbreviations and Roman numerals, then everything with a
digit, then symbols, then punctuation. What is left holds letters, spaces and ``. , ! ? … ' -``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache

from idiolect.text import addresses, amounts, clock, numbers, romans
from idiolect.text.cleaning import clean, simplify
from idiolect.text.row import Language, Rule, Speech

MAX_PASSES = 4
"""Dropping a symbol can bring an abbreviation together, so the rules run until nothing changes."""

_WORD = r"[A-Za-zÀ-ÖØ-öø-ɏ]+"
_WORDS = rf"{_WORD}(?:['-]{_WORD}|(?<=[lL])·(?=[lL]){_WORD})*"
_PLAIN = re.compile(rf"{_WORDS}(?:[.,!?…]? {_WORDS})*[.!?…]?")
_DIGIT = re.compile(r"\d")
_TIMES = re.compile(r"(?<=\d) ?[x*×] ?(?=\d)")
_SQUARES = re.compile(r"(?<=\w)([¹²³]+)")

# As the published front-end maps them: it knows . , ! ? ' and -
_PUNCTUATION = str.maketrans(
    dict.fromkeys(":;；：，、،؛", ",")
    | dict.fromkeys("。．", ".")
    | dict.fromkeys("！", "!")
    | dict.fromkeys("？؟", "?")
    | dict.fromkeys("–—―−‒~～", "-")
    | dict.fromkeys('"()[]{}（）《》【】「」『』', "'")
)
_ELA = re.compile(r"(?<=l)[\u00b7•‧∙⋅・.](?=l\w)", re.IGNORECASE)
_TIDY = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\s+", " "),
        (r" +(?=[,.!?…])", ""),
        (r",[, ]*(?=[,.!?…])", ""),
        (r"(?<=[.!?…]),+", ""),
        (r"\.*…[.…]*|\.{2,}", "…"),
        (r"([!?'-])\1+", r"\1"),
        (r"^[ ,.]+", ""),
    )
)
_STRAY_DOT = re.compile(r"(?<!l)·|·(?!l)", re.IGNORECASE)
# ¿ and ¡ are unknown, in Spanish too: the model reads the whole sentence before it speaks, so ?
# says it all, and a corpus that leaves them out would leave the tokenizer without them.
_UNKNOWN = re.compile(r"[^A-Za-zÀ-ÖØ-öø-ɏ .,!?…'\-]")


def speak(text: str, language: Language) -> str:
    """Return ``text`` as a speaker of ``language`` reads it aloud, in letters and plain marks.

    A language without rules of its own (:data:`idiolect.text.languages.NEUTRAL`) gets the
    Unicode clean-up and keeps digits and symbols as they are. Never raises; applying it twice
    changes nothing more.
    """
    text = clean(text)
    if language.speech is None:
        return text
    if _PLAIN.fullmatch(text) and ("·" not in text or language.middle_dot):
        spoken = _apply(_word_rules(language.speech), text)
        if spoken == text:
            return text
    for _ in range(MAX_PASSES):
        before, text = text, _expand(text, language, language.speech)
        if text == before:
            break
    return text


def _expand(text: str, language: Language, speech: Speech) -> str:
    text = simplify(text)
    if language.middle_dot:
        text = _ELA.sub("·", text)
    text = _apply(_address_rules(speech), text)
    text = _apply(_word_rules(speech), text)
    if _DIGIT.search(text):
        text = _apply(_digit_rules(speech), text)
        for pattern, replacement in speech.elisions:
            text = re.sub(pattern, replacement, text)
    text = _apply(_symbol_rules(speech), text)
    return _punctuate(text, language)


@lru_cache(maxsize=4096)
def _known(character: str) -> str:
    """Return a letter or a combining mark as it is, a middle dot as a dash, else a space."""
    if character == "·":
        return "-"
    is_letter = unicodedata.category(character)[0] in "LM" and character not in "ªº"
    return character if is_letter else " "


def _apply(rules: Iterable[Rule], text: str) -> str:
    for rule in rules:
        text = rule.pattern.sub(rule.say, text)
    return text


@cache
def _address_rules(speech: Speech) -> tuple[Rule, ...]:
    return tuple(addresses.rules(speech.address, speech.numbers))


@cache
def _word_rules(speech: Speech) -> tuple[Rule, ...]:
    return (*_abbreviation_rules(speech), *romans.rules(speech.romans, speech.numbers))


@cache
def _digit_rules(speech: Speech) -> tuple[Rule, ...]:
    return (
        Rule(_TIMES, lambda _match: f" {speech.symbols['×']} "),
        *speech.own_rules,
        *clock.rules(speech.clock),
        *numbers.ordinal_rules(speech.numbers),
        *amounts.rules(speech.amounts, speech.numbers),
        *numbers.rules(speech.numbers),
    )


@cache
def _symbol_rules(speech: Speech) -> tuple[Rule, ...]:
    numbers_words = speech.numbers
    powers = {"²": numbers_words.squared, "³": numbers_words.cubed, "¹": ""}
    pattern = re.compile("|".join(sorted(map(re.escape, speech.symbols), key=len, reverse=True)))
    return (
        Rule(_SQUARES, lambda match: " " + " ".join(powers[sign] for sign in match[0])),
        Rule(pattern, lambda match: f" {speech.symbols[match[0]]} "),
    )


def _abbreviation_rules(speech: Speech) -> Iterator[Rule]:
    closing = _spellings(speech.closing_abbreviations)
    spoken = _spellings(speech.abbreviations) | closing
    numbered = _spellings(speech.numbered_abbreviations)
    function_words = speech.numbers.function_words

    def say(match: re.Match[str]) -> str:
        written = _unspaced(match[0])
        if len(written) == 2 and numbers.word_after(match).lower() in function_words:
            return match[0]  # the end of a sentence: vitamina D. Es buena.
        if written not in closing:
            return spoken[written]
        rest = match.string[match.end() :].lstrip(" '\")»")
        return spoken[written] + ("." if not rest or rest[0].isupper() else "")

    yield Rule(
        _any_of(numbered, r" ?(?=\d|[IVX]+\b)"), lambda match: numbered[_unspaced(match[0])] + " "
    )
    yield Rule(_any_of(spoken), say)


def _spellings(table: Mapping[str, str]) -> dict[str, str]:
    """Return ``table`` in small letters, capitals and as it is, without spaces."""
    spellings: dict[str, str] = {}
    for written, spoken in table.items():
        bare = _unspaced(written)
        spellings |= dict.fromkeys((bare.upper(), bare[0].upper() + bare[1:], bare), spoken)
        if bare.endswith(".") and len(bare) > 2:
            spellings[bare.lower()] = spoken
    return spellings


def _unspaced(written: str) -> str:
    return written.replace(" ", "")


def _any_of(spellings: Mapping[str, str], ending: str = "") -> re.Pattern[str]:
    """Return a pattern of the abbreviations, with or without a space after an inner full stop."""
    if not spellings:
        return re.compile(r"(?!)")
    patterns = []
    for spelling in sorted(spellings, key=len, reverse=True):
        inner = re.escape(spelling[:-1]).replace(r"\.", r"\. ?") + re.escape(spelling[-1])
        if len(spelling) == 2 and spelling[-1] == ".":
            inner += r"(?= ?[A-ZÀ-ÖØ-Þ\d])"  # an initial too, so only before a name
        patterns.append(inner if spelling[-1] in ".º#/)" else inner + r"(?!\w)")
    return re.compile(rf"(?<![\w.·])(?:{'|'.join(patterns)})(?!\.){ending}")


def _punctuate(text: str, language: Language) -> str:
    """Return ``text`` with the marks that the published front-end knows, and no others."""
    text = text.translate(_PUNCTUATION)
    kept = "·" if language.middle_dot else ""
    text = _UNKNOWN.sub(lambda match: match[0] if match[0] in kept else _known(match[0]), text)
    text = _STRAY_DOT.sub("-", text)
    for pattern, replacement in _TIDY:
        text = pattern.sub(replacement, text)
    return text.strip()
