"""The page of the demo: what was taught, what it sounds like, what was lost; one file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idiolect.audio.io import Waveform, read_audio
from idiolect.audio.shown import sound_address, spectrogram
from idiolect.base.files import read_jsonl
from idiolect.base.page import (
    ACCENT,
    INK,
    Code,
    Figures,
    Note,
    Player,
    Section,
    Sound,
    Sounds,
    Table,
    Tile,
    Tiles,
    figure_svg,
    image_address,
    write_page,
)
from idiolect.base.units import SAMPLE_RATE, format_bytes, format_duration
from idiolect.data.language_names import NAMES
from idiolect.listening.scores import LetterErrors
from idiolect.nano.demo import REPORT, SCORES, DemoResult
from idiolect.nano.demo_speech import REFERENCE, Line, Reading
from idiolect.nano.demo_steps import BASE, DATA, MODELS, NAME, RUN, SPOKEN, TOKENIZER, TUNED
from idiolect.registry.describe import BASE_NAME
from idiolect.training.metrics import METRICS_FILE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE_INCHES = (5.4, 2.6)
LABELS = {BASE_NAME: "before: the base", NAME: "after: the tuned model", REFERENCE: "the recording"}
HEARD_OF_OTHERS = 2
"""Sentences of each other language that can be heard on the page; all of them count."""
HOW_HEARD = (
    "“Wrong” is the share of letters that {listener} hears wrong: what it writes down, against "
    "what was to be said (character error rate; above 100% when it hears more than that). It "
    "expects the words that it knows of the language, and makes mistakes of its own: those that it "
    "makes in the recordings."
)
NOBODY_HEARD = (
    "Nobody counted the letters that are heard wrong: no recogniser comes with this base. Listen, "
    "and compare the validation loss."
)
WHAT_IT_IS = (
    "Training heard {clips} clips, {duration}, and none of the sentences below. The base was not "
    "changed; the tuned model is a file of its own."
)


def write_report(result: DemoResult) -> Path:
    """Write the report of a demo beside what it made; return its path."""
    language = _name_of(result.config.language)
    sections = [
        Section(title="In short", blocks=[_tiles(result), _what_it_is(result)]),
        Section(title=f"{language} that no training heard", blocks=_heard(result, own=True)),
        Section(title="How it was learnt", blocks=_curves(result)),
        Section(title="What became of the other languages", blocks=_forgetting(result)),
        Section(title="The commands", blocks=[_commands(result)]),
        Section(title="The files", blocks=[_files(result)]),
        Section(title="Next", blocks=_next(result)),
    ]
    path = result.folder / REPORT
    subtitle = f"idiolect demo, in {format_duration(result.total_sec)} of work"
    write_page(
        path, f"Teaching a base {language}", [s for s in sections if s.blocks], subtitle=subtitle
    )
    return path


def _tiles(result: DemoResult) -> Tiles:
    tiles = [_tile(result, language) for language in _languages(result)]
    return Tiles(
        tiles=[
            *(tile for tile in tiles if tile is not None),
            Tile(
                label="recordings",
                value=format_duration(result.speech_sec),
                note=f"{result.num_clips} clips",
            ),
            Tile(label="all work", value=format_duration(result.total_sec)),
            Tile(
                label="base", value="unchanged", note=f"{result.num_base_files} files, same SHA-256"
            ),
        ]
    )


def _tile(result: DemoResult, language: str) -> Tile | None:
    """Return the change of one language; None when nobody listened."""
    before, after = (result.speech(label).errors(language) for label in (BASE_NAME, NAME))
    if before is None or after is None:
        return None
    return Tile(
        label=f"{_name_of(language)}, letters heard wrong",
        value=f"{_percent(before)} → {_percent(after)}",
        note="before → after",
    )


def _what_it_is(result: DemoResult) -> Note:
    text = WHAT_IT_IS.format(clips=result.num_clips, duration=format_duration(result.speech_sec))
    heard = HOW_HEARD.format(listener=result.listener) if result.listener else NOBODY_HEARD
    return Note(text=f"{text} {heard}")


def _heard(result: DemoResult, *, own: bool) -> list[Sounds]:
    """Return a row of cards for each line: base, tuned model, recording."""
    rows = zip(result.lines, *(result.speech(label).readings for label in LABELS), strict=True)
    return [
        _row(line, readings, own=own)
        for line, *readings in rows
        if (own and line.language == result.config.language)
        or (not own and line.language != result.config.language and line.number <= HEARD_OF_OTHERS)
    ]


def _row(line: Line, readings: Sequence[Reading], *, own: bool) -> Sounds:
    waves = [None if r.sound is None else read_audio(r.sound, SAMPLE_RATE)[0] for r in readings]
    longest = max((len(wave) for wave in waves if wave is not None), default=0)
    cards = zip(LABELS.values(), readings, waves, strict=True)
    return Sounds(
        title=f"“{line.text}”" + ("" if own else f" ({_name_of(line.language)})"),
        sounds=[_card(label, reading, wave, longest) for label, reading, wave in cards],
    )


def _card(label: str, reading: Reading, wave: Waveform | None, longest: int) -> Sound:
    """Return one card; all spectrograms of a row are ``longest`` samples wide."""
    mark = "" if reading.errors is None else f"{_percent(reading.errors)} wrong"
    if wave is None:
        return Sound(label=label, player=None, mark=mark, note="the model said nothing")
    return Sound(
        label=label,
        player=Player(src=sound_address(wave), label=f"{label}: {reading.line.text}"),
        picture=image_address(spectrogram(np.pad(wave, (0, longest - len(wave))))),
        mark=mark,
        note="" if reading.heard is None else f"heard: “{reading.heard or '(nothing)'}”",
    )


def _curves(result: DemoResult) -> list[Figures | Note]:
    figures = [
        (
            "validation loss, by step",
            figure_svg(lambda axes: _draw_loss(axes, result), inches=WIDE_INCHES),
        )
    ]
    if result.listener is not None:
        drawing = figure_svg(lambda axes: _draw_errors(axes, result), inches=WIDE_INCHES)
        figures.insert(
            0, ("letters heard wrong in sentences that no training heard, by step", drawing)
        )
    return [Figures(figures=figures)]


def _draw_errors(axes: Axes, result: DemoResult) -> None:
    """Draw a line a language over the steps of training."""
    trained = sorted((s for s in result.speeches if s.step is not None), key=lambda s: s.step or 0)
    styles = iter(("--", ":", "-."))
    for language in _languages(result):
        own = language == result.config.language
        points = [(s.step, e.rate) for s in trained if (e := s.errors(language)) is not None]
        if not points:
            continue
        steps, rates = zip(*points, strict=True)
        color, style = (ACCENT, "-") if own else (INK, next(styles, ":"))
        axes.plot(
            steps,
            [100 * rate for rate in rates],
            style,
            color=color,
            marker="o",
            markersize=3,
            label=_name_of(language),
        )
    axes.set_xlabel("step of training")
    axes.set_ylabel("letters wrong, %")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _draw_loss(axes: Axes, result: DemoResult) -> None:
    found = [r for _, r in read_jsonl(result.folder / RUN / METRICS_FILE) if r["kind"] == "val"]
    axes.plot(
        [r["step"] for r in found],
        [r["loss"] for r in found],
        color=ACCENT,
        marker="o",
        markersize=3,
    )
    axes.set_xlabel("step of training")
    axes.set_ylabel("nats a token")


def _forgetting(result: DemoResult) -> list[Table | Sounds]:
    rows = []
    others = [language for language in _languages(result) if language != result.config.language]
    for language in others:
        before, after, recorded = (result.speech(label).errors(language) for label in LABELS)
        if before is not None and after is not None and recorded is not None:
            change = 100 * (after.rate - before.rate)
            rows.append(
                (
                    _name_of(language),
                    _percent(before),
                    _percent(after),
                    f"{change:+.1f} points",
                    _percent(recorded),
                )
            )
    headers = ["language of the base", "before", "after", "change", "the recordings"]
    blocks: list[Table | Sounds] = [Table(headers=headers, rows=rows)] if rows else []
    return [*blocks, *_heard(result, own=False)]


def _commands(result: DemoResult) -> Table:
    rows = [(done.step.title, done.step.line, format_duration(done.sec)) for done in result.steps]
    return Table(headers=["step", f"command, in {result.folder.name}/", "took"], rows=rows)


FILES = (
    (DATA / "report.html", "what was found in the recordings"),
    (DATA / "train.jsonl", "the clips to learn from"),
    (Path(f"{TOKENIZER}.model"), "the tokenizer of the language"),
    (TUNED, "the last checkpoint"),
    (RUN / "metrics.jsonl", "every loss"),
    (MODELS / f"gpt_{NAME}.pth", "the installed model"),
    (MODELS / f"{NAME}_README.md", "its card"),
    (SPOKEN, "everything that was said"),
    (SCORES, "everything that was heard"),
    (BASE, "the base, as it was"),
)


def _files(result: DemoResult) -> Table:
    rows = list(_rows_of_files(result.folder))
    return Table(headers=["file", "is", "size"], rows=rows)


def _rows_of_files(folder: Path) -> Iterator[tuple[str, str, str]]:
    for path, what in FILES:
        if (folder / path).exists():
            yield (
                str(path) + (os.sep if (folder / path).is_dir() else ""),
                what,
                _size(folder / path),
            )


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return format_bytes(sum(file.stat().st_size for file in files))


def _next(result: DemoResult) -> list[Note | Code]:
    return [
        Note(text="Speak with both on the page, in any voice:"),
        Code(text=result.next_command),
        Note(text="Or teach the base your own recordings: a folder with a transcript in it."),
        Code(text="idiolect demo --real my_recordings --language fr --dir my_demo"),
        Note(text=result.base_unchanged),
    ]


def _languages(result: DemoResult) -> Sequence[str]:
    """Return the languages of the lines, that of the demo first."""
    return list(dict.fromkeys([result.config.language, *(line.language for line in result.lines)]))


def _name_of(code: str) -> str:
    names = NAMES.get(code, code).split()
    return names[0].capitalize()


def _percent(errors: LetterErrors) -> str:
    return f"{errors.rate:.0%}"
