"""The data of a project: looked at, prepared, listened to, paired, spelt."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from idiolect.base.errors import GuardError, UserError
from idiolect.base.units import format_duration
from idiolect.data.pairs import PairConfig
from idiolect.data.prepare import PrepareConfig
from idiolect.data.sources import SPEAKER_WORDS
from idiolect.studio import dataset as data
from idiolect.studio.commands import pairs_command, prepare_command
from idiolect.studio.projects import ManifestSize, Project
from idiolect.studio.roots import below_roots
from idiolect.studio.shown_page import framed_report
from idiolect.studio.sounds import sound_address
from idiolect.studio.uploads import KEPT_SUFFIXES, take_uploads
from idiolect.text.languages import LANGUAGES
from idiolect.webui.desk import CPU, Desk
from idiolect.webui.head import Head
from idiolect.webui.job_panel import log_panel, submit
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page, user_of

PAGE_ROWS = 10
"""Clips of a list that are shown at once."""
NARROW_PX = 240
JOBS = ("prepare", "pairs")
MANY = 8
"""How many speakers or reasons a line names."""
UPLOAD_KINDS = [".zip", *sorted(KEPT_SUFFIXES)]


def build(desk: Desk, say: Say, head: Head) -> None:  # noqa: ARG001 -- every tab is built alike
    """Add the tab."""
    with gr.Tab(say("dataset.tab"), id="dataset") as tab:
        with gr.Row():
            project = gr.Dropdown(
                desk.projects.names(),
                value=None,
                allow_custom_value=True,
                label=say("dataset.project"),
                info=say("dataset.project_info"),
                scale=3,
            )
            refresh = gr.Button(say("dataset.refresh"), scale=1)
        standing = gr.Markdown()
        job = gr.State("")
        source = _source_part(desk, say, project)
        _prepare_part(desk, say, project, source, job)
        with gr.Accordion(say("dataset.job"), open=True):
            _, stage = log_panel(desk, say, job, tab, JOBS)
        _report_part(desk, say, project)
        _rejected_part(desk, say, project)
        _pairs_part(desk, say, project, job)
        _coverage_part(desk, say, project)

    def look(name: str | None) -> tuple[Any, str]:
        return gr.update(choices=desk.projects.names()), standing_of_data(desk, say, name)

    for event in (tab.select, refresh.click, project.change, stage.change):
        event(shown_on_page(look), project, [project, standing], show_progress="hidden")


def project_of(desk: Desk, name: str | None) -> Project:
    """Return the project that was chosen.

    Raises:
        UserError: None was, or its name cannot be part of a file name.
    """
    if not (name or "").strip():
        raise UserError("no project is chosen", fix="choose one, or type the name of a new one")
    return desk.projects.get(name or "")


def standing_of_data(desk: Desk, say: Say, name: str | None) -> str:
    """Return what data the project has, as Markdown."""
    if not (name or "").strip():
        return ""
    project = project_of(desk, name)
    state = desk.projects.state(project.name)
    lines = [f"`{project.named(project.data_dir)}`"]
    if state.manifest is None:
        lines.append(say("dataset.not_prepared"))
    else:
        lines.append(say("dataset.has_train", size=size_text(state.manifest, say)))
    if state.validation is not None:
        lines.append(say("dataset.has_validation", size=size_text(state.validation, say)))
    if state.manifest is not None:
        lines.append(say("dataset.has_pairs" if state.has_pairs else "dataset.no_pairs"))
    return "  \n".join([*lines, *(html.escape(problem) for problem in state.problems)])


def size_text(size: ManifestSize, say: Say) -> str:
    """Return clips, hours by language and speakers of a manifest, in words."""
    parts = [f"{code} {format_duration(sec)}" for code, sec in size.by_language.items()]
    return say("dataset.size", clips=size.clips, speech=", ".join(parts), speakers=size.speakers)


def _source_part(desk: Desk, say: Say, project: gr.Dropdown) -> list[Any]:
    """Add where the recordings are, and a look at them; return the fields that say so."""
    gr.Markdown(say("dataset.source_title"))
    with gr.Row():
        folder = gr.Textbox(
            label=say("dataset.folder"), info=_roots_text(desk, say), min_width=NARROW_PX
        )
        transcript = gr.Textbox(
            label=say("dataset.transcript"),
            info=say("dataset.transcript_info"),
            min_width=NARROW_PX,
        )
    with gr.Accordion(say("dataset.upload"), open=False):
        files = gr.File(
            label=say("dataset.upload_files"), file_count="multiple", file_types=UPLOAD_KINDS
        )
        take = gr.Button(say("dataset.upload_take"))
    with gr.Row():
        language = gr.Dropdown(
            [(say("dataset.language_told"), ""), *sorted(LANGUAGES)],
            value="",
            allow_custom_value=True,
            label=say("dataset.language"),
            min_width=NARROW_PX,
        )
        speaker_from = gr.Dropdown(
            list(SPEAKER_WORDS),
            value=SPEAKER_WORDS[0],
            allow_custom_value=True,
            label=say("dataset.speaker_from"),
            info=say("dataset.speaker_from_info"),
            min_width=NARROW_PX,
        )
    look = gr.Button(say("dataset.preview"))
    summary, rows = gr.Markdown(), gr.HTML()
    fields = [folder, transcript, language, speaker_from]

    take.click(
        shown_on_page(lambda name, taken: _take(desk, say, name, taken)),
        [project, files],
        [folder, files, summary],
    )
    look.click(shown_on_page(lambda *given: _preview(desk, say, *given)), fields, [summary, rows])
    return fields


def _prepare_part(
    desk: Desk, say: Say, project: gr.Dropdown, source: Sequence[Any], job: gr.State
) -> None:
    usual = PrepareConfig(audio_dir=Path(), output_manifest=Path())
    gr.Markdown(say("dataset.prepare_title"))
    with gr.Row():
        min_sec = gr.Number(usual.min_sec, label=say("dataset.min_sec"), minimum=0)
        max_sec = gr.Number(usual.max_sec, label=say("dataset.max_sec"), minimum=0)
        val_share = gr.Number(
            usual.val_share, label=say("dataset.val_share"), minimum=0, maximum=0.5
        )
    with gr.Row():
        copy = gr.Checkbox(usual.copy, label=say("dataset.copy"), min_width=NARROW_PX)
        allow = gr.Checkbox(
            usual.allow_skips, label=say("dataset.allow_skips"), min_width=NARROW_PX
        )
    start = gr.Button(say("dataset.prepare"), variant="primary")

    # Gradio gives the visit to whoever asks for it by its type.
    def prepare(  # noqa: PLR0913, PLR0917 -- one for each field
        name: str | None,
        folder: str,
        transcript: str,
        language: str,
        speaker_from: str,
        shortest: float,
        longest: float,
        share: float,
        copied: bool,  # noqa: FBT001 -- gradio passes by position
        allowed: bool,  # noqa: FBT001
        request: gr.Request,
    ) -> str:
        found = project_of(desk, name)
        audio_dir, file = _source(desk, folder, transcript)
        desk.projects.make(found.name)
        config = PrepareConfig(
            audio_dir=found.named(audio_dir),
            transcript_file=None if file is None else found.named(file),
            output_manifest=found.named(found.manifest),
            language=language or None,
            speaker_from=speaker_from,
            min_sec=shortest,
            max_sec=longest,
            val_share=share,
            copy=copied,
            allow_skips=allowed,
        )
        title = say("dataset.job_prepare", project=found.name)
        return submit(
            desk,
            found,
            prepare_command(config),
            device=CPU,
            kind="prepare",
            title=title,
            user=user_of(request),
        )

    asked = [project, *source, min_sec, max_sec, val_share, copy, allow]
    start.click(shown_on_page(prepare), asked, job)


def _report_part(desk: Desk, say: Say, project: gr.Dropdown) -> None:
    with gr.Accordion(say("dataset.report_title"), open=False):
        show = gr.Button(say("dataset.report"))
        frame = gr.HTML()

    def report(name: str | None) -> str:
        found = project_of(desk, name)
        title = say("dataset.report_title")
        return framed_report(found.report, desk.settings.roots, title=title)

    show.click(shown_on_page(report), project, frame)


def _rejected_part(desk: Desk, say: Say, project: gr.Dropdown) -> None:
    with gr.Accordion(say("dataset.rejected_title"), open=False):
        with gr.Row():
            reason = gr.Dropdown(
                [(say("dataset.all_reasons"), "")],
                value="",
                label=say("dataset.reason"),
                scale=3,
                min_width=NARROW_PX,
            )
            page = gr.Number(1, label=say("dataset.page"), precision=0, minimum=1, scale=1)
            show = gr.Button(say("dataset.rejected"), scale=1)
        rows = gr.HTML()

    def rejected(name: str | None, why: str, number: float) -> tuple[Any, str]:
        return _rejected(desk, say, project_of(desk, name), why or "", int(number or 1))

    asked = [project, reason, page]
    for event in (show.click, page.change):
        event(shown_on_page(rejected), asked, [reason, rows])
    reason.input(lambda: 1, None, page)
    reason.input(
        shown_on_page(lambda n, why: rejected(n, why, 1)), [project, reason], [reason, rows]
    )


def _pairs_part(desk: Desk, say: Say, project: gr.Dropdown, job: gr.State) -> None:
    usual = PairConfig()
    with gr.Accordion(say("dataset.pairs_title"), open=False):
        with gr.Row():
            each = gr.Number(
                usual.pairs_per_target, label=say("dataset.pairs_each"), precision=0, minimum=1
            )
            own = gr.Checkbox(usual.self_pairs, label=say("dataset.self_pairs"))
        make = gr.Button(say("dataset.pairs"))

    def pairs(
        name: str | None,
        number: float,
        alone: bool,  # noqa: FBT001 -- gradio passes by position
        request: gr.Request,
    ) -> str:
        found = project_of(desk, name)
        command = pairs_command(
            found.named(found.manifest),
            found.named(found.pairs),
            PairConfig(pairs_per_target=int(number), self_pairs=alone),
        )
        title = say("dataset.job_pairs", project=found.name)
        return submit(
            desk,
            found,
            command,
            device=CPU,
            kind="pairs",
            title=title,
            user=user_of(request),
        )

    make.click(shown_on_page(pairs), [project, each, own], job)


def _coverage_part(desk: Desk, say: Say, project: gr.Dropdown) -> None:
    with gr.Accordion(say("dataset.coverage_title"), open=False):
        with gr.Row():
            which = gr.Radio(
                [(say("dataset.tokenizer_own"), "own"), (say("dataset.tokenizer_base"), "base")],
                value="own",
                label=say("dataset.tokenizer"),
            )
            measure = gr.Button(say("dataset.coverage"))
        summary, unknown = gr.Markdown(), gr.HTML()

    def coverage(name: str | None, tokenizer: str) -> tuple[str, str]:
        found = project_of(desk, name)
        path = found.tokenizer if tokenizer == "own" else desk.files.tokenizer
        return _coverage(say, path, found.manifest)

    measure.click(shown_on_page(coverage), [project, which], [summary, unknown])


def _roots_text(desk: Desk, say: Say) -> str:
    # By name: where on the machine that is, is nobody's business who only visits the page.
    roots = ", ".join(root.resolve().name for root in desk.settings.roots)
    return say("dataset.folder_info", roots=roots)


def _take(
    desk: Desk, say: Say, name: str | None, files: Sequence[str] | None
) -> tuple[str, None, str]:
    project = project_of(desk, name)
    count = take_uploads([Path(each) for each in files or ()], project.uploads)
    return str(project.named(project.uploads)), None, say("dataset.taken", n=count)


def _source(desk: Desk, folder: str, transcript: str | None) -> tuple[Path, Path | None]:
    roots = desk.settings.roots
    found = below_roots(transcript, roots) if transcript and transcript.strip() else None
    return below_roots(folder or "", roots), found


def _preview(
    desk: Desk, say: Say, folder: str, transcript: str, language: str, speaker_from: str
) -> tuple[str, str]:
    audio_dir, file = _source(desk, folder, transcript)
    found = data.preview(audio_dir, file, language=language or "", speaker_from=speaker_from)
    about = "dataset.about" if found.is_estimate else "dataset.exactly"
    lines = [
        say("dataset.preview_files", files=found.num_audio, folder=audio_dir),
        say("dataset.preview_transcript", form=found.form, path=found.transcript),
        say(
            "dataset.preview_clips",
            clips=found.num_clips,
            speech=say(about, time=format_duration(found.seconds)),
        ),
        say("dataset.preview_languages", languages=_languages(found, say)),
        say(
            "dataset.preview_speakers",
            count=len(found.speakers),
            speakers=_counted(found.speakers.most_common(MANY)),
            by=found.speakers_told_by,
        ),
    ]
    if found.faults:
        lines.append(say("dataset.preview_faults", faults=_counted(found.faults.most_common(MANY))))
    rows = (
        (
            row.text,
            row.speaker,
            row.language,
            player(desk, say, row.audio, row.start_sec, row.end_sec),
        )
        for row in found.rows
    )
    names = ("text", "speaker", "language", "sound")
    return "  \n".join(map(html.escape, lines)), table([say(f"dataset.{n}") for n in names], rows)


def _languages(found: data.Preview, say: Say) -> str:
    if data.UNTOLD in found.languages:
        return say("dataset.language_unknown")
    return _counted(found.languages.most_common(MANY))


def _counted(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in pairs)


def _rejected(desk: Desk, say: Say, project: Project, reason: str, page: int) -> tuple[Any, str]:
    counts = data.rejected_counts(project.rejected)
    reason = reason if reason in counts else ""
    first = PAGE_ROWS * (page - 1)
    clips = data.rejected_clips(project.rejected, reason, first=first, count=PAGE_ROWS)
    rows = (
        (
            f"{clip.reason} {f'({clip.detail})' if clip.detail else ''}",
            clip.fix,
            clip.name,
            clip.text,
            player(desk, say, clip.audio, clip.start_sec, clip.end_sec),
        )
        for clip in clips
    )
    names = ("reason", "fix", "clip", "text", "sound")
    choices = [(say("dataset.all_reasons") + f" ({counts.total()})", "")]
    choices += [(f"{name} ({count})", name) for name, count in counts.most_common()]
    shown = table([say(f"dataset.{n}") for n in names], rows) if clips else ""
    nothing = html.escape(say("dataset.none_rejected"))
    return gr.update(choices=choices, value=reason), shown or f"<p>{nothing}</p>"


def _coverage(say: Say, tokenizer: Path, manifest: Path) -> tuple[str, str]:
    report = data.coverage(tokenizer, manifest)
    lines = [
        say("dataset.coverage_texts", texts=report.num_texts, tokens=report.num_tokens),
        say("dataset.coverage_chars", chars=f"{report.chars_per_token:.2f}"),
        say("dataset.coverage_unknown", share=f"{report.unknown_rate:.3%}", n=report.num_unknown),
        say("dataset.coverage_used", share=f"{report.used_share:.1%}", pieces=report.num_pieces),
    ]
    found = data.unknown_with_examples(report, tokenizer, manifest)
    names = ("unknown", "count", "example")
    shown = table([say(f"dataset.{n}") for n in names], found) if found else ""
    return "  \n".join(lines), shown


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def player(
    desk: Desk, say: Say, path: Path | None, start_sec: float | None, end_sec: float | None
) -> Markup:
    """Return a player of a clip below the declared folders; a dash for any other."""
    try:
        found = below_roots(path, desk.settings.roots) if path is not None else None
    except GuardError:
        found = None
    address = None if found is None else sound_address(found, start_sec, end_sec)
    if address is None:
        return Markup("–")
    label = html.escape(say("dataset.sound"))
    return Markup(
        f'<audio controls preload="metadata" src="{address}" aria-label="{label}"></audio>'
    )


def table(names: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as HTML; every text in it is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows
    )
    return (
        f'<div style="overflow-x:auto"><table style="width:100%"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    return value if isinstance(value, Markup) else html.escape(str(value))
