"""Manifests to samples: what is learnt from, in which order, and what is left out and why.

A raw manifest is taken wherever a paired one is; its pairs are then drawn anew for each epoch.
The order of an epoch is a pure function of the seed and the number of the epoch, so a run that
goes on knows where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from idiolect.base.errors import DataError, TokenizerError, summarize
from idiolect.base.progress import track
from idiolect.base.skips import Skips
from idiolect.data.balance import balanced_sizes
from idiolect.data.batches import GptSample, rows_of
from idiolect.data.durations import DurationDraw
from idiolect.data.features import Features
from idiolect.data.manifest import SourceSpec, Utterance, read_manifest
from idiolect.data.pairs import (
    Pair,
    PairBook,
    PairConfig,
    PairPlan,
    is_paired,
    no_pairs_error,
    read_pairs,
)
from idiolect.data.split import sibling
from idiolect.models.config import GptDims
from idiolect.text.tokenizer import Tokenizer

HELD_OUT_SHARE = 0.02
MAX_HELD_OUT = 200
"""A held-out share is measured on at each validation; more clips cost time and tell no more."""

NO_FEATURES = "its audio gave no features"
NO_PROMPT_FEATURES = "the audio of its prompts gave no features"
NO_TEXT = "nothing of its text is left for the tokenizer"
TEXT_TOO_LONG = "its text has more tokens than the model has positions"
TOO_MANY_CODES = "it is longer than the model has positions for codes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A manifest that was read, and which of its clips are targets."""

    spec: SourceSpec
    manifest: Path
    """The raw manifest, also of a paired one."""
    utterances: dict[str, Utterance]
    pairs: list[Pair] | None
    """None when they are drawn from ``utterances``."""
    targets: frozenset[str]
    self_pairs: bool = False
    """Whether a target without another prompt is its own: right for measuring, not for learning."""
    book: PairBook | None = field(default=None, compare=False, repr=False)
    """The clips, got ready for drawing; None gets them ready at each draw."""

    @property
    def clip_ids(self) -> set[str]:
        """Every clip that is a target or may be a prompt."""
        if self.pairs is None:
            return set(self.utterances)
        return {i for p in self.pairs if p.target in self.targets for i in (p.target, p.prompt)}

    def draw(self, seed: int) -> PairPlan:
        """Return pairs for the targets: those of the file, or one for each drawn by ``seed``."""
        config = PairConfig(pairs_per_target=1, self_pairs=self.self_pairs, seed=seed)
        if self.pairs is not None:
            pairs = [pair for pair in self.pairs if pair.target in self.targets]
            return PairPlan(config=config, pairs=pairs)
        book = self.book or PairBook(self.utterances.values(), config)
        plan = book.plan(config)
        unpaired = {
            reason: [target for target in ids if target in self.targets]
            for reason, ids in plan.unpaired.items()
        }
        return replace(
            plan,
            pairs=[pair for pair in plan.pairs if pair.target in self.targets],
            unpaired=unpaired,
        )


