"""What a visitor may name: files and folders below the roots that the owner declared, no others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from idiolect.base.errors import GuardError


def below_roots(text: str | Path, roots: Iterable[Path]) -> Path:
    """Return the path that ``text`` means, resolved, if it lies in one of ``roots``.

    Symlinks are followed before the question is asked, so that none leads outside. What does not
    exist yet is judged by the folder that it would be in.

    Args:
        text: As typed; a relative path is taken from the working directory.
        roots: Folders, which may be symlinks themselves.

    Raises:
        GuardError: It lies elsewhere, is no path, or leads round in a circle.
    """
    allowed = [Path(root).resolve() for root in roots]
    named = str(text).strip()
    try:
        path = Path(named).expanduser().resolve() if named else None
    except (OSError, RuntimeError, ValueError):  # a circle of links, no such user, a NUL
        path = None
    if path is not None and any(path.is_relative_to(root) for root in allowed):
        return path
    shown = ", ".join(str(root) for root in allowed) or "none are declared"
    raise GuardError(
        f"{named!r} is not below a folder that this page may read" if named else "no path is given",
        where=f"declared folders: {shown}",
        fix="name a path below one of them; whoever serves the page declares more",
    )
