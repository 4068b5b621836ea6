"""The Batch tab: many lines become a batch; what becomes of each is seen, heard, and taken away."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.units import format_duration
from idiolect.studio.batch_lines import COLUMNS
from idiolect.studio.batch_store import Batch, BatchRow
from idiolect.webui.batch_draft import (
    NO_ROWS,
    Draft,
    Given,
    build_draft,
    drafted_defaults,
    drafted_lines,
    lines_of_path,
    lines_of_upload,
    voice_choices,
)
from idiolect.webui.choices import offered
from idiolect.webui.desk import Desk
from idiolect.webui.head import NARROW_PX, Head
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page, user_of

PAGE_ROWS = 100
LOOK_EVERY_SEC = 1.0
"""How often is looked how far the batch is."""
SHOWN = ("chosen", "number", "name", "state", "text", "seed", "duration", "rtf", "why")
WIDTHS: list[str | int] = [
    *("50px", "50px", "110px", "100px", "300px", "110px", "90px", "70px", "260px"),
]
SHOWN_LETTERS = 120
"""Of a text in the table."""
MARK = "✓"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """The lower half: one batch, and what became of its lines."""

    mine: gr.Checkbox
    batch: gr.Dropdown
    progress: gr.HTML
    page: gr.Number
    table: gr.Dataframe
    chosen: gr.State
    """Numbers of the rows that were clicked on."""
    seen: gr.State
    """What the table shows."""
    sound: gr.Audio
    told: gr.Markdown
    archive: gr.File

    @property
    def asked(self) -> set[Any]:
        return {self.mine, self.batch, self.page, self.chosen, self.seen}

    @property
    def listed(self) -> list[Any]:
        return [self.batch, self.progress, self.table, self.chosen, self.seen]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Buttons:
    make: gr.Button
    add: gr.Button
    run: gr.Button
    cancel: gr.Button
    retry: gr.Button
    again: gr.Button
    edit: gr.Button
    drop: gr.Button
    none: gr.Button
    zip: gr.Button
    delete: gr.Button
    sure: gr.Button


def build(desk: Desk, say: Say, head: Head) -> None:
    """Add the tab."""
    with gr.Tab(say("batch.tab"), id="batch") as tab:
        draft = build_draft(desk, say)
        with gr.Row():
            make = gr.Button(say("batch.make"), variant="primary")
            add = gr.Button(say("batch.add"))
        results, buttons = _build_results(say, make, add)
        timer = gr.Timer(LOOK_EVERY_SEC)
    shown = _Shown(desk, say, head, draft, results)
    _wire_draft(shown, buttons)
    _wire_list(shown, tab, timer)
    _wire_batch(shown, buttons)
    _wire_rows(shown, buttons)


def _build_results(say: Say, make: gr.Button, add: gr.Button) -> tuple[_Results, _Buttons]:
    told = gr.Markdown(elem_id="batch-told")
    with gr.Row():
        batch = gr.Dropdown([], label=say("batch.batch"), scale=3, min_width=NARROW_PX)
        mine = gr.Checkbox(label=say("batch.mine"), info=say("batch.mine_info"))
        page = gr.Number(value=1, minimum=1, precision=0, label=say("batch.page"))
    progress = gr.HTML()
    with gr.Row():
        run, cancel, retry, archived = (
            gr.Button(say(f"batch.{name}")) for name in ("run", "cancel", "retry", "zip")
        )
    archive = gr.File(label=say("batch.archive"), visible=False, interactive=False)
    table = gr.Dataframe(
        headers=[say(f"batch.{name}") for name in SHOWN],
        column_count=len(SHOWN),
        column_widths=WIDTHS,
        interactive=False,
        label=say("batch.results"),
        elem_id="batch-results",
    )
    sound = gr.Audio(
        label=say("batch.sound"), type="filepath", interactive=False, buttons=["download"]
    )
    with gr.Row():
        again, edit, drop, none = (
            gr.Button(say(f"batch.{name}")) for name in ("again", "edit", "drop", "choose_none")
        )
    with gr.Row():
        delete = gr.Button(say("batch.delete"))
        sure = gr.Button(say("batch.sure"), variant="stop", visible=False)
    results = _Results(
        mine=mine,
        batch=batch,
        progress=progress,
        page=page,
        table=table,
        chosen=gr.State([]),
        seen=gr.State(None),
        sound=sound,
        told=told,
        archive=archive,
    )
    buttons = _Buttons(
        make=make,
        add=add,
        run=run,
        cancel=cancel,
        retry=retry,
        again=again,
        edit=edit,
        drop=drop,
        none=none,
        zip=archived,
        delete=delete,
        sure=sure,
    )
    return results, buttons


class _Shown:
    """What the tab shows, for what its controls hold."""

    def __init__(self, desk: Desk, say: Say, head: Head, draft: Draft, results: _Results) -> None:
        self.desk = desk
        self.say = say
        self.head = head
        self.draft = draft
        self.results = results

    def make(self, given: Given, request: gr.Request) -> Given:
        """Make a batch of the lines of the table, and speak it."""
        batch = self.desk.batches.create(
            drafted_lines(self.desk, self.draft, given),
            drafted_defaults(self.desk, self.draft, self.head, given),
            user=user_of(request),
            title=(given[self.draft.title] or "").strip(),
        )
        self.desk.batches.run(batch.id)
        choices = self.choices(given[self.results.mine], request)
        return {
            self.results.batch: gr.update(choices=choices, value=batch.id),
            self.results.chosen: [],
            self.results.told: self.say("batch.made", n=len(batch.rows)),
        }

    def add(self, given: Given) -> str:
        """Add the lines of the table to the batch that is chosen, and speak them."""
        lines = drafted_lines(self.desk, self.draft, given)
        self.desk.batches.add(self.batch(given).id, lines)
        self.desk.batches.run(given[self.results.batch])
        return self.say("batch.added", n=len(lines))

    def choices(self, is_mine: bool, request: gr.Request) -> list[tuple[str, str]]:  # noqa: FBT001 -- a checkbox
        """Return the batches that may be looked at, newest first."""
        batches = self.desk.batches.all(user_of(request) if is_mine else None)
        return [(f"{batch.title} ({len(batch.rows)})", batch.id) for batch in batches]

    def batch(self, given: Given) -> Batch:
        """Return the batch that is chosen.

        Raises:
            UserError: None is, or it is gone.
        """
        if not given[self.results.batch]:
            raise UserError("no batch is chosen", fix="make one, or choose one of the list")
        return self.desk.batches.get(given[self.results.batch])

    def looked(self, given: Given, request: gr.Request) -> Given:
        """Return how far the batch is; the table only when it changed, so that it keeps still."""
        results = self.results
        choices = self.choices(given[results.mine], request)
        ids = [batch_id for _, batch_id in choices]
        batch_id = given[results.batch]
        if batch_id not in ids:
            batch_id = ids[0] if ids else None
        rows = self.desk.batches.get(batch_id).rows if batch_id else ()
        numbers = {row.number for row in rows}
        chosen = [n for n in given[results.chosen] if n in numbers]
        seen = (choices, batch_id, given[results.page], chosen, rows)
        if repr(seen) == given[results.seen]:
            return {results.seen: given[results.seen]}
        return {
            results.batch: offered(choices, had=given[results.batch], wanted=batch_id),
            results.progress: self._progress(batch_id),
            results.table: [self._row(row, chosen) for row in _page(rows, given[results.page])],
            results.chosen: chosen,
            results.seen: repr(seen),
        }

    def choice(self, given: Given, event: gr.SelectData) -> Given:
        """Choose the row that was clicked on, or leave it again; its sound can be heard."""
        # By its number, not its place: rows may be taken out since the click.
        number = int(event.row_value[SHOWN.index("number")])
        row = next((row for row in self.batch(given).rows if row.number == number), None)
        if row is None:
            raise UserError("this row is no longer there", fix="click on another one")
        chosen = given[self.results.chosen]
        others = [number for number in chosen if number != row.number]
        return {
            self.results.chosen: others if row.number in chosen else [*chosen, row.number],
            self.results.sound: row.path if row.path and Path(row.path).is_file() else None,
        }

    def again(self, given: Given) -> str:
        """Speak the chosen rows again."""
        batch, chosen = self.batch(given), self._some(given)
        self.desk.batches.retry(batch.id, chosen)
        return self.say("batch.again_told", n=len(chosen))

    def edit(self, given: Given) -> list[list[Any]]:
        """Return the chosen rows as lines to be changed and made a batch of, or added."""
        chosen = self._some(given)
        return [
            ["" if (held := getattr(row.line, name)) is None else str(held) for name in COLUMNS]
            for row in self.batch(given).rows
            if row.number in chosen
        ]

    def drop(self, given: Given) -> Given:
        """Take the chosen rows out of the batch."""
        chosen = self._some(given)
        self.desk.batches.delete_rows(self.batch(given).id, chosen)
        return {
            self.results.chosen: [],
            self.results.told: self.say("batch.dropped", n=len(chosen)),
        }

    def zip(self, given: Given) -> Any:
        """Return the archive of what was spoken."""
        path = self.desk.batches.zip(self.batch(given).id)
        return gr.update(value=str(path.resolve()), visible=True)

    def delete(self, given: Given) -> Given:
        """Forget the batch."""
        batch = self.batch(given)
        self.desk.batches.delete(batch.id)
        return {
            self.results.archive: gr.update(value=None, visible=False),
            self.results.told: self.say("batch.deleted", title=html.escape(batch.title)),
        }

    def _some(self, given: Given) -> list[int]:
        chosen: list[int] = given[self.results.chosen]
        if not chosen:
            raise UserError("no row is chosen", fix="click on rows of the table below")
        return chosen

    def _progress(self, batch_id: str | None) -> str:
        if batch_id is None:
            return html.escape(self.say("batch.nothing"))
        batch = self.desk.batches.get(batch_id)
        ended = batch.count("done", "failed", "cancelled")
        left = batch.count("waiting", "speaking")
        is_running = self.desk.batches.is_running(batch_id)
        eta = batch.eta_sec
        words = [
            self.say(
                "batch.progress",
                done=batch.count("done"),
                n=len(batch.rows),
                failed=batch.count("failed"),
                cancelled=batch.count("cancelled"),
            ),
            self.say("batch.eta", eta=format_duration(eta)) if is_running and left and eta else "",
            self.say("batch.rests", n=left) if left and not is_running else "",
        ]
        text = html.escape(" ".join(filter(None, words)))
        return (
            f'<progress style="width:100%" max="{max(1, len(batch.rows))}" value="{ended}">'
            f"</progress><p>{text}</p>"
        )

    def _row(self, row: BatchRow, chosen: list[int]) -> list[str]:
        text = " ".join(row.line.text.split())
        is_spoken = row.state == "done" and row.duration_sec > 0
        return [
            MARK if row.number in chosen else "",
            str(row.number),
            row.line.name,
            self.say(f"batch.{row.state}"),
            text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…",
            "" if row.seed is None else str(row.seed),
            format_duration(row.duration_sec) if is_spoken else "",
            f"{row.elapsed_sec / row.duration_sec:.2f}" if is_spoken else "",
            row.why,
        ]


def _page(rows: tuple[BatchRow, ...], page: float | None) -> tuple[BatchRow, ...]:
    last = max(0, (len(rows) - 1) // PAGE_ROWS)
    first = min(max(1, int(page or 1)) - 1, last) * PAGE_ROWS
    return rows[first : first + PAGE_ROWS]


def _wire_draft(shown: _Shown, buttons: _Buttons) -> None:
    draft, results, desk = shown.draft, shown.results, shown.desk
    asked = {*draft.asked, shown.head.model, shown.head.device, results.batch, results.mine}
    draft.file.upload(
        shown_on_page(lambda file: lines_of_upload(desk, file)), draft.file, draft.table
    )
    gr.on(
        [draft.read.click, draft.path.submit],
        shown_on_page(lambda typed: lines_of_path(desk, typed)),
        draft.path,
        draft.table,
    )
    draft.empty.click(lambda: (NO_ROWS, None), None, [draft.table, draft.file])
    draft.voice.focus(
        lambda: gr.update(choices=voice_choices(desk, shown.say)),
        None,
        draft.voice,
        show_progress="hidden",
    )
    buttons.make.click(
        shown_on_page(shown.make), asked, [results.batch, results.chosen, results.told]
    )
    buttons.add.click(shown_on_page(shown.add), asked, results.told)


def _wire_list(shown: _Shown, tab: gr.Tab, timer: gr.Timer) -> None:
    results = shown.results
    gr.on(
        [
            *(tab.select, timer.tick, results.batch.input, results.mine.input),
            *(results.page.input, results.chosen.change),
        ],
        shown_on_page(shown.looked),
        results.asked,
        results.listed,
        show_progress="hidden",
    )


def _wire_batch(shown: _Shown, buttons: _Buttons) -> None:
    results, batches, asked = shown.results, shown.desk.batches, shown.results.asked
    for button, work, message in (
        (buttons.run, batches.run, "batch.runs"),
        (buttons.cancel, batches.cancel, "batch.cancels"),
        (buttons.retry, batches.retry, "batch.retries"),
    ):
        told = shown.say(message)

        def act(given: Given, work: Any = work, told: str = told) -> str:
            work(shown.batch(given).id)
            return told

        button.click(shown_on_page(act), asked, results.told)
    buttons.zip.click(shown_on_page(shown.zip), asked, results.archive)
    buttons.delete.click(
        shown_on_page(lambda given: gr.update(visible=bool(shown.batch(given)))),
        asked,
        buttons.sure,
    )
    buttons.sure.click(shown_on_page(shown.delete), asked, [results.archive, results.told]).then(
        lambda: gr.update(visible=False), None, buttons.sure, show_progress="hidden"
    )

    # Another batch than the one that was asked about is never deleted.
    results.batch.change(
        lambda: gr.update(visible=False), None, buttons.sure, show_progress="hidden"
    )


def _wire_rows(shown: _Shown, buttons: _Buttons) -> None:
    results, asked = shown.results, shown.results.asked
    results.table.select(
        shown_on_page(shown.choice), asked, [results.chosen, results.sound], show_progress="hidden"
    )
    buttons.again.click(shown_on_page(shown.again), asked, results.told)
    buttons.edit.click(shown_on_page(shown.edit), asked, shown.draft.table)
    buttons.drop.click(shown_on_page(shown.drop), asked, [results.chosen, results.told])
    buttons.none.click(list, None, results.chosen, show_progress="hidden")
