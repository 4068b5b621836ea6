"""Sources: audio and a transcript put together, clip by clip, each with its speaker.

A clip that is left out comes as a :class:`~idiolect.data.transcripts.Fault` in its place, and
audio that no line names comes last, so that what is found is what is kept plus what is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.base.errors import ConfigError
from idiolect.data.file_index import FileIndex, audio_index, without_suffix
from idiolect.data.language_names import language_code
from idiolect.data.transcripts import (
    LINE_MENDS,
    Fault,
    Row,
    Transcript,
    open_transcript,
)

NO_AUDIO = "no audio file has this name"
SEVERAL_AUDIOS = "several audio files have this name"
REPEATED = "the clip has another line already"
NO_SPEAKER = "the speaker cannot be told"
NO_LANGUAGE = "the language cannot be told"
NO_LINE = "no line of the transcript names this audio"
BAD_NAME = "the name of the file is not UTF-8"

SOURCE_MENDS = LINE_MENDS | {
    NO_AUDIO: "put the file anywhere below --audio-dir, or correct its name in the line",
    SEVERAL_AUDIOS: "write its folder too: marta/0001",
    REPEATED: "keep the line that is right and delete the others",
    NO_SPEAKER: "write the speaker in the line, or choose another --speaker-from",
    NO_LANGUAGE: "write the code in the language column, or give --language",
    NO_LINE: "write a line for it, or take the file out of --audio-dir",
    BAD_NAME: "rename it (convmv -f latin1 -t utf-8 --notest FILE)",
}
"""What to do about each reason a clip can be left out for before it is heard."""

MANY_SHARE = 0.9
"""A column tells the speakers when at least so many rows have one."""
SPEAKER_WORDS = ("auto", "column", "folder", "name", "one")
NAME_PATTERN = re.compile(r"(?:^|/)([^/_-]+)[_-][^/]*$")
"""The speaker in ``marta_0001.wav``: what stands before the first ``_`` or ``-``."""
NOT_SPEAKERS = frozenset(
    {
        *("audio", "audios", "clips", "wav", "wavs", "flac", "mp3", "ogg", "sound", "sounds"),
        *("train", "training", "dev", "test", "val", "valid", "validation", "data", "raw"),
        *("invalidated", "validated", "other", "segments", "recordings", "split"),
    }
)
"""Names of folders that hold clips of anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One clip that can be measured."""

    where: str
    """File and line of the transcript."""
    id: str
    audio: str
    """Path relative to the folder of the audio."""
    text: str
    speaker: str
    language: str
    start_sec: float | None
    end_sec: float | None
    source: str | None
    emotion: str | None
    extra: dict[str, Any] | None

    @property
    def key(self) -> str:
        """What its measurement is found by."""
        if self.start_sec is None and self.end_sec is None:
            return self.audio
        return f"{self.audio}@{self.start_sec}-{self.end_sec}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Audio, transcript, and how the speaker of a clip is told."""

    audio: FileIndex
    transcript: Transcript
    speaker_of: Callable[[Row, str], str]
    speaker_told_by: str
    """How, in words for the user."""
    language: str = ""
    """Of the clips whose line does not say theirs."""

    def clips(self) -> Iterator[Clip | Fault]:
        """Yield the clips in the order of the transcript, then the audio without a line."""
        used: set[str] = set()
        ids: dict[str, str] = {}
        for row in self.transcript.rows():
            yield row if isinstance(row, Fault) else self._clip_of(row, used, ids)
        if not self.transcript.is_selection:
            for audio in self.audio:
                if audio not in used:
                    path = str(self.audio.folder / audio)
                    yield Fault(reason=NO_LINE, where=path, name=audio)
        for audio in self.audio.unnamable:
            yield Fault(reason=BAD_NAME, where=str(self.audio.folder / audio), name=audio)

    def _clip_of(self, row: Row, used: set[str], ids: dict[str, str]) -> Clip | Fault:
        found = self.audio.find(row.name)
        used.update(found)
        if len(found) != 1:
            reason = SEVERAL_AUDIOS if found else NO_AUDIO
            return _fault(row, reason, ", ".join(found[:3]) or row.name)
        clip_id = row.id or _id_of(row, found[0])
        if clip_id in ids:
            return _fault(row, REPEATED, f"id {clip_id!r} is used twice, first at {ids[clip_id]}")
        ids[clip_id] = row.where
        speaker = self.speaker_of(row, found[0])
        if not speaker:
            return _fault(row, NO_SPEAKER, f"told by {self.speaker_told_by}")
        language = language_code(row.language) if row.language else self.language
        if not language:
            return _fault(row, NO_LANGUAGE, f"it says {row.language!r}")
        return Clip(
            where=row.where,
            id=clip_id,
            audio=found[0],
            text=row.text,
            speaker=speaker,
            language=language,
            start_sec=row.start_sec,
            end_sec=row.end_sec,
            source=row.source,
            emotion=row.emotion,
            extra=row.extra,
        )


