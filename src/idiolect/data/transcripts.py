"""Transcripts as people have them, read as rows: which clip, what is said in it, by whom.

The form is found by looking at the first lines. Rows come one at a time, so that a transcript
may be larger than memory; a line that cannot be used comes as a :class:`Fault` in its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from idiolect.base.errors import DataError
from idiolect.data.file_index import SUBTITLE_SUFFIXES, TEXT_SUFFIXES, FileIndex, without_suffix
from idiolect.data.lines import ASK_FOR_UTF8, read_lines
from idiolect.data.manifest import parse_record
from idiolect.data.tables import Columns, find_columns, named_columns

SAMPLE_LINES = 200
"""So many lines are looked at to tell the form."""

NOT_UTF8 = "the line is not UTF-8"
NOT_JSON = "the line is not a JSON object"
NO_COLUMNS = "the line has fewer columns than the others"
NO_TEXT = "the text is empty"
NO_NAME = "the line names no audio"
BAD_TIMES = "the times of the line make no sense"
A_COMMAND = "the audio is a command, which is never run"

LINE_MENDS = {
    NOT_UTF8: ASK_FOR_UTF8,
    NOT_JSON: "each line is one JSON object with at least audio and text",
    NO_COLUMNS: "write the missing column, or delete the line",
    NO_TEXT: "write what is said, or delete the line",
    NO_NAME: "write the name of the audio file, or delete the line",
    BAD_TIMES: "the end must come after the start, in seconds or hh:mm:ss,mmm",
    A_COMMAND: "run the commands of wav.scp yourself and put the files below --audio-dir",
}

KNOWN_NAMES = (
    *("metadata.csv", "metadata.txt", "metadata.tsv", "transcripts.txt", "transcript.txt"),
    *("transcripts.tsv", "transcripts.csv", "transcript.csv", "validated.tsv", "train.tsv"),
    *("metadata.jsonl", "transcripts.jsonl", "text"),
)
"""Names that a transcript has by custom, looked for when none is given."""
NOT_TRANSCRIPTS = frozenset({"readme", "license", "licence", "copying", "changelog"})

FESTIVAL_LINE = re.compile(r'^\(\s*(\S+)\s+"(.*)"\s*\)\s*$')
CUE_TIMES = re.compile(r"^\s*([\d:.,]+)\s+-->\s+([\d:.,]+)")
CUE_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
CUE_VOICE = re.compile(r"<v(?:\.[^ >]*)?\s+([^>]+)>")
LANGUAGE_SUFFIX = re.compile(r"\.[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One clip as a transcript describes it."""

    where: str
    """File and line."""
    name: str
    """The audio, as the transcript names it."""
    text: str
    id: str | None = None
    speaker: str | None = None
    language: str | None = None
    start_sec: float | None = None
    end_sec: float | None = None
    source: str | None = None
    emotion: str | None = None
    extra: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One clip, or one line, that is left out, and why."""

    reason: str
    """One of the fixed sentences that clips are counted by."""
    where: str
    """File and line of the transcript, or the audio file."""
    detail: str = ""
    name: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A transcript whose form is known."""

    form: str
    """What it was taken for, as the user is told."""
    path: Path
    rows: Callable[[], Iterator[Row | Fault]]
    """Reads it from the beginning, each time it is called."""
    is_selection: bool = False
    """By custom it lists only some of the audio, and the rest is not missed."""

    def sample(self) -> list[Row]:
        """Return the good ones of the first rows."""
        return [row for row in islice(self.rows(), SAMPLE_LINES) if isinstance(row, Row)]


def open_transcript(path: Path | None, audio: FileIndex) -> Transcript:
    """Return the transcript at ``path``, its form found by looking.

    Args:
        path: A file, a folder with one file for each clip, or None to look beside the audio.
        audio: The clips, to tell which column names them.

    Raises:
        DataError: There is no transcript, or its form is not known.
    """
    if path is None:
        return _beside_audio(audio)
    if path.is_dir():
        return _in_folder(path, audio)
    if not path.is_file():
        raise DataError(
            f"no such file: {path}",
            where="--transcript-file",
            fix="name the transcript; left out, it is looked for beside the audio",
        )
    head = [line for _, line, damage in islice(read_lines(path), SAMPLE_LINES) if not damage]
    if not head:
        raise DataError("the transcript holds no readable line", where=str(path), fix=ASK_FOR_UTF8)
    return _by_looking(path, head, audio)


