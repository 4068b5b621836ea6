"""What a base is called, and what its licence asks of the models that are tuned on it."""

from __future__ import annotations

from dataclasses import dataclass

from idiolect.models.config import BaseConfig
from idiolect.models.published import BASE_REPO, DERIVATIVE_NOTICE, LICENCE_NAME

NANO_NAME = "nano"
NANO_LICENCE = "Apache-2.0"
NANO_NOTICE = (
    "nano was trained from zero by the recipe of idiolect on the speech of free speech engines; "
    "it holds nothing of the published weights of IndexTTS-2."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A base by name, its licence, and the sentence that goes with every model tuned on it."""

    base: str
    licence: str
    notice: str


PUBLISHED_TERMS = Terms(base=BASE_REPO, licence=LICENCE_NAME, notice=DERIVATIVE_NOTICE)
NANO_TERMS = Terms(base=NANO_NAME, licence=NANO_LICENCE, notice=NANO_NOTICE)


def terms_of(config: BaseConfig) -> Terms:
    """Return the terms of the base whose configuration is ``config``."""
    if config.mark is None:
        return PUBLISHED_TERMS
    return terms_named(config.mark.name, config.mark.licence)


def terms_named(base: str, licence: str = "") -> Terms:
    """Return the terms of the base called ``base``; those of the published one for no name.

    Args:
        base: As a model remembers it.
        licence: Of a base that is not known here.
    """
    known = {"": PUBLISHED_TERMS, BASE_REPO: PUBLISHED_TERMS, NANO_NAME: NANO_TERMS}
    return known.get(base) or Terms(base=base, licence=licence or "a licence of its own", notice="")
