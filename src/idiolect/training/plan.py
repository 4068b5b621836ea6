"""What a run would be: data, steps, memory, disk, time, and whether it can work; nothing is kept.

Everything is found out as the run itself does it: manifests read, texts encoded, features looked
up, the network loaded, the first steps taken. Clips whose features are not extracted yet count
with 50 codes for each second, and have random codes while the time is measured: speed does not
depend on their values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from idiolect.base.errors import DataError, TrainingError, UserError
from idiolect.base.files import free_bytes
from idiolect.base.units import format_bytes, format_duration
from idiolect.data.samples import (
    SampleSource,
    add_features,
    check_left_out,
    encode_source,
    epoch_order,
    fixed_order,
    sample_len,
)
from idiolect.models.config import NUM_LATENTS, GptDims
from idiolect.training.config import TrainConfig
from idiolect.training.engine import make_accelerator
from idiolect.training.feed import Feed
from idiolect.training.inputs import Inputs, read_inputs
from idiolect.training.intervals import Intervals, intervals_of
from idiolect.training.memory import (
    LEAST_TOKENS,
    TrainingMemory,
    fits,
    free_on,
    tokens_on,
    training_memory,
    what_would_fit,
)
from idiolect.training.pace import Pace, measure_pace
from idiolect.training.stand_in import Shelf, extracted
from idiolect.training.start import Begin, StartingGpt, begin, find_base, open_gpt
from idiolect.training.state import run_bytes

LEAST_SEC = 180.0
"""Of speech. With less, texts are learnt by heart and little else; the smallest training that was
listened to here has 13 minutes."""
HALF_BYTES = 2
"""Of a number among the features of a clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSize:
    """What is learnt from, each clip once, without what is left out."""

    languages: dict[str, float]
    """Seconds of speech of each."""
    num_clips: int
    num_speakers: int
    num_text_tokens: int
    num_unknown: int
    """Of the text tokens."""
    num_codes: int
    num_val_clips: int
    num_unextracted: int
    """Clips without features, prompts and those for validation included."""
    left_out: dict[str, int]
    """How many targets each reason leaves out."""

    @property
    def duration_sec(self) -> float:
        """Seconds of speech."""
        return sum(self.languages.values())

    @property
    def hours(self) -> float:
        """Hours of speech."""
        return self.duration_sec / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSize:
    """How long a run is, in tokens: rows that the network computes."""

    steps_per_epoch: int
    intervals: Intervals
    tokens_per_epoch: int
    tokens_per_pass: int
    largest_step: int
    """In tokens, at most."""
    longest_clip: int
    val_tokens: int
    """Of one validation."""

    @property
    def num_tokens(self) -> float:
        """Of all steps."""
        return self.tokens_per_epoch * self.intervals.last_step / self.steps_per_epoch

    @property
    def largest_pass(self) -> int:
        """The most tokens that a pass can have; a clip is never cut."""
        return max(self.longest_clip, min(self.tokens_per_pass, self.largest_step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is needed somewhere, and what there is, in bytes."""

    needed: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would be."""

    config: TrainConfig
    device: torch.device
    data: DataSize
    size: RunSize
    memory: TrainingMemory
    device_space: Space
    run_space: Space
    feature_space: Space
    pace: Pace | None
    """None when it was not measured, because something is in the way."""
    problems: list[UserError]

    @property
    def works(self) -> bool:
        """Whether nothing is in the way."""
        return not self.problems


def make_plan(config: TrainConfig) -> Plan:
    """Return what a run with ``config`` would be.

    Raises:
        UserError: What was given cannot be read or used at all; see its kinds.
    """
    start = begin(config)
    accelerator = make_accelerator(start.config)
    inputs = read_inputs(start.config, find_base(start.config))
    starting = open_gpt(start.config, inputs, start.resumed)
    plan, feed = _on_paper(start, inputs, starting, accelerator.device)
    if not plan.works:
        return plan
    try:
        pace = measure_pace(feed, starting.gpt, accelerator, start.config)
    except TrainingError as error:
        return replace(plan, problems=[error])
    return replace(plan, pace=pace)


def _on_paper(
    start: Begin, inputs: Inputs, starting: StartingGpt, device: torch.device
) -> tuple[Plan, Feed]:
    """Return all of the plan but the time, and where its batches come from."""
    config, dims = start.config, starting.gpt.dims
    sources, left_out = _sources(inputs, dims, config)
    train, val = sources[: len(inputs.train)], sources[len(inputs.train) :]
    tokens_per_pass, problems = _tokens_per_pass(device, dims, config)
    feed = Feed.of(config, train, val, dims, tokens_per_pass=tokens_per_pass)
    data, size = data_size(train, val, left_out), run_size(feed, config)
    memory = training_memory(dims, config, on_gpu=device.type == "cuda")
    plan = Plan(
        config=config,
        device=device,
        data=data,
        size=size,
        memory=memory,
        device_space=Space(needed=memory.total(size.largest_pass), free=free_on(device)),
        run_space=Space(
            needed=run_bytes(starting.gpt, inputs.files.gpt, config), free=free_bytes(start.folder)
        ),
        feature_space=Space(
            needed=data.num_unextracted * feature_bytes(data, dims),
            free=free_bytes(inputs.train[0].manifest.parent),
        ),
        pace=None,
        problems=problems,
    )
    return replace(plan, problems=[*problems, *_problems(plan, dims)]), feed


def data_size(
    train: Sequence[SampleSource], val: Sequence[SampleSource], left_out: dict[str, int]
) -> DataSize:
    """Return how much is learnt from ``train`` and measured on ``val``."""
    languages: defaultdict[str, float] = defaultdict(float)
    learnt = [(s, s.source.utterances[target]) for s in train for target in s.text_ids]
    for _, clip in learnt:
        languages[clip.language] += clip.duration_sec
    missing = {
        (s.source.manifest, clip)
        for s in (*train, *val)
        if isinstance(s.store, Shelf)
        for clip in s.store.missing
    }
    return DataSize(
        languages=dict(languages),
        num_clips=len(learnt),
        num_speakers=len({clip.speaker for _, clip in learnt}),
        num_text_tokens=sum(source.num_tokens for source in train),
        num_unknown=sum(source.unknown_tokens for source in train),
        num_codes=sum(source.store.num_codes(clip.id) for source, clip in learnt),
        num_val_clips=sum(len(source.text_ids) for source in val),
        num_unextracted=len(missing),
        left_out=left_out,
    )


def run_size(feed: Feed, config: TrainConfig) -> RunSize:
    """Return how long a run is that ``feed`` is for."""
    order = epoch_order(
        feed.train,
        seed=config.seed,
        epoch=0,
        language_temperature=config.language_temperature,
    )
    lens = [sample_len(feed.train, ref) for ref in order]
    val_lens = [sample_len(feed.val, ref) for ref in fixed_order(feed.val)]
    longest = max(*lens, *val_lens)
    in_clips = config.clips_per_step * longest
    return RunSize(
        steps_per_epoch=feed.steps_per_epoch,
        intervals=intervals_of(config, feed.steps_per_epoch),
        tokens_per_epoch=sum(lens),
        tokens_per_pass=feed.tokens_per_pass,
        largest_step=feed.tokens_per_step + longest if feed.tokens_per_step else in_clips,
        longest_clip=longest,
        val_tokens=sum(val_lens),
    )


def feature_bytes(data: DataSize, dims: GptDims) -> int:
    """Return what the features of a clip take on disk, at the mean length of ``data``."""
    prompt = (NUM_LATENTS + 1) * dims.dim
    return HALF_BYTES * (prompt + round(data.num_codes / max(1, data.num_clips)))


def _sources(
    inputs: Inputs, dims: GptDims, config: TrainConfig
) -> tuple[list[SampleSource], dict[str, int]]:
    """Return what is learnt and what is measured on, in this order, and what is left out."""
    both = [*inputs.train, *inputs.val]
    encoded = [encode_source(source, inputs.tokenizer, dims) for source in both]
    check_left_out(encoded, allow_skips=config.allow_skips)
    stores = extracted({source.manifest for source in both}, inputs.files)
    shelved = []
    for source, texts in zip(both, encoded, strict=True):
        clips = {clip: source.utterances[clip] for clip in source.clip_ids}
        shelf = Shelf(clips, stores.get(source.manifest), dims)
        shelved.append(add_features(texts, shelf, dims))
    return shelved, dict(check_left_out(shelved, allow_skips=config.allow_skips))


def _tokens_per_pass(
    device: torch.device, dims: GptDims, config: TrainConfig
) -> tuple[int, list[UserError]]:
    """Return the tokens of a pass; where there is room for none, the fewest, and what is wrong."""
    try:
        return tokens_on(device, dims, config), []
    except TrainingError as error:
        return LEAST_TOKENS, [error]


def _problems(plan: Plan, dims: GptDims) -> Iterator[UserError]:
    if plan.data.duration_sec < LEAST_SEC:
        yield DataError(
            f"{format_duration(plan.data.duration_sec)} of speech are too little to learn from",
            where="--train-manifest",
            fix=f"record more: {format_duration(LEAST_SEC)} at the very least, and hours to be "
            "pleased with it",
        )
    if not plan.problems and not _fits(plan, dims):
        yield _too_large(plan, dims)
    yield from _no_disk(
        plan.run_space,
        "checkpoints and state",
        where="--output-dir",
        fix="free some space, give a smaller --keep, or an --output-dir on another disk",
    )
    yield from _no_disk(
        plan.feature_space,
        "features (an estimate)",
        where="beside the manifest",
        fix="free some space, or move the manifest to another disk",
    )


def _fits(plan: Plan, dims: GptDims) -> bool:
    on_gpu = plan.device.type == "cuda"
    tokens = plan.size.largest_pass
    return fits(plan.device_space.free, dims, plan.config, tokens, on_gpu=on_gpu)


def _too_large(plan: Plan, dims: GptDims) -> TrainingError:
    options = what_would_fit(
        plan.device_space.free, dims, plan.config, on_gpu=plan.device.type == "cuda"
    )
    return TrainingError(
        f"passes of {plan.size.largest_pass} tokens take {format_bytes(plan.device_space.needed)} "
        f"(an estimate), and {format_bytes(plan.device_space.free)} are free",
        where=f"memory of {plan.device.type}",
        fix="any of these would fit, by an estimate:\n" + "\n".join(f"    {o}" for o in options)
        if options
        else "use a device with more memory; no setting makes it small enough",
    )


def _no_disk(space: Space, what: str, *, where: str, fix: str) -> Iterator[UserError]:
    if space.needed > space.free:
        yield TrainingError(
            f"{what} take {format_bytes(space.needed)}, and {format_bytes(space.free)} are free",
            where=where,
            fix=fix,
        )
