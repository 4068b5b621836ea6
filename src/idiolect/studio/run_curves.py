"""The curves of a run, or of several over each other: as points, as drawings, as files.

A curve is named, never captioned: the page says what it is in the reader's language.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO, StringIO
from itertools import cycle
from statistics import fmean
from threading import Lock
from typing import TYPE_CHECKING, Any

from idiolect.base.page import Line, lines_svg, thinned
from idiolect.training.history import History
from idiolect.training.metrics import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEARNT, VALIDATION = "learnt", "validation"
"""Labels that are words of the page; all others are languages or runs."""
STYLES = ("-", "--", ":", "-.")
"""Told apart without colours; over again when there are more."""
MOST_POINTS = 200
"""Of a line: a drawing has fewer pixels a point than the eye tells apart beyond."""
DRAWINGS_KEPT = 128
PANEL_INCHES = (4.8, 3.0)
PNG_DPI = 110
MOST_COLUMNS = 3
GIB = 1024**3

_drawing = Lock()
"""Styles of matplotlib are those of the process: one drawing at a time."""

Points = Sequence[tuple[int, float]]
Words = Mapping[str, str]
"""What the page calls curves, units and labels, by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line."""

    label: str
    points: tuple[tuple[int, float], ...]
    """Step and value, in order of the steps."""
    style: str = "-"
    is_main: bool = True
    has_points: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Lines that share their axes."""

    name: str
    """``loss``, ``cer``, ``lr`` ...: see :data:`MEASURED` and what follows it."""
    unit: str
    """Name of the unit: ``nats``, ``percent``, ``points``, ``gib``; empty for a plain number."""
    series: tuple[Series, ...]
    from_zero: bool = False


MEASURED = (
    ("loss", "nats", 1.0),
    ("text_loss", "nats", 1.0),
    ("mel_loss", "nats", 1.0),
    ("mel_top1", "percent", 100.0),
)
"""Name, unit and scale of what is measured of the clips to learn from and of the others."""
HEARD = (
    ("cer", "percent", 100.0),
    ("wer", "percent", 100.0),
    ("similarity", "cosine", 1.0),
)
"""The same of what is measured where the model speaks."""
COURSE: tuple[tuple[str, str, float, Callable[[Any], float]], ...] = (
    ("lr", "", 1.0, fmean),
    ("grad_norm", "", 1.0, max),
    ("tokens_per_sec", "per_sec", 1.0, fmean),
    ("memory_bytes", "gib", 1 / GIB, max),
)
"""The same of the steps, and what stands for neighbours that become one point."""


def curves_of(history: History) -> list[Curve]:
    """Return all that was measured of a run."""
    found = [*_measured(history), *_heard(history), *_forgotten(history), *_course(history)]
    return [curve for curve in found if curve.series]


def curves_over(histories: Mapping[str, History]) -> list[Curve]:
    """Return loss and letters heard wrong of several runs over each other, by their names."""
    losses = {name: _values(each.val, "loss") for name, each in histories.items()}
    heard = {
        name: [
            (p["step"], 100 * r) for p in each.probes if (r := each.cer_of_taught(p)) is not None
        ]
        for name, each in histories.items()
    }
    found = [
        Curve(name="loss", unit="nats", series=_over(losses)),
        Curve(name="cer", unit="percent", series=_over(heard), from_zero=True),
    ]
    return [curve for curve in found if curve.series]


def _over(points: Mapping[str, Points]) -> tuple[Series, ...]:
    styles = cycle(STYLES)
    made = [
        _series(name, own, style=next(styles), is_main=number == 0, has_points=True)
        for number, (name, own) in enumerate(points.items())
    ]
    return tuple(series for series in made if series.points)


def _measured(history: History) -> Iterator[Curve]:
    for name, unit, scale in MEASURED:
        learnt = _series(LEARNT, _values(history.train, name, scale), is_main=False)
        lines = (learnt, *_by_language(history, history.val, name, scale, VALIDATION))
        yield Curve(name=name, unit=unit, series=tuple(line for line in lines if line.points))


def _heard(history: History) -> Iterator[Curve]:
    for name, unit, scale in HEARD:
        lines = tuple(_by_language(history, history.probes, name, scale, ""))
        yield Curve(name=name, unit=unit, series=lines, from_zero=unit == "percent")


def _forgotten(history: History) -> Iterator[Curve]:
    """Yield by how many points more letters of the base's languages are heard wrong than before."""
    lines: list[Series] = []
    for language in history.languages:
        rates = history.curve(history.probes, language, "cer")
        if history.is_taught(language) or not rates or rates[0][0] != 0:
            continue
        lost = [(step, 100 * (rate - rates[0][1])) for step, rate in rates]
        style = STYLES[len(lines) % len(STYLES)]
        lines.append(_series(language, lost, style=style, has_points=True))
    yield Curve(name="forgotten", unit="points", series=tuple(lines))


