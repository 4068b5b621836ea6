"""What a text will be cut into, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from idiolect.base.units import format_duration
from idiolect.studio.preview import TextPreview
from idiolect.webui.desk import Desk
from idiolect.webui.head import chosen_entry
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPart:
    """What a text will be cut into."""

    table: gr.Dataframe
    estimate: gr.Markdown
    look: gr.Button


def build_preview(say: Say) -> PreviewPart:
    """Add the controls."""
    with gr.Accordion(say("generate.sentences"), open=False):
        look = gr.Button(say("generate.look"))
        estimate = gr.Markdown()
        table = gr.Dataframe(
            headers=[say(f"generate.sentences_{name}") for name in ("text", "tokens", "unknown")],
            interactive=False,
            column_widths=["56%", "18%", "26%"],
            wrap=True,
            show_label=False,
        )
    return PreviewPart(table=table, estimate=estimate, look=look)


def wire_preview(desk: Desk, say: Say, part: PreviewPart, looked_at: list[Any]) -> None:
    """Let the button look.

    Args:
        desk: Looks.
        say: The page's language.
        part: Where it is shown.
        looked_at: The controls of the model, the text, the language and the tokens of a segment.
    """
    part.look.click(
        shown_on_page(lambda *given: _previewed(desk, say, *given)),
        looked_at,
        [part.table, part.estimate],
    )


def _previewed(
    desk: Desk, say: Say, label: str, text: str, language: str, max_tokens: float
) -> tuple[list[list[Any]], str]:
    model = chosen_entry(desk, label).name
    preview = desk.previews.of(model, text or "", language or None, int(max_tokens))
    rows = [
        [segment.text, segment.num_tokens, " ".join(segment.unknown)]
        for segment in preview.segments
    ]
    return rows, _estimated(say, preview)


def _estimated(say: Say, preview: TextPreview) -> str:
    estimate = preview.estimate
    if estimate is None:
        told = say("generate.no_estimate")
    else:
        told = say(
            "generate.estimate",
            duration=format_duration(estimate.duration_sec),
            count=estimate.num_records,
        )
    if preview.unknown:
        told += "  \n" + say("generate.unknown", count=len(preview.unknown))
    return told
