"""Choose a model, load it, speak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.text.languages import LANGUAGES
from idiolect.webui.desk import Desk

P = ParamSpec("P")
R = TypeVar("R")

AUTO = ("as the model", "")
NOTHING_LOADED = "No model is loaded."


def build(desk: Desk) -> None:
    """Add the controls of this tab to the page that is being built."""
    labels = list(desk.entries())
    with gr.Row():
        model = gr.Dropdown(labels, value=next(iter(labels), None), label="Model Checkpoint")
        device = gr.Dropdown(desk.devices(), value=desk.devices()[0][1], label="GPU")
    info = gr.Markdown(_info(desk, model.value))
    with gr.Row():
        load = gr.Button("Load Model", variant="primary")
        refresh = gr.Button("Refresh list")
    status = gr.Markdown(NOTHING_LOADED)
    prompt = gr.Audio(label="Voice prompt", type="filepath", sources=["upload", "microphone"])
    text = gr.Textbox(label="Text", lines=3)
    with gr.Row():
        language = gr.Dropdown(_languages(), value=AUTO[1], label="Language")
        seed = gr.Number(value=1, precision=0, label="Seed")
    generate = gr.Button("Generate", variant="primary")
    sound = gr.Audio(label="Sound", type="filepath", interactive=False)

    model.change(lambda label: _info(desk, label), model, info)
    refresh.click(lambda: gr.update(choices=list(desk.entries())), None, model)
    load.click(_told(lambda label, where: _load(desk, label, where)), [model, device], status)
    generate.click(
        _told(lambda *request: _speak(desk, *request)), [prompt, text, language, seed], sound
    )


def _languages() -> list[tuple[str, str]]:
    rows = [(f"{row.name} ({code})", code) for code, row in sorted(LANGUAGES.items()) if code]
    return [AUTO, ("English (en)", "en"), ("中文 (zh)", "zh"), *rows]


def _info(desk: Desk, label: str | None) -> str:
    entry = desk.entries().get(label or "")
    return "" if entry is None else f"{entry.tokenizer_line}\n\n{entry.vram_line}"


def _load(desk: Desk, label: str | None, device: str) -> str:
    entries = desk.entries()
    if label not in entries:
        raise UserError("this model is no longer there", fix="press Refresh list and choose again")
    return desk.load(entries[label].name, device)


def _speak(desk: Desk, prompt: str | None, text: str, language: str, seed: float) -> str:
    if prompt is None:
        raise UserError("there is no voice prompt", fix="upload or record a clip of the voice")
    return str(desk.speak(Path(prompt), text, language or None, int(seed)))


def _told(work: Callable[P, R]) -> Callable[P, R]:
    """Return ``work`` with its user errors shown on the page: what, where, how to mend."""

    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return shown
