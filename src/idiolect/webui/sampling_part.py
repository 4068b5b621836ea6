"""How codes are chosen: the settings of the sampling, with what the base says as defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import gradio as gr

from idiolect.base.config import from_mapping
from idiolect.synthesis.sampling import SamplingSettings
from idiolect.webui.messages import Say

OFF = 0.0
"""Of the typical mass: that filter is not used."""
RANGES: Mapping[str, tuple[float, float, float]] = {
    "temperature": (0.1, 2.0, 0.05),
    "top_p": (0.05, 1.0, 0.05),
    "top_k": (0, 200, 1),
    "num_beams": (1, 10, 1),
    "repetition_penalty": (1.0, 20.0, 0.5),
    "length_penalty": (-2.0, 2.0, 0.1),
    "max_codes": (50, 1815, 5),
    "typical_mass": (OFF, 0.95, 0.05),
}
"""Lowest, highest and step of each slider."""


def build_sampling(say: Say, defaults: SamplingSettings) -> dict[str, Any]:
    """Add the controls; return them by the field of :class:`SamplingSettings`."""
    values = asdict(defaults)
    controls: dict[str, Any] = {
        "do_sample": gr.Checkbox(values["do_sample"], label=say("generate.do_sample"))
    }
    with gr.Row():
        for name, (low, high, step) in RANGES.items():
            value = OFF if values[name] is None else values[name]
            controls[name] = gr.Slider(
                min(low, value),
                max(high, value),
                value=value,
                step=step,
                label=say(f"generate.{name}"),
                info=say(f"generate.{name}_info"),
                min_width=200,
            )
    return controls


def sampling_of(values: Mapping[str, Any]) -> SamplingSettings:
    """Return the settings that the controls stand at.

    Raises:
        ConfigError: One is out of range.
    """
    mass = values["typical_mass"] or None
    return from_mapping(SamplingSettings, {**values, "typical_mass": mass}, where="sampling")


def sampling_updates(settings: SamplingSettings) -> dict[str, Any]:
    """Return what each control is to stand at for ``settings``."""
    values = asdict(settings)
    return {**values, "typical_mass": values["typical_mass"] or OFF}
