"""The whole way of the guide on a small corpus, with its real commands, and what came of it.

The demo is a list of steps; each is a command in a new process, as a user would type it. A step
that was finished with the same command behind the same steps is not done again, so that the same
call goes on after an interruption.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from idiolect.base.errors import EXIT_INTERRUPTED, DataError, UserError
from idiolect.base.files import read_json, read_jsonl, write_json
from idiolect.base.guard import check_output, files_of
from idiolect.base.hashes import sha256_text
from idiolect.base.snapshot import BaseSnapshot
from idiolect.base.units import format_duration
from idiolect.data.manifest import read_manifest, write_manifest
from idiolect.data.split import validation_path
from idiolect.listening.named import own_listener
from idiolect.models.published import locate_base
from idiolect.nano.demo_corpus import copy_corpus
from idiolect.nano.demo_speech import (
    PROMPT_KEY,
    Line,
    Speaker,
    Speech,
    collect,
    note_said,
    read_lines,
    speak_all,
    write_texts,
)
from idiolect.nano.demo_steps import (
    CURVE,
    MANIFEST,
    MODELS,
    NAME,
    RECORDINGS,
    RUN,
    SENTENCES,
    SENTENCES_FILE,
    SPOKEN,
    TOKENIZER,
    DemoConfig,
    Step,
    absolute,
    base_of,
    base_step,
    data_steps,
    speaking_steps,
    training_steps,
)
from idiolect.registry.describe import BASE_NAME
from idiolect.registry.entry import checkpoint_name
from idiolect.registry.install import InstallConfig, install_model
from idiolect.training.state import step_files

REPORT = Path("report.html")
SCORES = Path("scores.json")
DONE = Path(".done.json")
"""What was finished: step to its fingerprint, and how long it took."""

MOST_SENTENCES = 6
"""Of the user's own recordings, that both models read."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneStep:
    """A step behind which the demo stands."""

    step: Step
    sec: float
    """How long it took, when it was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What the demo made and measured."""

    folder: Path
    config: DemoConfig
    steps: Sequence[DoneStep]
    lines: Sequence[Line]
    speeches: Sequence[Speech]
    """The base, the checkpoints of the curve in order, the tuned model, the references."""
    listener: str | None
    """Who listened; None when nobody can."""
    base_unchanged: str
    num_base_files: int
    num_clips: int
    speech_sec: float
    total_sec: float
    """Of all work, that of earlier calls too."""

    def speech(self, label: str) -> Speech:
        """Return what ``label`` said."""
        return next(speech for speech in self.speeches if speech.label == label)

    @property
    def next_command(self) -> str:
        """What to type to go on by hand."""
        base = "" if self.config.base is None else f" --base {absolute(self.config.base)}"
        return f"cd {shlex.quote(str(self.folder))} && idiolect webui --model-dir {MODELS}{base}"


def run_demo(config: DemoConfig, say: Say) -> DemoResult:
    """Do what is left of the demo, and return what came of it; the report is not yet written.

    Args:
        config: What to do.
        say: Called with each line that the user is told.

    Raises:
        UserError: A step failed; the same call goes on from there.
        GuardError: The base changed.
    """
    started = time.monotonic()
    folder = check_output(config.dir)
    folder.mkdir(parents=True, exist_ok=True)
    if config.real is None:
        say(f"{copy_corpus(folder)} Catalan clips are in {folder / RECORDINGS}")
    log = Progress(folder, say, made_of=_material(config, folder))
    if config.base is None:
        log.do(base_step(config))
    snapshot = BaseSnapshot.take(_base_in(config, folder))
    for step in data_steps(config):
        log.do(step)
    lines = _lines(config, folder)
    for step in training_steps(config):
        log.do(step)
    said = "\n".join(line.text for line in lines)
    for step in speaking_steps(config, lines):
        log.do(step, made_of=said)
    speeches, listener = _hear(config, folder, lines, log)
    clips = list(read_manifest(folder / MANIFEST))
    log.note_rest(time.monotonic() - started)
    result = DemoResult(
        folder=folder,
        config=config,
        steps=log.steps,
        lines=lines,
        speeches=speeches,
        listener=listener,
        base_unchanged=snapshot.verify(),
        num_base_files=len(snapshot.hashes),
        num_clips=len(clips),
        speech_sec=sum(clip.duration_sec for clip in clips),
        total_sec=log.total_sec,
    )
    write_json(folder / SCORES, scores_of(result))
    return result


