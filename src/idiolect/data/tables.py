"""Tables: which column of a transcript is the audio, which the text, which the speaker."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from idiolect.base.errors import DataError
from idiolect.data.file_index import FileIndex
from idiolect.data.language_names import code_of

HEADERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "audio": (
            *("audio", "audio_path", "audio_file", "audio_filepath", "audio_filename", "path"),
            *("file", "file_name", "filename", "file_path", "filepath", "wav", "wav_path"),
            *("wav_file", "wav_filename", "clip", "archivo", "fichero", "fitxer"),
        ),
        "text": (
            *("normalized_text", "normalised_text", "text", "sentence", "transcript"),
            *("transcription", "raw_text", "texto", "transcripcion", "transcripción"),
            "transcripció",
        ),
        "speaker": (
            *("speaker", "speaker_id", "speaker_name", "client_id", "spk", "spk_id", "voice"),
            *("hablante", "locutor", "parlant"),
        ),
        "language": ("language", "locale", "lang", "idioma", "llengua"),
        "id": ("id", "utt_id", "utterance_id", "clip_id", "utt"),
        "start": ("start", "start_sec", "start_time", "begin", "offset"),
        "end": ("end", "end_sec", "end_time", "stop"),
        "length": ("duration", "length", "duration_sec"),
        "source": ("source", "recording"),
        "emotion": ("emotion",),
    }
)
"""What a column holds, to the headers that it goes by; the first that is there counts."""

DELIMITERS = ("\t", "|", ";", ",", ":", None)
"""Tried in this order; None is white space."""
DELIMITER_NAMES = {"\t": "tabs", "|": "'|'", ";": "';'", ",": "commas", ":": "':'", None: "spaces"}
CUSTOMARY = ("\t", "|")
"""A file cut by one of these is a table, even when none of its names finds a clip."""
QUOTING = (",", ";")
STEADY_SHARE = 0.8
"""A number of columns that so many lines have is that of the table."""
MANY_SHARE = 0.5
"""A column is another spelling of the text when more than so many of its fields look like it."""
MAX_SPEAKER_WORDS = 3
QUOTED = re.compile(r'^"((?:[^"]|"")*"")(?:[^"]|"")*"$')
"""A field in quotes with doubled quotes inside: quotes that belong to the file, not the text."""

FORM_FIX = (
    "write lines like 'clip.wav|What is said.' or 'clip.wav|speaker|What is said.', or give the "
    "columns a header with audio and text; see docs/reference/formats.md"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How the lines of one table are cut, and what each column holds."""

    delimiter: str | None
    roles: tuple[str, ...]
    """What each column holds: a key of :data:`HEADERS`, another header, or nothing."""
    form: str
    has_header: bool = False
    is_selection: bool = False

    @property
    def needed(self) -> int:
        """How many columns a line must have: up to the last of audio and text."""
        return 1 + max(i for i, role in enumerate(self.roles) if role in {"audio", "text"})

    def split(self, line: str) -> list[str]:
        """Return the fields of ``line``; a text in the last column may hold the delimiter."""
        return split_line(line, self.delimiter, len(self.roles))

    def named(self, fields: Sequence[str]) -> dict[str, Any]:
        """Return what each column holds to its field; of two texts, the later if there is one."""
        values: dict[str, Any] = {}
        for role, value in zip(self.roles, fields, strict=False):
            if role and (value.strip() or role not in values):
                values[role] = value
        return values


def find_columns(head: Sequence[str], audio: FileIndex, path: Path) -> Columns:
    """Return the columns of the table that begins with the lines ``head``.

    Raises:
        DataError: The lines are no table of clips and texts.
    """
    return _from_header(head[0]) or _from_fields(head, audio, path)


