"""The page: its frame, and what serves it."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.log import get_logger
from idiolect.webui import speak
from idiolect.webui.desk import Desk, PageSettings

TITLE = "idiolect"
MAX_UPLOAD = "50mb"
UPLOADS_KEPT_SEC = (3600, 24 * 3600)
"""How often uploaded voices are looked through, and how old one may become."""
FONT = ("system-ui", "sans-serif")
QUEUE_SIZE = 20
"""Requests that wait; one more is told to come back."""


def build_page(desk: Desk) -> gr.Blocks:
    """Return the page over ``desk``."""
    page: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=UPLOADS_KEPT_SEC)
    with page:
        gr.Markdown(f"# {TITLE}\nTeach IndexTTS-2 a new language, and hear it.")
        speak.build(desk, page)
    return page


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
    page = build_page(Desk(settings)).queue(max_size=QUEUE_SIZE)
    user, _, password = (auth or "").partition(":")
    try:
        page.launch(
            server_name=host,
            server_port=port,
            auth=(user, password) if auth else None,
            max_file_size=MAX_UPLOAD,
            allowed_paths=[str(Path(settings.output_dir).resolve())],
            show_error=True,
            theme=gr.themes.Default(font=FONT),
            footer_links=["gradio", "settings"],
            prevent_thread_lock=True,
            quiet=True,  # it would praise a public link
        )
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port}", fix="choose another --port, or stop what uses it"
        ) from error
    get_logger().info("the page is at http://%s:%d; Ctrl-C ends it", host, port)
    page.block_thread()
