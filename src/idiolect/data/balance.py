"""How often languages are seen: small ones more often than by their clips, large ones less."""

from __future__ import annotations

from collections.abc import Mapping

from idiolect.base.shares import apportion


def balanced_sizes(
    sizes: Mapping[tuple[int, str], float], total: int, temperature: float
) -> dict[tuple[int, str], int]:
    """Return how many samples of an epoch each part of the data gets, ``total`` together.

    Args:
        sizes: Clips times weight of each source and language, above 0.
        total: Samples of the epoch.
        temperature: A language gets a share as its size to this power: 1 leaves all as they
            are, 0 makes languages alike. The sources of one language share by their sizes.

    Source:
        Conneau et al. 2020, "Unsupervised cross-lingual representation learning at scale",
        section 3.1 (the exponent alpha).
    """
    languages: dict[str, float] = {}
    for (_, language), size in sizes.items():
        languages[language] = languages.get(language, 0.0) + size
    powers = {language: size**temperature for language, size in languages.items()}
    shares = {
        (source, language): powers[language] * size / languages[language]
        for (source, language), size in sizes.items()
    }
    return apportion(shares, total)
