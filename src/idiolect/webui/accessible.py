"""What Gradio's own controls lack for eyes that see little and for screen readers, put right.

Colours are those of its theme, darker where the text on them was too faint (WCAG 1.4.3); names
are given to controls that have none (4.1.2), and taken off where they hide what is written (2.5.3).
"""

from __future__ import annotations

import json

import gradio as gr

from idiolect.webui.messages import Say

FONT = ("system-ui", "sans-serif")
STYLE = """
.info-text, .or, .min_value, .max_value, footer a, footer button, footer .built-with
  { color: var(--body-text-color) !important; opacity: 1 !important; }
[role=tab][aria-selected=true] { color: var(--link-text-color) !important; }
.show-api-divider { display: none !important; }
.prose :is(table, th, td) { border-color: var(--border-color-primary) !important; }
:focus-visible { outline: 3px solid var(--link-text-color) !important; outline-offset: 2px; }
"""
SCRIPT = """
document.documentElement.lang = LANGUAGE;
new MutationObserver(() => {
  for (const each of document.querySelectorAll("div.empty[aria-label]:not([role])"))
    each.setAttribute("role", "img");
  for (const each of document.querySelectorAll("button.upload-container[aria-label]"))
    if (each.innerText.trim()) each.removeAttribute("aria-label");
  for (const each of document.querySelectorAll("button.calendar:not([aria-label])"))
    each.setAttribute("aria-label", CALENDAR);
}).observe(document.documentElement, {childList: true, subtree: true});
"""
"""Runs as controls appear; Gradio makes them anew whenever they change."""


def theme() -> gr.themes.Base:
    """Return the theme of the page: text and its ground differ by 4.5 to 1 at least."""
    return gr.themes.Default(font=FONT).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_cancel_background_fill="*neutral_200",
        button_cancel_text_color="#7f1d1d",
        button_cancel_background_fill_dark="*neutral_700",
        button_cancel_text_color_dark="#fecaca",
        block_info_text_color="*neutral_700",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        link_text_color="#9a3412",
        link_text_color_dark="#fdba74",
    )


def head(say: Say) -> str:
    """Return what belongs into the head of the page in the language of ``say``."""
    script = SCRIPT.replace("LANGUAGE", json.dumps(say.language))
    script = script.replace("CALENDAR", json.dumps(say("frame.calendar")))
    return f"<style>{STYLE}</style><script>{script}</script>"
