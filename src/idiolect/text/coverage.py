"""How well a tokenizer fits a corpus: unknowns, characters per token, pieces never used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from idiolect.text.normalize import prepare_text
from idiolect.text.tokenizer import Tokenizer

EXAMPLES = 10
"""How many unknown strings and unused pieces a summary names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageReport:
    """What one tokenizer does to one corpus."""

    num_texts: int
    num_chars: int
    """Characters of the prepared texts, spaces included."""
    num_tokens: int
    num_unknown: int
    """Tokens that the vocabulary cannot spell."""
    num_pieces: int
    """Pieces of the vocabulary that can be used: without the special ones."""
    unknown: tuple[tuple[str, int], ...]
    """What is unknown and how often, the most frequent first."""
    unused: tuple[str, ...]
    """Pieces that no text needs, in order of their id."""

    @property
    def chars_per_token(self) -> float:
        """Fertility: more is better, the GPT then reads fewer tokens for the same text."""
        return self.num_chars / self.num_tokens if self.num_tokens else 0.0

    @property
    def unknown_rate(self) -> float:
        """Share of the tokens that are unknown."""
        return self.num_unknown / self.num_tokens if self.num_tokens else 0.0

    @property
    def used_share(self) -> float:
        """Share of the pieces that some text uses."""
        return 1 - len(self.unused) / self.num_pieces if self.num_pieces else 0.0

    def summary(self) -> str:
        """Return the report in a few lines."""
        lines = [
            f"{self.num_texts} texts, {self.num_chars} characters, {self.num_tokens} tokens: "
            f"{self.chars_per_token:.2f} characters per token",
            f"unknown: {self.num_unknown} tokens ({self.unknown_rate:.3%})"
            + _listed(f"{text!r} ×{count}" for text, count in self.unknown[:EXAMPLES]),
            f"pieces used: {self.num_pieces - len(self.unused)} of {self.num_pieces} "
            f"({self.used_share:.1%})" + _listed(map(repr, self.unused[:EXAMPLES]), "never used"),
        ]
        return "\n".join(lines)


def measure_coverage(
    tokenizer: Tokenizer, texts: Iterable[tuple[str, str | None]]
) -> CoverageReport:
    """Measure ``tokenizer`` on raw ``texts``, each with its language."""
    return measure_prepared(tokenizer, (prepare_text(text, language) for text, language in texts))


def measure_prepared(
    tokenizer: Tokenizer, lines: Iterable[str], *, first_id: int = 0
) -> CoverageReport:
    """Measure ``tokenizer`` on what :func:`prepare_text` returned.

    Args:
        tokenizer: The tokenizer.
        lines: Prepared texts.
        first_id: Pieces before this one, those of an extended base, are not asked to be used.
    """
    num_texts = num_chars = 0
    pieces: Counter[str] = Counter()
    for line in lines:
        num_texts += 1
        num_chars += len(line)
        pieces.update(tokenizer.split_prepared(line))
    ids = dict(zip(pieces, tokenizer.ids_of(list(pieces)), strict=True))
    unknown = Counter({p: count for p, count in pieces.items() if ids[p] == tokenizer.unk_id})
    old = set(tokenizer.all_pieces()[:first_id])
    asked = [piece for piece in tokenizer.ordinary_pieces() if piece not in old]
    return CoverageReport(
        num_texts=num_texts,
        num_chars=num_chars,
        num_tokens=pieces.total(),
        num_unknown=unknown.total(),
        num_pieces=len(asked),
        unknown=tuple(unknown.most_common()),
        unused=tuple(piece for piece in asked if piece not in pieces),
    )


def _listed(items: Iterable[str], what: str = "") -> str:
    text = ", ".join(items)
    return f"; {what + ': ' if what else ''}{text}" if text else ""
