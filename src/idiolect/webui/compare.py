"""The Compare tab: two models, the same sentences; figures, sounds side by side, blind votes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.units import format_duration
from idiolect.data.lines import read_lines
from idiolect.evaluation.comparison import (
    SIDES,
    Comparison,
    ComparisonOrder,
    read_comparison,
)
from idiolect.evaluation.comparison_report import write_report
from idiolect.listening.named import FASTER_WHISPER, NOBODY, OWN
from idiolect.webui.choices import UNSAID, language_choices
from idiolect.webui.compare_shown import figures_html, notes_text, sentence_html
from idiolect.webui.compare_votes import build_votes
from idiolect.webui.desk import Desk
from idiolect.webui.head import NARROW_PX, Head, chosen_entry
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page, user_of
from idiolect.webui.voice_part import VoicePart, build_voice_choice, prompt_of

WHISPERS = ("tiny", "base", "small", "medium", "large-v3")
"""Models that faster-whisper knows by name: a visitor names no folder."""
MAX_SENTENCES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Controls:
    """Everything that an order is read from."""

    model_a: gr.Dropdown
    model_b: gr.Dropdown
    voice: VoicePart
    texts: gr.Textbox
    language: gr.Dropdown
    seed: gr.Number
    asr: gr.Dropdown

    @property
    def all(self) -> list[Any]:
        return [
            *(self.model_a, self.model_b, self.voice.clip, self.texts),
            *(self.language, self.seed, self.asr),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What a comparison is shown in."""

    name: gr.State
    """Of the comparison, below the folder of comparisons; None for none."""
    status: gr.Markdown
    figures: gr.HTML
    sentence: gr.Dropdown
    pictures: gr.HTML
    sound_a: gr.Audio
    sound_b: gr.Audio

    @property
    def sounds(self) -> list[Any]:
        return [self.pictures, self.sound_a, self.sound_b]

    @property
    def all(self) -> list[Any]:
        return [self.name, self.status, self.figures, self.sentence, *self.sounds]


def build(desk: Desk, say: Say, head: Head) -> None:
    """Add the tab."""
    with gr.Tab(say("compare.tab"), id="compare"):
        gr.Markdown(say("compare.intro"))
        controls = _build_controls(desk, say)
        with gr.Row():
            run = gr.Button(say("compare.run"), variant="primary", scale=3)
            cancel = gr.Button(say("compare.cancel"), scale=1)
        shown = _build_shown(say)
        with gr.Row():
            past = gr.Dropdown(_past(desk), value=None, label=say("compare.past"), scale=3)
            report = gr.Button(say("compare.report"), scale=1)
        file = gr.File(label=say("compare.file"), interactive=False, visible=False)
        build_votes(desk, say, shown.name)
    work = _Work(desk, say, controls, head.device)
    run.click(
        shown_on_page(work.run),
        {*controls.all, head.device},
        shown.all,
        show_progress_on=shown.status,
    )
    cancel.click(shown_on_page(work.cancel), None, shown.status, show_progress="hidden")
    past.focus(lambda: gr.update(choices=_past(desk)), None, past, show_progress="hidden")
    past.input(shown_on_page(work.show), past, shown.all)
    shown.sentence.input(shown_on_page(work.hear), [shown.name, shown.sentence], shown.sounds)
    report.click(shown_on_page(work.report), shown.name, file)


def _build_controls(desk: Desk, say: Say) -> _Controls:
    labels = _labels(desk)
    with gr.Row():
        model_a, model_b = (
            gr.Dropdown(
                labels,
                value=value,
                label=say(f"compare.model_{side}"),
                min_width=NARROW_PX,
            )
            for side, value in (("a", labels[0]), ("b", labels[-1]))
        )
    for model in (model_a, model_b):
        model.focus(lambda: gr.update(choices=_labels(desk)), None, model, show_progress="hidden")
    voice = build_voice_choice(desk, say, elem_id="compare-prompt")
    texts = gr.Textbox(
        label=say("compare.texts"), info=say("compare.texts_info"), lines=4, max_lines=20
    )
    lines = gr.File(label=say("compare.lines"), file_types=[".txt"])
    lines.upload(shown_on_page(_lines_of), lines, texts)
    with gr.Row():
        language = gr.Dropdown(
            language_choices(say("compare.as_the_model")),
            value=UNSAID,
            label=say("compare.language"),
            min_width=NARROW_PX,
        )
        seed = gr.Number(value=1, precision=0, minimum=0, label=say("compare.seed"))
        asr = gr.Dropdown(
            _listeners(say), value=NOBODY, label=say("compare.asr"), info=say("compare.asr_info")
        )
    return _Controls(
        model_a=model_a,
        model_b=model_b,
        voice=voice,
        texts=texts,
        language=language,
        seed=seed,
        asr=asr,
    )


def _build_shown(say: Say) -> _Shown:
    status = gr.Markdown(say("compare.nothing"))
    figures = gr.HTML()
    sentence = gr.Dropdown([], label=say("compare.sentence"), interactive=True)
    pictures = gr.HTML()
    with gr.Row():
        sound_a, sound_b = (
            gr.Audio(
                label=label, type="filepath", interactive=False, buttons=["download"], min_width=240
            )
            for label in ("A", "B")
        )
    return _Shown(
        name=gr.State(None),
        status=status,
        figures=figures,
        sentence=sentence,
        pictures=pictures,
        sound_a=sound_a,
        sound_b=sound_b,
    )


def _labels(desk: Desk) -> list[str]:
    return list(desk.catalogue.by_label())


