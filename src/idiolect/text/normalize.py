"""Raw text to the text that the tokenizer sees: the one front-end of every stage.

Tokenizer training, feature extraction, training and synthesis all call :func:`prepare_text` with
the language of the text, and write :func:`front_end_identity` into what they make.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from idiolect.base.errors import TokenizerError, did_you_mean
from idiolect.base.log import get_logger
from idiolect.text.languages import LANGUAGES, NEUTRAL, find_language
from idiolect.text.published_rules import (
    CHINESE,
    ENGLISH,
    Glossary,
    apply_glossary,
    normalize_published,
)
from idiolect.text.speak import speak

FRONT_END_VERSION = 1
"""Raised by any change that gives some text other tokens."""

PUBLISHED_LANGUAGES = (CHINESE, ENGLISH)
PUBLISHED_GUESS = "zh-or-en"
"""What :func:`front_end_identity` calls text without a language."""

# Each of these characters is an item of its own for the tokenizer, whatever stands around it.
_CJK = "\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc"
_CJK_CHARACTER = re.compile(f"([{_CJK}\U00020000-\U0002ffff])")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
_SPACES = re.compile(r"\s+")

# Languages in which the capital of i keeps its dot; str.upper would merge it with dotless ı.
_DOTTED_CAPITAL_I = ("az", "tr")


def language_code(language: str | None) -> str | None:
    """Return the code that decides the rules: ``ca`` for ``ca-ES``, but ``pt-br`` for ``pt_BR``."""
    if language is None:
        return None
    tag = language.strip().replace("_", "-").lower()
    return tag if tag in LANGUAGES else tag.split("-", 1)[0]


def front_end_identity(language: str | None) -> str:
    """Return what text of ``language`` was prepared with: name, version and language."""
    code = language_code(language)
    return f"idiolect-text/{FRONT_END_VERSION}:{PUBLISHED_GUESS if code is None else code}"


def check_front_end(recorded: Mapping[str, str], *, where: Path) -> None:
    """Make sure that what ``where`` was made with is the front-end of this program.

    Args:
        recorded: Language (empty for none) to the identity that was written down.
        where: The file that says so.

    Raises:
        TokenizerError: They differ; both are named.
    """
    for language, identity in recorded.items():
        if identity != (own := front_end_identity(language or None)):
            raise TokenizerError(
                f"made with the text front-end {identity}, but this program has {own}",
                where=str(where),
                fix="make it again with this version of idiolect, or use the version that made it",
            )


def normalize(text: str, language: str | None, *, glossary: Glossary | None = None) -> str:
    """Return ``text`` as it is said, in the case it was written in.

    Args:
        text: Raw text.
        language: A language tag; None for the published rules of Chinese and English, which
            choose by the characters. An unknown one gets Unicode clean-up only, and a notice.
        glossary: Terms and how they are said, replaced before anything else.
    """
    code = language_code(language)
    if code is None or code in PUBLISHED_LANGUAGES:
        return normalize_published(text, code, glossary)

    row = find_language(code)
    if row is NEUTRAL:
        _notice_unknown(code)
    return speak(apply_glossary(text, code, glossary), row)


def prepare_text(text: str, language: str | None, *, glossary: Glossary | None = None) -> str:
    """Return what the tokenizer sees of ``text``: said, CJK characters apart, in capitals.

    A single character without a language stays as it is, as in the published code.
    """
    text = _SPACES.sub(" ", _CONTROL.sub("", text)).strip()
    if len(text) == 1 and language is None:
        return text
    said = normalize(text, language, glossary=glossary)
    code = language_code(language)
    if code is None or code in PUBLISHED_LANGUAGES:
        # wetext leaves a backslash before straight quotes; the published weights never saw one.
        said = said.replace("\\'", "'")
    items = (item.strip() for item in _CJK_CHARACTER.split(said))
    return _capitals(" ".join(item for item in items if item), code)


def _capitals(text: str, code: str | None) -> str:
    return (text.replace("i", "İ") if code in _DOTTED_CAPITAL_I else text).upper()


@cache
def _notice_unknown(code: str) -> None:
    """Say once that ``code`` has no rules of its own."""
    get_logger().warning(
        "no reading rules for language %r: numbers and abbreviations stay as written (%s)",
        code,
        did_you_mean(code, (*PUBLISHED_LANGUAGES, *LANGUAGES)),
    )
