"""What the page says, in each of its languages.

Messages are files, ``messages/<language>/<tab>.yaml``, flat mappings of a name to a text with
``str.format`` fields. Whoever reads the page chooses the language; the words of a model's errors
are those of the command line, in English.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml

PAGE_LANGUAGES = {"en": "English", "es": "Español", "zh": "中文", "ca": "Català"}
"""By code, as each calls itself; the first is what a visitor of none of them gets."""
FOLDER = Path(__file__).with_name("messages")


class Say:
    """The messages of one language.

    Args:
        language: A code of :data:`PAGE_LANGUAGES`.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._messages = read_messages(language)

    def __call__(self, name: str, **values: object) -> str:
        """Return the message ``<tab>.<name>`` with its fields filled in."""
        return self._messages[name].format(**values)


@cache
def read_messages(language: str) -> dict[str, str]:
    """Return all messages of ``language``, by ``<tab>.<name>``."""
    return {
        f"{path.stem}.{name}": text
        for path in sorted((FOLDER / language).glob("*.yaml"))
        for name, text in yaml.safe_load(path.read_text(encoding="utf-8")).items()
    }


def preferred_language(accepted: str) -> str:
    """Return the language of the page for what a browser accepts.

    Args:
        accepted: The header ``Accept-Language``: ``ca,es;q=0.8``; may be empty.
    """
    for code in _codes_in_order(accepted):
        if code in PAGE_LANGUAGES:
            return code
    return next(iter(PAGE_LANGUAGES))


def _codes_in_order(accepted: str) -> Sequence[str]:
    parts = [part.partition(";") for part in accepted.lower().split(",")]
    weighed = [(_weight(rest), code.strip().partition("-")[0]) for code, _, rest in parts]
    return [code for weight, code in sorted(weighed, key=lambda pair: -pair[0]) if weight > 0]


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
