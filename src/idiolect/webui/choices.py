"""What several tabs let a visitor choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from idiolect.text.languages import LANGUAGES
from idiolect.webui.messages import PAGE_LANGUAGES

UNSAID = ""
"""Value of a choice that is left to the model, or to nobody."""


def language_choices(unsaid: str) -> list[tuple[str, str]]:
    """Return the languages with reading rules, by name and code; ``unsaid`` leaves it open."""
    named = {code: PAGE_LANGUAGES[code] for code in ("en", "zh")}  # read by the published rules
    named |= {code: row.name for code, row in sorted(LANGUAGES.items()) if code}
    return [(unsaid, UNSAID), *((f"{name} ({code})", code) for code, name in named.items())]


def offered(choices: Sequence[Any], *, had: Any, wanted: Any) -> Any:
    """Return the update of what may be chosen.

    The value goes along only where it becomes another: one that is sent would undo what the visitor
    chose while the answer was under way.

    Args:
        choices: What there is.
        had: What was chosen when the visitor's page asked.
        wanted: What should be.
    """
    if wanted == had:
        return gr.update(choices=choices)
    return gr.update(choices=choices, value=wanted)
