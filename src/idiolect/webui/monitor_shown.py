"""The parts of the monitor as HTML, in the reader's language; every number comes as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.base.units import format_bytes, format_duration
from idiolect.studio.run_compare import At, Comparison
from idiolect.studio.run_curves import Curve, curve_svg, curves_of
from idiolect.studio.run_samples import Spoken
from idiolect.studio.runs import Kept, Runs, RunView, checkpoints, report_path
from idiolect.training.metrics import TENSORBOARD_DIR
from idiolect.webui import run_files, tensorboard
from idiolect.webui.messages import Say
from idiolect.webui.monitor_words import words_of

if TYPE_CHECKING:
    from jinja2.environment import TemplateModule

TEMPLATE = Path(__file__).with_name("monitor.html.jinja")
UNKNOWN = "–"
"""What nobody measured."""


@cache
def _parts() -> TemplateModule:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).module


def _part(name: str, *given: object) -> str:
    return str(getattr(_parts(), name)(*given)).strip()


def style() -> str:
    """Return what all parts need once on the page."""
    return _part("style")


def tiles(view: RunView, say: Say) -> str:
    """Return what the run is doing now."""
    now = view.now
    of = say("monitor.of_steps", steps=now.last_step) if now.last_step is not None else ""
    items = [
        (say("monitor.state"), say(f"monitor.state_{now.state}"), _ago(now.silent_sec, say)),
        (say("monitor.step"), now.step, of),
        (say("monitor.epoch"), now.epoch, ""),
        (say("monitor.eta"), _or(now.eta_sec, format_duration), say("monitor.estimate")),
        (say("monitor.speed"), _or(now.steps_per_sec, "{:.2f}"), say("monitor.steps_per_sec")),
        (say("monitor.tokens"), _or(now.tokens_per_sec, "{:,.0f}"), say("monitor.unit_per_sec")),
        (say("monitor.speech"), _or(now.speech_ratio, "{:.1f} ×"), say("monitor.speech_note")),
        (say("monitor.memory"), _or(now.memory_bytes, format_bytes), ""),
        (say("monitor.waiting"), _or(now.waiting, "{:.0%}"), say("monitor.waiting_note")),
    ]
    damaged = say("monitor.damaged", count=view.num_damaged) if view.num_damaged else ""
    return _part("tiles", [item for item in items if item[1] != UNKNOWN]) + (
        _part("said", damaged) if damaged else ""
    )


def _ago(seconds: float, say: Say) -> str:
    return say("monitor.ago", time=format_duration(seconds))


def _or(value: float | None, form: str | Callable[[float], str]) -> str:
    """Return ``value`` in its form, or what stands for what nobody measured."""
    if value is None:
        return UNKNOWN
    return form.format(value) if isinstance(form, str) else form(value)


def notices(runs: Runs, view: RunView, say: Say) -> str:
    """Return what is to be known of the run."""
    found = runs.notices(view)
    if not found:
        return _part("said", say("monitor.no_notices"))
    return _part("notices", found, say("monitor.step"))


def figures(curves: Sequence[Curve], say: Say) -> str:
    """Return the drawings, each with its numbers below."""
    if not curves:
        return _part("said", say("monitor.no_figures"))
    words = words_of(say)
    items = []
    for curve in curves:
        unit = words.get(curve.unit, "")
        caption = words[curve.name] + (f" ({unit})" if unit else "")
        series = [(words.get(s.label, s.label), _numbers(s.points)) for s in curve.series]
        items.append((caption, _named(curve_svg(curve, words), caption), series))
    return _part("figures", items, say("monitor.values"), words["step"])


def _named(svg: str, caption: str) -> str:
    from markupsafe import escape

    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)


def _numbers(points: Sequence[tuple[int, float]]) -> list[tuple[int, str]]:
    return [(step, f"{value:.5g}") for step, value in points]


def run_figures(view: RunView, say: Say) -> str:
    """Return the curves of one run."""
    return figures(curves_of(view.history), say)


def kept(view: RunView, say: Say) -> str:
    """Return the checkpoints on disk with their scores."""
    found = checkpoints(view)
    if not found:
        return _part("said", say("monitor.no_checkpoints"))
    headers = [say(f"monitor.{n}") for n in ("file", "step", "loss", "letters", "size")]
    return _part("table", say("monitor.checkpoints"), headers, [_kept(each) for each in found])


def _kept(each: Kept) -> list[object]:
    step = UNKNOWN if each.step is None else each.step
    scores = [_or(each.loss, "{:.4f}"), _or(each.cer, "{:.1%}")]
    return [each.name, step, *scores, format_bytes(each.size_bytes)]


def sounds(run_id: str, spoken: Sequence[Spoken], say: Say) -> str:
    """Return players: a sentence a row, the steps side by side."""
    if not spoken:
        return _part("said", say("monitor.no_sounds"))
    rows: dict[str, tuple[str, str, list[tuple[str, ...]]]] = {}
    for one in spoken:
        row = rows.setdefault(one.name, (one.text or one.name, one.language, []))
        row[2].append(_card(run_id, one, say))
    return _part("sounds", list(rows.values()))


def _card(run_id: str, one: Spoken, say: Say) -> tuple[str, ...]:
    heard = say("monitor.heard", text=one.heard) if one.heard is not None else ""
    wrong = say("monitor.wrong", share=f"{one.cer:.0%}") if one.cer is not None else ""
    address = run_files.sample_address(run_id, one.step, one.name)
    return f"{say('monitor.step')} {one.step}", address, heard, wrong


def links(view: RunView, say: Say) -> str:
    """Return what can be opened of the run, and what can be taken away."""
    own, folder = view.id, view.found.folder
    items = []
    if report_path(folder) is not None:
        items.append((say("monitor.report"), run_files.report_address(own), False))
    if (folder / TENSORBOARD_DIR).is_dir():
        items.append((say("monitor.tensorboard"), tensorboard.address(own), False))
    for kind in ("png", "svg", "csv"):
        address = run_files.export_address(own, say.language, kind)
        items.append((say(f"monitor.export_{kind}"), address, True))
    return _part("links", say("monitor.links"), items)


def log(text: str, say: Say) -> str:
    """Return the end of the log."""
    if not text:
        return _part("said", say("monitor.no_log"))
    return _part("log", say("monitor.log"), text)


def compared(found: Comparison, say: Say) -> str:
    """Return how runs stand to each other, and what was set otherwise."""
    words = ("run", "steps", "best", "last", "equal", "forgotten")
    headers = [say(f"monitor.compare_{word}") for word in words]
    if found.equal_step is not None:
        headers[4] = say("monitor.compare_at", step=found.equal_step)
    rows = [
        [
            *(each.title, each.steps, *(_at(at, say) for at in (each.best, each.last, each.equal))),
            _or(each.forgotten, "{:+.1f}"),
        ]
        for each in found.standings
    ]
    shown = _part("table", say("monitor.compare"), headers, rows)
    return shown + _settings(found.settings, [each.title for each in found.standings], say)


def _at(at: At | None, say: Say) -> str:
    if at is None:
        return UNKNOWN
    parts = [f"{say('monitor.step')} {at.step}"]
    parts += [f"{say('monitor.loss')} {at.loss:.4f}"] if at.loss is not None else []
    parts += [say("monitor.wrong", share=f"{at.cer:.1%}")] if at.cer is not None else []
    return ", ".join(parts)


def _settings(settings: Mapping[str, Sequence[str]], titles: Sequence[str], say: Say) -> str:
    if not settings:
        return _part("said", say("monitor.same_settings"))
    rows = [(f"--{name.replace('_', '-')}", *values) for name, values in settings.items()]
    headers = [say("monitor.setting"), *titles]
    return _part("table", say("monitor.settings"), headers, rows)


def message(text: str) -> str:
    """Return ``text`` as a paragraph."""
    return _part("said", text)
