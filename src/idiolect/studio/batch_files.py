"""Files of lines to be spoken: JSON Lines, tables with a header, ``name|text``, or plain texts.

The form is found by looking at the first line. In ``name|text`` the name is a voice where there
is one of that name, else the name of the result.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from idiolect.base.errors import DataError, did_you_mean
from idiolect.base.files import parse_json
from idiolect.base.units import format_bytes
from idiolect.data.lines import ASK_FOR_UTF8, read_lines
from idiolect.studio.batch_lines import COLUMNS, BatchLine, Places, Record, check_lines

MAX_FILE_BYTES = 8 * 1024**2
DELIMITERS = ("\t", "|", ";", ",")
QUOTING = (",", ";")
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("name", "id", "output", "nombre", "nom"), "name"),
        **dict.fromkeys(("text", "sentence", "texto"), "text"),
        **dict.fromkeys(("voice", "speaker", "prompt", "voz", "veu"), "voice"),
        **dict.fromkeys(("language", "lang", "idioma", "llengua"), "language"),
        **dict.fromkeys(("seed", "semilla", "llavor"), "seed"),
        **dict.fromkeys(("emotion", "emoción", "emoció"), "emotion"),
        **dict.fromkeys(("model", "modelo"), "model"),
    }
)
"""What a column or key goes by, to what it holds."""

Found = Iterator[tuple[str, Record]]


def read_batch_file(path: Path, places: Places, *, shown: str = "") -> list[BatchLine]:
    """Return the lines of ``path``.

    Args:
        path: The file.
        places: Where voices may be.
        shown: What the user calls the file; its name when empty.

    Raises:
        DataError: There is no such file, it is too large, its columns are not known, or lines
            cannot be used; all of these are told at once.
    """
    source = shown or path.name
    if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
        size, most = format_bytes(path.stat().st_size), format_bytes(MAX_FILE_BYTES)
        raise DataError(
            f"a file of {size}; {most} are allowed", where=source, fix="make several batches of it"
        )
    return check_lines(_records(path, places, source), places, source=source)


def _records(path: Path, places: Places, source: str) -> Found:
    lines = list(read_lines(path, keep_blank=True))
    bad = [(f"{source}:{n}", f"{damage}; {ASK_FOR_UTF8}") for n, _, damage in lines if damage]
    texts = [(n, line) for n, line, damage in lines if not damage]
    filled = [(n, line) for n, line in texts if line.strip()]
    first = filled[0][1] if filled else ""
    if first.lstrip().startswith("{"):
        good = _json_records(filled, source)
    elif delimiter := _delimiter_of(first, is_table=path.suffix.lower() in TABLE_SUFFIXES):
        good = _table_records(texts, delimiter, source)
    elif any("|" in line for _, line in filled):
        good = _named_records(filled, places, source)
    else:
        good = ((f"{source}:{n}", {"text": line}) for n, line in filled)
    return chain(bad, good)


def _json_records(lines: Sequence[tuple[int, str]], source: str) -> Found:
    for number, line in lines:
        try:
            value = parse_json(line)
        except ValueError as error:
            yield f"{source}:{number}", f"not JSON: {error}"
            continue
        yield f"{source}:{number}", _json_record(value)


def _json_record(value: object) -> Record:
    if not isinstance(value, dict):
        return "not a JSON object; each line is one, with at least text"
    unknown = [name for name in value if _role(name) is None]
    if unknown:
        return f"nobody knows the key {unknown[0]!r}; {did_you_mean(unknown[0], COLUMNS)}"
    return {str(_role(name)): held for name, held in value.items()}


def _delimiter_of(first: str, *, is_table: bool) -> str | None:
    """Return what cuts the columns when ``first`` is a header; None when it is none."""
    for delimiter in DELIMITERS:
        roles = [_role(name) for name in _cut(first, delimiter)]
        if "text" in roles and (is_table or (len(roles) > 1 and None not in roles)):
            return delimiter
    return None


def _role(name: str) -> str | None:
    return HEADERS.get(name.strip().casefold())


def _cut(line: str, delimiter: str) -> list[str]:
    try:
        return next(_reader([line], delimiter), [])
    except csv.Error:  # a quote that is never closed: a text like any other
        return []


def _reader(lines: Sequence[str], delimiter: str) -> Any:
    if delimiter in QUOTING:
        return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)


def _table_records(lines: Sequence[tuple[int, str]], delimiter: str, source: str) -> Found:
    """Yield the rows of a table; a field in quotes may go over several lines."""
    reader = _reader([f"{line}\n" for _, line in lines], delimiter)
    roles: list[str] = []
    before = 0
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield f"{source}:{lines[before][0]}", f"{error}; see that each quote is closed"
            return
        if row is None:
            return
        number, before = lines[before][0], reader.line_num
        if not any(map(str.strip, row)):
            continue
        if not roles:
            roles = _roles_of(row, f"{source}:{number}")
        elif len(row) > len(roles):
            yield f"{source}:{number}", f"{len(row)} fields, and the header has {len(roles)}"
        else:
            yield f"{source}:{number}", dict(zip(roles, row, strict=False))


def _roles_of(header: Sequence[str], where: str) -> list[str]:
    roles: list[str] = []
    for name in header:
        role = _role(name)
        if role is None:
            raise DataError(
                f"nobody knows the column {name.strip()!r}",
                where=where,
                fix=f"rename or remove it; {did_you_mean(name.strip(), COLUMNS)}",
            )
        if role in roles:
            raise DataError(f"two columns hold the {role}", where=where, fix="remove one of them")
        roles.append(role)
    return roles


def _named_records(lines: Sequence[tuple[int, str]], places: Places, source: str) -> Found:
    for number, line in lines:
        name, bar, text = line.partition("|")
        if not bar:
            yield f"{source}:{number}", "there is no '|' between name and text; write name|text"
        else:
            role = "voice" if places.is_voice(name.strip()) else "name"
            yield f"{source}:{number}", {role: name.strip(), "text": text}
