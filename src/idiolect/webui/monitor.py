"""The monitor: what a run of training does now, how it came there, how it sounds."""

from __future__ import annotations

from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.studio.run_compare import compare_runs
from idiolect.studio.run_curves import curves_over
from idiolect.studio.run_samples import sample_steps, spoken_at
from idiolect.studio.runs import Runs, log_tail
from idiolect.webui import monitor_shown as shown
from idiolect.webui.choices import offered
from idiolect.webui.desk import Desk
from idiolect.webui.head import Head
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page

LOOK_EVERY_SEC = 5.0
FEWEST_COMPARED, MOST_COMPARED = 2, 4
PARTS = ("tiles", "links", "notices", "figures", "kept")
"""What a look fills, from top to bottom; the log comes last."""
NARROW_PX = 260


def build(desk: Desk, say: Say, head: Head) -> None:  # noqa: ARG001 -- every tab is built alike
    """Add the tab."""
    with gr.Tab(say("monitor.tab"), id="monitor") as tab:
        gr.HTML(shown.style(), padding=False)
        run = gr.Dropdown([], label=say("monitor.run"))
        with gr.Row():
            auto = gr.Checkbox(value=True, label=say("monitor.auto"), min_width=NARROW_PX)
            refresh = gr.Button(say("monitor.refresh"), min_width=NARROW_PX)
        parts = [gr.HTML() for _ in PARTS]
        drawn = gr.State("")
        steps = _sounds(desk.runs, say, run)
        with gr.Accordion(say("monitor.log"), open=False):
            parts.append(gr.HTML())
        others = _compare(desk.runs, say)
        timer = gr.Timer(LOOK_EVERY_SEC, active=False)

    asked, filled = [run, steps, others, drawn], [run, steps, others, drawn, *parts]
    look = shown_on_page(lambda *given: _look(desk.runs, say, *given))
    for event in (tab.select, refresh.click, timer.tick, run.input):
        event(look, asked, filled, show_progress="hidden")
    # Off is off: a timer that is not active asks the server for nothing.
    for event in (tab.select, auto.input):
        event(lambda on: gr.Timer(active=on), auto, timer, show_progress="hidden")


def _look(
    runs: Runs, say: Say, name: str | None, steps: list[int], compared: list[str], drawn: str
) -> list[Any]:
    """Return what is there to choose, of which figures the drawings are, and all parts."""
    found = {each.id: each for each in runs.listed()}
    choices = [(each.title, each.id) for each in found.values()]
    own = name if name in found else next(iter(found), None)
    still = [each for each in compared or [] if each in found]
    others = offered(choices, had=compared or [], wanted=still)
    run = offered(choices, had=name, wanted=own)
    if own is None:
        nothing = [shown.message(say("monitor.no_runs")), *([""] * len(PARTS))]
        return [run, gr.update(choices=[], value=[]), others, "", *nothing]
    view = runs.look(own)
    seen = f"{own}/{view.changes}"
    figures = gr.skip() if seen == drawn else shown.run_figures(view, say)
    made = [
        shown.tiles(view, say),
        shown.links(view, say),
        shown.notices(runs, view, say),
        figures,
        shown.kept(view, say),
        shown.log(log_tail(view.found.folder), say),
    ]
    spoken = sample_steps(view.found.folder)
    is_other = drawn.partition("/")[0] != own
    heard = _first_heard(spoken) if is_other else [step for step in steps or [] if step in spoken]
    return [run, offered(spoken, had=steps or [], wanted=heard), others, seen, *made]


def _first_heard(steps: list[int]) -> list[int]:
    """Return what is heard at first: before the first step, and last."""
    return list(dict.fromkeys([*steps[:1], *steps[-1:]]))


def _sounds(runs: Runs, say: Say, run: gr.Dropdown) -> gr.Dropdown:
    """Add the players; return what chooses the steps."""
    gr.Markdown(f"## {say('monitor.sounds')}")
    with gr.Row():
        steps = gr.Dropdown([], multiselect=True, label=say("monitor.steps"), min_width=NARROW_PX)
        language = gr.Dropdown(
            [(say("monitor.all_languages"), "")],
            value="",
            label=say("monitor.language"),
            min_width=NARROW_PX,
        )
    players = gr.HTML()

    def play(name: str | None, chosen: list[int], spoken_in: str) -> tuple[Any, str]:
        every = spoken_at(runs.get(name).folder, chosen or []) if name else []
        languages = sorted({one.language for one in every})
        wanted = spoken_in if spoken_in in languages else ""
        choices = [(say("monitor.all_languages"), ""), *((code, code) for code in languages)]
        heard = [one for one in every if wanted in {"", one.language}]
        update = offered(choices, had=spoken_in, wanted=wanted)
        return update, shown.sounds(name or "", heard, say)

    for event in (steps.change, language.input):
        event(
            shown_on_page(play),
            [run, steps, language],
            [language, players],
            show_progress="hidden",
        )
    return steps


def _compare(runs: Runs, say: Say) -> gr.Dropdown:
    """Add runs side by side; return what chooses them."""
    with gr.Accordion(say("monitor.compare"), open=False):
        others = gr.Dropdown(
            [],
            multiselect=True,
            max_choices=MOST_COMPARED,
            label=say("monitor.runs", most=MOST_COMPARED),
        )
        button = gr.Button(say("monitor.compare_button"))
        side_by_side, over = gr.HTML(), gr.HTML()

    def compare(names: list[str] | None) -> tuple[str, str]:
        if len(names or []) < FEWEST_COMPARED:
            raise UserError(say("monitor.too_few"), fix=say("monitor.too_few_fix"))
        views = [runs.look(name) for name in names or []]
        curves = curves_over({view.found.title: view.history for view in views})
        return shown.compared(compare_runs(views), say), shown.figures(curves, say)

    button.click(shown_on_page(compare), others, [side_by_side, over])
    return others
