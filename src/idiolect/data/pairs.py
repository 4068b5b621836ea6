"""Prompt/target pairs: for each clip, other clips of its speaker that may prompt for it.

A prompt gives the voice and must not give away the words: it never shares its text with the
target, and comes from another recording where the manifest says which recording a clip is from.

The file is JSON Lines. The first line says which manifest the ids belong to, by a path relative
to the file; each later line is one pair::

    {"manifest": "train.jsonl", "format": "idiolect-pairs/1", "seed": 0, "pairs": 2}
    {"target": "b", "prompt": "a", "speaker": "anna", "language": "ca"}
    {"target": "c", "prompt": "c", "speaker": "biel", "language": "ca", "self": true}
"""

from __future__ import annotations

import heapq
import os
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from math import gcd
from pathlib import Path
from typing import Any

from idiolect.base.errors import ConfigError, DataError, summarize
from idiolect.base.files import read_jsonl, write_jsonl
from idiolect.base.skips import Skips
from idiolect.base.units import MAX_PROMPT_SEC
from idiolect.data.manifest import NO_UTTERANCE, Utterance

FORMAT = "idiolect-pairs/1"
KEYS = ("target", "prompt", "speaker", "language")
WORD = re.compile(r"\w+")
MAX_LOOKS = 64
"""Candidates looked at for one target before it is given up. A speaker with no more of them is
searched completely; the limit keeps the time linear when one speaker says the same thing in a
hundred thousand clips."""

OUTSIDE_LIMITS = "the target is shorter or longer than the limits"
ONLY_CLIP = "it is the only clip of its speaker"
NO_PROMPT_LENGTH = "no other clip of its speaker has the length of a prompt"
SAME_RECORDING = "all other clips of its speaker are cut from the same recording"
SHARED_TEXT = "the other clips of its speaker share its text"

SELF_PAIRS = "make pairs with --self-pairs, where the clip's own features are its prompt"

