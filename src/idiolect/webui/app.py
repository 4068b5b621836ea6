"""The page: its frame, and what serves it."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from idiolect.base.errors import UserError
from idiolect.base.log import get_logger
from idiolect.webui import (
    accessible,
    batch,
    compare,
    dataset,
    generate,
    head,
    history,
    models,
    monitor,
    run_files,
    tensorboard,
    train,
)
from idiolect.webui.desk import Desk, PageSettings
from idiolect.webui.door import LOCAL_HOSTS, Door, logged_in
from idiolect.webui.messages import PAGE_LANGUAGES, Say, preferred_language

TITLE = "idiolect"
MAX_UPLOAD = "200mb"
UPLOADS_KEPT_SEC = (3600, 24 * 3600)
"""How often uploaded files are looked through, and how old one may become."""
QUEUE_SIZE = 64
"""Requests of one language's page that wait; one more is told to come back."""
LAST_WORDS_SEC = 3
"""How long open connections may take to end when the server stops."""


def build_page(desk: Desk, say: Say) -> gr.Blocks:
    """Return the page over ``desk`` in the language of ``say``."""
    page: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=UPLOADS_KEPT_SEC)
    with page:
        top = head.build(desk, page, say)
        with gr.Tabs():
            spoken = generate.build(desk, say, top)
            batch.build(desk, say, top)
            history.build(desk, say, top, spoken)
            for tab in (compare, dataset, train, monitor, models):
                tab.build(desk, say, top)
    return page


def make_app(desk: Desk, *, auth: str | None = None) -> FastAPI:
    """Return what answers: the page in each language, and ``/``, which chooses one.

    Args:
        desk: What the page shows.
        auth: ``user:password`` that was asked for at the door, or None.
    """
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/", include_in_schema=False)
    def choose(request: Request) -> RedirectResponse:
        code = preferred_language(request.headers.get("accept-language", ""))
        return RedirectResponse(f"/{code}/")

    @app.get("/favicon.ico", include_in_schema=False)
    def no_icon() -> Response:
        # Browsers ask for one, and complain in their console where nothing answers.
        return Response(status_code=204)

    run_files.mount(app, desk.runs)
    tensorboard.mount(app, desk.runs)
    allowed = [str(path.resolve()) for path in desk.settings.shown_dirs]
    for code in PAGE_LANGUAGES:
        gr.mount_gradio_app(
            app,
            build_page(desk, Say(code)).queue(max_size=QUEUE_SIZE),
            path=f"/{code}",
            allowed_paths=allowed,
            max_file_size=MAX_UPLOAD,
            auth_dependency=logged_in if auth else None,
            show_error=True,
            ssr_mode=False,
            theme=accessible.theme(),
            head=accessible.head(Say(code)),
            footer_links=["gradio", "settings"],
        )
    return app


def serve(settings: PageSettings, *, host: str, port: int, auth: str | None) -> None:
    """Serve the page until it is interrupted.

    Args:
        settings: Where the models are and where sound goes.
        host: Address to listen on.
        port: Port to listen on.
        auth: ``user:password``, or None.

    Raises:
        UserError: The port is taken.
    """
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port}", fix="choose another --port, or stop what uses it"
        ) from error
    with listener, own_uploads():
        app = make_app(Desk(settings), auth=auth)
        gc.collect()
        gc.freeze()  # looking through torch and Gradio again would hold up a request for 0.4 s
        door = Door(app, auth=auth, is_local=host in LOCAL_HOSTS)
        config = uvicorn.Config(
            door,
            log_config=None,  # the program's own
            log_level="warning",
            timeout_graceful_shutdown=LAST_WORDS_SEC,
            lifespan="on",
        )
        # uvicorn ends in order and then raises the signal once more, which would end all at once.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        get_logger().info("the page is at http://%s:%d; Ctrl-C ends it", host, port)
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def own_uploads() -> Iterator[None]:
    """Keep what visitors upload in a folder of this server's, which goes with it.

    By itself Gradio has one folder for all servers of a machine, named by content: one that ends
    takes files away from the others, and other users of the machine may look into it.
    """
    with TemporaryDirectory(prefix="idiolect-page-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["GRADIO_TEMP_DIR"]
