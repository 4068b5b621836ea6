"""Choose a model, load it, speak."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.text.languages import LANGUAGES
from idiolect.webui.desk import Desk

P = ParamSpec("P")
R = TypeVar("R")

AUTO = ("as the model", "")
NOTHING_LOADED = "No model is loaded."
NARROW_PX = 320
"""Of a field whose text needs the width of a telephone."""


def build(desk: Desk, page: gr.Blocks) -> None:
    """Add the controls of this tab to ``page``, which is being built."""
    labels = list(desk.entries())
    devices = desk.devices()
    with gr.Row():
        model = gr.Dropdown(
            labels, value=labels[0], label="Model Checkpoint", scale=3, min_width=NARROW_PX
        )
        device = gr.Dropdown(devices, value=devices[0][1], label="GPU", scale=2)
    info = gr.Markdown(_info(desk, model.value))
    with gr.Row():
        load = gr.Button("Load Model", variant="primary", scale=3)
        refresh = gr.Button("Refresh list", scale=2)
    left_out = gr.Markdown(_problems(desk))
    status = gr.Markdown(NOTHING_LOADED)
    # Without "share" among the buttons: it would send the sound to another host.
    prompt = gr.Audio(
        label="Voice prompt", type="filepath", sources=["upload", "microphone"], buttons=[]
    )
    text = gr.Textbox(label="Text", lines=3)
    with gr.Row():
        language = gr.Dropdown(_languages(), value=AUTO[1], label="Language", min_width=NARROW_PX)
        seed = gr.Number(value=1, precision=0, label="Seed")
    generate = gr.Button("Generate", variant="primary")
    sound = gr.Audio(label="Sound", type="filepath", interactive=False, buttons=["download"])

    model.change(lambda label: _info(desk, label), model, info)
    for event in (page.load, refresh.click):
        event(
            lambda: (gr.update(choices=list(desk.entries())), _problems(desk)),
            None,
            [model, left_out],
        )
    load.click(
        shown_on_page(lambda label, where: _load(desk, label, where)), [model, device], status
    )
    generate.click(
        shown_on_page(lambda *request: _speak(desk, *request)),
        [prompt, text, language, seed],
        sound,
    )


def _languages() -> list[tuple[str, str]]:
    rows = [(f"{row.name} ({code})", code) for code, row in sorted(LANGUAGES.items()) if code]
    return [AUTO, ("English (en)", "en"), ("中文 (zh)", "zh"), *rows]


def _info(desk: Desk, label: str | None) -> str:
    entry = desk.entries().get(label or "")
    return "" if entry is None else f"{entry.tokenizer_line}  \n{entry.vram_line}"


def _listing(desk: Desk) -> tuple[dict[str, Any], str]:
    return gr.update(choices=list(desk.entries())), _problems(desk)


def _problems(desk: Desk) -> str:
    return "  \n".join(html.escape(line) for line in desk.problems())


def _load(desk: Desk, label: str | None, device: str) -> str:
    entries = desk.entries()
    if label not in entries:
        raise UserError("this model is no longer there", fix="press Refresh list and choose again")
    return desk.load(entries[label].name, device)


def _speak(desk: Desk, prompt: str | None, text: str, language: str, seed: float | None) -> str:
    if prompt is None:
        raise UserError("there is no voice prompt", fix="upload or record a clip of the voice")
    return str(
        desk.speak(Path(prompt), text, language or None, None if seed is None else int(seed))
    )


def shown_on_page(work: Callable[P, R]) -> Callable[P, R]:
    """Return ``work`` with its user errors shown on the page: what, where, how to mend."""

    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except UserError as error:
            # The notice is HTML, and what is wrong may quote what somebody typed.
            lines = html.escape(str(error)).splitlines()
            raise gr.Error("<br>".join(lines), print_exception=False) from error

    return shown
