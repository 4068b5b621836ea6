"""What was kept and what was left out, counted as the clips go by."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from idiolect.data.split import Speakers
from idiolect.data.transcripts import Fault
from idiolect.data.verdicts import Verdict, foreign_letters

EXAMPLES_A_REASON = 4
"""Left-out clips that the report lets you hear, for each reason."""
ODDEST = 12
"""Kept clips that the report lets you hear: those nearest to a limit."""


@dataclass(slots=True)
class Share:
    """How many clips, and how long they are together."""

    clips: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one clip."""
        self.clips += 1
        self.seconds += seconds


def _array() -> array[float]:
    return array("f")


@dataclass(slots=True)
class Tally:
    """All that the summary and the report say; its size does not grow with long texts."""

    kept: Share = field(default_factory=Share)
    left_out: Share = field(default_factory=Share)
    reasons: defaultdict[str, Share] = field(default_factory=lambda: defaultdict(Share))
    by_speaker: defaultdict[str, Share] = field(default_factory=lambda: defaultdict(Share))
    by_language: defaultdict[str, Share] = field(default_factory=lambda: defaultdict(Share))
    sample_rates: Counter[int] = field(default_factory=Counter)
    foreign: Counter[str] = field(default_factory=Counter)
    """Letters of other languages in kept texts, each with how many clips hold it."""
    durations_sec: array[float] = field(default_factory=_array)
    loudness_db: array[float] = field(default_factory=_array)
    silence: array[float] = field(default_factory=_array)
    rates: array[float] = field(default_factory=_array)
    speakers: Speakers = field(default_factory=Speakers)
    examples: defaultdict[str, list[Verdict | Fault]] = field(
        default_factory=lambda: defaultdict(list)
    )
    oddest: list[tuple[float, int, Verdict]] = field(default_factory=list)
    """A heap of (oddness, number, clip)."""

    @property
    def found(self) -> int:
        """How many clips there were: kept and left out."""
        return self.kept.clips + self.left_out.clips

    @property
    def reason_counts(self) -> Counter[str]:
        """How many clips each reason left out."""
        return Counter({reason: share.clips for reason, share in self.reasons.items()})

    @property
    def left_out_share(self) -> float:
        """Which share of what was found is left out, 0 to 1."""
        return self.left_out.clips / self.found if self.found else 0.0

    @property
    def repeated_texts(self) -> int:
        """How many kept clips say what another clip of their speaker says."""
        return sum(len(hashes) - len(set(hashes)) for hashes in self.speakers.hashes.values())

    def leave_out(self, fault: Verdict | Fault) -> None:
        """Count one clip that is left out."""
        measures = fault.measures if isinstance(fault, Verdict) else None
        seconds = measures.duration_sec if measures else 0.0
        self.left_out.add(seconds)
        self.reasons[fault.reason].add(seconds)
        if len(self.examples[fault.reason]) < EXAMPLES_A_REASON:
            self.examples[fault.reason].append(fault)

    def keep(self, verdict: Verdict) -> None:
        """Count one clip that is kept."""
        clip, measures = verdict.clip, verdict.measures
        assert measures is not None, "a clip without measures is never kept"
        for share in (self.kept, self.by_speaker[clip.speaker], self.by_language[clip.language]):
            share.add(measures.duration_sec)
        self.sample_rates[measures.sample_rate] += 1
        self.foreign.update(set(foreign_letters(clip.text, clip.language)))
        self.durations_sec.append(measures.duration_sec)
        self.loudness_db.append(measures.loudness_db)
        self.silence.append(100 * measures.silence_share)
        self.rates.append(verdict.rate)
        self.speakers.add(clip.speaker, clip.text)
        heapq.heappush(self.oddest, (abs(verdict.oddness), self.kept.clips, verdict))
        if len(self.oddest) > ODDEST:
            heapq.heappop(self.oddest)
