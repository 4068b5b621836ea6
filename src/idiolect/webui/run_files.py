"""What the monitor links to: a run's own page, its sounds, its figures; below ``/runs/<run>/``.

Nothing is found by a path that somebody typed: a run by its name among those below the declared
folders, a sound by its name among those of its run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route, Router

from idiolect.base.errors import UserError
from idiolect.studio.run_curves import curves_file, curves_of, metrics_csv
from idiolect.studio.run_samples import find_sample
from idiolect.studio.runs import Runs, RunView, report_path
from idiolect.webui.messages import PAGE_LANGUAGES, Say
from idiolect.webui.monitor_words import words_of

if TYPE_CHECKING:
    from fastapi import FastAPI

PREFIX = "/runs"
NO_SCRIPTS = (
    "default-src 'none'; img-src data:; media-src data:; font-src data:; "
    "style-src 'unsafe-inline'; sandbox"
)
"""A report is text, drawings and sounds of its own: whatever a run wrote there does nothing."""
CSV = "csv"
KINDS = {"png": "image/png", "svg": "image/svg+xml", CSV: "text/csv; charset=utf-8"}
"""What can be taken away: drawings, and all figures."""
PLAIN = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

Answer = Callable[[Request], Response]


def report_address(run_id: str) -> str:
    """Return where the own page of that run is."""
    return f"{PREFIX}/{run_id}/report"


def sample_address(run_id: str, step: int, name: str) -> str:
    """Return where that sound is."""
    return f"{PREFIX}/{run_id}/samples/{step}/{quote(name)}"


def export_address(run_id: str, language: str, kind: str) -> str:
    """Return where the figures of that run are, as one of :data:`KINDS`."""
    return f"{PREFIX}/{run_id}/{language}/figures.{kind}"


def mount(app: FastAPI, runs: Runs) -> None:
    """Let ``app`` answer below :data:`PREFIX`."""

    def report(request: Request) -> Response:
        path = report_path(runs.get(request.path_params["run"]).folder)
        if path is None:
            return _missing("this run has no report yet: it is written at its first validation")
        headers = {**PLAIN, "Content-Security-Policy": NO_SCRIPTS}
        return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)

    def sample(request: Request) -> Response:
        asked = request.path_params
        path = find_sample(runs.get(asked["run"]).folder, asked["step"], asked["name"])
        if path is None:
            return _missing("no such sound")
        return FileResponse(path, media_type="audio/wav", headers=PLAIN)

    def export(request: Request) -> Response:
        language, kind = request.path_params["language"], request.path_params["kind"]
        if kind not in KINDS or language not in PAGE_LANGUAGES:
            return _missing("no such file")
        view = runs.look(request.path_params["run"])
        named = f'attachment; filename="{view.id}.{kind}"'
        headers = {**PLAIN, "Content-Disposition": named}
        return Response(_exported(view, Say(language), kind), 200, headers, KINDS[kind])

    routes = [
        Route("/{run}/report", _told(report)),
        Route("/{run}/samples/{step:int}/{name:path}", _told(sample)),
        Route("/{run}/{language}/figures.{kind}", _told(export)),
    ]
    app.mount(PREFIX, Router(routes))


def _exported(view: RunView, say: Say, kind: str) -> str | bytes:
    if kind == CSV:
        return metrics_csv(view.records)
    return curves_file(curves_of(view.history), words_of(say), view.found.title, kind)


def _told(answer: Answer) -> Answer:
    def told(request: Request) -> Response:
        try:
            return answer(request)
        except UserError as error:
            return _missing(str(error))

    return told


def _missing(text: str) -> Response:
    return PlainTextResponse(text, status_code=404)
