"""The manifest: one utterance a line, the form in which data goes from stage to stage.

=============  =====================================================================
Key            Meaning
=============  =====================================================================
``id``         unique in the file; an arbitrary string, never a file name
``audio``      the file of sound, relative to the manifest's folder (or absolute)
``text``       what is said
``speaker``    who says it
``language``   code: ``ca``, ``es`` ...
``duration``   length of the clip in seconds
``source``     optional: the recording that the clip was cut from
``start``      optional: where the clip begins in ``audio``, in seconds
``end``        optional: where it ends, in seconds
``emotion``    optional: a label
=============  =====================================================================

Any other key is kept and written back.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from idiolect.base.errors import DataError, summarize
from idiolect.base.files import parse_json, write_jsonl
from idiolect.data.lines import ASK_FOR_UTF8, read_lines

REQUIRED_TEXTS = ("id", "audio", "text", "speaker", "language")
OPTIONAL_TEXTS = ("source", "emotion")
OPTIONAL_TIMES = ("start", "end")
KEYS = frozenset((*REQUIRED_TEXTS, "duration", *OPTIONAL_TEXTS, *OPTIONAL_TIMES))
LATEST_SEC = 1e9
"""No time in a recording is so late: a larger number is a mistake."""

SUFFIXES = re.compile(
    r"(?P<path>.+?)(?:::(?P<language>[A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*))?(?:@(?P<weight>\d*\.?\d+))?"
)
"""What may stand behind the path of a manifest: ``::language``, ``@weight`` or both."""

NO_UTTERANCE = "the manifest holds no utterance"
FIX_MANIFEST = f"mend these lines, or make the manifest again with prepare; {ASK_FOR_UTF8}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One clip and what is said in it."""

    id: str
    audio: str
    """The path as the manifest has it; see :attr:`audio_path`."""
    root: Path
    """Folder that a relative ``audio`` is taken from."""
    text: str
    speaker: str
    language: str
    duration_sec: float
    source: str | None = None
    start_sec: float | None = None
    end_sec: float | None = None
    emotion: str | None = None
    extra: dict[str, Any] | None = None

    @property
    def audio_path(self) -> Path:
        """Where the file of sound is."""
        return self.root / self.audio


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A manifest as the user names it: ``path::language@weight``."""

    path: Path
    language: str | None = None
    """Language of all its clips; None takes what the manifest says."""
    weight: float = 1.0
    """How often each target is seen in an epoch: 0.2 is a fifth of them, chosen anew."""


def parse_source(text: str) -> SourceSpec:
    """Return what ``path::language@weight`` says; only the last suffixes are split off.

    A text that is the path of a file is taken as it is, whatever it holds.

    Raises:
        DataError: The weight is 0.
    """
    if Path(text).exists():
        return SourceSpec(path=Path(text))
    found = SUFFIXES.fullmatch(text)
    assert found is not None, "every text has a path"
    weight = float(found["weight"] or 1.0)
    if not weight > 0:
        raise DataError(f"a weight of {weight:g} leaves nothing", where=text, fix="leave it out")
    return SourceSpec(path=Path(found["path"]), language=found["language"], weight=weight)


def read_manifest(path: Path) -> Iterator[Utterance]:
    """Check the whole of ``path``, then return its utterances in file order, read as they are used.

    The check is done before this returns, so that long work never meets a bad line half-way.

    Args:
        path: JSON Lines; relative ``audio`` values are taken from its folder.

    Raises:
        DataError: There is no such file, it is empty, or lines of it are not utterances; the
            first ten are listed, and how many more there are.
    """
    count, faults = 0, list[str]()
    seen: dict[str, int] = {}
    for number, record, damage in _records(path):
        fault = damage or _fault_of(record) or _repeated(record["id"], seen)
        if fault:
            faults.append(f"{path}:{number}: {fault}")
        else:
            seen[record["id"]] = number
            count += 1
    if faults:
        raise DataError(
            f"{len(faults)} lines of the manifest cannot be used:\n{summarize(faults)}",
            where=str(path),
            fix=FIX_MANIFEST,
        )
    if not count:
        raise DataError(NO_UTTERANCE, where=str(path), fix="make it again with idiolect prepare")
    return (_utterance(record, path.parent) for _, record, _ in _records(path))


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> int:
    """Write ``utterances`` to ``path``, whole or not at all; return how many there were.

    ``audio`` is rewritten relative to the folder of ``path``.
    """
    folder = path.parent.resolve()
    return write_jsonl(path, (record_of(utterance, folder) for utterance in utterances))


def record_of(utterance: Utterance, folder: Path) -> dict[str, Any]:
    """Return ``utterance`` as a line of a manifest in ``folder`` (resolved)."""
    record: dict[str, Any] = {
        "id": utterance.id,
        "audio": _relative(utterance, folder),
        "text": utterance.text,
        "speaker": utterance.speaker,
        "language": utterance.language,
        "duration": utterance.duration_sec,
    }
    optional = {
        "source": utterance.source,
        "start": utterance.start_sec,
        "end": utterance.end_sec,
        "emotion": utterance.emotion,
    }
    record.update((key, value) for key, value in optional.items() if value is not None)
    return record | (utterance.extra or {})


def _relative(utterance: Utterance, folder: Path) -> str:
    root = _resolved(utterance.root)
    if root == folder and not utterance.audio.startswith("/"):
        return utterance.audio
    return os.path.relpath(root / utterance.audio, folder)


@lru_cache(maxsize=256)
def _resolved(root: Path) -> Path:
    return root.resolve()


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Yield (line number, record, damage) for each line; a damaged line has no record."""
    for number, line, damage in read_lines(path):
        record, problem = ({}, damage) if damage else parse_record(line)
        yield number, record, problem