class Progress:
    """What was finished, in the demo's folder and in earlier calls too."""

    def __init__(self, folder: Path, say: Say, *, made_of: str = "") -> None:
        self._path = folder / DONE
        self._folder = folder
        self._say = say
        self._noted: dict[str, Any] = read_json(self._path) if self._path.is_file() else {}
        self._worked_sec = 0.0
        self.steps: list[DoneStep] = []
        self.fingerprint = made_of
        """Of all steps so far: one that changes is done again, and all behind it."""

    def do(self, step: Step, *, made_of: str = "") -> None:
        """Run ``step`` as a new process, unless it was finished with what it is ``made_of``.

        Raises:
            UserError: It failed.
        """
        self.fingerprint = sha256_text(f"{self.fingerprint}\n{step.line}\n{made_of}")
        noted = self._noted.get(step.key, {})
        self._say(f"\n== {step.title}\n$ {step.line}")
        if noted.get("fingerprint") == self.fingerprint and (self._folder / step.product).exists():
            self._say("already done")
        else:
            started = time.monotonic()
            run_step(step, self._folder)
            sec = time.monotonic() - started
            self._worked_sec += sec
            noted = {"fingerprint": self.fingerprint, "sec": sec}
            self._note(step.key, noted)
        self.steps.append(DoneStep(step=step, sec=noted["sec"]))

    def note_rest(self, sec: float) -> None:
        """Take down how long this call took beside its steps, if it took longest so far."""
        rest = max(sec - self._worked_sec, self._noted.get("rest", {"sec": 0.0})["sec"])
        self._note("rest", {"sec": rest})

    @property
    def total_sec(self) -> float:
        """All work, that of earlier calls too."""
        keys = ["rest", *(done.step.key for done in self.steps)]
        return float(sum(self._noted[key]["sec"] for key in keys))

    def _note(self, key: str, value: dict[str, Any]) -> None:
        self._noted[key] = value
        write_json(self._path, self._noted)