def _course(history: History) -> Iterator[Curve]:
    for name, unit, scale, keep in COURSE:
        line = _series("", _values(history.train, name, scale), keep=keep)
        yield Curve(name=name, unit=unit, series=(line,) if line.points else ())
    shares = [
        (line["step"], 100 * line["wait_sec"] / line["step_sec"])
        for line in history.train
        if line.get("step_sec") and "wait_sec" in line
    ]
    waiting = (_series("", shares),) if shares else ()
    yield Curve(name="waiting", unit="percent", series=waiting, from_zero=True)


def _by_language(
    history: History, records: Sequence[Record], name: str, scale: float, whole: str
) -> Iterator[Series]:
    """Yield a line a language; the one called ``whole`` where they were not told apart."""
    found = {
        language: [(step, scale * value) for step, value in points]
        for language in history.languages
        if (points := history.curve(records, language, name))
    }
    if whole and len(found) <= 1:
        yield _series(whole, _values(records, name, scale), has_points=True)
        return
    styles = cycle(STYLES)
    for language, points in found.items():
        is_main = history.is_taught(language)
        yield _series(language, points, style=next(styles), is_main=is_main, has_points=True)


def _values(records: Sequence[Record], name: str, scale: float = 1.0) -> list[tuple[int, float]]:
    return [(line["step"], scale * line[name]) for line in records if name in line]


def _series(
    label: str, points: Points, *, keep: Callable[[Any], float] = fmean, **looks: Any
) -> Series:
    steps, values = [step for step, _ in points], [value for _, value in points]
    x, y = thinned(steps, values, most=MOST_POINTS, keep=keep)
    return Series(label=label, points=tuple(zip(map(int, x), y, strict=True)), **looks)


def curve_svg(curve: Curve, words: Words) -> str:
    """Return ``curve`` as SVG in the colours of the text and of the accent of its page.

    Args:
        curve: What to draw.
        words: Those of the axes and of the labels; a label that is not in it stays.
    """
    said = {series.label: words.get(series.label, series.label) for series in curve.series}
    return _drawn(curve, words.get("step", "step"), words.get(curve.unit, ""), tuple(said.items()))


@lru_cache(maxsize=DRAWINGS_KEPT)
def _drawn(curve: Curve, x_label: str, unit: str, said: tuple[tuple[str, str], ...]) -> str:
    lines = [_line(series, dict(said)) for series in curve.series]
    with _drawing:
        return lines_svg(lines, x_label, unit, from_zero=curve.from_zero)


def _line(series: Series, said: Mapping[str, str]) -> Line:
    return Line(
        label=said[series.label],
        x=[step for step, _ in series.points],
        y=[value for _, value in series.points],
        style=series.style,
        is_main=series.is_main,
        has_points=series.has_points,
    )


def curves_file(curves: Sequence[Curve], words: Words, title: str, kind: str) -> bytes:
    """Return ``curves`` side by side as a picture in the colours of paper.

    Args:
        curves: What to draw.
        words: What curves, units and labels are called.
        title: Above all of them.
        kind: ``png`` or ``svg``.
    """
    from matplotlib.figure import Figure

    columns = min(MOST_COLUMNS, max(1, len(curves)))
    rows = -(-max(1, len(curves)) // columns)
    width, height = PANEL_INCHES
    out = BytesIO()
    with _drawing:
        figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
        figure.suptitle(title)
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel, curve in zip(panels, curves, strict=False):
            _draw(panel, curve, words)
        for panel in panels[len(curves) :]:
            panel.set_axis_off()
        figure.savefig(out, format=kind, dpi=PNG_DPI, metadata=_no_date(kind))
    return out.getvalue()


def _no_date(kind: str) -> dict[str, None]:
    return {"Date": None} if kind == "svg" else {}


def _draw(panel: Axes, curve: Curve, words: Words) -> None:
    for series in curve.series:
        steps, values = zip(*series.points, strict=True)
        label = words.get(series.label, series.label)
        marker = "o" if series.has_points else None
        panel.plot(steps, values, series.style, marker=marker, markersize=3, label=label or None)
    panel.set_title(words.get(curve.name, curve.name), fontsize="medium")
    panel.set_xlabel(words.get("step", "step"))
    panel.set_ylabel(words.get(curve.unit, ""))
    if any(series.label for series in curve.series):
        panel.legend(fontsize="small")


def metrics_csv(records: Sequence[Record]) -> str:
    """Return ``records`` one a row, with a column for each number that any of them has.

    A score of a language is called ``ca/cer``.
    """
    rows = [dict(_flat(record)) for record in records]
    out = StringIO(newline="")
    table = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)))
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, prefix if name == "languages" else f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