def parse_record(line: str) -> tuple[dict[str, Any], str]:
    """Return (record, problem) of one line of JSON Lines; one of the two is empty."""
    try:
        record = parse_json(line)
    except json.JSONDecodeError as error:
        return {}, f"not JSON: {error.msg} at column {error.colno}"
    except ValueError as error:
        return {}, f"not JSON that can be used: {error}"
    if not isinstance(record, dict):
        return {}, f"a JSON {type(record).__name__}, not an object"
    return record, ""


def _fault_of(record: dict[str, Any]) -> str:
    """Return why ``record`` is not an utterance, or an empty string."""
    missing = [key for key in REQUIRED_TEXTS if not _is_text(record.get(key))]
    if not _is_seconds(record.get("duration")) or not record["duration"] > 0:
        missing.append("duration (seconds, above 0)")
    if missing:
        hint = "; is this a file of pairs?" if "target" in record or "manifest" in record else ""
        return f"missing or empty: {', '.join(missing)}{hint}"
    for key in OPTIONAL_TEXTS:
        if record.get(key) is not None and not isinstance(record[key], str):
            return f"{key} is {record[key]!r}, not a text"
    for key in OPTIONAL_TIMES:
        if record.get(key) is not None and not _is_seconds(record[key]):
            return f"{key} is {record[key]!r}, not seconds"
    start, end = record.get("start"), record.get("end")
    if end is not None and end <= (start or 0.0):
        return f"end ({end}) is not after start ({start or 0.0})"
    return ""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < LATEST_SEC  # type: ignore[operator]


def _repeated(utterance_id: str, seen: dict[str, int]) -> str:
    first = seen.get(utterance_id)
    return "" if first is None else f"id {utterance_id!r} is used twice, first on line {first}"


def _utterance(record: dict[str, Any], root: Path) -> Utterance:
    extra = {key: value for key, value in record.items() if key not in KEYS}
    return Utterance(
        id=record["id"],
        audio=record["audio"],
        root=root,
        text=record["text"],
        speaker=sys.intern(record["speaker"]),
        language=sys.intern(record["language"]),
        duration_sec=float(record["duration"]),
        source=record.get("source"),
        start_sec=record.get("start"),
        end_sec=record.get("end"),
        emotion=record.get("emotion"),
        extra=extra or None,
    )