MENDS = {
    OUTSIDE_LIMITS: "change --min-target-sec or --max-target-sec",
    ONLY_CLIP: "record one more clip of the speaker, merge speaker names that mean one person, or "
    + SELF_PAIRS,
    NO_PROMPT_LENGTH: "change --min-prompt-sec or --max-prompt-sec",
    SAME_RECORDING: "give --same-recording, which lets clips of one recording be paired",
    SHARED_TEXT: f"add clips of the speaker with other texts, or {SELF_PAIRS}",
}
"""What to do about each reason; the keys are all reasons there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairConfig:
    """How prompts are chosen for each target."""

    pairs_per_target: int = 2
    """How many different prompts each target gets, where there are so many."""
    max_pairs: int = 0
    """Keep only so many pairs, spread evenly over all targets; 0 keeps all."""
    min_prompt_sec: float = 1.0
    """Shortest clip that may serve as a prompt, in seconds."""
    max_prompt_sec: float = MAX_PROMPT_SEC
    """Longest clip that may serve as a prompt, in seconds; prompts are heard up to here."""
    min_target_sec: float = 0.4
    """Shortest clip to be learnt, in seconds."""
    max_target_sec: float = 36.0
    """Longest clip to be learnt, in seconds; the published GPT has room for 36."""
    self_pairs: bool = False
    """Let a clip that has no other prompt be its own: the prompt is then the features of the clip
    itself, and the model can read part of the answer off them. For speakers who cannot record a
    second clip."""
    same_recording: bool = False
    """Let prompt and target come from one recording (the `source` of the manifest)."""
    seed: int = 0
    """Same seed and same clips, same pairs, in whatever order the clips come."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: A value is out of range.
        """
        if self.pairs_per_target < 1 or self.max_pairs < 0:
            raise ConfigError(
                f"{self.pairs_per_target} pairs per target, {self.max_pairs} in all",
                where="--pairs-per-target, --max-pairs",
                fix="ask for at least one pair per target, and 0 (all) or more in all",
            )
        for kind in ("prompt", "target"):
            shortest, longest = getattr(self, f"min_{kind}_sec"), getattr(self, f"max_{kind}_sec")
            if not 0 <= shortest <= longest:
                raise ConfigError(
                    f"no {kind} can have {shortest:g} to {longest:g} seconds",
                    where=f"--min-{kind}-sec, --max-{kind}-sec",
                )


@dataclass(frozen=True, slots=True)
class Pair:
    """Say the text of ``target`` with the voice of ``prompt``; both are ids of the manifest."""

    target: str
    prompt: str
    speaker: str
    language: str

    @property
    def is_self(self) -> bool:
        """Whether the clip is its own prompt."""
        return self.target == self.prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPlan:
    """The pairs, ordered by speaker and target, and why other clips got none."""

    config: PairConfig
    pairs: list[Pair]
    unpaired: dict[str, list[str]] = field(default_factory=dict)
    """Reason to the ids of the targets that it left out."""
    num_clips: int = 0

    @property
    def skipped(self) -> Counter[str]:
        """How many targets each reason left out."""
        return Counter({reason: len(ids) for reason, ids in self.unpaired.items()})

    @property
    def num_self_pairs(self) -> int:
        """How many clips are their own prompt."""
        return sum(pair.is_self for pair in self.pairs)


class PairBook:
    """Clips by speaker, got ready once for any number of plans.

    Training draws anew for each epoch; what does not change with the seed is done here.

    Args:
        utterances: The clips, in any order.
        config: Whose limits of a prompt, and whose rule for recordings, hold for all plans.
    """

    def __init__(self, utterances: Iterable[Utterance], config: PairConfig) -> None:
        by_speaker: defaultdict[str, list[_Clip]] = defaultdict(list)
        for utterance in utterances:
            by_speaker[utterance.speaker].append(_Clip(utterance))
        self._limits = config
        self._pools = [_Pool(name, clips, config) for name, clips in sorted(by_speaker.items())]

    def plan(self, config: PairConfig) -> PairPlan:
        """Choose up to ``config.pairs_per_target`` prompts for each clip, in linear time.

        Nothing depends on the order of the clips, and the choice for a speaker depends on the
        clips of that speaker only. With ``config.max_pairs`` a pair is kept or dropped by chance,
        first prompts of all targets before second ones, so that no speaker is preferred.
        """
        if _limits_of(config) != _limits_of(self._limits):
            raise ValueError("these limits are not those that the clips were got ready for")
        pairs: list[Pair] = []
        unpaired: defaultdict[str, list[str]] = defaultdict(list)
        for pool in self._pools:
            rng = random.Random(f"{config.seed}:{pool.speaker}")  # noqa: S311 -- sampling, not secrecy
            for target in pool.clips:
                prompts = pool.prompts_for(target, config, rng)
                if isinstance(prompts, str):
                    unpaired[prompts].append(target.id)
                    continue
                pairs += [Pair(target.id, p.id, pool.speaker, target.language) for p in prompts]
        return PairPlan(
            config=config,
            pairs=_limited(pairs, config),
            unpaired=dict(unpaired),
            num_clips=sum(len(pool.clips) for pool in self._pools),
        )


def plan_pairs(utterances: Iterable[Utterance], config: PairConfig) -> PairPlan:
    """Choose prompts for each of ``utterances``; see :meth:`PairBook.plan`."""
    return PairBook(utterances, config).plan(config)


def _limits_of(config: PairConfig) -> tuple[float, float, bool]:
    return config.min_prompt_sec, config.max_prompt_sec, config.same_recording


def write_pairs(path: Path, plan: PairPlan, manifest: Path) -> int:
    """Write ``plan`` to ``path``, whole or not at all; return the number of pairs.

    Raises:
        DataError: The plan holds no pair.
    """
    if not plan.pairs:
        raise no_pairs_error(plan, manifest)
    header = {
        "manifest": Path(os.path.relpath(manifest.resolve(), path.parent.resolve())).as_posix(),
        "format": FORMAT,
        "seed": plan.config.seed,
        "pairs": len(plan.pairs),
    }
    return write_jsonl(path, chain([header], map(_record_of, plan.pairs))) - 1


def read_pairs(path: Path) -> tuple[Path, list[Pair]]:
    """Return the manifest that the pairs in ``path`` belong to, and the pairs.

    Raises:
        DataError: This is no file of pairs, its manifest is gone, or lines of it are not pairs.
    """
    records = read_jsonl(path)
    _, header = next(records, (0, {}))
    if header.get("format") != FORMAT or not isinstance(header.get("manifest"), str):
        raise DataError(
            "not a file of pairs: the first line does not name its manifest",
            where=str(path),
            fix="make it with tools/build_gpt_prompt_pairs.py, or give the manifest itself",
        )
    manifest = Path(os.path.normpath(path.parent / header["manifest"]))
    if not manifest.is_file():
        raise DataError(
            f"the manifest of these pairs is gone: {manifest}",
            where=f"{path}:1",
            fix="put it back, or make the pairs again",
        )
    return manifest, _parse(records, path)


def is_paired(path: Path) -> bool:
    """Return whether ``path`` holds pairs; anything else is taken for a manifest."""
    return "manifest" in next(read_jsonl(path), (0, {}))[1]


def check_skipped(plan: PairPlan, manifest: Path, *, allow_skips: bool) -> None:
    """Refuse a plan that leaves out too many clips; an empty one is refused when it is written.

    Raises:
        DataError: More than a tenth has no pair, and that was not allowed.
    """
    counts = plan.skipped
    skips = Skips(num_all=plan.num_clips, num_skipped=counts.total(), allowed=allow_skips)
    if not plan.pairs or not skips.is_too_much:
        return
    reason, _ = counts.most_common(1)[0]
    raise DataError(
        f"{skips.problem('clips cannot be paired')}; most because {reason}",
        where=str(manifest),
        fix=skips.fix(MENDS[reason], separator="; "),
    )


def no_pairs_error(plan: PairPlan, manifest: Path) -> DataError:
    """Return the error that says why ``plan`` is empty, and what to do."""
    if not plan.skipped:
        return DataError(
            NO_UTTERANCE, where=str(manifest), fix="make it again with idiolect prepare"
        )
    faults = [f"{count} clips: {reason}" for reason, count in plan.skipped.most_common()]
    return DataError(
        f"no pair can be made of {plan.num_clips} clips:\n{summarize(faults)}",
        where=str(manifest),
        fix=MENDS[plan.skipped.most_common(1)[0][0]],
    )


class _Clip:
    """What the choice needs of an utterance; kept small, for there may be millions."""

    __slots__ = ("duration_sec", "id", "language", "place", "source", "words")

    def __init__(self, utterance: Utterance) -> None:
        self.id = utterance.id
        self.source = utterance.source
        self.language = utterance.language
        self.duration_sec = utterance.duration_sec
        self.words = f" {' '.join(WORD.findall(utterance.text.casefold()))} "
        self.place = -1
        """Among the prompts of its speaker; -1 where it is none."""

    def shares_text(self, other: _Clip) -> bool:
        """Return whether the words of one, in their order, are found within the other's."""
        return self.words in other.words or other.words in self.words