def _by_looking(path: Path, head: list[str], audio: FileIndex) -> Transcript:
    """Return the transcript that begins with the lines ``head``."""
    if path.suffix.lower() in SUBTITLE_SUFFIXES or any(CUE_TIMES.match(line) for line in head):
        return _subtitles([path], path, audio)
    if head[0].lstrip().startswith("{"):
        return Transcript(form="JSON Lines", path=path, rows=lambda: _rows(path, _json_row))
    if (path.parent / "utt2spk").is_file() or (path.parent / "wav.scp").is_file():
        return Transcript(form="Kaldi", path=path, rows=lambda: _kaldi_rows(path))
    if all(FESTIVAL_LINE.match(line) for line in head):
        return Transcript(form="Festival", path=path, rows=lambda: _rows(path, _festival_row))
    columns = find_columns(head, audio, path)
    return Transcript(
        form=columns.form,
        path=path,
        rows=lambda: _table_rows(path, columns),
        is_selection=columns.is_selection,
    )


def _beside_audio(audio: FileIndex) -> Transcript:
    folder = audio.folder
    if known := next((folder / n for n in KNOWN_NAMES if (folder / n).is_file()), None):
        return open_transcript(known, audio)
    return _in_folder(folder, audio)


def _in_folder(folder: Path, audio: FileIndex) -> Transcript:
    if (folder / "text").is_file():
        return open_transcript(folder / "text", audio)
    subtitles = FileIndex(folder, SUBTITLE_SUFFIXES)
    if len(subtitles):
        return _subtitles([folder / name for name in subtitles], folder, audio)
    texts = FileIndex(folder, TEXT_SUFFIXES)
    if any(audio.find(without_suffix(name)) for name in texts):
        return Transcript(
            form="one text file for each clip", path=folder, rows=lambda: _text_file_rows(texts)
        )
    raise DataError(
        f"no transcript in {folder}: no text named like a clip, and none of the usual names",
        where="--transcript-file",
        fix="give the transcript: a file with lines like 'clip.wav|What is said.', or a folder "
        "with clip.txt for each clip.wav",
    )


def _rows(
    path: Path, parse: Callable[[str, str], Row | Fault], *, skipped_lines: int = 0
) -> Iterator[Row | Fault]:
    """Yield what ``parse`` makes of each line and of where it stands."""
    for number, line, damage in islice(read_lines(path), skipped_lines, None):
        where = f"{path}:{number}"
        yield Fault(reason=NOT_UTF8, where=where, detail=damage) if damage else parse(line, where)


def _table_rows(path: Path, columns: Columns) -> Iterator[Row | Fault]:
    def parse(line: str, where: str) -> Row | Fault:
        fields = columns.split(line)
        if len(fields) < columns.needed:
            detail = f"{len(fields)} of {columns.needed}: {line[:60]!r}"
            return Fault(reason=NO_COLUMNS, where=where, detail=detail, name=fields[0])
        return _row_of(columns.named(fields), where)

    return _rows(path, parse, skipped_lines=int(columns.has_header))


def _json_row(line: str, where: str) -> Row | Fault:
    record, problem = parse_record(line)
    if problem:
        return Fault(reason=NOT_JSON, where=where, detail=problem)
    return _row_of(named_columns(record), where)


def _row_of(values: dict[str, Any], where: str) -> Row | Fault:
    """Return the row made of ``values`` by their names in :mod:`idiolect.data.tables`."""
    text = _clean(values.pop("text", None))
    name = _clean(values.pop("audio", None)) or _clean(values.get("id"))
    fault = NO_NAME if not name else "" if text else NO_TEXT
    if fault:
        return Fault(reason=fault, where=where, name=name, text=text)
    times = {key: values.pop(key, None) for key in ("start", "end", "length")}
    try:
        start, end = _start_and_end(times)
    except ValueError:
        shown = ", ".join(f"{key} {value!r}" for key, value in times.items() if value is not None)
        return Fault(reason=BAD_TIMES, where=where, detail=shown, name=name, text=text)
    known = {
        key: _clean(values.pop(key, None)) or None
        for key in ("id", "speaker", "language", "source", "emotion")
    }
    extra = {key: value for key, value in values.items() if value not in (None, "")}
    return Row(
        where=where,
        name=name,
        text=text,
        start_sec=start,
        end_sec=end,
        extra=extra or None,
        **known,
    )


def _clean(value: object) -> str:
    """Return ``value`` as one line of text with single spaces."""
    return "" if value is None else " ".join(str(value).split())


