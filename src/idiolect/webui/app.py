"""The page: its frame, and what serves it."""

from __future__ import annotations

import os
from pathlib import Path

from idiolect.base.errors import UserError
from idiolect.webui.desk import Desk, PageSettings

__all__ = ["PageSettings", "build_page", "serve"]

TITLE = "idiolect"
MAX_UPLOAD = "50mb"
QUEUE_SIZE = 20

# Read by gradio when it is imported: nothing is sent to another host.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
try:
    import gradio as gr
except ImportError as error:
    raise UserError("the page needs gradio", fix="pip install 'idiolect[webui]'") from error

from idiolect.webui import speak  # noqa: E402 -- it imports gradio, whose settings stand above


def build_page(desk: Desk) -> gr.Blocks:
    """Return the page over ``desk``."""
    page: gr.Blocks = gr.Blocks(title=TITLE)
    with page:
        gr.Markdown(f"# {TITLE}\nTeach IndexTTS-2 a new language, and hear it.")
        speak.build(desk)
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
        )
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port}", fix="choose another --port, or stop what uses it"
        ) from error