class _Pool:
    """The clips of one speaker; clips of one recording lie next to each other in ``prompts``."""

    __slots__ = ("clips", "prompts", "recordings", "same_recording", "speaker")

    def __init__(self, speaker: str, clips: list[_Clip], config: PairConfig) -> None:
        self.speaker = speaker
        self.same_recording = config.same_recording
        self.clips = sorted(clips, key=lambda clip: clip.id)
        lengths = config.min_prompt_sec, config.max_prompt_sec
        prompts = [c for c in self.clips if lengths[0] <= c.duration_sec <= lengths[1]]
        # Clips of no recording first, by id, then recording by recording.
        self.prompts = [c for c in prompts if c.source is None or config.same_recording]
        by_recording: defaultdict[str, list[_Clip]] = defaultdict(list)
        for clip in prompts:
            if clip.source is not None and not config.same_recording:
                by_recording[clip.source].append(clip)
        self.recordings: dict[str, tuple[int, int]] = {}
        for source, members in sorted(by_recording.items()):
            self.recordings[source] = (len(self.prompts), len(self.prompts) + len(members))
            self.prompts += members
        for place, clip in enumerate(self.prompts):
            clip.place = place

    def _span_of(self, target: _Clip) -> tuple[int, int]:
        """Return which prompts ``target`` cannot have: those of its recording, or itself."""
        if target.source is not None and not self.same_recording:
            return self.recordings.get(target.source, (0, 0))
        return (target.place, target.place + 1) if target.place >= 0 else (0, 0)

    def prompts_for(
        self, target: _Clip, config: PairConfig, rng: random.Random
    ) -> list[_Clip] | str:
        """Return the prompts of ``target``, or why there are none."""
        if not config.min_target_sec <= target.duration_sec <= config.max_target_sec:
            return OUTSIDE_LIMITS
        first, last = self._span_of(target)
        chosen: list[_Clip] = []
        for prompt in self._others(first, last, rng):
            if not prompt.shares_text(target):
                chosen.append(prompt)
                if len(chosen) == config.pairs_per_target:
                    break
        if chosen:
            return chosen
        if config.self_pairs and target.duration_sec >= config.min_prompt_sec:
            return [target]
        return self._reason(target, last - first)

    def _others(self, first: int, last: int, rng: random.Random) -> Iterator[_Clip]:
        """Yield up to :data:`MAX_LOOKS` prompts outside ``first .. last``, none of them twice.

        A walk with a random start and a random stride that has no factor in common with the
        length meets every prompt once, and costs nothing for those that are not reached.
        """
        length = len(self.prompts) - (last - first)
        if not length:
            return
        place = int(rng.random() * length)
        stride = 1 + int(rng.random() * (length - 1))
        while gcd(stride, length) != 1:
            stride = 1 + int(rng.random() * (length - 1))
        for _ in range(min(length, MAX_LOOKS)):
            yield self.prompts[place if place < first else place + last - first]
            place = (place + stride) % length

    def _reason(self, target: _Clip, num_excluded: int) -> str:
        if len(self.clips) == 1:
            return ONLY_CLIP
        if len(self.prompts) == (target.place >= 0):
            return NO_PROMPT_LENGTH
        return SAME_RECORDING if len(self.prompts) == num_excluded else SHARED_TEXT