class FeatureLookup(Protocol):
    """What is asked of a :class:`idiolect.data.features.FeatureStore`."""

    def __contains__(self, utterance_id: str) -> bool: ...
    def get(self, utterance_id: str) -> Features: ...  # noqa: D102
    def num_codes(self, utterance_id: str) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSource:
    """A source whose texts are token ids, without the targets that cannot be learnt."""

    source: Source
    text_ids: dict[str, NDArray[np.int32]]
    left_out: dict[str, str]
    """Target to the reason why it is left out."""
    unknown_tokens: int
    """Tokens that the tokenizer does not know, in the texts that are kept."""
    base_text_ids: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    """The texts that the base is to judge, by its own tokenizer; see
    :func:`idiolect.data.base_texts.with_base_texts`."""

    @property
    def num_tokens(self) -> int:
        """Tokens in the texts that are kept."""
        return sum(map(len, self.text_ids.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSource(EncodedSource):
    """A source that samples can be made of."""

    store: FeatureLookup

    def draw(self, seed: int) -> list[Pair]:
        """Return the pairs of :meth:`Source.draw` that can be learnt."""
        drawn = self.source.draw(seed).pairs
        return [
            pair for pair in drawn if pair.target in self.text_ids and pair.prompt in self.store
        ]

    def language_of(self, pair: Pair) -> str:
        """Return the language of the target of ``pair``."""
        return self.source.utterances[pair.target].language


class SampleRef(NamedTuple):
    """A sample by name."""

    source: int
    """Place of its source in the list."""
    target: str
    prompt: str


def read_source(spec: SourceSpec) -> Source:
    """Read the manifest of ``spec``, raw or paired.

    Raises:
        DataError: It is missing, or lines of it are bad; or pairs name clips that are not there.
    """
    if not spec.path.is_file():
        raise DataError(
            f"no such manifest: {spec.path}",
            fix="make it with idiolect prepare; a suffix may be ::language, @weight or both",
        )
    manifest, pairs = read_pairs(spec.path) if is_paired(spec.path) else (spec.path, None)
    utterances = {u.id: u for u in read_manifest(manifest)}
    if pairs is not None:
        _check_pairs(pairs, utterances, spec.path, manifest)
    if spec.language is not None:
        utterances = {i: replace(u, language=spec.language) for i, u in utterances.items()}
    targets = utterances if pairs is None else (pair.target for pair in pairs)
    return Source(
        spec=spec,
        manifest=manifest,
        utterances=utterances,
        pairs=pairs,
        targets=frozenset(targets),
        book=PairBook(utterances.values(), PairConfig()) if pairs is None else None,
    )


def sibling_of(spec: SourceSpec) -> SourceSpec | None:
    """Return the validation manifest beside the training manifest ``spec``, if there is one."""
    path = sibling(spec.path, "val")
    return replace(spec, path=path, weight=1.0) if path.is_file() else None


def hold_out(source: Source) -> tuple[Source, Source]:
    """Split ``source`` into what is learnt and what is measured on.

    Which targets are held out depends on their ids only, so it is the same in every run. They
    still serve as prompts.

    Raises:
        DataError: There is one target only, or no pair can be made.
    """
    if len(source.targets) < 2:
        plan = source.draw(seed=0)
        if not plan.pairs:
            raise no_pairs_error(plan, source.manifest)
        raise DataError(
            "one target is too few to hold any out for validation",
            where=str(source.spec.path),
            fix="add clips, or name a --val-manifest",
        )
    count = max(1, min(MAX_HELD_OUT, round(len(source.targets) * HELD_OUT_SHARE)))
    ranked = sorted(source.targets, key=lambda i: sha256(i.encode()).digest())
    held = frozenset(ranked[:count])
    return replace(source, targets=source.targets - held), replace(source, targets=held)


def encode_source(source: Source, tokenizer: Tokenizer, dims: GptDims) -> EncodedSource:
    """Encode the texts of the targets; leave out what the model has no room for.

    Raises:
        TokenizerError: The tokenizer gave an id that the model has no row for.
        DataError: No pair can be made of the clips.
    """
    plan = source.draw(seed=0)
    if not plan.pairs:
        raise no_pairs_error(plan, source.manifest)
    text_ids: dict[str, NDArray[np.int32]] = {}
    left_out = {target: reason for reason, ids in plan.unpaired.items() for target in ids}
    unknown = 0
    for target in track(sorted({p.target for p in plan.pairs}), "reading texts", unit="texts"):
        utterance = source.utterances[target]
        ids = tokenizer.encode(utterance.text, utterance.language)
        if not ids or len(ids) > dims.max_text_len:
            left_out[target] = TEXT_TOO_LONG if ids else NO_TEXT
            continue
        _check_ids(ids, utterance, tokenizer, dims)
        unknown += ids.count(tokenizer.unk_id)
        text_ids[target] = np.asarray(ids, dtype=np.int32)
    return EncodedSource(
        source=source, text_ids=text_ids, left_out=left_out, unknown_tokens=unknown
    )


def add_features(encoded: EncodedSource, store: FeatureLookup, dims: GptDims) -> SampleSource:
    """Join texts and features; leave out what has none, or too many codes for the model."""
    pairs = encoded.source.draw(seed=0).pairs
    prompted = {pair.target for pair in pairs if pair.prompt in store}
    faults = {t: _feature_fault(t, store, dims, prompted) for t in encoded.text_ids}
    return SampleSource(
        source=encoded.source,
        text_ids={target: ids for target, ids in encoded.text_ids.items() if not faults[target]},
        left_out=encoded.left_out | {target: fault for target, fault in faults.items() if fault},
        unknown_tokens=encoded.unknown_tokens,
        base_text_ids=encoded.base_text_ids,
        store=store,
    )


def check_left_out(sources: Sequence[EncodedSource], *, allow_skips: bool) -> Counter[str]:
    """Return how many targets each reason left out.

    Raises:
        DataError: Nothing is left; or more than a tenth is left out and that was not allowed.
    """
    reasons = Counter(reason for s in sources for reason in s.left_out.values())
    num_all = sum(len(s.text_ids) for s in sources) + reasons.total()
    skips = Skips(num_all=num_all, num_skipped=reasons.total(), allowed=allow_skips)
    if not (skips.is_everything or skips.is_too_much):
        return reasons
    listing = summarize(f"{count}: {reason}" for reason, count in reasons.most_common())
    raise DataError(
        f"{skips.problem('targets would be left out')}:\n{listing}",
        where=", ".join(str(s.source.spec.path) for s in sources),
        fix=skips.fix("mend these clips"),
    )


def epoch_order(
    sources: Sequence[SampleSource],
    *,
    seed: int,
    epoch: int,
    count: int | None = None,
    language_temperature: float = 1.0,
) -> list[SampleRef]:
    """Return the samples of ``epoch`` in the order in which they are learnt.

    Args:
        sources: As they are numbered in :class:`SampleRef`.
        seed: Of the run.
        epoch: From 0.
        count: How many to return. The length of a run must be known ahead, and drawing anew may
            find a pair more or less for speakers who repeat themselves; None is all.
        language_temperature: How often languages are seen, see
            :func:`idiolect.data.balance.balanced_sizes`; as many samples at any.
    """
    if language_temperature != 1:
        total = len(epoch_order(sources, seed=seed, epoch=epoch)) if count is None else count
        return _balanced_order(sources, seed, epoch, total, language_temperature)
    rng = np.random.default_rng([seed, epoch])
    refs = [
        SampleRef(index, pair.target, pair.prompt)
        for index, source in enumerate(sources)
        for pair in _weighted(source, seed, epoch, rng)
    ]
    order = [refs[place] for place in rng.permutation(len(refs))]
    return order if count is None else list(islice(cycle(order), count))


def fixed_order(sources: Sequence[SampleSource]) -> list[SampleRef]:
    """Return the samples of a validation: one for each target, always the same."""
    first: dict[tuple[int, str], str] = {}
    for index, source in enumerate(sources):
        for pair in source.draw(seed=0):
            first.setdefault((index, pair.target), pair.prompt)
    return [SampleRef(index, target, prompt) for (index, target), prompt in sorted(first.items())]


def sample_len(sources: Sequence[SampleSource], ref: SampleRef) -> int:
    """Return how many rows the sample that ``ref`` names will have; no feature is read for it."""
    source = sources[ref.source]
    num_codes = source.store.num_codes(ref.target)
    return sum(rows_of(len(source.text_ids[ref.target]), num_codes))


def languages_of_ref(sources: Sequence[SampleSource], ref: SampleRef) -> str:
    """Return the language of the target that ``ref`` names."""
    return sources[ref.source].source.utterances[ref.target].language


def load_sample(
    sources: Sequence[SampleSource], ref: SampleRef, durations: DurationDraw | None = None
) -> GptSample:
    """Return the sample that ``ref`` names; ``durations`` decide what is asked of it."""
    source = sources[ref.source]
    prompt = source.store.get(ref.prompt)
    codes = source.store.get(ref.target).codes.astype(np.int64)
    base_text_ids = source.base_text_ids.get(ref.target)
    return GptSample(
        text_ids=source.text_ids[ref.target].astype(np.int64),
        codes=codes,
        latents=prompt.latents.astype(np.float32),
        emotion=prompt.emotion.astype(np.float32),
        language=languages_of_ref(sources, ref),
        asked_codes=None if durations is None else durations.asked(ref.target, len(codes)),
        base_text_ids=None if base_text_ids is None else base_text_ids.astype(np.int64),
    )


def _check_pairs(
    pairs: Iterable[Pair], utterances: dict[str, Utterance], path: Path, manifest: Path
) -> None:
    named = {clip for pair in pairs for clip in (pair.target, pair.prompt)}
    if missing := sorted(named - utterances.keys()):
        raise DataError(
            f"{len(missing)} clips of the pairs are not in {manifest}:\n{summarize(missing)}",
            where=str(path),
            fix="make the pairs again from this manifest",
        )


def _feature_fault(target: str, store: FeatureLookup, dims: GptDims, prompted: set[str]) -> str:
    if target not in store:
        return NO_FEATURES
    if target not in prompted:
        return NO_PROMPT_FEATURES
    return TOO_MANY_CODES if store.num_codes(target) > dims.max_code_len else ""


def _check_ids(
    ids: Sequence[int], utterance: Utterance, tokenizer: Tokenizer, dims: GptDims
) -> None:
    if max(ids) >= dims.vocab_size:
        raise TokenizerError(
            f"token {max(ids)} of clip {utterance.id!r}, but the model has {dims.vocab_size} rows",
            where=str(tokenizer.path),
            fix="give the tokenizer that belongs to the model",
        )


def _weighted(source: SampleSource, seed: int, epoch: int, rng: np.random.Generator) -> list[Pair]:
    """Return the pairs of one epoch: all of them as often as the weight has whole parts, and a
    part of them, chosen anew, for the rest.
    """
    whole, rest = divmod(source.source.spec.weight, 1.0)
    pairs: list[Pair] = []
    for copy in range(int(whole)):
        pairs += source.draw(_mixed(seed, epoch, copy))
    if rest:
        drawn = source.draw(_mixed(seed, epoch, int(whole)))
        chosen = rng.permutation(len(drawn))[: max(1, round(rest * len(drawn)))]
        pairs += [drawn[place] for place in sorted(chosen)]
    return pairs


def _balanced_order(
    sources: Sequence[SampleSource], seed: int, epoch: int, total: int, temperature: float
) -> list[SampleRef]:
    """Return ``total`` samples, of each language as many as ``temperature`` gives it."""
    rng = np.random.default_rng([seed, epoch])
    drawn = [source.draw(_mixed(seed, epoch, 0)) for source in sources]
    sizes = {
        (index, language): count * source.source.spec.weight
        for index, source in enumerate(sources)
        for language, count in Counter(map(source.language_of, drawn[index])).items()
    }
    wanted = balanced_sizes(sizes, total, temperature)
    refs = [
        SampleRef(index, pair.target, pair.prompt)
        for (index, language), size in wanted.items()
        for pair in _repeated(sources[index], language, size, seed, epoch, rng)
    ]
    return [refs[place] for place in rng.permutation(len(refs))]


def _repeated(
    source: SampleSource, language: str, size: int, seed: int, epoch: int, rng: np.random.Generator
) -> list[Pair]:
    """Return ``size`` pairs of ``language``: each target as often as another, or once more."""
    pairs: list[Pair] = []
    copy = 0
    while len(pairs) < size:
        drawn = source.draw(_mixed(seed, epoch, copy))
        group = [pair for pair in drawn if source.language_of(pair) == language]
        chosen = rng.permutation(len(group))[: size - len(pairs)]
        pairs += [group[place] for place in sorted(chosen)]
        copy += 1
    return pairs


def _mixed(*parts: int) -> int:
    """Return one seed made of several numbers."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:8], "big")
