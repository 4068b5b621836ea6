"""Runs side by side: their best, their last, at equal steps, and what was set otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idiolect.base.config import to_mapping
from idiolect.studio.runs import RunView
from idiolect.training.config import TrainConfig
from idiolect.training.history import History

PLACES = frozenset({"output_dir", "output_name", "resume"})
"""Settings that differ between any two runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """What was measured behind one step."""

    step: int
    loss: float | None
    """Of the languages that are being taught, in nats a token."""
    cer: float | None
    """Share of the letters of the languages that are being taught that were heard wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One run among others; None is what it did not measure."""

    id: str
    title: str
    steps: int
    best: At | None
    """By what the run is judged by: letters, else the loss."""
    last: At | None
    equal: At | None
    """At the highest step at which all runs were measured."""
    forgotten: float | None
    """Mean of the points by which the base's languages lost letters, from before to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two or more runs."""

    standings: Sequence[Standing]
    equal_step: int | None
    """None when there is no step at which all were measured."""
    settings: Mapping[str, Sequence[str]]
    """What was set otherwise, by its name, in the order of the runs."""


def compare_runs(views: Sequence[RunView]) -> Comparison:
    """Return how ``views`` stand to each other."""
    measured = [{line["step"] for line in view.history.val if line["step"] > 0} for view in views]
    common = set.intersection(*measured) if measured else set()
    equal_step = max(common, default=None)
    return Comparison(
        standings=[_standing(view, equal_step) for view in views],
        equal_step=equal_step,
        settings=_different([view.config for view in views]),
    )


def _standing(view: RunView, equal_step: int | None) -> Standing:
    history = view.history
    steps = [line["step"] for line in history.val]
    course = history.course()
    best_step = min(course, key=lambda point: point[1])[0] if course else None
    return Standing(
        id=view.id,
        title=view.found.title,
        steps=view.now.step,
        best=_at(history, best_step),
        last=_at(history, max(steps, default=None)),
        equal=_at(history, equal_step),
        forgotten=_forgotten(history),
    )


def _at(history: History, step: int | None) -> At | None:
    if step is None:
        return None
    line = next((line for line in history.val if line["step"] == step), None)
    probe = next((probe for probe in history.probes if probe["step"] == step), None)
    return At(
        step=step,
        loss=history.loss_of_taught(line) if line is not None else None,
        cer=history.cer_of_taught(probe) if probe is not None else None,
    )


def _forgotten(history: History) -> float | None:
    curves = [
        history.curve(history.probes, language, "cer")
        for language in history.languages
        if not history.is_taught(language)
    ]
    lost = [100 * (c[-1][1] - c[0][1]) for c in curves if len(c) > 1 and c[0][0] == 0]
    return sum(lost) / len(lost) if lost else None


def _different(configs: Sequence[TrainConfig | None]) -> dict[str, list[str]]:
    """Return the settings that are not the same in all runs that have any."""
    own: list[dict[str, Any]] = [to_mapping(config) if config else {} for config in configs]
    names = [field.name for field in dataclasses.fields(TrainConfig) if field.name not in PLACES]
    shown = {name: [_shown(each[name]) if each else "?" for each in own] for name in names}
    return {name: values for name, values in shown.items() if len({*values} - {"?"}) > 1}


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)
