"""Who gets in: an ASGI layer around everything that the server answers.

A browser lets any page that it shows send requests to 127.0.0.1, and a name that a stranger owns
may be made to mean 127.0.0.1 (DNS rebinding). So a page for this machine answers to this machine's
names only, and nothing is changed at the word of another page.
"""

from __future__ import annotations

from base64 import b64decode
from secrets import compare_digest
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
USER = "idiolect.user"
"""Key of the scope: the name that was logged in with."""


class Door:
    """Lets in who may come, and passes on.

    Args:
        app: What is behind it.
        auth: ``user:password`` that is asked for, or None.
        is_local: Whether only this machine's own names are answered to.
    """

    def __init__(self, app: ASGIApp, *, auth: str | None, is_local: bool) -> None:
        self._app = app
        self._auth = auth
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if self._auth is not None:
            scope = {**scope, USER: self._auth.partition(":")[0]}
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = _host_of(f"//{headers.get('host', '')}")
        if self._is_local and host not in LOCAL_HOSTS:
            return PlainTextResponse("this page answers to this machine only", status_code=403)
        origin = headers.get("origin")
        changes = scope.get("method", "GET") not in READING or scope["type"] == "websocket"
        if changes and origin and urlsplit(origin).netloc != headers.get("host"):
            return PlainTextResponse("asked by another page", status_code=403)
        if self._auth is not None and not _knows(headers.get("authorization", ""), self._auth):
            asks = {"WWW-Authenticate": 'Basic realm="idiolect", charset="UTF-8"'}
            return PlainTextResponse("a name and a password are needed", 401, headers=asks)
        return None


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _knows(given: str, auth: str) -> bool:
    kind, _, code = given.partition(" ")
    if kind.lower() != "basic":
        return False
    try:
        told = b64decode(code, validate=True)
    except ValueError:
        return False
    return compare_digest(told, auth.encode())


def logged_in(request: Any) -> str | None:
    """Return the name that ``request`` came in with; for the ``auth_dependency`` of Gradio."""
    name: str | None = request.scope.get(USER)
    return name
