"""Above the tabs: which model speaks, on what; what is loaded; the page's languages."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.registry.entry import ModelEntry, format_memory
from idiolect.webui.choices import offered
from idiolect.webui.desk import Desk
from idiolect.webui.messages import PAGE_LANGUAGES, Say
from idiolect.webui.shown import shown_on_page

NARROW_PX = 320
"""Of a field whose text needs the width of a telephone."""
LOOK_EVERY_SEC = 3.0
"""How often the folder of the models is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What every tab may ask."""

    model: gr.Dropdown
    """Its value is the label of a model."""
    device: gr.Dropdown
    """Its value is a device: ``cpu``, ``cuda:0``."""


def build(desk: Desk, page: gr.Blocks, say: Say) -> Head:
    """Add the head to ``page``, which is being built."""
    labels = list(desk.catalogue.by_label())
    devices = desk.devices()
    gr.HTML(_languages(say))
    with gr.Row():
        model = gr.Dropdown(
            labels, value=labels[0], label=say("head.model"), scale=3, min_width=NARROW_PX
        )
        device = gr.Dropdown(devices, value=devices[0][1], label=say("head.device"), scale=2)
    info = gr.Markdown(_info(desk, model.value))
    with gr.Row():
        load = gr.Button(say("head.load"), variant="primary", scale=3)
        unload = gr.Button(say("head.unload"), scale=2)
    problems = gr.Markdown(_problems(desk))
    status = gr.Markdown(_status(desk, say))
    timer = gr.Timer(LOOK_EVERY_SEC)

    def look(label: str | None) -> tuple[Any, str, str, str]:
        chosen = _still_there(desk, label)
        listed = offered(list(desk.catalogue.by_label()), had=label, wanted=chosen)
        return listed, _info(desk, chosen), _problems(desk), _status(desk, say)

    shown = [model, info, problems, status]
    for event in (page.load, timer.tick):
        event(look, model, shown, show_progress="hidden")
    model.change(lambda label: _info(desk, label), model, info, show_progress="hidden")
    load.click(
        shown_on_page(lambda label, where: _load(desk, say, label, where)), [model, device], status
    )
    unload.click(shown_on_page(lambda: _unload(desk, say)), None, status)
    return Head(model=model, device=device)


def _languages(say: Say) -> str:
    current = {say.language: ' aria-current="page"'}
    links = [
        f'<a href="/{code}/" lang="{code}" hreflang="{code}"{current.get(code, "")}>{name}</a>'
        for code, name in PAGE_LANGUAGES.items()
    ]
    label = html.escape(say("head.languages"))
    title = html.escape(say("head.title"))
    return f'<h1>idiolect</h1><p>{title}</p><nav aria-label="{label}">{" · ".join(links)}</nav>'


def _still_there(desk: Desk, label: str | None) -> str:
    """Return ``label``; or the new one of its file, which was replaced; or the first."""
    labels = list(desk.catalogue.by_label())
    if label in labels:
        return label
    file = (label or "").partition(" (")[0]
    return next((each for each in labels if each.partition(" (")[0] == file), labels[0])


def chosen_entry(desk: Desk, label: str | None) -> ModelEntry:
    """Return the model whose label was chosen.

    Raises:
        UserError: It is no longer there.
    """
    entry = desk.catalogue.by_label().get(label or "")
    if entry is None:
        raise UserError("this model is no longer there", fix="choose another one")
    return entry


def _info(desk: Desk, label: str | None) -> str:
    entry = desk.catalogue.by_label().get(label or "")
    return "" if entry is None else f"{entry.tokenizer_line}  \n{entry.vram_line}"


def _problems(desk: Desk) -> str:
    return "  \n".join(html.escape(line) for line in desk.catalogue.problems())


def _status(desk: Desk, say: Say) -> str:
    loaded = desk.slot.status().models
    if not loaded:
        return say("head.nothing_loaded")
    labels = {device: label for label, device in desk.devices()}
    lines = [
        say(
            "head.loaded",
            model=each.name,
            device=labels.get(each.device, each.device),
            memory=format_memory(each.num_bytes),
        )
        for each in loaded
    ]
    return "  \n".join(lines)


def _load(desk: Desk, say: Say, label: str | None, device: str) -> str:
    started = time.monotonic()
    model = desk.slot.load(chosen_entry(desk, label).name, device)
    took = say("head.took", model=model.name, seconds=f"{time.monotonic() - started:.2f}")
    return f"{took}  \n{_status(desk, say)}"


def _unload(desk: Desk, say: Say) -> str:
    desk.slot.unload()
    return _status(desk, say)
