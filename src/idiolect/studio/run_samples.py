"""What a run spoke at its validations, to hear by step and language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.base.errors import DataError
from idiolect.base.files import read_jsonl
from idiolect.training.probing import SAMPLES_DIR, SPOKEN_FILE

SOUNDS = "*/*.wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One sentence as it was spoken behind one step."""

    step: int
    language: str
    name: str
    """File in the folder of the step: ``ca/001.wav``."""
    path: Path
    text: str
    heard: str | None
    """What the listener wrote down; None where nobody listened."""
    cer: float | None
    """Share of its letters that were heard wrong."""


def sample_steps(folder: Path) -> list[int]:
    """Return the steps of the run in ``folder`` behind which something was spoken, in order."""
    steps = [_step_of(place) for place in (folder / SAMPLES_DIR).glob("step*")]
    return sorted(step for step in steps if step is not None)


def spoken_at(folder: Path, steps: Sequence[int], language: str = "") -> list[Spoken]:
    """Return what was spoken behind ``steps``: the same sentence of each step side by side.

    Args:
        folder: Of the run.
        steps: Behind which.
        language: Only what was spoken in it; empty for all.
    """
    found = [one for step in steps for one in _of_step(folder, step)]
    chosen = [one for one in found if language in {"", one.language}]
    return sorted(chosen, key=lambda one: (one.name, one.step))


def find_sample(folder: Path, step: int, name: str) -> Path | None:
    """Return the sound of that name; None where the run has no such one.

    The name is looked for among those that are there, and makes no path.
    """
    return next((one.path for one in _of_step(folder, step) if one.name == name), None)


def _of_step(folder: Path, step: int) -> Iterator[Spoken]:
    own = folder / SAMPLES_DIR / f"step{step}"
    said = _said(own)
    for path in own.glob(SOUNDS):
        if not path.resolve().is_relative_to(folder.resolve()):  # a link that leads outside
            continue
        name = path.relative_to(own).as_posix()
        line = said.get(name, {})
        yield Spoken(
            step=step,
            language=path.parent.name,
            name=name,
            path=path,
            text=str(line.get("text", "")),
            heard=line.get("heard"),
            cer=line.get("cer"),
        )


def _said(own: Path) -> dict[str, dict[str, Any]]:
    try:
        return {str(line.get("sound")): line for _, line in read_jsonl(own / SPOKEN_FILE)}
    except DataError:  # it is being written, or was never
        return {}


def _step_of(place: Path) -> int | None:
    digits = place.name.removeprefix("step")
    return int(digits) if digits.isdecimal() and place.is_dir() else None
