"""Errors that a user can mend: what went wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK = 0
EXIT_USER = 2
EXIT_INTERRUPTED = 130

LISTED = 10
"""How many of a list of faults are printed before "and N more"."""


class UserError(Exception):
    """A fault in what the user gave; printed without a traceback, exit code 2.

    Args:
        problem: One sentence with the bad value.
        where: File and line, flag or field; empty when the sentence says it.
        fix: What to do next, as an imperative.
    """

    def __init__(self, problem: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.problem]
        if self.where:
            lines.append(f"  at:  {self.where}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class ConfigError(UserError):
    """A setting is out of range or contradicts another."""


class DataError(UserError):
    """A manifest, transcript or audio file cannot be used."""


class CheckpointError(UserError):
    """A file of weights is missing, damaged, or belongs to something else."""


class GuardError(UserError):
    """Something asked to write into a base folder."""


class TokenizerError(UserError):
    """A tokenizer is missing, damaged, or belongs to another model."""


class RegistryError(UserError):
    """An installed model is unknown, ambiguous or incomplete."""


class TrainingError(UserError):
    """Training cannot start or go on."""


class SynthesisError(UserError):
    """A request for speech cannot be met."""


def summarize(faults: Iterable[str], *, unlisted: int = 0) -> str:
    """Return the first of ``faults``, one a line, and how many more there are.

    ``unlisted`` are faults that the caller only counted.
    """
    listed = list(faults)
    lines = listed[:LISTED]
    if more := len(listed) - len(lines) + unlisted:
        lines.append(f"... and {more} more")
    return "\n".join(lines)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that lists ``known`` and points at the nearest, for an unknown ``name``."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    listing = ", ".join(names) if names else "none"
    return f"known: {listing}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
