"""The voice that is to speak: a clip of the visitor's, or one of the library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.webui.choices import UNSAID
from idiolect.webui.desk import Desk
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicePart:
    """The voice's controls."""

    name: gr.Dropdown
    """Of the library; :data:`UNSAID` for a clip that was given."""
    clip: gr.Audio
    """Path of the sound, whichever it is."""


def build_voice(desk: Desk, say: Say) -> VoicePart:
    """Add the controls, whose voice it is, and the library."""
    part = build_voice_choice(desk, say, elem_id="voice-prompt")
    note = gr.Markdown()
    part.name.change(
        shown_on_page(lambda chosen: _note(desk, say, chosen)),
        part.name,
        note,
        show_progress="hidden",
    )
    _build_library(desk, say, part)
    return part


def build_voice_choice(desk: Desk, say: Say, *, elem_id: str) -> VoicePart:
    """Add the controls; the list of voices is looked at whenever somebody opens it.

    Args:
        desk: Has the library.
        say: The page's language.
        elem_id: Of the clip, on the page.
    """
    name = gr.Dropdown(_choices(desk, say), value=UNSAID, label=say("generate.voice"))
    # Without "share" among the buttons: it would send the sound to another host.
    clip = gr.Audio(
        label=say("generate.prompt"),
        type="filepath",
        sources=["upload", "microphone"],
        buttons=[],
        elem_id=elem_id,
    )
    name.input(shown_on_page(lambda chosen: _clip(desk, chosen)), name, clip)
    for own in (clip.upload, clip.stop_recording, clip.clear):
        own(lambda: UNSAID, None, name, show_progress="hidden")
    name.focus(lambda: gr.update(choices=_choices(desk, say)), None, name, show_progress="hidden")
    return VoicePart(name=name, clip=clip)


def prompt_of(clip: str | None) -> Path:
    """Return the clip of the voice that is to speak.

    Raises:
        UserError: There is none.
    """
    if clip is None:
        raise UserError("there is no voice prompt", fix="upload or record a clip of the voice")
    return Path(clip)


def _build_library(desk: Desk, say: Say, part: VoicePart) -> None:
    with gr.Accordion(say("generate.library"), open=False):
        new_name = gr.Textbox(label=say("generate.new_name"), info=say("generate.new_name_info"))
        whose = gr.Textbox(label=say("generate.whose"), info=say("generate.whose_info"))
        with gr.Row():
            save = gr.Button(say("generate.save_voice"))
            remove = gr.Button(say("generate.remove_voice"))
        sure = gr.Button(say("generate.remove_sure"), variant="stop", visible=False)
        told = gr.Markdown()
    save.click(
        shown_on_page(lambda clip, name, note: _save(desk, say, clip, name, note)),
        [part.clip, new_name, whose],
        [part.name, told],
    )
    remove.click(shown_on_page(lambda name: _ask(desk, name)), part.name, sure)
    sure.click(
        shown_on_page(lambda name: _remove(desk, say, name)), part.name, [part.name, told, sure]
    )


def _choices(desk: Desk, say: Say) -> list[tuple[str, str]]:
    return [(say("generate.own_clip"), UNSAID), *((name, name) for name in desk.voices.names())]


def _clip(desk: Desk, name: str) -> Any:
    return gr.update(value=None) if name == UNSAID else str(desk.voices.path(name))


def _note(desk: Desk, say: Say, name: str) -> str:
    whose = "" if name == UNSAID else desk.voices.note(name).whose
    return say("generate.voice_of", whose=whose) if whose else ""


def _save(desk: Desk, say: Say, clip: str | None, name: str, whose: str) -> tuple[Any, str]:
    if clip is None:
        raise UserError("there is no clip to save", fix="upload or record one first")
    if not whose.strip():
        raise UserError(
            "it is not said whose voice this is", fix="name the speaker, and that they agreed"
        )
    desk.voices.add(name.strip(), Path(clip), whose=whose)
    chosen = gr.update(choices=_choices(desk, say), value=name.strip())
    return chosen, say("generate.voice_saved", voice=name.strip())


def _ask(desk: Desk, name: str) -> Any:
    if name == UNSAID:
        raise UserError("no voice of the library is chosen", fix="choose the one to remove")
    desk.voices.path(name)
    return gr.update(visible=True)


def _remove(desk: Desk, say: Say, name: str) -> tuple[Any, str, Any]:
    # Whoever takes their voice back takes it out of what is kept for saying things again, too.
    desk.speech.clips.forget(desk.voices.path(name))
    desk.voices.remove(name)
    chosen = gr.update(choices=_choices(desk, say), value=UNSAID)
    return chosen, say("generate.voice_removed", voice=name), gr.update(visible=False)