def named_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of ``record`` under what they hold; other keys are kept as they are."""
    roles = _roles_of([str(key) for key in record])
    values: dict[str, Any] = {}
    for key, role in zip(record, roles, strict=True):
        values.setdefault(role, record[key])
    return values


def split_line(line: str, delimiter: str | None, width: int) -> list[str]:
    """Return at most ``width`` fields of ``line``; 0 for as many as there are."""
    if delimiter in QUOTING and '"' in line:
        fields = _split_quoted(line, str(delimiter))
        if width and len(fields) > width:
            fields[width - 1 :] = [str(delimiter).join(fields[width - 1 :])]
        return [field.strip() for field in fields]
    fields = [field.strip() for field in line.split(delimiter, width - 1)]
    return [_unquoted(field) for field in fields] if delimiter == "\t" else fields


def _split_quoted(line: str, delimiter: str) -> list[str]:
    """Return the fields of ``line``; a quote that is never closed is a mark like any other."""
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error:
        return line.split(delimiter)


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if QUOTED.match(field) else field


def _from_header(line: str) -> Columns | None:
    for delimiter in ("\t", "|", ";", ","):
        names = split_line(line, delimiter, 0)
        roles = _roles_of(names)
        if "text" in roles and ("audio" in roles or "id" in roles):
            if "audio" not in roles:
                roles[roles.index("id")] = "audio"
            is_common_voice = {"client_id", "path", "sentence"} <= set(names)
            form = "Common Voice" if is_common_voice else "a header, cut by "
            return Columns(
                delimiter=delimiter,
                roles=tuple(roles),
                form=form if is_common_voice else form + DELIMITER_NAMES[delimiter],
                has_header=True,
                is_selection=is_common_voice,
            )
    return None


def _roles_of(names: Sequence[str]) -> list[str]:
    """Return what each of the columns ``names`` holds; a second one for a thing keeps its name."""
    folded = [name.strip().casefold().replace(" ", "_") for name in names]
    roles = list(names)
    for role, known in HEADERS.items():
        chosen = next((name for name in known if name in folded), None)
        if chosen is not None:
            roles[folded.index(chosen)] = role
    return roles


def _from_fields(head: Sequence[str], audio: FileIndex, path: Path) -> Columns:
    """Return the columns of a table without a header: the audio is what finds clips."""
    best = max((_try_delimiter(head, d, audio) for d in DELIMITERS), key=lambda trial: trial[0])
    found, delimiter, rows, audio_column = best
    if not found:
        raise DataError(
            f"the form of the transcript is not known; its first line is {head[0][:80]!r}, and "
            f"no part of it is the name of one of the {len(audio)} clips",
            where=f"{path}:1",
            fix=FORM_FIX,
        )
    roles = _roles_by_looking(rows, audio_column)
    names = [role or "-" for role in roles]
    if roles.count("text") == 2:
        names = ["file", "text", "text as spoken"]
    shown = DELIMITER_NAMES[delimiter].strip("'").join(names) if delimiter == "|" else None
    form = shown or f"{', '.join(names)}, cut by {DELIMITER_NAMES[delimiter]}"
    return Columns(delimiter=delimiter, roles=roles, form=form)


def _try_delimiter(
    head: Sequence[str], delimiter: str | None, audio: FileIndex
) -> tuple[float, str | None, list[list[str]], int]:
    """Return (share of lines that name a clip, delimiter, fields, column of the audio)."""
    width = 2 if delimiter is None else _width(len(split_line(x, delimiter, 0)) for x in head)
    rows = [split_line(line, delimiter, width) if width else line.split() for line in head]
    rows = [row for row in rows if width > 1 and len(row) == width]
    shares = [sum(bool(audio.find(row[i])) for row in rows) / len(head) for i in range(width)]
    if not rows:
        return 0.0, delimiter, [], 0
    column = shares.index(max(shares))
    if not shares[column] and delimiter in CUSTOMARY and len(rows) >= STEADY_SHARE * len(head):
        return 1e-6, delimiter, rows, 0
    return shares[column], delimiter, rows, column


def _width(counts: Iterable[int]) -> int:
    """Return the number of columns: what most lines have, or the least when texts vary it."""
    cut = Counter(count for count in counts if count > 1)
    if not cut:
        return 0
    count, lines = cut.most_common(1)[0]
    return count if lines >= STEADY_SHARE * cut.total() else min(cut)


def _roles_by_looking(rows: Sequence[Sequence[str]], audio_column: int) -> tuple[str, ...]:
    """Return what each column holds, from how its fields look."""
    roles = [""] * len(rows[0])
    roles[audio_column] = "audio"
    columns = {i: [row[i] for row in rows] for i, role in enumerate(roles) if not role}
    for i, fields in columns.items():
        if len(columns) > 1 and all(code_of(field) for field in fields):
            roles[i] = "language"
            break
    rest = [i for i in columns if not roles[i]]
    longest = max(reversed(rest), key=lambda i: _mean_length(columns[i]), default=None)
    for i in rest:
        if i == longest or (longest is not None and _is_prose_like(columns[i], columns[longest])):
            roles[i] = "text"
        elif "speaker" not in roles and _looks_like_speakers(columns[i]):
            roles[i] = "speaker"
    return tuple(roles)


def _mean_length(fields: Sequence[str]) -> float:
    return sum(map(len, fields)) / len(fields)


def _is_prose_like(fields: Sequence[str], texts: Sequence[str]) -> bool:
    """Return whether ``fields`` are another spelling of ``texts``, as in LJSpeech."""
    first = sum(a[:1].casefold() == b[:1].casefold() for a, b in zip(fields, texts, strict=True))
    spaced = sum(" " in field for field in fields)
    return min(first, spaced) > MANY_SHARE * len(fields)


def _looks_like_speakers(fields: Sequence[str]) -> bool:
    short = sum(len(field.split()) <= MAX_SPEAKER_WORDS for field in fields)
    return short > STEADY_SHARE * len(fields) and all(fields)
