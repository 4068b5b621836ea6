"""The emotion that is to be heard: one of four ways to say it, and only its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from idiolect.models.emotion import EMOTIONS, normalize_weights
from idiolect.studio.presets import PRESETS, mix
from idiolect.studio.settings import EmotionMode
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page

NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionPart:
    """The emotion's controls."""

    mode: gr.Radio
    alpha: gr.Slider
    clip: gr.Audio
    sliders: tuple[gr.Slider, ...]
    """In the order of EMOTIONS."""
    text: gr.Textbox
    random: gr.Checkbox
    groups: tuple[gr.Group, ...]
    """Shown for a clip, sliders, a text; and for any of these (the strength)."""

    @property
    def shown(self) -> list[Any]:
        """What :func:`shown_for` returns updates of."""
        return [*self.groups, self.random]


def build_emotion(say: Say) -> EmotionPart:
    """Add the controls."""
    mode = gr.Radio(
        [(say(f"generate.emotion_{each}"), str(each)) for each in EmotionMode],
        value=str(EmotionMode.VOICE),
        label=say("generate.emotion"),
    )
    with gr.Group(visible=False) as of_clip:
        clip = gr.Audio(
            label=say("generate.emotion_clip_label"),
            type="filepath",
            sources=["upload", "microphone"],
            buttons=[],
        )
    with gr.Group(visible=False) as of_weights:
        sliders = _build_sliders(say)
    with gr.Group(visible=False) as of_text:
        text = gr.Textbox(
            label=say("generate.emotion_text_label"), info=say("generate.emotion_text_info")
        )
    with gr.Group(visible=False) as of_any:
        alpha = gr.Slider(0, 1, value=1.0, step=0.05, label=say("generate.alpha"))
        random = gr.Checkbox(label=say("generate.random"), info=say("generate.random_info"))
    part = EmotionPart(
        mode=mode,
        alpha=alpha,
        clip=clip,
        sliders=sliders,
        text=text,
        random=random,
        groups=(of_clip, of_weights, of_text, of_any),
    )
    mode.change(shown_for, mode, part.shown, show_progress="hidden")
    return part


def shown_for(mode: str) -> list[Any]:
    """Return which groups are to be seen for ``mode``."""
    chosen = EmotionMode(mode)
    has_rows = chosen in {EmotionMode.WEIGHTS, EmotionMode.TEXT}
    seen = [
        chosen is EmotionMode.CLIP,
        chosen is EmotionMode.WEIGHTS,
        chosen is EmotionMode.TEXT,
        chosen is not EmotionMode.VOICE,
        has_rows,
    ]
    return [gr.update(visible=is_seen) for is_seen in seen]


def _build_sliders(say: Say) -> tuple[gr.Slider, ...]:
    choices = [(say(f"generate.preset_{name}"), name) for name in PRESETS]
    with gr.Row():
        first = gr.Dropdown(choices, value=NEUTRAL, label=say("generate.preset"))
        second = gr.Dropdown(choices, value=NEUTRAL, label=say("generate.preset_b"))
    share = gr.Slider(0, 1, value=0.0, step=0.05, label=say("generate.preset_share"))
    with gr.Row():
        sliders = tuple(
            gr.Slider(0, 1, value=0.0, step=0.05, label=say(f"generate.{name}"), min_width=140)
            for name in EMOTIONS
        )
    given = gr.Markdown(_given(say, PRESETS[NEUTRAL]))
    gr.on(
        [first.input, second.input, share.release],
        shown_on_page(lambda one, other, part: mix(PRESETS[one], PRESETS[other], part)),
        [first, second, share],
        list(sliders),
        show_progress="hidden",
    )
    gr.on(
        [slider.change for slider in sliders],
        lambda *weights: _given(say, weights),
        list(sliders),
        given,
        show_progress="hidden",
        trigger_mode="always_last",
    )
    return sliders


def _given(say: Say, weights: Sequence[float]) -> str:
    """Return what the model is given for the sliders."""
    mixed = zip(EMOTIONS, normalize_weights(weights), strict=True)
    named = [f"{say(f'generate.{name}')} {weight:.2f}" for name, weight in mixed if weight]
    own = 1 - sum(normalize_weights(weights))
    return say("generate.given", weights=", ".join(named) or say("generate.none"), own=f"{own:.2f}")