def _past(desk: Desk) -> list[str]:
    return desk.comparisons.names()


def _listeners(say: Say) -> list[tuple[str, str]]:
    known = [(say("compare.nobody"), NOBODY), (say("compare.own_listener"), OWN)]
    if find_spec("faster_whisper") is None:
        return known
    return [*known, *((name, name) for name in (f"{FASTER_WHISPER}:{m}" for m in WHISPERS))]


def _lines_of(path: str) -> str:
    lines = list(read_lines(Path(path)))
    if damages := [f"{number}: {damage}" for number, _, damage in lines if damage]:
        raise UserError(f"the text is {damages[0]}", fix="save it as UTF-8")
    return "\n".join(line for _, line, _ in lines)


class _Work:
    """What the buttons do."""

    def __init__(self, desk: Desk, say: Say, controls: _Controls, device: gr.Dropdown) -> None:
        self._desk = desk
        self._say = say
        self._controls = controls
        self._device = device
        self._ends: dict[str, Event] = {}
        """By visitor: set when their comparison is wanted no more."""

    def run(self, given: dict[Any, Any], request: gr.Request) -> Iterator[list[Any]]:
        """Compare, and show what is there after each sound."""
        order, user, end = self._order(given), user_of(request), Event()
        self._ends[user] = end
        yield [None, self._say("compare.waiting"), "", gr.update(), "", None, None]
        started, begun_at, folder, comparison = time.monotonic(), -1, None, None
        try:
            for folder, comparison in self._desk.comparisons.run(order, cancelled=end.is_set):
                done = len(comparison.readings)
                begun_at = done if begun_at < 0 else begun_at
                yield self._going(folder, comparison, done - begun_at, time.monotonic() - started)
        finally:
            self._ends.pop(user, None)
        if folder is not None and comparison is not None:
            yield self._all(folder, comparison)

    def cancel(self, request: gr.Request) -> str:
        """End the comparison of who asks."""
        end = self._ends.get(user_of(request))
        if end is None:
            return self._say("compare.nothing_to_cancel")
        end.set()
        return self._say("compare.cancelling")

    def show(self, name: str) -> list[Any]:
        """Show a comparison that was made."""
        folder = self._desk.comparisons.place(name)
        return self._all(folder, read_comparison(folder))

    def hear(self, name: str | None, sentence: int | None) -> list[Any]:
        """Show one sentence."""
        folder, comparison = self._chosen(name)
        return self._sounds(folder, comparison, sentence or 1)

    def report(self, name: str | None) -> Any:
        """Write the report, with the votes so far, and offer it."""
        folder, comparison = self._chosen(name)
        return gr.update(value=str(write_report(folder, comparison)), visible=True)

    def _chosen(self, name: str | None) -> tuple[Path, Comparison]:
        if not name:
            raise UserError("no comparison is shown", fix="run one, or choose one that was made")
        folder = self._desk.comparisons.place(name)
        return folder, read_comparison(folder)

    def _order(self, given: dict[Any, Any]) -> ComparisonOrder:
        controls = self._controls
        texts = tuple(t for line in given[controls.texts].splitlines() if (t := line.strip()))
        if len(texts) > MAX_SENTENCES:
            raise UserError(
                f"{len(texts)} sentences are too many for the page",
                fix=f"give up to {MAX_SENTENCES}, or use: idiolect compare",
            )
        if given[controls.asr] not in {value for _, value in _listeners(self._say)}:
            raise UserError("this recogniser is not offered", fix="choose one of the list")
        seed = given[controls.seed]
        return ComparisonOrder(
            model_a=chosen_entry(self._desk, given[controls.model_a]).name,
            model_b=chosen_entry(self._desk, given[controls.model_b]).name,
            prompt=prompt_of(given[controls.voice.clip]),
            texts=texts,
            language=given[controls.language] or None,
            seed=1 if seed is None else int(seed),
            asr=given[controls.asr],
            device=given[self._device],
        )

    def _going(
        self, folder: Path, comparison: Comparison, num_new: int, elapsed_sec: float
    ) -> list[Any]:
        """Return what is shown while it is going on: figures, and the sounds at the end."""
        done, total = len(comparison.readings), comparison.num_readings
        values = {"done": done, "total": total, "elapsed": format_duration(elapsed_sec)}
        if num_new:
            left = format_duration(elapsed_sec / num_new * (total - done))
            status = self._say("compare.progress", left=left, **values)
        else:
            status = self._say("compare.loading", **values)
        figures = figures_html(comparison, self._say)
        return [folder.name, status, figures, *[gr.update()] * 4]

    def _all(self, folder: Path, comparison: Comparison) -> list[Any]:
        numbered = enumerate(comparison.order.texts, start=1)
        choices = [(f"{number}. {text}", number) for number, text in numbered]
        return [
            folder.name,
            notes_text(comparison, self._say),
            figures_html(comparison, self._say),
            gr.update(choices=choices, value=1),
            *self._sounds(folder, comparison, 1),
        ]

    def _sounds(self, folder: Path, comparison: Comparison, sentence: int) -> list[Any]:
        readings = [comparison.reading(sentence, side) for side in SIDES]
        players = [
            gr.update(
                value=str(folder / reading.sound) if reading and reading.sound else None,
                label=f"{side.upper()}: {comparison.model(side).name}",
            )
            for side, reading in zip(SIDES, readings, strict=True)
        ]
        return [sentence_html(folder, comparison, sentence, self._say), *players]
