"""What a run learns from: manifests read, texts encoded, features extracted, losses counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from idiolect.base.errors import DataError
from idiolect.base.files import write_jsonl
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.snapshot import BaseSnapshot
from idiolect.data.base_texts import check_judged, with_base_texts
from idiolect.data.extraction import FeatureConfig, extract_manifests
from idiolect.data.extractor import Extractor
from idiolect.data.features import FEATURES_DIR, FeatureStore
from idiolect.data.manifest import Utterance, parse_source
from idiolect.data.samples import (
    EncodedSource,
    SampleSource,
    Source,
    add_features,
    check_left_out,
    encode_source,
    hold_out,
    read_source,
    sibling_of,
)
from idiolect.models.config import GptDims
from idiolect.models.published import BaseFiles
from idiolect.text.tokenizer import Tokenizer
from idiolect.training.base_kl import base_languages
from idiolect.training.config import TrainConfig

MANY_UNKNOWN = 0.001
"""Share of unknown tokens above which a tokenizer is not one for the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What was read, and nothing computed yet."""

    files: BaseFiles
    snapshot: BaseSnapshot
    """Of the base, before the run."""
    tokenizer: Tokenizer
    train: list[Source]
    val: list[Source]

    @property
    def base_tokenizer(self) -> Tokenizer:
        """The tokenizer that the base was trained with."""
        return Tokenizer.load(self.files.tokenizer)

    @property
    def manifests(self) -> list[Path]:
        """Every file that was read: the pairs, and the manifests that they belong to."""
        sources = [*self.train, *self.val]
        return sorted({path for s in sources for path in (s.spec.path, s.manifest)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What batches are made of."""

    train: list[SampleSource]
    val: list[SampleSource]
    left_out: dict[str, int]
    """How many targets each reason left out."""


def read_inputs(config: TrainConfig, files: BaseFiles) -> Inputs:
    """Read the manifests and the tokenizer; hash the base.

    Raises:
        DataError: A manifest is missing or bad.
        GuardError: A manifest lies in a base, where its features would be written.
        TokenizerError: The tokenizer is missing, bad, or of another text front-end.
    """
    tokenizer = Tokenizer.load(config.tokenizer or files.tokenizer)
    tokenizer.check_front_end()
    train = [read_source(parse_source(text)) for text in config.train_manifest]
    if config.val_manifest:
        val = [read_source(parse_source(text)) for text in config.val_manifest]
    else:
        train, val = map(list, zip(*map(_with_validation, train), strict=True))
    for source in (*train, *val):
        check_output(source.manifest.parent / FEATURES_DIR)
    get_logger().info("hashing the base in %s", files.folder)
    return Inputs(
        files=files,
        snapshot=BaseSnapshot.take(files.folder),
        tokenizer=tokenizer,
        train=train,
        val=[replace(source, self_pairs=True) for source in val],
    )


def prepare_data(
    inputs: Inputs, dims: GptDims, config: TrainConfig, *, device: torch.device, report: Path
) -> TrainingData:
    """Encode the texts, extract the features that are not there yet, and join them.

    Texts come first: what they leave out is known before the long work.

    Args:
        inputs: What was read.
        dims: Of the model, whose positions and rows are limits.
        config: Of the run.
        device: Where features are extracted.
        report: Gets one line for each target that is left out, with the reason.

    Raises:
        DataError: More than a tenth would be left out, and that was not allowed.
    """
    encoded = [encode_source(source, inputs.tokenizer, dims) for source in _all_of(inputs)]
    check_left_out(encoded, allow_skips=config.allow_skips)
    _tell_unknown(encoded, inputs.tokenizer)
    if config.base_kl:
        encoded = _judged_by_base(encoded, inputs, dims, config)
    stores = _extract([e.source for e in encoded], inputs.files, config, device)
    samples = [add_features(e, stores[e.source.manifest], dims) for e in encoded]
    write_jsonl(report, (line for source in samples for line in _left_out_lines(source)))
    reasons = check_left_out(samples, allow_skips=config.allow_skips)
    for reason, count in reasons.most_common():
        get_logger().warning("left out %d targets: %s; listed in %s", count, reason, report)
    train, val = samples[: len(inputs.train)], samples[len(inputs.train) :]
    for source in samples:
        if not source.text_ids:
            raise DataError(
                "nothing of this manifest can be used",
                where=str(source.source.spec.path),
                fix=f"see why in {report}, or leave the manifest out",
            )
    return TrainingData(train=train, val=val, left_out=dict(reasons))


def _judged_by_base(
    sources: Sequence[EncodedSource], inputs: Inputs, dims: GptDims, config: TrainConfig
) -> list[EncodedSource]:
    """Return ``sources`` with the texts of the training ones that the base is to judge."""
    languages, count = base_languages(config, inputs.files), len(inputs.train)
    judged = [
        with_base_texts(source, inputs.base_tokenizer, languages, dims)
        for source in sources[:count]
    ]
    check_judged(judged, languages)
    return [*judged, *sources[count:]]


def _all_of(inputs: Inputs) -> list[Source]:
    return [*inputs.train, *inputs.val]


def _with_validation(source: Source) -> tuple[Source, Source]:
    """Return ``source`` and what to measure it on: the file beside it, or a part of itself."""
    beside = sibling_of(source.spec)
    if beside is not None:
        get_logger().info("validation on %s", beside.path)
        return source, read_source(beside)
    left, held_out = hold_out(source)
    get_logger().info(
        "validation on %d held-out clips of %s", len(held_out.targets), source.spec.path
    )
    return left, held_out


def _extract(
    sources: Sequence[Source], files: BaseFiles, config: TrainConfig, device: torch.device
) -> dict[Path, FeatureStore]:
    """Return the features of each manifest; the networks are loaded only if some are missing."""
    extractor = Extractor.from_base(files, device)
    settings = FeatureConfig(batch_size=config.feature_batch, allow_skips=config.allow_skips)
    wanted: dict[Path, dict[str, Utterance]] = {}
    for source in sources:  # two may be halves of one manifest
        ids = source.clip_ids
        clips = {i: u for i, u in source.utterances.items() if i in ids}
        wanted.setdefault(source.manifest, {}).update(clips)
    listed = {manifest: list(clips.values()) for manifest, clips in wanted.items()}
    stores = {}
    for manifest, report in zip(
        listed, extract_manifests(listed, extractor, settings), strict=True
    ):
        get_logger().info("%s", report.summary())
        stores[manifest] = FeatureStore.open(report.folder)
    return stores


def _tell_unknown(sources: Sequence[EncodedSource], tokenizer: Tokenizer) -> None:
    unknown = sum(source.unknown_tokens for source in sources)
    tokens = sum(source.num_tokens for source in sources)
    if unknown > MANY_UNKNOWN * tokens:
        get_logger().warning(
            "%s does not know %d of %d tokens (%.1f %%): train a tokenizer for this language",
            tokenizer.path,
            unknown,
            tokens,
            100 * unknown / tokens,
        )


def _left_out_lines(source: SampleSource) -> list[dict[str, str]]:
    path = str(source.source.spec.path)
    return [{"manifest": path, "id": i, "reason": why} for i, why in source.left_out.items()]
