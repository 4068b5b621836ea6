"""A plan in words: a table, what the hours suggest, and what is in the way."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

import torch

from idiolect.base.units import format_bytes, format_duration
from idiolect.training.config import AUTO, TrainConfig
from idiolect.training.plan import DataSize, Plan, RunSize
from idiolect.training.presets import Choice, card_for, choices, hours_preset

Row = tuple[str, str]
FLAG_WIDTH = 26
WIDTH = 100
"""Characters of a line."""


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield ``plan`` as it is printed."""
    rows = [
        *_data_rows(plan.data),
        *_size_rows(plan.size, plan.config),
        *_memory_rows(plan),
        *_disk_rows(plan),
        *_time_rows(plan),
    ]
    width = max(len(label) for label, _ in rows)
    yield from (f"{label:<{width}}  {text}" for label, text in rows)
    yield from _advice(plan)
    for problem in plan.problems:
        yield from ("", f"this will not work: {problem}")
    if plan.works:
        yield from ("", "this will work, as far as can be told; leave --plan out to begin")


def _data_rows(data: DataSize) -> Iterator[Row]:
    speech = ", ".join(f"{code} {format_duration(sec)}" for code, sec in data.languages.items())
    yield "speech", f"{speech}: {data.num_clips} clips, speakers: {data.num_speakers}"
    yield "validation", f"{data.num_val_clips} clips"
    share = data.num_unknown / max(1, data.num_text_tokens)
    yield "texts", f"{data.num_text_tokens} tokens, {share:.2%} of them unknown"
    counted = "counted" if not data.num_unextracted else "50 a second, an estimate"
    yield "codes", f"{data.num_codes} ({counted})"
    for reason, count in data.left_out.items():
        yield "left out", f"{count} targets: {reason}"


def _size_rows(size: RunSize, config: TrainConfig) -> Iterator[Row]:
    step = size.tokens_per_epoch / size.steps_per_epoch
    kind = f"{config.clips_per_step} clips" if not config.tokens_per_step else "by tokens"
    yield "a step", f"{kind}, {step:.0f} tokens in the mean"
    yield (
        "a pass",
        f"{size.tokens_per_pass} tokens at most; the longest clip has {size.longest_clip}",
    )
    last, save, val = size.intervals
    yield "steps", f"{size.steps_per_epoch} an epoch, {last} in all"
    yield "checkpoints", f"every {save} steps; validation every {val}"


def _memory_rows(plan: Plan) -> Iterator[Row]:
    memory, size = plan.memory, plan.size
    yield (
        "memory",
        f"{format_bytes(plan.device_space.needed)} (estimate) of "
        f"{format_bytes(plan.device_space.free)} that are free on {plan.device.type}",
    )
    parts = (
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        ("optimizer", memory.optimizer),
        ("copies", memory.copies),
        ("a pass", plan.device_space.needed - memory.resident),
    )
    yield "", ", ".join(f"{name} {format_bytes(value)}" for name, value in parts if value)
    yield "", f"{format_bytes(memory.per_token)} for each of {size.largest_pass} tokens in a pass"
    if plan.pace is not None and plan.pace.peak_bytes is not None:
        yield "", f"measured: {format_bytes(plan.pace.peak_bytes)} at most in the steps below"


def _disk_rows(plan: Plan) -> Iterator[Row]:
    run, features = plan.run_space, plan.feature_space
    yield (
        "disk",
        f"{format_bytes(run.needed)} for checkpoints and state, of {format_bytes(run.free)}",
    )
    if plan.data.num_unextracted:
        yield (
            "features",
            f"of {plan.data.num_unextracted} clips are to be extracted first: "
            f"{format_bytes(features.needed)} (estimate), of {format_bytes(features.free)}",
        )


def _time_rows(plan: Plan) -> Iterator[Row]:
    if plan.pace is None:
        yield "time", "not measured"
        return
    pace, size = plan.pace, plan.size
    shortest, longest = pace.seconds(
        size.num_tokens, size.val_tokens * size.intervals.num_validations
    )
    yield "time", f"{format_duration(shortest)} to {format_duration(longest)} (estimate)"
    rates = f"{min(pace.step_rates):.0f} to {max(pace.step_rates):.0f}"
    yield "", f"{len(pace.step_rates)} steps measured: {rates} tokens a second"
    yield "", f"validations at {pace.val_rate:.0f} tokens a second, measured once"
    not_counted = ["saving"]
    not_counted += ["extracting features"] if plan.data.num_unextracted else []
    not_counted += ["speaking and listening"] if plan.config.probe_sentences else []
    not_counted += ["comparing with the base"] if plan.config.base_kl else []
    yield "", f"not in it, for it was not measured: {', '.join(not_counted)}"


def _advice(plan: Plan) -> Iterator[str]:
    """Yield what the preset of these hours, and of this card, would set otherwise, and why."""
    hours = hours_preset(plan.data.hours)
    on_gpu = plan.device.type == "cuda"
    card = card_for(torch.cuda.mem_get_info(plan.device)[1]) if on_gpu else None
    names = " ".join(f"--preset {name}" for name in (card, hours) if name)
    yield from ("", f"for {plan.data.hours:.1f} hours, {names} would set:")
    for choice in choices(card, hours):
        why = f"{choice.flag:<{FLAG_WIDTH}}  {_as_now(choice, plan.config)}{choice.why}"
        yield from wrap(why, WIDTH, initial_indent="  ", subsequent_indent=" " * (FLAG_WIDTH + 4))


def _as_now(choice: Choice, config: TrainConfig) -> str:
    now = getattr(config, choice.name)
    if now == choice.value:
        return "as here: "
    return f"here {'chosen at the start' if now == AUTO else now}: "
