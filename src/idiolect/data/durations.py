"""Which samples are asked for their number of codes, and which are left free."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

FREE = 0
"""Asked of a sample that may be as long as it likes: no text has no codes."""
FREE_SHARE = 0.3
"""Of the samples in training, so that the model also speaks when nothing is asked."""
DRAWS = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationDraw:
    """What an epoch asks of its samples.

    Source:
        IndexTTS2, arXiv 2506.21619: 30 % of the samples are trained without a duration.
    """

    seed: int
    epoch: int | None
    """None in a validation, where all are free: that is how synthesis speaks unless it is told
    otherwise, so the loss stays that of the usual use, and a run can be compared with one that
    does not learn durations."""

    def asked(self, target: str, num_codes: int) -> int:
        """Return how many codes are asked of ``target``, which has ``num_codes``; or FREE.

        No generator is drawn from: a run that goes on asks what it would have asked anyway.
        """
        if self.epoch is None:
            return FREE
        digest = sha256(repr((self.seed, self.epoch, target)).encode()).digest()
        is_free = int.from_bytes(digest[:8], "big") < FREE_SHARE * DRAWS
        return FREE if is_free else num_codes
