"""Jobs as tabs show them: one that was just ordered, with its log, as it goes on."""

from __future__ import annotations

import html
import shlex
from collections.abc import Collection, Sequence
from typing import Any

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.units import format_duration
from idiolect.studio.jobs import Job
from idiolect.studio.projects import Project
from idiolect.webui.desk import Desk
from idiolect.webui.messages import Say
from idiolect.webui.shown import shown_on_page

LOOK_EVERY_SEC = 2.0
LOG_LINES = 14
MAX_LOG_CHARS = 60_000
Seen = tuple[str, int, str]
"""A job, how far its log was read, and what of it is shown."""
NOTHING_SEEN: Seen = ("", 0, "")


def log_panel(
    desk: Desk, say: Say, job: gr.State, tab: gr.Tab, kinds: Collection[str]
) -> tuple[gr.Timer, gr.State]:
    """Add how the job in ``job`` stands, and its log.

    Returns the clock by which they go on, and a state that changes when a job begins or ends: what
    else shows what is there then looks again.

    Args:
        desk: Has the jobs.
        say: The page's language.
        job: Holds the id of a job, or nothing.
        tab: The clock ticks once it was opened.
        kinds: What jobs of the tab are; one that is at work when a visitor comes is shown.
    """
    standing = gr.HTML()
    log = gr.Textbox(label=say("train.log"), lines=1, max_lines=LOG_LINES, interactive=False)
    seen, stage = gr.State(NOTHING_SEEN), gr.State("")
    timer = gr.Timer(LOOK_EVERY_SEC, active=False)
    look = shown_on_page(lambda *given: _look(desk, say, *given))
    for event in (timer.tick, job.change):
        event(look, [job, seen], [seen, standing, log, stage], show_progress="hidden")
    tab.select(lambda: gr.Timer(active=True), None, timer, show_progress="hidden")
    tab.select(lambda job_id: job_id or _at_work(desk, kinds), job, job, show_progress="hidden")
    return timer, stage


def _at_work(desk: Desk, kinds: Collection[str]) -> str:
    """Return the job of ``kinds`` that runs, or will; nothing if none does."""
    found = [job for job in desk.jobs.list() if job.kind in kinds and not job.has_ended]
    return min(found, key=lambda job: job.status != "running").id if found else ""


def _look(desk: Desk, say: Say, job_id: str, seen: Seen) -> tuple[Any, str, Any, str]:
    if not job_id:
        return NOTHING_SEEN, "", "", ""
    try:
        job = desk.jobs.get(job_id)
    except UserError:  # forgotten meanwhile
        return NOTHING_SEEN, "", "", ""
    if job.needs_runner:
        desk.jobs.wake(job.device)
    offset, text = (seen[1], seen[2]) if seen[0] == job_id else (None, "")
    part = desk.jobs.log(job_id, offset)
    text = (("" if part.is_cut else text) + part.text)[-MAX_LOG_CHARS:]
    now: Seen = (job_id, part.offset, text)
    stage = f"{job_id}/{job.status}"
    return now, standing_of(job, say), gr.skip() if now == seen else text, stage


def standing_of(job: Job, say: Say) -> str:
    """Return one line on how ``job`` stands, and its command, as HTML."""
    command = html.escape(shlex.join(["idiolect", *job.command]))
    line = f"<b>{html.escape(job.title)}</b> · {status_text(job, say)}"
    return f'<div role="status">{line}</div><code style="overflow-wrap:anywhere">{command}</code>'


def status_text(job: Job, say: Say) -> str:
    """Return how ``job`` stands, in words, with its exit code where it failed."""
    name = "stopping" if job.is_stopping else job.status
    text = say(f"train.status_{name}", code="?" if job.exit_code is None else job.exit_code)
    if job.elapsed_sec is None:
        return text
    return f"{text} · {format_duration(job.elapsed_sec)}"


def submit(
    desk: Desk,
    project: Project,
    command: Sequence[str],
    *,
    device: str,
    kind: str,
    title: str,
    user: str,
) -> str:
    """Order ``idiolect command...`` in the folder of ``project``; return the id of the job."""
    job = desk.jobs.submit(
        command,
        cwd=project.root,
        device=device,
        title=title,
        project=project.name,
        kind=kind,
        user=user,
    )
    return job.id
