"""What may be left out without asking: a tenth of what there is; more is refused."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SKIPPED_SHARE = 0.1
ALLOW_SKIPS = "or give --allow-skips to go on without them"


@dataclass(slots=True, kw_only=True)
class Skips:
    """How much of something is left out, and whether that is too much."""

    num_all: int
    num_skipped: int = 0
    allowed: bool = False
    """Whether the user gave ``--allow-skips``."""

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left to go on with, whatever the user allowed."""
        return self.num_skipped >= self.num_all

    @property
    def is_too_much(self) -> bool:
        """Whether more than a tenth is left out, and the user did not allow it."""
        return not self.allowed and self.num_skipped > MAX_SKIPPED_SHARE * self.num_all

    def problem(self, what: str) -> str:
        """Return the sentence of the error: ``2 of 9 clips cannot be paired, more than 10%``."""
        rule = "" if self.is_everything else f", more than {MAX_SKIPPED_SHARE:.0%}"
        return f"{self.num_skipped} of {self.num_all} {what}{rule}"

    def fix(self, mend: str, *, separator: str = ", ") -> str:
        """Return ``mend`` and, if it leaves anything to go on with, ``--allow-skips``."""
        return mend if self.is_everything else f"{mend}{separator}{ALLOW_SKIPS}"
