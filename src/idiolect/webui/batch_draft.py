"""The upper half of the Batch tab: lines are written or read from a file, and become a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.studio.batch_files import read_batch_file
from idiolect.studio.batch_lines import COLUMNS, BatchLine, check_lines, seed_of
from idiolect.studio.batch_store import BatchDefaults
from idiolect.studio.loudness import VOLUME_RANGE
from idiolect.studio.roots import below_roots
from idiolect.studio.settings import SpeechSettings, settings_to_mapping
from idiolect.synthesis.request import SPEED_RANGE, sampling_settings
from idiolect.webui.choices import UNSAID, language_choices
from idiolect.webui.desk import Desk
from idiolect.webui.head import NARROW_PX, Head, chosen_entry
from idiolect.webui.messages import Say
from idiolect.webui.sampling_part import build_sampling, sampling_of

FILE_TYPES = [".jsonl", ".csv", ".tsv", ".txt"]
WIDTHS: list[str | int] = ["110px", "360px", "130px", "90px", "90px", "140px", "110px"]
NO_ROWS = [[""] * len(COLUMNS)]

Given = dict[Any, Any]
"""What the controls hold, by control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The controls of the lines that are not a batch yet."""

    file: gr.File
    path: gr.Textbox
    read: gr.Button
    table: gr.Dataframe
    empty: gr.Button
    voice: gr.Dropdown
    clip: gr.Audio
    language: gr.Dropdown
    seed: gr.Textbox
    speed: gr.Slider
    volume: gr.Slider
    sampling: dict[str, Any]
    title: gr.Textbox

    @property
    def asked(self) -> set[Any]:
        """What a batch is read from."""
        return {
            *(self.table, self.voice, self.clip, self.language, self.seed, self.speed),
            *(self.volume, self.title, *self.sampling.values()),
        }


def build_draft(desk: Desk, say: Say) -> Draft:
    """Add the controls."""
    with gr.Row():
        file = gr.File(label=say("batch.file"), file_types=FILE_TYPES, type="filepath")
        with gr.Column():
            path = gr.Textbox(label=say("batch.path"), info=say("batch.path_info"))
            read = gr.Button(say("batch.read"))
    table = gr.Dataframe(
        NO_ROWS,
        headers=[say(f"batch.{name}") for name in COLUMNS],
        column_count=len(COLUMNS),
        column_widths=WIDTHS,
        type="array",
        interactive=True,
        wrap=True,
        label=say("batch.lines"),
        elem_id="batch-lines",
    )
    empty = gr.Button(say("batch.empty"))
    with gr.Row():
        voice = gr.Dropdown(voice_choices(desk, say), value=UNSAID, label=say("batch.voice_of_all"))
        # Without "share" among the buttons: it would send the sound to another host.
        clip = gr.Audio(
            label=say("batch.clip"), type="filepath", sources=["upload", "microphone"], buttons=[]
        )
    controls = _build_settings(desk, say)
    title = gr.Textbox(label=say("batch.title"))
    return Draft(
        file=file,
        path=path,
        read=read,
        table=table,
        empty=empty,
        voice=voice,
        clip=clip,
        title=title,
        **controls,
    )


def _build_settings(desk: Desk, say: Say) -> dict[str, Any]:
    with gr.Row():
        language = gr.Dropdown(
            language_choices(say("batch.as_model")),
            value=UNSAID,
            label=say("batch.language"),
            min_width=NARROW_PX,
        )
        seed = gr.Textbox(label=say("batch.seed_of_all"), max_lines=1)
        speed = gr.Slider(*SPEED_RANGE, value=1.0, step=0.05, label=say("batch.speed"))
        volume = gr.Slider(*VOLUME_RANGE, value=1.0, step=0.05, label=say("batch.volume"))
    with gr.Accordion(say("generate.sampling"), open=False):
        sampling = build_sampling(say, sampling_settings(dict(desk.files.config.generation)))
    return {
        "language": language,
        "seed": seed,
        "speed": speed,
        "volume": volume,
        "sampling": sampling,
    }


def voice_choices(desk: Desk, say: Say) -> list[tuple[str, str]]:
    """Return the voices that a whole batch may have."""
    return [(say("batch.no_voice"), UNSAID), *((name, name) for name in desk.voices.names())]


def lines_of_upload(desk: Desk, file: str | None) -> list[list[Any]]:
    """Return the rows of a file that was uploaded."""
    if file is None:
        return NO_ROWS
    return _rows(read_batch_file(Path(file), desk.batches.places()))


def lines_of_path(desk: Desk, typed: str) -> list[list[Any]]:
    """Return the rows of a file of the declared folders; its clips are named from its folder."""
    path = below_roots(typed, desk.settings.roots)
    return _rows(read_batch_file(path, desk.batches.places(path.parent)))


def _rows(lines: Sequence[BatchLine]) -> list[list[Any]]:
    # A seed as text: JavaScript rounds whole numbers above 2**53.
    return [
        ["" if (value := getattr(line, name)) is None else str(value) for name in COLUMNS]
        for line in lines
    ]


def drafted_lines(desk: Desk, draft: Draft, given: Given) -> list[BatchLine]:
    """Return the lines of the table; rows that hold nothing are passed over.

    Raises:
        UserError: Rows cannot be used, all of them are told; or the columns are others.
    """
    # The table takes files that are dropped on it, and then has the columns of the file.
    if any(len(row) != len(COLUMNS) for row in given[draft.table]):
        raise UserError(
            f"the table has other columns than {', '.join(COLUMNS)}",
            fix="empty it, and give the file to the field above it, which finds the columns",
        )
    records = [
        (f"row {number}", dict(zip(COLUMNS, row, strict=True)))
        for number, row in enumerate(given[draft.table], start=1)
        if any(str(cell or "").strip() for cell in row)
    ]
    return check_lines(records, desk.batches.places(), source="the table")


def drafted_defaults(desk: Desk, draft: Draft, head: Head, given: Given) -> BatchDefaults:
    """Return what holds for every line.

    Raises:
        UserError: The clip cannot be read, or a setting is out of range.
    """
    clip = given[draft.clip]
    settings = SpeechSettings(
        language=given[draft.language] or None,
        seed=seed_of(given[draft.seed]),
        speed=given[draft.speed],
        volume=given[draft.volume],
        sampling=sampling_of({name: given[part] for name, part in draft.sampling.items()}),
    )
    if clip is not None and given[draft.voice]:
        raise UserError(
            "there are two voices for the batch: one of the library and a clip",
            fix="choose no voice of the library, or take the clip away",
        )
    # A clip that was uploaded is kept: the browser's copy is gone before a long batch ends.
    kept = "" if clip is None else str(desk.speech.clips.keep(Path(clip)).resolve())
    return BatchDefaults(
        model=chosen_entry(desk, given[head.model]).name,
        device=given[head.device],
        voice=kept or given[draft.voice],
        settings=settings_to_mapping(settings),
    )
