"""Errors as the page shows them, and who is asking."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import gradio as gr

from idiolect.base.errors import UserError
from idiolect.base.log import get_logger

Work = TypeVar("Work", bound=Callable[..., Any])
UNEXPECTED = "something went wrong that nobody foresaw; the log of the server has it"


def shown_on_page(work: Work) -> Work:
    """Return ``work`` with its errors shown on the page: what, where, how to mend.

    What nobody foresaw goes to the log with its trace; the page says only that it does. A
    generator stays one. Gradio reads the signature of a handler, so it is kept.
    """

    @wraps(work)
    def shown(*args: Any, **kwargs: Any) -> Any:
        try:
            return work(*args, **kwargs)
        except Exception as error:
            raise _on_page(error) from error

    @wraps(work)
    def shown_piecewise(*args: Any, **kwargs: Any) -> Any:
        try:
            yield from work(*args, **kwargs)
        except Exception as error:
            raise _on_page(error) from error

    return shown_piecewise if inspect.isgeneratorfunction(work) else shown  # type: ignore[return-value]


def _on_page(error: Exception) -> gr.Error:
    if isinstance(error, gr.Error):
        return error
    if not isinstance(error, UserError):
        get_logger().error("%s", UNEXPECTED, exc_info=error)
    # The notice is HTML, and what is wrong may quote what somebody typed.
    text = str(error) if isinstance(error, UserError) else UNEXPECTED
    return gr.Error("<br>".join(html.escape(text).splitlines()), print_exception=False)


def user_of(request: gr.Request | None) -> str:
    """Return who asks: the name that was logged in with, else the visit."""
    if request is None:
        return "page"
    return str(request.username or request.session_hash or "page")
