"""The sounds of a run for its page: the same sentences before, at the best, and last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from idiolect.audio.io import Waveform, read_audio
from idiolect.audio.shown import sound_address, spectrogram
from idiolect.base.errors import DataError
from idiolect.base.files import read_jsonl
from idiolect.base.page import Player, Sound, Sounds, image_address
from idiolect.base.units import SAMPLE_RATE
from idiolect.training.probing import SAMPLES_DIR, SPOKEN_FILE

HEARD_OF_EACH = 2
"""Sentences of each language on the page: a sound is 20 kB of it. The folder has all of them."""
CACHED_SOUNDS = 64
"""Encoded sounds kept by the process: those before the first step are shown at each validation."""


def spoken(folder: Path, steps: Mapping[str, int]) -> list[Sounds]:
    """Return a row of cards for a few sentences of each language.

    Args:
        folder: Of the run.
        steps: What to hear side by side, by what it is called.
    """
    moments = [
        _Moment(label=label, step=step, folder=folder / SAMPLES_DIR / f"step{step}")
        for label, step in steps.items()
    ]
    return [_row(name, moments) for name in _chosen(moments)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """What was spoken at one step."""

    label: str
    step: int
    folder: Path

    def said(self) -> dict[str, dict[str, Any]]:
        """Return what is written of each sound, by its path in the folder."""
        try:
            return {line["sound"]: line for _, line in read_jsonl(self.folder / SPOKEN_FILE)}
        except DataError:
            return {}


def _chosen(moments: Sequence[_Moment]) -> list[str]:
    """Return the first sounds of each language, by their paths in the folder of a step."""
    found: dict[str, set[str]] = {}
    for moment in moments:
        for path in moment.folder.glob("*/*.wav"):
            found.setdefault(path.parent.name, set()).add(path.name)
    return [f"{place}/{n}" for place in sorted(found) for n in sorted(found[place])[:HEARD_OF_EACH]]


def _row(name: str, moments: Sequence[_Moment]) -> Sounds:
    said = [moment.said().get(name, {}) for moment in moments]
    waves = [_wave(moment.folder / name) for moment in moments]
    longest = max((len(wave) for wave in waves if wave is not None), default=0)
    text = next((line["text"] for line in said if "text" in line), "")
    language = Path(name).parent.name
    return Sounds(
        title=f"“{text}” ({language})" if text else f"{language}, sentence {Path(name).stem}",
        sounds=[
            _card(moment, line, wave, longest, name)
            for moment, line, wave in zip(moments, said, waves, strict=True)
        ],
    )


def _card(
    moment: _Moment, said: Mapping[str, Any], wave: Waveform | None, longest: int, name: str
) -> Sound:
    """Return one card; all spectrograms of a row are ``longest`` samples wide."""
    label = f"{moment.label}: step {moment.step}"
    if wave is None:
        return Sound(label=label, player=None, note="nothing was spoken")
    address, picture = _shown(moment.folder / name, _stamp(moment.folder / name), longest)
    return Sound(
        label=label,
        player=Player(src=address, label=f"{label}: {said.get('text', name)}"),
        picture=picture,
        mark=f"{said['cer']:.0%} wrong" if said.get("cer") is not None else "",
        note=f"heard: “{said['heard'] or '(nothing)'}”" if said.get("heard") is not None else "",
    )


def _wave(path: Path) -> Waveform | None:
    """Return the sound at ``path``; None where there is none that can be read."""
    try:
        wave, _ = read_audio(path, SAMPLE_RATE)
    except DataError:
        return None
    return wave


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns


@lru_cache(maxsize=CACHED_SOUNDS)
def _shown(path: Path, stamp: int, longest: int) -> tuple[str, str]:  # noqa: ARG001 -- of the key
    """Return a sound and its picture as addresses, made anew when the file is."""
    wave, _ = read_audio(path, SAMPLE_RATE)
    picture = image_address(spectrogram(np.pad(wave, (0, longest - len(wave)))))
    return sound_address(wave), picture
