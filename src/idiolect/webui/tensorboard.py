"""TensorBoard of a run behind the page's own server: below ``/tensorboard/<run>/``, on no port.

It is made when somebody first opens it, reads on while it is looked at, and is forgotten when
nobody does. As it lies below the same application, the page's password guards it too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from a2wsgi import WSGIMiddleware

from idiolect.base.errors import UserError
from idiolect.studio.runs import Runs
from idiolect.training.metrics import TENSORBOARD_DIR

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

PREFIX = "/tensorboard"
IDLE_SEC = 600.0
"""Nobody has looked for so long: what it holds in memory is given back."""
RELOAD_SEC = 5.0
"""Between two looks at what a run has written since."""
WORKERS = 4
SOUNDS_OF_EACH = 50
"""Sounds and pictures of each sentence that are kept in memory, of evenly chosen steps."""

Environ = Any
Start = Any
Wsgi = Callable[[Environ, Start], Iterable[bytes]]


class Board:
    """TensorBoard over one folder.

    Args:
        folder: With the events of one run.
        prefix: Path that its addresses begin with, without a slash at the end.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self.used_sec = time.monotonic()
        self._folder = folder
        self._events, self._app = _make(folder, prefix)
        self._read_sec = float("-inf")
        self._reading = Lock()

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """Answer one request, with what the run has written by now."""
        self.used_sec = time.monotonic()
        self._read()
        return self._app(environ, start)

    def _read(self) -> None:
        with self._reading:
            if time.monotonic() - self._read_sec > RELOAD_SEC:
                self._events.AddRunsFromDirectory(str(self._folder))
                self._events.Reload()
                self._read_sec = time.monotonic()


def _make(folder: Path, prefix: str) -> tuple[EventMultiplexer, Wsgi]:
    """Return what reads the events in ``folder``, and what shows them.

    Only what a run writes is shown: numbers, sounds, pictures. The others of TensorBoard's plugins
    are not there, nor any that some package of the machine brings.
    """
    from tensorboard import assets, program
    from tensorboard.backend.application import TensorBoardWSGIApp
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.audio.audio_plugin import AudioPlugin
    from tensorboard.plugins.core.core_plugin import CorePluginLoader
    from tensorboard.plugins.image.images_plugin import ImagesPlugin
    from tensorboard.plugins.metrics.metrics_plugin import MetricsPlugin
    from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin

    logging.getLogger("tensorboard").setLevel(logging.WARNING)
    plugins = [CorePluginLoader(), MetricsPlugin, ScalarsPlugin, ImagesPlugin, AudioPlugin]
    zip_provider = assets.get_default_assets_zip_provider()
    board = program.TensorBoard(plugins=plugins, assets_zip_provider=zip_provider)
    board.configure(logdir=str(folder), path_prefix=prefix)
    events = EventMultiplexer(
        tensor_size_guidance={"audio": SOUNDS_OF_EACH, "images": SOUNDS_OF_EACH, "scalars": 1000}
    )
    app: Wsgi = TensorBoardWSGIApp(
        board.flags,
        board.plugin_loaders,
        MultiplexerDataProvider(events, prefix),  # shown to the visitor, who need not know the path
        zip_provider,
        events,
    )
    return events, app


class Boards:
    """The boards that somebody looks at, by the names of their runs.

    Args:
        runs: Only what is found there can be opened.
        idle_sec: How long a board stays that nobody looks at.
    """

    def __init__(self, runs: Runs, *, idle_sec: float = IDLE_SEC) -> None:
        self._runs = runs
        self._idle_sec = idle_sec
        self._open: dict[str, Board] = {}
        self._lock = Lock()
        # One pool of threads for all boards: one of its own would outlive each.
        self._bridge = WSGIMiddleware(self._answer, workers=WORKERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the path stays whole, for TensorBoard takes its own prefix off."""
        await self._bridge({**scope, "root_path": ""}, receive, send)  # type: ignore[arg-type]

    @property
    def num_open(self) -> int:
        """How many boards are in memory."""
        return len(self._open)

    def close_idle(self) -> None:
        """Forget the boards that nobody has looked at for long."""
        since = time.monotonic() - self._idle_sec
        with self._lock:
            self._open = {name: b for name, b in self._open.items() if b.used_sec > since}

    def _answer(self, environ: Environ, start: Start) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD", "POST"}:
            return _refuse(start, "405 Method Not Allowed", "this page is to be read")
        run_id = environ["PATH_INFO"].removeprefix(PREFIX).lstrip("/").partition("/")[0]
        self.close_idle()
        try:
            board = self._board(run_id)
        except UserError as error:
            return _refuse(start, "404 Not Found", str(error))
        return board(environ, start)

    def _board(self, run_id: str) -> Board:
        folder = self._runs.get(run_id).folder / TENSORBOARD_DIR
        if not folder.is_dir():
            raise UserError("this run has written nothing for TensorBoard")
        with self._lock:
            if run_id not in self._open:
                self._open[run_id] = Board(folder, f"{PREFIX}/{run_id}")
            return self._open[run_id]


def _refuse(start: Start, status: str, text: str) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
    return [text.encode()]


def address(run_id: str) -> str:
    """Return where the board of that run is, below the page's own address."""
    return f"{PREFIX}/{run_id}/"


def mount(app: FastAPI, runs: Runs) -> Boards:
    """Let ``app`` answer below :data:`PREFIX`; return what holds the boards.

    Args:
        app: The page's application.
        runs: What can be opened.
    """
    boards = Boards(runs)
    app.mount(PREFIX, boards)
    return boards
