"""Languages by code and by name, to tell which one a folder, file or column speaks of."""

from __future__ import annotations

import re
import unicodedata

NAMES: dict[str, str] = {
    "af": "afrikaans",
    "am": "amharic",
    "an": "aragonese aragones",
    "ar": "arabic arab",
    "ast": "asturian asturiano asturianu",
    "az": "azerbaijani",
    "be": "belarusian",
    "bg": "bulgarian bulgaro",
    "bn": "bengali bangla",
    "br": "breton brezhoneg",
    "ca": "catalan catala valencian valencia",
    "cs": "czech cesky checo",
    "cy": "welsh cymraeg",
    "da": "danish dansk danes",
    "de": "german deutsch aleman alemany",
    "el": "greek griego",
    "en": "english ingles angles",
    "eo": "esperanto",
    "es": "spanish espanol castellano castella castilian",
    "et": "estonian eesti",
    "eu": "basque euskara vasco euskera",
    "fa": "persian farsi persa",
    "fi": "finnish suomi",
    "fr": "french francais frances",
    "ga": "irish gaeilge",
    "gl": "galician galego gallego",
    "gn": "guarani",
    "ha": "hausa",
    "he": "hebrew hebreo",
    "hi": "hindi",
    "hr": "croatian hrvatski croata",
    "hu": "hungarian magyar hungaro",
    "hy": "armenian",
    "id": "indonesian",
    "ig": "igbo",
    "is": "icelandic",
    "it": "italian italiano italia",
    "ja": "japanese japones nihongo",
    "ka": "georgian",
    "kk": "kazakh",
    "km": "khmer",
    "ko": "korean coreano",
    "lt": "lithuanian",
    "lv": "latvian",
    "mk": "macedonian",
    "mn": "mongolian",
    "mr": "marathi",
    "ms": "malay",
    "mt": "maltese",
    "my": "burmese",
    "ne": "nepali",
    "nl": "dutch nederlands holandes flemish",
    "no": "norwegian norsk",
    "oc": "occitan aranese",
    "pa": "punjabi",
    "pl": "polish polski polaco",
    "pt": "portuguese portugues",
    "qu": "quechua",
    "ro": "romanian romana rumano",
    "ru": "russian russkij ruso",
    "sk": "slovak",
    "sl": "slovenian slovene",
    "so": "somali",
    "sq": "albanian",
    "sr": "serbian srpski",
    "sv": "swedish svenska sueco",
    "sw": "swahili kiswahili",
    "ta": "tamil",
    "te": "telugu",
    "th": "thai",
    "tl": "tagalog filipino",
    "tr": "turkish turkce turco",
    "uk": "ukrainian ucraniano",
    "ur": "urdu",
    "uz": "uzbek",
    "vi": "vietnamese vietnamita",
    "wo": "wolof",
    "xh": "xhosa",
    "yo": "yoruba",
    "zh": "chinese mandarin chino",
    "zu": "zulu",
}
"""Code to the names that it goes by, without accents, in lower case."""

ALSO_WORDS = frozenset(
    {"am", "an", "ha", "he", "hi", "id", "is", "ms", "my", "no", "pa", "so", "te"}
)
"""Codes that folders are called by for other reasons."""
CODES_BY_NAME = {name: code for code, names in NAMES.items() for name in names.split()}
CODE = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*")
NOT_A_LETTER = re.compile(r"[^a-z]+")
SEPARATOR = re.compile(r"[/\\]+")


def code_of(word: str) -> str | None:
    """Return the code that ``word`` is or names (``ca``, ``Catalan``, ``pt-BR``), or None."""
    folded = _folded(word)
    if CODE.fullmatch(folded) and re.split("[-_]", folded)[0] in NAMES:
        return word.strip().replace("_", "-")
    return CODES_BY_NAME.get(folded)


def language_code(word: str) -> str | None:
    """Return the code that ``word`` names, or ``word`` itself if it could be a code; else None.

    Any language can be taught, so a code need not be known here.
    """
    known = code_of(word)
    plain = word.strip().replace("_", "-")
    return known or (plain if CODE.fullmatch(plain.lower()) else None)


def codes_in_path(path: str) -> dict[str, str]:
    """Return the codes that the parts of ``path`` name, each with the part that does.

    A name may be a piece of a part (``catalan_audio``); a code must be all of it (``data/ca``).
    """
    found: dict[str, str] = {}
    for part in SEPARATOR.split(path):
        folded = _folded(part.partition(".")[0])
        if folded in NAMES and folded not in ALSO_WORDS:
            found.setdefault(folded, part)
        for word in NOT_A_LETTER.split(folded):
            if word in CODES_BY_NAME:
                found.setdefault(CODES_BY_NAME[word], part)
    return found


def _folded(word: str) -> str:
    """Return ``word`` in lower case, without accents."""
    decomposed = unicodedata.normalize("NFD", word.strip().lower())
    return "".join(c for c in decomposed if not unicodedata.combining(c))
