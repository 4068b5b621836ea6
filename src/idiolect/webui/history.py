"""The History tab: what was spoken, found again, heard again, spoken again, and removed."""

from __future__ import annotations

import html
import json
import time
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.hashes import sha256_file
from idiolect.base.units import format_duration
from idiolect.studio.history import SpokenRecord, Wanted
from idiolect.studio.speech import last_of
from idiolect.webui.desk import Desk
from idiolect.webui.generate import Generate
from idiolect.webui.head import NARROW_PX, Head
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page, user_of

PAGE_ROWS = 50
LOOK_EVERY_SEC = 3.0
"""How often is looked whether others spoke meanwhile."""
DAY_SEC = 24 * 3600
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
SHOWN_LETTERS = 120
"""Of a text in the table; the whole stands below it."""
COLUMNS = ("number", "when", "model", "language", "text", "voice", "seed", "duration", "rtf")
WIDTHS: list[str | int] = [
    *("60px", "190px", "110px", "90px", "320px", "100px", "110px", "90px", "70px"),
]

Given = dict[Any, Any]
"""What the controls hold, by control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Controls:
    """What is looked for."""

    text: gr.Textbox
    model: gr.Dropdown
    since: gr.DateTime
    until: gr.DateTime
    mine: gr.Checkbox
    page: gr.Number

    @property
    def all(self) -> list[Any]:
        return [self.text, self.model, self.since, self.until, self.mine, self.page]


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """What was found."""

    stats: gr.Markdown
    table: gr.Dataframe
    ids: gr.State
    """Of the rows of the table."""

    @property
    def all(self) -> list[Any]:
        return [self.stats, self.table, self.ids]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """The sound that was clicked on."""

    id: gr.State
    sound: gr.Audio
    text: gr.Textbox
    settings: gr.JSON
    told: gr.Markdown

    @property
    def all(self) -> list[Any]:
        return [self.id, self.sound, self.text, self.settings, self.told]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Buttons:
    look: gr.Button
    replay: gr.Button
    again: gr.Button
    delete: gr.Button
    clear: gr.Button
    sure: gr.Button
    meant: gr.State
    """Which sounds the second click removes."""


def build(desk: Desk, say: Say, head: Head, generate: Generate) -> None:
    """Add the tab; a sound is replayed into the controls of ``generate``."""
    with gr.Tab(say("history.tab"), id="history") as tab:
        if desk.history.notice:
            gr.Markdown(html.escape(desk.history.notice))
        controls = _build_controls(desk, say)
        look = gr.Button(say("history.look"))
        found = _List(
            stats=gr.Markdown(),
            table=gr.Dataframe(
                headers=[say(f"history.{name}") for name in COLUMNS],
                column_count=len(COLUMNS),
                column_widths=WIDTHS,
                interactive=False,
                show_label=False,
                elem_id="history-table",
            ),
            ids=gr.State([]),
        )
        chosen = _build_chosen(say)
        with gr.Row():
            replay = gr.Button(say("history.replay"), variant="primary")
            again = gr.Button(say("history.again"))
            delete = gr.Button(say("history.delete"))
        with gr.Row():
            clear = gr.Button(say("history.clear"))
            sure = gr.Button("", variant="stop", visible=False, elem_id="history-sure")
        timer = gr.Timer(LOOK_EVERY_SEC)
        meant = gr.State(None)  # in the tab: beside it, it would count as one
    buttons = _Buttons(
        look=look,
        replay=replay,
        again=again,
        delete=delete,
        clear=clear,
        sure=sure,
        meant=meant,
    )
    shown = _Shown(desk, say, controls, found, chosen)
    _wire_list(shown, buttons, tab, timer)
    _wire_chosen(shown, buttons, head, generate)


def _build_controls(desk: Desk, say: Say) -> _Controls:
    with gr.Row():
        text = gr.Textbox(label=say("history.search"), scale=3, min_width=NARROW_PX)
        model = gr.Dropdown(_models(desk, say), value="", label=say("history.model"))
    with gr.Row():
        since = gr.DateTime(label=say("history.since"), include_time=False)
        until = gr.DateTime(label=say("history.until"), include_time=False)
        mine = gr.Checkbox(label=say("history.mine"), info=say("history.mine_info"))
        page = gr.Number(value=1, minimum=1, precision=0, label=say("history.page"))
    return _Controls(text=text, model=model, since=since, until=until, mine=mine, page=page)


def _models(desk: Desk, say: Say) -> list[tuple[str, str]]:
    return [(say("history.any_model"), ""), *((name, name) for name in desk.history.models())]


def _build_chosen(say: Say) -> _Chosen:
    told = gr.Markdown(say("history.choose"))
    # Without "share" among the buttons: it would send the sound to another host.
    sound = gr.Audio(
        label=say("history.sound"), type="filepath", interactive=False, buttons=["download"]
    )
    text = gr.Textbox(label=say("history.text"), interactive=False, lines=2, max_lines=12)
    with gr.Accordion(say("history.settings"), open=False):
        settings = gr.JSON(show_label=False)
    return _Chosen(id=gr.State(None), sound=sound, text=text, settings=settings, told=told)


class _Shown:
    """What the tab shows, for what its controls hold."""

    def __init__(
        self, desk: Desk, say: Say, controls: _Controls, found: _List, chosen: _Chosen
    ) -> None:
        self.desk = desk
        self.say = say
        self.controls = controls
        self.found = found
        self.chosen = chosen

    def wanted(self, given: Given, request: gr.Request) -> Wanted:
        """Return which sounds are looked for."""
        controls = self.controls
        until_sec = given[controls.until]
        return Wanted(
            text=given[controls.text],
            model=given[controls.model] or None,
            user=user_of(request) if given[controls.mine] else None,
            since_sec=given[controls.since],
            until_sec=None if until_sec is None else until_sec + DAY_SEC,
        )

    def listed(self, given: Given, request: gr.Request) -> Given:
        """Return the page of the list that was asked for."""
        wanted = self.wanted(given, request)
        stats = self.desk.history.stats(wanted)
        pages = max(1, -(-stats.count // PAGE_ROWS))
        page = min(max(1, int(given[self.controls.page] or 1)), pages)
        records = self.desk.history.search(wanted, limit=PAGE_ROWS, offset=(page - 1) * PAGE_ROWS)
        rtf = "–" if stats.median_rtf is None else f"{stats.median_rtf:.2f}"
        duration = format_duration(stats.duration_sec)
        return {
            self.found.stats: self.say(
                "history.stats", n=stats.count, duration=duration, rtf=rtf, page=page, pages=pages
            ),
            self.found.table: [_row(record) for record in records],
            self.found.ids: [record.id for record in records],
        }

    def changed(self, given: Given, request: gr.Request) -> Given:
        """Return the page anew if other sounds are on it; a table that stays keeps its place."""
        now = self.listed(given, request)
        if now[self.found.ids] == given[self.found.ids]:
            return {self.found.stats: now[self.found.stats]}
        return now

    def choice(self, event: gr.SelectData) -> Given:
        """Return what the row that was clicked on is."""
        # By its number, not its place: the list may be another one since the click.
        record = self.desk.history.get(int(event.row_value[COLUMNS.index("number")]))
        is_there = record.path.is_file()
        return {
            self.chosen.id: record.id,
            self.chosen.sound: str(record.path) if is_there else None,
            self.chosen.text: record.text,
            self.chosen.settings: _details(record),
            self.chosen.told: "" if is_there else self.say("history.gone"),
        }

    def again(self, record_id: int | None, device: str, request: gr.Request) -> Given:
        """Speak the chosen sound again, and tell whether it is the same to the last bit."""
        record = self.record(record_id)
        order = self.desk.speech.again(record, device=device, user=user_of(request))
        done = last_of(self.desk.speech.speak(order))
        is_same = record.path.is_file() and sha256_file(record.path) == sha256_file(done.path)
        verdict = "history.identical" if is_same else "history.different"
        return {
            self.chosen.sound: str(done.path),
            self.chosen.told: self.say(
                verdict, old=record.id, new=done.record.id, rtf=f"{done.rtf:.2f}"
            ),
        }

    def delete(self, record_id: int | None) -> Given:
        """Remove the chosen sound."""
        record = self.record(record_id)
        self.desk.history.delete(record.id)
        return self._nothing(self.say("history.deleted", id=record.id))

    def ask(self, given: Given, request: gr.Request) -> tuple[Any, Wanted]:
        """Return the button that removes all that was found, with how many and which they are."""
        wanted = self.wanted(given, request)
        # What is looked for may be changed, and others may speak, before the button is pressed.
        now_sec = time.time()
        until_sec = now_sec if wanted.until_sec is None else min(wanted.until_sec, now_sec)
        wanted = replace(wanted, until_sec=until_sec)
        count = self.desk.history.stats(wanted).count
        return gr.update(value=self.say("history.sure", n=count), visible=count > 0), wanted

    def clear(self, wanted: Wanted | None) -> Given:
        """Remove all that was asked about."""
        count = 0 if wanted is None else self.desk.history.clear(wanted)
        return self._nothing(self.say("history.cleared", n=count))

    def record(self, record_id: int | None) -> SpokenRecord:
        """Return the chosen sound.

        Raises:
            UserError: None is chosen.
        """
        if record_id is None:
            raise UserError("no sound is chosen", fix="click on a row of the list")
        return self.desk.history.get(record_id)

    def _nothing(self, told: str) -> Given:
        chosen = self.chosen
        return {
            chosen.id: None,
            chosen.sound: None,
            chosen.text: "",
            chosen.settings: None,
            chosen.told: told,
        }


def _wire_list(shown: _Shown, buttons: _Buttons, tab: gr.Tab, timer: gr.Timer) -> None:
    controls, found = shown.controls, shown.found
    asked = {*controls.all, found.ids}
    gr.on(
        [
            *(tab.select, buttons.look.click, controls.text.submit, controls.model.input),
            *(controls.since.change, controls.until.change, controls.mine.input),
            controls.page.input,
        ],
        shown_on_page(shown.listed),
        asked,
        found.all,
        show_progress="hidden",
    )
    timer.tick(shown.changed, asked, found.all, show_progress="hidden")
    controls.model.focus(
        lambda: gr.update(choices=_models(shown.desk, shown.say)),
        None,
        controls.model,
        show_progress="hidden",
    )
    buttons.clear.click(shown_on_page(shown.ask), asked, [buttons.sure, buttons.meant])
    cleared = buttons.sure.click(shown_on_page(shown.clear), buttons.meant, shown.chosen.all)
    cleared.then(
        lambda: (gr.update(visible=False), None),
        None,
        [buttons.sure, buttons.meant],
        show_progress="hidden",
    )
    cleared.then(shown.listed, asked, found.all, show_progress="hidden")


def _wire_chosen(shown: _Shown, buttons: _Buttons, head: Head, generate: Generate) -> None:
    controls, found, chosen = shown.controls, shown.found, shown.chosen
    asked = {*controls.all, found.ids}
    found.table.select(shown_on_page(shown.choice), None, chosen.all)
    gr.on(
        [buttons.again.click],
        shown_on_page(shown.again),
        [chosen.id, head.device],
        [chosen.sound, chosen.told],
    ).then(shown.listed, asked, found.all, show_progress="hidden")
    buttons.delete.click(shown_on_page(shown.delete), chosen.id, chosen.all).then(
        shown.listed, asked, found.all, show_progress="hidden"
    )
    buttons.replay.click(
        shown_on_page(lambda record_id: generate.fill(shown.record(record_id))),
        chosen.id,
        generate.filled,
    ).success(None, js=_click_on_tab(shown.say("generate.tab")))


def _click_on_tab(label: str) -> str:
    """Return the script that goes to the tab called ``label``."""
    return (
        "() => [...document.querySelectorAll('button[role=tab]')]"
        f".filter(tab => tab.textContent.trim() === {json.dumps(label)})"
        ".forEach(tab => tab.click())"
    )


def _row(record: SpokenRecord) -> list[str]:
    text = " ".join(record.text.split())
    return [
        str(record.id),
        time.strftime(TIME_FORMAT, time.localtime(record.created_sec)),
        record.model,
        record.language,
        text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…",
        record.voice,
        str(record.seed),
        format_duration(record.duration_sec),
        "–" if record.rtf is None else f"{record.rtf:.2f}",
    ]


def _details(record: SpokenRecord) -> dict[str, Any]:
    """Return everything that is known of a sound, its text aside."""
    return {
        "id": record.id,
        "kind": record.kind,
        "user": record.user,
        "model": record.model,
        "language": record.language,
        "voice": record.voice,
        # JavaScript rounds whole numbers above 2**53.
        "seed": str(record.seed),
        "duration_sec": record.duration_sec,
        "elapsed_sec": record.elapsed_sec,
        "first_sound_sec": record.first_sound_sec,
        "peak_bytes": record.peak_bytes,
        "file": record.path.name,
        "settings": record.settings,
    }
