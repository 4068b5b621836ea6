"""E-mail and web addresses to words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from idiolect.text.numbers import say_whole
from idiolect.text.row import NumberWords, Rule

# Only endings that are no word after a full stop; anything else needs www. or a scheme.
DOMAINS = "com|org|net|cat|eu|info|edu|gov|es|fr|pt|br|it|de|at|ch|ad|io|tv"

_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
)
_URL = re.compile(r"(?<![\w@])(?:https?://|ftp://|www\.)[^\s<>\"'()]*[\w/]", re.IGNORECASE)
_BARE = re.compile(
    rf"(?<![\w@.])[a-z0-9][a-z0-9-]+(?:\.[a-z0-9-]{{2,}})*\.(?:{DOMAINS})(?![\w'·-]|\.\w)"
    r"(?:/[^\s<>\"'(),]*[\w/])?"
)
_SCHEME = re.compile(r"^[a-z]+://", re.IGNORECASE)
_PARTS = re.compile(r"(?i:www)(?=\.)|[^\W\d_]+|\d+|[^\w\s]|_")


def rules(address: Mapping[str, str], words: NumberWords) -> Iterator[Rule]:
    """Yield what is read for e-mail and web addresses."""

    def say(match: re.Match[str]) -> str:
        written = _SCHEME.sub("", match[0]).rstrip("/")
        return " ".join(filter(None, map(say_part, _PARTS.findall(written))))

    def say_part(part: str) -> str:
        if part.isdecimal():
            return say_whole(part, words, "naming")
        if part[0].isalpha() and part.lower() != "www":
            return part
        return address.get(part.lower(), "")

    yield Rule(_EMAIL, say)
    yield Rule(_URL, say)
    yield Rule(_BARE, say)