def _limited(pairs: list[Pair], config: PairConfig) -> list[Pair]:
    """Return ``config.max_pairs`` of ``pairs`` in their order, no speaker preferred."""
    if not 0 < config.max_pairs < len(pairs):
        return pairs
    draws: Counter[str] = Counter()
    ranked = []
    for index, pair in enumerate(pairs):
        lot = blake2b(f"{config.seed}:{pair.target}:{pair.prompt}".encode(), digest_size=8)
        ranked.append((draws[pair.target], lot.digest(), index))
        draws[pair.target] += 1
    kept = heapq.nsmallest(config.max_pairs, ranked)
    return [pairs[index] for index in sorted(index for _, _, index in kept)]


def _record_of(pair: Pair) -> dict[str, Any]:
    record: dict[str, Any] = {key: getattr(pair, key) for key in KEYS}
    return record | {"self": True} if pair.is_self else record


def _parse(records: Iterator[tuple[int, dict[str, Any]]], path: Path) -> list[Pair]:
    pairs, faults = [], []
    for number, record in records:
        values = [record.get(key) for key in KEYS]
        if all(isinstance(value, str) and value for value in values):
            target, prompt, speaker, language = values
            pairs.append(Pair(target, prompt, sys.intern(speaker), sys.intern(language)))  # type: ignore[arg-type]
        else:
            missing = [key for key, value in zip(KEYS, values, strict=True) if not value]
            faults.append(f"{path}:{number}: missing or empty: {', '.join(missing) or 'a text'}")
    if faults:
        raise DataError(
            f"{len(faults)} lines are not pairs:\n{summarize(faults)}",
            where=str(path),
            fix="make the pairs again",
        )
    return pairs
