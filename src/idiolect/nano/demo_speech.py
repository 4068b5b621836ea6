"""What the demo says by every model, and what is heard of it.

The sentences are a manifest: each line is a reading by a person or an engine, to compare with, and
has one key more, ``prompt``: the clip of the voice in which the models say it, by a path from the
manifest's folder. All lines of a language have one prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.audio.io import read_audio
from idiolect.base.errors import SynthesisError
from idiolect.base.files import read_json, write_json, write_text
from idiolect.base.progress import track
from idiolect.base.units import SEMANTIC_SAMPLE_RATE
from idiolect.data.manifest import Utterance, read_manifest
from idiolect.listening.listeners import Listener
from idiolect.listening.scores import LetterErrors, letter_errors

if TYPE_CHECKING:
    from idiolect.synthesis.pipeline import IndexTTS2

PROMPT_KEY = "prompt"
MADE_OF_FILE = "made_of.json"
REFERENCE = "reference"
"""Label of the readings to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One sentence that every model says."""

    text: str
    language: str
    number: int
    """Within its language, from 1."""
    reference: Path
    prompt: Path

    @property
    def file_name(self) -> str:
        """What a model's reading is called: below its folder, as ``synth`` numbers lines."""
        return f"{self.language}/{self.number:03d}.wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One line as one model said it."""

    line: Line
    sound: Path | None
    """None when the model said nothing."""
    heard: str | None = None
    """None when nobody listened."""
    errors: LetterErrors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """All lines as one model said them."""

    label: str
    step: int | None
    """Of training; None for what was not trained here."""
    readings: Sequence[Reading]

    def errors(self, language: str) -> LetterErrors | None:
        """Return the letters of ``language`` that were heard wrong; None when nobody listened."""
        found = [r.errors for r in self.readings if r.line.language == language and r.errors]
        return LetterErrors.total(found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A model that says the lines."""

    label: str
    model: str
    """As ``synth --model`` takes it."""
    step: int | None = None


def read_lines(manifest: Path) -> list[Line]:
    """Return the lines of a manifest of sentences, in order.

    Raises:
        DataError: The manifest cannot be read.
    """
    counts: dict[str, int] = {}
    lines = []
    for utterance in read_manifest(manifest):
        number = counts[utterance.language] = counts.get(utterance.language, 0) + 1
        lines.append(_line(utterance, number))
    return lines


def _line(utterance: Utterance, number: int) -> Line:
    return Line(
        text=utterance.text,
        language=utterance.language,
        number=number,
        reference=utterance.audio_path,
        prompt=utterance.root / (utterance.extra or {})[PROMPT_KEY],
    )


def write_texts(lines: Iterable[Line], folder: Path) -> None:
    """Write the lines of each language to ``<language>.txt`` in ``folder``, one a line."""
    texts: dict[str, list[str]] = {}
    for line in lines:
        texts.setdefault(line.language, []).append(line.text)
    for language, own in texts.items():
        write_text(folder / f"{language}.txt", "\n".join(own) + "\n")


def speak_all(
    tts: IndexTTS2,
    speakers: Sequence[Speaker],
    lines: Sequence[Line],
    folder: Path,
    *,
    made_of: str,
    seed: int,
) -> None:
    """Let every speaker say every line, to ``folder/<label>/<language>/<number>.wav``.

    What an earlier call with the same ``made_of`` left is kept. A line that a model cannot say has
    no file afterwards.
    """
    todo = []
    for speaker in speakers:
        own = folder / speaker.label
        kept = _kept(own / MADE_OF_FILE, made_of)
        todo += [(speaker, line) for line in lines if line.file_name not in kept]
        write_json(own / MADE_OF_FILE, {"made_of": made_of, "said": sorted(kept)})
    for speaker, line in track(todo, "speaking", unit="sentences"):
        tts.use_model(speaker.model)
        _say(tts, line, folder / speaker.label / line.file_name, seed)
        _note(folder / speaker.label / MADE_OF_FILE, line.file_name)


def _say(tts: IndexTTS2, line: Line, output: Path, seed: int) -> None:
    try:
        tts.infer(line.prompt, line.text, output, language=line.language, seed=seed)
    except SynthesisError:
        output.unlink(missing_ok=True)


def note_said(folder: Path, lines: Iterable[Line], *, made_of: str) -> None:
    """Take down that ``lines`` were said to ``folder`` by someone else, such as ``synth``."""
    kept = _kept(folder / MADE_OF_FILE, made_of) | {line.file_name for line in lines}
    write_json(folder / MADE_OF_FILE, {"made_of": made_of, "said": sorted(kept)})


def _kept(path: Path, made_of: str) -> set[str]:
    """Return the lines that need not be said again."""
    if not path.is_file():
        return set()
    noted = read_json(path)
    return set(noted["said"]) if noted["made_of"] == made_of else set()


def _note(path: Path, name: str) -> None:
    noted = read_json(path)
    write_json(path, {**noted, "said": sorted({*noted["said"], name})})


def collect(
    speakers: Sequence[Speaker], lines: Sequence[Line], folder: Path, listener: Listener | None
) -> list[Speech]:
    """Return what every speaker said below ``folder``, and the references, heard by ``listener``.

    The references come last.
    """
    turns = [(speaker, line) for speaker in speakers for line in lines]
    readings: dict[str, list[Reading]] = {speaker.label: [] for speaker in speakers}
    readings[REFERENCE] = [_heard(line, line.reference, listener) for line in lines]
    for speaker, line in track(turns, "listening", unit="sentences"):
        sound = folder / speaker.label / line.file_name
        readings[speaker.label].append(_heard(line, sound, listener))
    found = [
        Speech(label=speaker.label, step=speaker.step, readings=readings[speaker.label])
        for speaker in speakers
    ]
    return [*found, Speech(label=REFERENCE, step=None, readings=readings[REFERENCE])]


def _heard(line: Line, sound: Path, listener: Listener | None) -> Reading:
    reading = Reading(line=line, sound=sound if sound.is_file() else None)
    if listener is None or not listener.speaks(line.language):
        return reading
    heard = ""
    if reading.sound is not None:
        audio, _ = read_audio(reading.sound, SEMANTIC_SAMPLE_RATE)
        heard = listener.hear(audio, line.language)
    errors = letter_errors(line.text, heard, line.language)
    return replace(reading, heard=heard, errors=errors)
