"""The languages with rules of their own, one row each; any other gets the neutral row.

Chinese and English are not here: they follow the published front-end.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from idiolect.text.row import Language
from idiolect.text.rows import ca, de, es, fr, it, pt

NEUTRAL = Language(code="", name="neutral")
"""Unicode clean-up and nothing else: the row of a language that has none."""

LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {row.code: row for row in (ca.ROW, es.ROW, fr.ROW, pt.ROW, pt.BRAZIL, it.ROW, de.ROW)}
)


def find_language(code: str) -> Language:
    """Return the row of ``code`` (``ca``, ``pt-BR``, ``es_MX``), or :data:`NEUTRAL`."""
    exact = code.replace("_", "-").lower()
    return LANGUAGES.get(exact) or LANGUAGES.get(exact.split("-", 1)[0]) or NEUTRAL
