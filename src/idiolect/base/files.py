"""Files: written whole or not at all, and read line by line with line numbers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from idiolect.base.errors import DataError, UserError
from idiolect.base.guard import check_output


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a sibling of ``path`` to write to; move it into place only on success.

    A reader sees the old file or the whole new one, never half of either, also after a power
    cut: the bytes are flushed before the rename.

    Raises:
        GuardError: ``path`` lies in a base folder.
    """
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def remove_left_over(folder: Path) -> None:
    """Remove what a process that was killed had half written in ``folder``.

    Long work calls this once before it begins: a killed run leaves a whole checkpoint's bytes.
    """
    for partial in folder.glob(".*.*.partial"):
        pid = partial.name.rsplit(".", 2)[1]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            check_output(partial).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, sort_keys=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON value in ``path``.

    Raises:
        DataError: There is no such file, or it is not JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except ValueError as error:
        raise DataError(f"not a JSON file: {error}", where=str(path)) from error


def parse_json(text: str | bytes) -> Any:
    """Return the JSON value that ``text`` is.

    Raises:
        ValueError: It is none, is nested too deeply, or has half a character: no file can hold it.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    has_escapes = b"\\u" in text if isinstance(text, bytes) else "\\u" in text
    if has_escapes:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, record) for each line of ``path``; blank lines are passed over.

    Raises:
        DataError: The file is missing, or a line is not a JSON object in UTF-8.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            line = raw.strip()
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line:
                continue
            yield number, _parse_line(line, where=f"{path}:{number}")


def _parse_line(line: bytes, *, where: str) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except ValueError as error:
        raise DataError(
            f"not a JSON object in UTF-8: {error}",
            where=where,
            fix="each line is one JSON object; see docs/reference/formats.md",
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"a JSON {type(record).__name__}, not an object", where=where)
    return record


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> int:
    """Write ``records`` one a line, whole or not at all; return how many there were."""
    count = 0
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as out:
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    return count


def copy_file(source: Path, target: Path) -> None:
    """Copy ``source`` to ``target``, whole or not at all."""
    with atomic_path(target) as partial:
        shutil.copyfile(source, partial)


def free_bytes(path: Path) -> int:
    """Return the free bytes on the disk that ``path`` is or would be on."""
    existing = next(p for p in (path, *path.resolve().parents) if p.exists())
    return shutil.disk_usage(existing).free


def slug(name: str, *, flag: str) -> str:
    """Return ``name`` when it may be part of a file name: letters, digits, ``-``, ``_`` and ``.``.

    Raises:
        UserError: It holds anything else, such as a path separator, or starts with a dot.
    """
    allowed = name.isascii() and all(c.isalnum() or c in "-_." for c in name)
    if not name or not allowed or name.startswith("."):
        raise UserError(
            f"{name!r} cannot be part of a file name",
            where=flag,
            fix="use letters, digits, '-', '_' and '.', and do not begin with a dot",
        )
    return name