def open_source(
    audio_dir: Path, transcript_file: Path | None, *, speaker_from: str, speaker: str | None
) -> Source:
    """Return the source made of the audio below ``audio_dir`` and its transcript.

    Args:
        audio_dir: Searched to any depth.
        transcript_file: A file, a folder, or None to look in ``audio_dir``.
        speaker_from: One of :data:`SPEAKER_WORDS`, or a regular expression over the path of a
            clip whose first group is the speaker.
        speaker: The one speaker of all clips; goes before ``speaker_from``.

    Raises:
        DataError: There is no audio, or no transcript of a known form.
        ConfigError: ``speaker_from`` asks for what is not there.
    """
    audio = audio_index(audio_dir)
    transcript = open_transcript(transcript_file, audio)
    told_by, speaker_of = _speaker_rule(audio, transcript, speaker_from, speaker)
    return Source(
        audio=audio, transcript=transcript, speaker_of=speaker_of, speaker_told_by=told_by
    )


def _fault(row: Row, reason: str, detail: str) -> Fault:
    return Fault(reason=reason, where=row.where, detail=detail, name=row.name, text=row.text)


def _id_of(row: Row, audio: str) -> str:
    """Return the path without its suffix; of a part of a file, with where the part begins."""
    name = without_suffix(audio)
    return name if row.start_sec is None else f"{name}@{row.start_sec:.3f}"


SpeakerRule = tuple[str, Callable[[Row, str], str]]
"""How the speaker is told, in words, and the function that tells it."""


def _speaker_rule(
    audio: FileIndex, transcript: Transcript, speaker_from: str, speaker: str | None
) -> SpeakerRule:
    if speaker is not None:
        return f"--speaker {speaker}", lambda _row, _path: speaker
    rules: dict[str, Callable[[], SpeakerRule | None]] = {
        "column": lambda: _by_column(transcript),
        "folder": lambda: _by_folder(audio),
        "name": lambda: ("the file name", lambda _row, path: _search(NAME_PATTERN, path)),
        "one": lambda: _one_speaker(audio),
    }
    if speaker_from == "auto":
        return _by_column(transcript) or _by_speaker_folder(audio) or _one_speaker(audio)
    if speaker_from not in rules:
        return _by_pattern(speaker_from)
    rule = rules[speaker_from]()
    if rule is None:
        raise ConfigError(
            f"no speaker can be told by {speaker_from}",
            where=f"--speaker-from {speaker_from}",
            fix="choose column (a column called speaker), folder (a folder for each speaker), "
            "name (marta_0001.wav), one, or a regular expression with one group",
        )
    return rule


def _by_column(transcript: Transcript) -> SpeakerRule | None:
    rows = transcript.sample()
    if not rows or sum(bool(row.speaker) for row in rows) < MANY_SHARE * len(rows):
        return None
    return "the speaker column", lambda row, _path: row.speaker or ""


def _by_folder(audio: FileIndex) -> SpeakerRule | None:
    depth = audio.speaker_level()
    if depth is None:
        return None
    return "the folder", lambda _row, path: _folder_at(path, depth)


def _by_speaker_folder(audio: FileIndex) -> SpeakerRule | None:
    """Return the rule by folder if each clip has one, and none of them is a common name."""
    depth = audio.speaker_level()
    if depth is None:
        return None
    folders = {_folder_at(path, depth) for path in audio}
    if "" in folders or any(name.casefold() in NOT_SPEAKERS for name in folders):
        return None
    return _by_folder(audio) if len(audio) >= 2 * len(folders) else None


def _folder_at(path: str, depth: int) -> str:
    folders = path.split("/")[:-1]
    return folders[depth] if depth < len(folders) else ""


def _one_speaker(audio: FileIndex) -> SpeakerRule:
    name = audio.folder.resolve().name or "speaker"
    return f"nothing: all clips count as one speaker, {name}", lambda _row, _path: name


def _by_pattern(pattern: str) -> SpeakerRule:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"{pattern!r} is not a regular expression: {error}", where="--speaker-from"
        ) from error
    if compiled.groups < 1:
        raise ConfigError(
            f"{pattern!r} has no group to take the speaker from",
            where="--speaker-from",
            fix=f"put the speaker in brackets, as in '([a-z]+)_', or use one of: "
            f"{', '.join(SPEAKER_WORDS)}",
        )
    return f"the pattern {pattern}", lambda _row, path: _search(compiled, path)


def _search(pattern: re.Pattern[str], path: str) -> str:
    match = pattern.search(path)
    return (match[1] or "") if match else ""
