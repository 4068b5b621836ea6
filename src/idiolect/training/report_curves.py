"""The curves of a run: losses, what was heard, and how fast it went."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from statistics import fmean
from typing import Any

from idiolect.base.page import Figures, Line, lines_svg, thinned
from idiolect.training.history import History
from idiolect.training.metrics import Record

MOST_POINTS = 200
"""Of a line: a figure has fewer pixels a point than the eye tells apart beyond."""
LANGUAGE_STYLES = ("-", "-.", ":")
"""One a language, over again when there are more; dashed is the base."""
STEP = "step"

Points = Sequence[tuple[int, float]]


def curves(history: History) -> list[Figures]:
    """Return the figures of all that was measured."""
    figures = [*_loss_figures(history), *_heard_figures(history), *_course_figures(history)]
    return [Figures(figures=figures, wide=True)] if figures else []


def _loss_figures(history: History) -> Iterator[tuple[str, str]]:
    for name, caption, unit, scale in (
        ("loss", "loss", "nats a token", 1.0),
        ("mel_top1", "codes of which the likeliest is right (top-1)", "%", 100.0),
    ):
        learnt = _points(history.train, name)
        lines = [_line("learnt", learnt, scale=scale, is_main=False)] if learnt else []
        lines += _validation_lines(history, name, scale)
        if lines:
            yield caption, lines_svg(lines, STEP, unit)


def _validation_lines(history: History, name: str, scale: float) -> list[Line]:
    """Return a line a language; one for all of them where they were not told apart."""
    by_language = {
        language: points
        for language in history.languages
        if (points := history.curve(history.val, language, name))
    }
    if len(by_language) > 1:
        return list(_language_lines(history, by_language, scale))
    points = _points(history.val, name)
    return [_line("validation", points, scale=scale, has_points=True)] if points else []


def _heard_figures(history: History) -> Iterator[tuple[str, str]]:
    for name, caption, unit, scale, has_base in (
        ("cer", "letters heard wrong; dashed: the base", "%", 100.0, True),
        ("wer", "words heard wrong; dashed: the base", "%", 100.0, True),
        ("similarity", "voice, against that of the prompt", "cosine", 1.0, False),
        ("rate_ratio", "length, against that of recordings", "ratio", 1.0, False),
        ("leak_rate", "sentences with words of the prompt", "%", 100.0, False),
        ("missing_end_rate", "sentences without an end", "%", 100.0, False),
    ):
        found = {
            language: points
            for language in history.languages
            if (points := history.curve(history.probes, language, name))
        }
        if not found:
            continue
        lines = list(_language_lines(history, found, scale))
        if has_base:
            lines += _base_lines(history, found, scale)
        yield caption, lines_svg(lines, STEP, unit, from_zero=scale == 100.0)


def _language_lines(
    history: History, by_language: dict[str, list[tuple[int, float]]], scale: float
) -> Iterator[Line]:
    styles = {is_taught: cycle(LANGUAGE_STYLES) for is_taught in (True, False)}
    for language, points in by_language.items():
        is_taught = history.is_taught(language)
        yield _line(
            language,
            points,
            scale=scale,
            style=next(styles[is_taught]),
            is_main=is_taught,
            has_points=True,
        )


def _base_lines(
    history: History, by_language: dict[str, list[tuple[int, float]]], scale: float
) -> list[Line]:
    """Return a level line for each language: what the base scored before the first step."""
    return [
        Line(
            label="",
            x=[points[0][0], points[-1][0]],
            y=[scale * points[0][1]] * 2,
            style="--",
            is_main=history.is_taught(language),
        )
        for language, points in by_language.items()
        if points[0][0] == 0 and len(points) > 1
    ]


def _course_figures(history: History) -> Iterator[tuple[str, str]]:
    for name, caption, unit, keep in (
        ("lr", "learning rate", "", fmean),
        ("grad_norm", "norm of the gradient before clipping", "", max),
        ("tokens_per_sec", "tokens learnt from in a second", "", fmean),
    ):
        points = _points(history.train, name)
        if points:
            yield caption, lines_svg([_line("", points, keep=keep)], STEP, unit)
    waits = [
        (line["step"], line["wait_sec"] / line["step_sec"])
        for line in history.train
        if line.get("step_sec")
    ]
    if waits:
        line = _line("", waits, scale=100.0)
        yield "time spent waiting for data", lines_svg([line], STEP, "%", from_zero=True)


def _points(records: Sequence[Record], name: str) -> list[tuple[int, float]]:
    return [(record["step"], record[name]) for record in records if name in record]


def _line(
    label: str,
    points: Points,
    *,
    scale: float = 1.0,
    keep: Callable[[Any], float] = fmean,
    **looks: Any,
) -> Line:
    steps, values = zip(*points, strict=True)
    x, y = thinned(steps, [scale * value for value in values], most=MOST_POINTS, keep=keep)
    return Line(label=label, x=x, y=y, **looks)
