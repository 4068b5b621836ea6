"""Train or validation: decided by hash, so that clips added later move almost none.

With many speakers, whole speakers are held out. With few, sentences are: the same sentence goes
to the same side whoever says it, and a speaker with held-out clips has two at least, so that each
of them has a prompt.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

MANY_SPEAKERS = 20
"""From so many speakers on, whole speakers are held out."""
MAX_SPEAKER_FACTOR = 4
"""A speaker with more than so many times the share wanted is never held out whole."""
LEAST_HELD_OUT = 2
LEAST_LEFT = 2
"""Sentences that a speaker keeps for training when others are held out."""


@dataclass(slots=True)
class Speakers:
    """The sentences of each speaker, as far as the split needs them: as hashes in 0 to 1."""

    hashes: defaultdict[str, array[float]] = field(
        default_factory=lambda: defaultdict(lambda: array("d"))
    )

    def add(self, speaker: str, text: str) -> None:
        """Take note of one clip."""
        self.hashes[speaker].append(_hash(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which clips are for validation."""

    by: str
    """``speaker``, ``sentence`` or ``nothing``."""
    limits: dict[str, float]
    """Speaker to the hash below which a sentence is held out; others are not held out."""

    def holds_out(self, speaker: str, text: str) -> bool:
        """Return whether the clip is for validation."""
        limit = self.limits.get(speaker)
        return limit is not None and _hash(text) < limit


def plan_split(speakers: Speakers, share: float) -> Split:
    """Return the split that holds out about ``share`` of the clips (0 to 1)."""
    counts = Counter({name: len(set(hashes)) for name, hashes in speakers.hashes.items()})
    several = [name for name, count in counts.items() if count >= LEAST_HELD_OUT]
    if share <= 0 or not several:
        return Split(by="nothing", limits={})
    if len(several) >= MANY_SPEAKERS:
        most = MAX_SPEAKER_FACTOR * share * counts.total()
        small = [name for name in several if counts[name] <= most]
        if small:
            return _by_speaker(small, share)
    return _by_sentence(speakers, counts, share)


def validation_path(train: Path) -> Path:
    """Return the validation manifest of ``train``: ``val.jsonl`` beside ``train.jsonl``."""
    return sibling(train, "val")


def sibling(train: Path, role: str, suffix: str = "") -> Path:
    """Return the file beside ``train`` that has ``role`` in place of ``train`` in its name."""
    name = train.name.replace("train", role) if "train" in train.name else f"{role}_{train.name}"
    path = train.with_name(name)
    return path.with_suffix(suffix) if suffix else path


def _by_speaker(names: list[str], share: float) -> Split:
    chosen = [name for name in names if _hash(name) < share]
    chosen = chosen or [min(names, key=_hash)]
    return Split(by="speaker", limits=dict.fromkeys(chosen, 1.0))


def _by_sentence(speakers: Speakers, counts: Counter[str], share: float) -> Split:
    limits: dict[str, float] = {}
    for name, hashes in speakers.hashes.items():
        limit = _sentence_limit(hashes, share)
        if any(value < limit for value in hashes):
            limits[name] = limit
    if not limits:
        name = max(sorted(counts), key=lambda speaker: counts[speaker])
        limit = _sentence_limit(speakers.hashes[name], 1.0, most=LEAST_HELD_OUT)
        limits = {name: limit} if limit else {}
    return Split(by="sentence" if limits else "nothing", limits=limits)


def _sentence_limit(hashes: array[float], share: float, most: int | None = None) -> float:
    """Return the limit that holds out the sentences below ``share``: two or more, or none."""
    values = sorted(set(hashes))
    count = sum(value < share for value in values)
    count = min(count, most or count)
    if count == 0 or len(values) < LEAST_HELD_OUT + LEAST_LEFT:
        return 0.0
    count = min(max(count, LEAST_HELD_OUT), len(values) - LEAST_LEFT)
    return (values[count - 1] + values[count]) / 2


def _hash(text: str) -> float:
    """Return a number in 0 to 1 that depends on the letters and digits of ``text`` only."""
    letters = "".join(c for c in text.casefold() if c.isalnum()) or text
    digest = blake2b(letters.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
