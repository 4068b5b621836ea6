"""The list of jobs, and what can be done with one."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.webui.desk import Desk
from idiolect.webui.job_panel import status_text
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page, user_of

NARROW_PX = 200
LISTED_JOBS = 50


def build_job_list(
    desk: Desk, say: Say, project: gr.Dropdown, job: gr.State, timer: gr.Timer
) -> gr.Dropdown:
    """Add the list of jobs, and what can be done with one; return what chooses it."""
    gr.Markdown(say("train.jobs_title"))
    columns = ("number", "job_title", "device", "status", "began")
    rows = gr.Dataframe(
        [],
        headers=[say(f"train.{name}") for name in columns],
        interactive=False,
        wrap=True,
        label=say("train.jobs"),
    )
    with gr.Row():
        chosen = gr.Dropdown([], label=say("train.chosen"), scale=3, min_width=NARROW_PX)
        stop = gr.Button(say("train.stop"), variant="stop", min_width=NARROW_PX)
        again = gr.Button(say("train.resume"), min_width=NARROW_PX)
        forget = gr.Button(say("train.forget"), min_width=NARROW_PX)

    def listed(seen: list[list[str]]) -> tuple[Any, Any]:
        desk.jobs.wake()
        found = _job_rows(desk, say)
        if found == seen:
            return gr.skip(), gr.skip()
        return found, found

    def resume(job_id: str | None, request: gr.Request) -> str:
        return desk.jobs.again(_chosen(job_id), user=user_of(request)).id

    drawn = gr.State([])
    for event in (timer.tick, job.change):
        event(listed, drawn, [rows, drawn], show_progress="hidden")
    chosen.focus(lambda: job_choices(desk), None, chosen, show_progress="hidden")
    chosen.input(lambda job_id: job_id, chosen, job)
    stop.click(shown_on_page(lambda job_id: desk.jobs.stop(_chosen(job_id)).id), chosen, job)
    again.click(shown_on_page(resume), chosen, job)
    forget.click(shown_on_page(lambda job_id: _forget(desk, job_id)), chosen, [chosen, job])
    job.change(
        lambda job_id: gr.update(choices=_choices(desk), value=job_id or None),
        job,
        chosen,
        show_progress="hidden",
    )
    project.change(lambda: job_choices(desk), None, chosen, show_progress="hidden")
    return chosen


def _chosen(job_id: str | None) -> str:
    if not job_id:
        raise UserError("no job is chosen", fix="choose one of the list")
    return job_id


def _forget(desk: Desk, job_id: str | None) -> tuple[Any, str]:
    desk.jobs.remove(_chosen(job_id))
    return gr.update(choices=_choices(desk), value=None), ""


def _job_rows(desk: Desk, say: Say) -> list[list[str]]:
    return [
        [job.id, job.title, job.device, status_text(job, say), _clock(job.created_sec)]
        for job in desk.jobs.list()[:LISTED_JOBS]
    ]


def _clock(since_1970_sec: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(since_1970_sec))


def job_choices(desk: Desk) -> Any:
    """Return the update of what chooses a job."""
    return gr.update(choices=_choices(desk))


def _choices(desk: Desk) -> list[tuple[str, str]]:
    return [(f"{job.id} · {job.title}", job.id) for job in desk.jobs.list()[:LISTED_JOBS]]
