"""Unicode clean-up: the same characters for the same text, and none that nobody can hear."""

from __future__ import annotations

import re
import unicodedata

APOSTROPHES = "’‘ʼʹ`´′＇‛"
_LETTER = r"[^\W\d_]"

# Zero-width joiners are spelling in Persian and in Indic scripts, so they stay between letters.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    r"\ufff9-\ufffb\U000e0000-\U000e01ef\u20e3]"
    rf"|(?<!{_LETTER})[\u200c\u200d]|[\u200c\u200d](?!{_LETTER})"
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_EMOJI = re.compile(
    r"[\u2600-\u27bf\u2b00-\u2bff\u231a\u231b\u23cf-\u23f3\u25fb-\u25fe"
    r"\U0001f000-\U0001faff\ue000-\uf8ff\U000f0000-\U0010ffff\ufffc\ufffd]"
)
_SPACE_IN_NUMBER = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_SPACED_QUOTES = re.compile(r"« ([^«»]*) »")
_SPACES = re.compile(r"\s+")
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_VULGAR_FRACTION = re.compile(r"[¼-¾⅐-⅞↉]")
_COMPATIBLE = re.compile(r"[①-⓿❶-➓⁰⁴-⁹₀-₉ﬀ-ﬆ！-～Ⅰ-ↈ㎀-㏟℀-ℋ№-℡]")
_FOREIGN_DIGIT = re.compile(r"[^\W0-9_a-zA-ZÀ-ɏ]")

TYPOGRAPHY = str.maketrans(
    dict.fromkeys(APOSTROPHES, "'")
    | dict.fromkeys("“”„‟«»‹›‚〝〞＂", '"')
    | dict.fromkeys("‐‑", "-")
    | {"…": "...", "‥": "..", "\u2028": " ", "\u2029": " ", "\x85": " ", "ŀ": "l·", "Ŀ": "L·"}
)


def clean(text: str) -> str:
    """Return ``text`` in NFC without emoji, control and invisible characters, spaces made one.

    Apostrophes and quotation marks become the straight ones. Letters, digits and symbols stay.
    """
    if _PLAIN.fullmatch(text):
        return text.replace("`", "'")
    text = _CONTROL.sub("", unicodedata.normalize("NFC", text))
    text = _EMOJI.sub(" ", _INVISIBLE.sub("", text))
    text = _SPACED_QUOTES.sub(r"«\1»", _SPACE_IN_NUMBER.sub(" ", _SPACES.sub(" ", text)))
    text = text.translate(TYPOGRAPHY)
    # Taking something out can bring a letter and its accent together.
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()


def simplify(text: str) -> str:
    """Return cleaned ``text`` with ASCII digits, and without ligatures, circles or full width."""
    if text.isascii():
        return text
    text = _VULGAR_FRACTION.sub(_fraction, text)
    text = _COMPATIBLE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return _FOREIGN_DIGIT.sub(_ascii_digit, text)


def _fraction(match: re.Match[str]) -> str:
    fraction = unicodedata.normalize("NFKC", match[0])
    follows_digit = match.start() and match.string[match.start() - 1].isdigit()
    return f" {fraction}" if follows_digit else fraction


def _ascii_digit(match: re.Match[str]) -> str:
    value = unicodedata.decimal(match[0], None)
    return match[0] if value is None else str(value)