def run_step(step: Step, folder: Path) -> None:
    """Run the command of ``step`` in ``folder`` as a new process.

    Raises:
        UserError: The command failed.
        KeyboardInterrupt: It was interrupted.
    """
    done = subprocess.run(  # noqa: S603 -- our own interpreter and arguments
        [sys.executable, "-m", "idiolect", *step.command],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    if done.returncode == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if done.returncode:
        raise UserError(
            f"this step ended with exit code {done.returncode}",
            where=step.line,
            fix="see the message above; the same command goes on where it stopped",
        )


def _material(config: DemoConfig, folder: Path) -> str:
    """Return what the recordings are known by: their names and sizes."""
    audio = folder / "data/raw" if config.real is None else config.real
    return "\n".join(f"{path.name} {path.stat().st_size}" for path in files_of(audio))


def _lines(config: DemoConfig, folder: Path) -> list[Line]:
    """Return what the models say; of the user's own recordings, what was held out."""
    manifest = folder / SENTENCES / SENTENCES_FILE
    if config.real is not None:
        _write_own_sentences(folder, manifest)
    lines = read_lines(manifest)
    write_texts(lines, folder / SENTENCES)
    return lines


def _write_own_sentences(folder: Path, manifest: Path) -> None:
    """Write a manifest of sentences that were held out, of one speaker, with a prompt of theirs.

    Raises:
        DataError: Nothing was held out.
    """
    validation = validation_path(folder / MANIFEST)
    if not validation.is_file():
        raise DataError(
            "too few recordings to hold any out, so nothing can be heard that was not learnt",
            where=str(folder / MANIFEST),
            fix="give at least a few dozen recordings of a speaker",
        )
    held_out = list(read_manifest(validation))
    speaker = held_out[0].speaker
    own = [clip for clip in held_out if clip.speaker == speaker]
    prompt = next((c for c in read_manifest(folder / MANIFEST) if c.speaker == speaker), own[-1])
    path = os.path.relpath(prompt.audio_path, manifest.parent)
    chosen = list(islice((c for c in own if c.id != prompt.id), MOST_SENTENCES)) or own
    write_manifest(manifest, chosen)
    records = [{**record, PROMPT_KEY: path} for _, record in read_jsonl(manifest)]
    manifest.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")


def _hear(
    config: DemoConfig, folder: Path, lines: Sequence[Line], log: Progress
) -> tuple[list[Speech], str | None]:
    """Let the checkpoints of the curve speak too, and listen to all; return who listened too."""
    from idiolect.synthesis.pipeline import IndexTTS2  # torch: not for --help

    base = _base_in(config, folder)
    speakers = [
        Speaker(label=BASE_NAME, model=BASE_NAME, step=0),
        *_curve_speakers(config, folder),
        Speaker(label=NAME, model=NAME, step=_saved_steps(folder / RUN)[-1]),
    ]
    own = [line for line in lines if line.language == config.language]
    for label in (BASE_NAME, NAME):
        note_said(folder / SPOKEN / label, own, made_of=log.fingerprint)
    tts = IndexTTS2(base / "config.yaml", base, models_dir=folder / MODELS)
    spoken = folder / SPOKEN
    speak_all(tts, speakers, lines, spoken, made_of=log.fingerprint, seed=config.seed)
    listener = own_listener(locate_base(base).semantic_dir)
    return collect(speakers, lines, spoken, listener), listener.name if listener else None


def _curve_speakers(config: DemoConfig, folder: Path) -> list[Speaker]:
    """Install some checkpoints on the way to the last, as that was; return them.

    They are no models to use, so they have a folder of their own.
    """
    run, curve = folder / RUN, folder / CURVE
    *steps, _ = _saved_steps(run)
    count = min(config.curve, len(steps))
    chosen = [steps[(turn + 1) * len(steps) // (count + 1)] for turn in range(count)]
    for step in chosen:
        install_model(
            InstallConfig(
                base=_base_in(config, folder),
                checkpoint=run / f"model_step{step}.pth",
                tokenizer=folder / f"{TOKENIZER}.model",
                output_name=f"step{step}",
                output_dir=curve,
                blend=config.blend,
                force=True,
            )
        )
    return [
        Speaker(label=f"step{step}", model=str(curve / checkpoint_name(f"step{step}")), step=step)
        for step in chosen
    ]


def _saved_steps(run: Path) -> list[int]:
    """Return the steps of the checkpoints in ``run`` in order; the last is that of its end."""
    return [int(path.stem.removeprefix("model_step")) for path in step_files(run)]


def scores_of(result: DemoResult) -> dict[str, Any]:
    """Return all that was heard as JSON has it, for those who judge many demos."""
    return {
        "seed": result.config.seed,
        "language": result.config.language,
        "listener": result.listener,
        "total_sec": round(result.total_sec, 1),
        "speeches": [
            {
                "label": speech.label,
                "step": speech.step,
                "readings": [
                    {
                        "language": reading.line.language,
                        "text": reading.line.text,
                        "sound": reading.sound and os.path.relpath(reading.sound, result.folder),
                        "heard": reading.heard,
                        "errors": None if reading.errors is None else asdict(reading.errors),
                    }
                    for reading in speech.readings
                ],
            }
            for speech in result.speeches
        ],
    }


def _base_in(config: DemoConfig, folder: Path) -> Path:
    return folder / base_of(config)


def told_in_short(result: DemoResult) -> list[str]:
    """Return what the user is told at the end."""
    lines = [f"\ndemo finished: {format_duration(result.total_sec)} of work"]
    lines += [f"  {line}" for line in summary_of(result)]
    return [*lines, f"report: {result.folder / REPORT}", f"next: {result.next_command}"]


def summary_of(result: DemoResult) -> list[str]:
    """Return the letters that were heard wrong, before and after, by language."""
    lines = []
    for language in dict.fromkeys(line.language for line in result.lines):
        before, after = (result.speech(label).errors(language) for label in (BASE_NAME, NAME))
        if before is not None and after is not None:
            lines.append(
                f"letters heard wrong, {language}: {before.rate:.0%} before, {after.rate:.0%} after"
            )
    return [*lines, result.base_unchanged]
