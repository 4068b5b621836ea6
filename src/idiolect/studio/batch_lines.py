"""The lines of a batch: one text to be spoken each, checked all at once before the first."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from idiolect.base.errors import DataError, UserError, did_you_mean, summarize
from idiolect.base.files import slug
from idiolect.models.emotion import EMOTIONS
from idiolect.studio.roots import below_roots
from idiolect.synthesis.request import SEED_RANGE

MAX_LINES = 5000
MAX_TEXT_LETTERS = 10_000
MAX_NAME_LETTERS = 100
MAX_FAULTS = 1000
"""When so many lines are wrong, the rest is not looked at."""
LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z]{2,4})?")
WEIGHT = re.compile(r"(?P<name>[a-z]+)(?:\s*[:= ]\s*(?P<weight>[\d.]+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """One text that shall be spoken; what is empty is as the whole batch has it."""

    name: str
    """Of the result: it may be part of a file name, and no other line of the batch has it."""
    text: str
    voice: str = ""
    """A name of the voice library, or a clip below the declared folders."""
    language: str = ""
    seed: int | None = None
    emotion: str = ""
    """``happy``, or weights: ``happy 0.6, calm 0.2``."""
    model: str = ""
    """Name of a model."""


COLUMNS = tuple(column.name for column in fields(BatchLine))

Record = Mapping[str, Any] | str
"""What one line holds under the names of :data:`COLUMNS`; or what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where voices may be."""

    voices: Collection[str] = ()
    """Names in the voice library."""
    roots: Sequence[Path] = ()
    """The declared folders."""
    folder: Path | None = None
    """Of the file that is read, when it lies below them: clips may be named from there."""

    def find(self, voice: str) -> str:
        """Return ``voice`` if it is a name of the library, else the clip that it means.

        Raises:
            UserError: It is neither.
        """
        if not voice or voice in self.voices:
            return voice
        path = below_roots(self._beside(voice), self.roots)
        if not path.is_file():
            raise UserError(
                f"there is no voice {voice!r}",
                fix=f"name a clip below the declared folders, or a voice; "
                f"{did_you_mean(voice, self.voices)}",
            )
        return str(path)

    def _beside(self, voice: str) -> Path:
        near = None if self.folder is None else self.folder / voice
        return near if near is not None and near.is_file() else Path(voice)

    def is_voice(self, name: str) -> bool:
        """Tell whether ``name`` is a voice and not the name of a result."""
        return name in self.voices or "/" in name or self._beside(name).is_file()


@dataclass(slots=True)
class _Check:
    """The lines that were good until now, and what was wrong with the others."""

    places: Places
    lines: list[BatchLine] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _named: dict[str, str] = field(default_factory=dict)

    def look_at(self, where: str, record: Record) -> None:
        try:
            if isinstance(record, str):
                raise UserError(record)
            line = _line_of(record, len(self.lines) + len(self.faults) + 1, self.places)
            first = self._named.setdefault(line.name.casefold(), where)
            if first != where:
                raise UserError(f"the name {line.name!r} is that of {first} too", fix="rename one")
        except UserError as error:
            mend = f"; {error.fix}" if error.fix else ""
            self.faults.append(f"{where}: {error.problem}{mend}")
        else:
            self.lines.append(line)


def check_lines(
    records: Iterable[tuple[str, Record]], places: Places, *, source: str
) -> list[BatchLine]:
    """Return the lines that ``records`` are.

    Args:
        records: Where each line is, as the user is told, and what it holds.
        places: Where voices may be.
        source: What the lines are from, for the errors.

    Raises:
        DataError: Lines cannot be used; the first ten are listed, and how many more there are.
            Or there is none, or there are too many.
    """
    check = _Check(places)
    for number, (where, record) in enumerate(records, start=1):
        if number > MAX_LINES:
            raise DataError(
                f"more than {MAX_LINES} lines", where=source, fix="make several batches of it"
            )
        check.look_at(where, record)
        if len(check.faults) >= MAX_FAULTS:
            break
    if check.faults:
        raise DataError(
            f"{len(check.faults)} lines cannot be used:\n{summarize(check.faults)}",
            where=source,
            fix="mend these lines, and give all of them again; nothing was taken yet",
        )
    if not check.lines:
        raise DataError("no line has a text", where=source, fix="give at least one text to speak")
    return check.lines


def _line_of(record: Mapping[str, Any], number: int, places: Places) -> BatchLine:
    values = {name: record.get(name) for name in COLUMNS}
    texts = {name: _text_of(name, value) for name, value in values.items() if name != "seed"}
    text, language = texts["text"], texts["language"]
    if not text:
        raise UserError("the text is empty", fix="write what shall be said, or delete the line")
    if len(text) > MAX_TEXT_LETTERS:
        raise UserError(
            f"a text of {len(text)} letters", fix=f"cut it: {MAX_TEXT_LETTERS} are allowed"
        )
    if language and not LANGUAGE_CODE.fullmatch(language):
        raise UserError(f"{language!r} is no code of a language", fix="write for example ca")
    emotion_weights(texts["emotion"])
    return BatchLine(
        name=_name_of(texts["name"] or f"{number:04d}"),
        text=text,
        voice=places.find(texts["voice"]),
        language=language,
        seed=seed_of(values["seed"]),
        emotion=texts["emotion"],
        model=texts["model"],
    )


def _text_of(name: str, value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):  # an empty cell
        return ""
    if not isinstance(value, str):
        raise UserError(f"{name} is {value!r}, not a text", fix=f"put {name} into quotes")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{name} has half a character", fix="write it anew") from error
    return value.strip()


def _name_of(name: str) -> str:
    if len(name) > MAX_NAME_LETTERS:
        raise UserError(f"a name of {len(name)} letters", fix=f"at most {MAX_NAME_LETTERS}")
    return slug(name, flag="name")


def seed_of(value: object) -> int | None:
    """Return the seed that ``value`` is; None of an empty one.

    Raises:
        UserError: It is no seed.
    """
    value = value.strip() if isinstance(value, str) else value
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    low, high = SEED_RANGE
    whole = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if whole.isascii() and whole.isdecimal() and low <= int(whole) <= high:
        return int(whole)
    raise UserError(f"the seed {value!r} is none", fix=f"write a whole number of {low} to {high}")


def emotion_weights(emotion: str) -> tuple[float, ...] | None:
    """Return the weights of ``emotion`` in the order of ``EMOTIONS``; None of an empty one.

    Raises:
        UserError: It names another emotion, or a weight is not 0 to 1.
    """
    if not emotion:
        return None
    weights = dict.fromkeys(EMOTIONS, 0.0)
    for part in emotion.casefold().split(","):
        match = WEIGHT.fullmatch(part.strip())
        if match is None or match["name"] not in weights:
            raise UserError(
                f"{part.strip()!r} is no emotion",
                fix=f"write for example 'happy 0.6, calm 0.2'; "
                f"{did_you_mean(match['name'] if match else part.strip(), EMOTIONS)}",
            )
        weights[match["name"]] = _weight(match["weight"] or "1", part.strip())
    return tuple(weights.values())


def _weight(text: str, part: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 1:
        raise UserError(f"the weight of {part!r} is not 0 to 1", fix="write for example happy 0.6")
    return weight