def _start_and_end(times: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return start and end in seconds; a length counts from the start, and only with one.

    Raises:
        ValueError: They are no times, or the end is not after the start.
    """
    start, end, length = (_seconds(times[key]) for key in ("start", "end", "length"))
    if start is not None and end is None and length is not None:
        end = start + length
    if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
        raise ValueError("the end is not after the start")
    return start, end


def _seconds(value: object) -> float | None:
    """Return ``12.5``, ``1:02.5`` or ``00:01:02,500`` in seconds; None for nothing.

    Raises:
        ValueError: It is no time.
    """
    if value is None or value == "":
        return None
    total = 0.0
    for part in str(value).replace(",", ".").split(":"):
        total = total * 60 + float(part)
    if not math.isfinite(total):
        raise ValueError("no time at all")
    return total


def _kaldi_rows(text: Path) -> Iterator[Row | Fault]:
    speakers, audio, languages, segments = (
        _kaldi_map(text.with_name(name)) for name in ("utt2spk", "wav.scp", "utt2lang", "segments")
    )

    def parse(line: str, where: str) -> Row | Fault:
        utterance, _, words = line.strip().partition(" ") if " " in line else line.partition("\t")
        recording, _, times = segments.get(utterance, utterance).partition(" ")
        name = audio.get(recording, recording)
        if name.endswith("|"):
            return Fault(reason=A_COMMAND, where=where, detail=name, name=utterance)
        start, _, end = times.partition(" ")
        values: dict[str, Any] = {"id": utterance, "audio": name, "text": words}
        values |= {"speaker": speakers.get(utterance), "language": languages.get(utterance)}
        return _row_of(values | {"start": start, "end": end}, where)

    return _rows(text, parse)


def _kaldi_map(path: Path) -> dict[str, str]:
    """Return first word to the rest of each line; empty when there is no such file."""
    if not path.is_file():
        return {}
    pairs = (line.split(None, 1) for _, line, _ in read_lines(path) if line)
    return {pair[0]: " ".join(pair[1].split()) for pair in pairs if len(pair) == 2}


def _festival_row(line: str, where: str) -> Row | Fault:
    match = FESTIVAL_LINE.match(line)
    if match is None:
        return Fault(reason=NO_COLUMNS, where=where, detail=repr(line[:60]))
    return _row_of({"audio": match[1], "text": match[2].replace('\\"', '"')}, where)


def _text_file_rows(texts: FileIndex) -> Iterator[Row | Fault]:
    for name in texts:
        stem = without_suffix(name)
        if stem.rpartition("/")[2].lower() in NOT_TRANSCRIPTS:
            continue
        path = texts.folder / name
        lines = list(read_lines(path))
        damaged = [(number, damage) for number, _, damage in lines if damage]
        if damaged:
            number, damage = damaged[0]
            yield Fault(reason=NOT_UTF8, where=f"{path}:{number}", detail=damage, name=stem)
        else:
            text = " ".join(line for _, line, _ in lines)
            yield _row_of({"audio": stem, "text": text}, f"{path}:1")


def _subtitles(files: list[Path], path: Path, audio: FileIndex) -> Transcript:
    def rows() -> Iterator[Row | Fault]:
        for file in files:
            yield from _cue_rows(file, _recording_of(file, audio))

    return Transcript(form="subtitles", path=path, rows=rows)


def _recording_of(subtitles: Path, audio: FileIndex) -> str:
    """Return the recording of ``subtitles``: ``talk.srt`` or ``talk.ca.srt`` of ``talk.mp3``."""
    stem = subtitles.stem
    for name in (stem, LANGUAGE_SUFFIX.sub("", stem)):
        if audio.find(name):
            return name
    return next(iter(audio)) if len(audio) == 1 else stem


def _cue_rows(path: Path, recording: str) -> Iterator[Row | Fault]:
    for number, block in _blocks(read_lines(path, keep_blank=True)):
        at = next((i for i, (line, _) in enumerate(block) if CUE_TIMES.match(line)), None)
        where = f"{path}:{number}"
        damage = next((damage for _, damage in block if damage), "")
        if damage:
            yield Fault(reason=NOT_UTF8, where=where, detail=damage, name=recording)
        elif at is not None:
            yield _cue_row([line for line, _ in block[at:]], recording, where)


def _blocks(lines: Iterable[tuple[int, str, str]]) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Yield (number of the first line, [(line, damage)]) for each run without a blank line."""
    block: list[tuple[str, str]] = []
    first = 1
    for number, line, damage in lines:
        if line.strip() or damage:
            first = first if block else number
            block.append((line, damage))
        elif block:
            yield first, block
            block = []
    if block:
        yield first, block


def _cue_row(lines: list[str], recording: str, where: str) -> Row | Fault:
    times = CUE_TIMES.match(lines[0])
    assert times is not None, "the block was cut at its times"
    said = " ".join(lines[1:])
    voice = CUE_VOICE.search(said)
    values: dict[str, Any] = {
        "audio": recording,
        "text": CUE_TAG.sub("", said),
        "start": times[1],
        "end": times[2],
        "speaker": voice[1] if voice else None,
        "source": recording,
    }
    return _row_of(values, where)
