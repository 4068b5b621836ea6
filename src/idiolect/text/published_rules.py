"""The published front-end of Chinese and English: raw text to spoken words and plain punctuation.

The grammar that reads numbers, dates and units out is wetext's; everything around it is here.

Source:
    The behaviour of the published inference code for zh and en, reproduced where it is odd too.
    Parity: golden/test_text.py, exact (its ``normalized_wetext`` fields).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from string import ascii_lowercase
from typing import Any

from idiolect.base.log import get_logger

Glossary = Mapping[str, str | Mapping[str, str]]
"""Terms and how they are said: one reading, or one for each language code."""

CHINESE, ENGLISH = "zh", "en"

PUNCTUATION = {
    **dict.fromkeys("：；;，、:", ","),
    "。": ".",
    "！": "!",
    "？": "?",
    "\n": " ",
    **dict.fromkeys("·—～~", "-"),
    **dict.fromkeys(("...", ",,,", "……"), "…"),
    **dict.fromkeys('“”"‘’（）()《》【】[]「」', "'"),
}
CHINESE_PUNCTUATION = {**PUNCTUATION, "$": "."}

_HAN = "\u4e00-\u9fff"
_INITIAL = "zh|ch|sh|[bpmfdtnlgkhjqxzcsryw]"
_FINAL = (
    "iang|iong|[uü]ang|vang|ang|eng|ing|ong|ian|iao|[uvü]an|uai|[iuü]e|ve"
    "|[ae]i|u[aio]|ao|ou|i[au]|[aeiuv]n|[aeiouvü]"
)
_HAN_CHARACTER = re.compile(f"[{_HAN}]")
_LETTER = re.compile("[a-zA-Z]")
_EMAIL = re.compile(r"[a-zA-Z0-9]+@[a-zA-Z0-9]+\.[a-zA-Z]+")
_PINYIN = re.compile(f"(?<![a-z])(?:(?:{_INITIAL})?(?:{_FINAL})|ng|er)[1-5]", re.IGNORECASE)
_PINYIN_U = re.compile("(?<=^[jqx])[uü](?=n|e|an|[1-5])", re.IGNORECASE)
_NAME = re.compile(f"[{_HAN}]+(?:[-·—][{_HAN}]+){{1,2}}")
_HYPHENATED = re.compile("[a-zA-Z][a-zA-Z0-9]*(?:-[a-zA-Z0-9]+)+")
_HYPHEN_MARK = re.compile(r"\s*<H>\s*")
_CONTRACTION = re.compile(
    "(what|where|who|which|how|there|here|it|he|she|that|this)'s", re.IGNORECASE
)
_ANNOTATION = re.compile(r"<[^|>\n]+\|[^>\n]+>")
_PLACEHOLDER = "PRONPLACEHOLDER"


def normalize_published(text: str, language: str | None, glossary: Glossary | None = None) -> str:
    """Return ``text`` as the published code would say it.

    Args:
        text: Raw text.
        language: None guesses the rules from the characters as the published code does; ``en``
            keeps text without a Chinese character away from the Chinese rules.
        glossary: Terms that are replaced before numbers are read.
    """
    if not text:
        return ""
    text, annotations = _protect(_ANNOTATION, text, _PLACEHOLDER + "{}" + _PLACEHOLDER)
    rules = choose_rules(text, language)
    text = _CONTRACTION.sub(r"\1 is", text)
    text = apply_glossary(text, rules, glossary)
    text = _chinese(text) if rules == CHINESE else _english(text)
    return _restore(text, annotations)


def choose_rules(text: str, language: str | None) -> str:
    """Return whose rules read ``text``: ``zh`` or ``en``."""
    if _HAN_CHARACTER.search(text):
        return CHINESE
    if language == ENGLISH:
        return ENGLISH
    foreign = not _LETTER.search(text) or _EMAIL.fullmatch(text) or _PINYIN.search(text)
    return CHINESE if foreign else ENGLISH


def apply_glossary(text: str, language: str, glossary: Glossary | None) -> str:
    """Replace the terms of ``glossary``, longest first, whatever their case."""
    for term in sorted(glossary or {}, key=len, reverse=True):
        reading = (glossary or {})[term]
        said = reading if isinstance(reading, str) else reading.get(language, term)
        text = re.sub(re.escape(term), said.replace("\\", r"\\"), text, flags=re.IGNORECASE)
    return text


def _chinese(text: str) -> str:
    text = _protect_hyphens(text.rstrip())
    text, pinyin = _protect(_PINYIN, text, "<pinyin_{}>")
    text, names = _protect(_NAME, text, "<n_{}>")
    text = _read_out(text, CHINESE)
    text = _restore(text, names)
    text = _restore(text, {mark: _correct_pinyin(word) for mark, word in pinyin.items()})
    return _map_punctuation(_HYPHEN_MARK.sub("-", text), CHINESE_PUNCTUATION)


def _english(text: str) -> str:
    text = _read_out(_protect_hyphens(text), ENGLISH)
    return _map_punctuation(_HYPHEN_MARK.sub("-", text), PUNCTUATION)


def _read_out(text: str, rules: str) -> str:
    """Return ``text`` through the grammar of ``rules``, or as it is when the grammar fails.

    The published code loses a Chinese sentence that its grammar cannot parse; here it is kept.
    """
    try:
        said: str = _grammar(rules)(text)
    except Exception as error:  # noqa: BLE001 -- the grammar raises whatever its parser trips over
        _notice_unread(rules)
        get_logger().debug("left as written: %r (%r)", text, error)
        return text
    return said


@cache
def _notice_unread(rules: str) -> None:
    """Say once that a text was too much for the grammar of ``rules``."""
    get_logger().warning(
        "the %s grammar cannot read some texts out: their numbers and signs stay as written", rules
    )


@cache
def _grammar(rules: str) -> Callable[[str], str]:
    from wetext import Normalizer

    settings: dict[str, Any] = {"remove_erhua": False} if rules == CHINESE else {}
    normalizer = Normalizer(lang=rules, operator="tn", **settings)
    return lambda text: str(normalizer.normalize(text))


def _protect_hyphens(text: str) -> str:
    for term in sorted(set(_HYPHENATED.findall(text)), key=lambda term: (-len(term), term)):
        text = text.replace(term, term.replace("-", "<H>"))
    return text


def _protect(pattern: re.Pattern[str], text: str, mark: str) -> tuple[str, dict[str, str]]:
    """Replace each distinct match by ``mark`` with a letter in it; return what stands for what."""
    marks: dict[str, str] = {}

    def protect(match: re.Match[str]) -> str:
        return marks.setdefault(match[0], mark.format(_letters(len(marks))))

    text = pattern.sub(protect, text)
    return text, {mark: word for word, mark in marks.items()}


def _restore(text: str, marks: Mapping[str, str]) -> str:
    for mark, word in marks.items():
        text = text.replace(mark, word)
    return text


def _letters(index: int) -> str:
    """Return a, b, … z, aa, ab, … for 0, 1, …"""
    quotient, remainder = divmod(index, len(ascii_lowercase))
    return (_letters(quotient - 1) if quotient else "") + ascii_lowercase[remainder]


def _correct_pinyin(syllable: str) -> str:
    """Return ``syllable`` as the vocabulary spells it: JVE2 for jue2; only after j, q and x."""
    if syllable[0].lower() not in "jqx":
        return syllable
    return _PINYIN_U.sub("v", syllable).upper()


def _map_punctuation(text: str, table: Mapping[str, str]) -> str:
    return _alternatives(tuple(table)).sub(lambda match: table[match[0]], text)


@cache
def _alternatives(marks: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, marks)))
