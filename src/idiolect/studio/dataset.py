"""Recordings before and after they are prepared: what was detected, what was left out and why."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from idiolect.audio.io import probe_audio
from idiolect.base.errors import DataError
from idiolect.base.files import read_jsonl
from idiolect.data.language_names import codes_in_path
from idiolect.data.manifest import read_manifest
from idiolect.data.sources import Clip, Source, open_source
from idiolect.text.coverage import CoverageReport, measure_coverage
from idiolect.text.tokenizer import Tokenizer

SHOWN_ROWS = 8
"""First clips that a preview shows."""
SAMPLED_CLIPS = 200
"""Clips whose length is looked at; those of the others are estimated from them."""
COVERAGE_TEXTS = 20_000
"""Texts that a coverage is measured on, spread over the manifest."""
UNKNOWN_EXAMPLES = 12
UNTOLD = "?"
"""Stands for the language of clips that nothing tells; ``prepare`` asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRow:
    """A clip as it was understood."""

    audio: Path
    text: str
    speaker: str
    language: str
    start_sec: float | None
    end_sec: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would be prepared; nothing was heard or written."""

    form: str
    """What the transcript was taken for."""
    transcript: Path
    speakers_told_by: str
    num_audio: int
    """Files of sound below the folder."""
    num_clips: int
    """Clips with a line and a file."""
    faults: Counter[str]
    """Reason to how many lines and files cannot be used."""
    speakers: Counter[str]
    languages: Counter[str]
    seconds: float
    is_estimate: bool
    """Whether ``seconds`` is computed from a sample."""
    rows: tuple[PreviewRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A clip that was left out."""

    reason: str
    detail: str
    fix: str
    name: str
    text: str
    audio: Path | None
    """None for a line without sound."""
    start_sec: float | None
    end_sec: float | None


def preview(
    audio_dir: Path,
    transcript_file: Path | None = None,
    *,
    language: str = "",
    speaker_from: str = "auto",
    speaker: str | None = None,
) -> Preview:
    """Return how recordings and transcript are understood, without listening to them.

    Args:
        audio_dir: Folder of the recordings.
        transcript_file: Their transcript; None looks for it.
        language: Of clips that do not say theirs; told from the names of files when empty.
        speaker_from: As ``prepare`` has it.
        speaker: The one speaker of all clips.

    Raises:
        DataError: There is no audio, or no transcript of a known form.
        ConfigError: ``speaker_from`` asks for what is not there.
    """
    source = open_source(audio_dir, transcript_file, speaker_from=speaker_from, speaker=speaker)
    source = replace(source, language=language or _told_language(source, audio_dir) or UNTOLD)
    faults: Counter[str] = Counter()
    speakers: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    first: list[Clip] = []
    sampled: list[tuple[int, str, Clip]] = []
    for clip in source.clips():
        if not isinstance(clip, Clip):
            faults[clip.reason] += 1
            continue
        speakers[clip.speaker] += 1
        languages[clip.language] += 1
        if len(first) < SHOWN_ROWS:
            first.append(clip)
        _keep_sample(sampled, clip)
    folder, num_clips = source.audio.folder, speakers.total()
    return Preview(
        form=source.transcript.form,
        transcript=source.transcript.path,
        speakers_told_by=source.speaker_told_by,
        num_audio=len(source.audio),
        num_clips=num_clips,
        faults=faults,
        speakers=speakers,
        languages=languages,
        seconds=_mean_seconds([clip for _, _, clip in sampled], folder) * num_clips,
        is_estimate=num_clips > SAMPLED_CLIPS,
        rows=tuple(_preview_row(clip, folder) for clip in first),
    )


def rejected_counts(path: Path) -> Counter[str]:
    """Return reason to how many clips were left out; nothing before a preparation.

    Raises:
        DataError: The file is damaged.
    """
    if not path.is_file():
        return Counter()
    return Counter(str(record.get("reason", "")) for _, record in read_jsonl(path))


def rejected_clips(path: Path, reason: str = "", *, first: int = 0, count: int) -> list[Rejected]:
    """Return ``count`` of the clips that were left out, for ``reason`` if it is given.

    Raises:
        DataError: The file is damaged.
    """
    if not path.is_file():
        return []
    ours = (r for _, r in read_jsonl(path) if reason in ("", r.get("reason")))
    return [_rejected(record, path.parent) for record in islice(ours, first, first + count)]


def coverage(tokenizer: Path, manifest: Path, *, language: str | None = None) -> CoverageReport:
    """Return how well a tokenizer spells the texts of a manifest, all of them or a sample.

    Args:
        tokenizer: Its ``.model``.
        manifest: The texts.
        language: Of all texts; that of each line when None.

    Raises:
        TokenizerError: The tokenizer is missing or damaged.
        DataError: The manifest is.
    """
    loaded = Tokenizer.load(tokenizer)
    num_texts = sum(1 for _ in read_manifest(manifest))
    every = max(1, -(-num_texts // COVERAGE_TEXTS))
    texts = islice(read_manifest(manifest), 0, None, every)
    return measure_coverage(loaded, ((u.text, language or u.language) for u in texts))


def unknown_with_examples(
    report: CoverageReport, tokenizer: Path, manifest: Path
) -> list[tuple[str, int, str]]:
    """Return (what is unknown, how often, a text that has it), the most frequent first."""
    wanted = dict(report.unknown[:UNKNOWN_EXAMPLES])
    loaded = Tokenizer.load(tokenizer)
    found: dict[str, str] = {}
    for utterance in read_manifest(manifest) if wanted else ():
        for piece in wanted.keys() & set(loaded.split(utterance.text, utterance.language)):
            found.setdefault(piece, utterance.text)
        if len(found) == len(wanted):
            break
    return [(piece, count, found.get(piece, "")) for piece, count in wanted.items()]


def _told_language(source: Source, audio_dir: Path) -> str:
    """Return the language that the names of files tell, if they tell one."""
    told: dict[str, str] = {}
    for path in (source.transcript.path, audio_dir):
        told = codes_in_path(str(path)) | told
    return next(iter(told)) if len(told) == 1 else ""


def _keep_sample(sampled: list[tuple[int, str, Clip]], clip: Clip) -> None:
    """Keep the clips of the smallest hashes: a sample that does not favour the beginning."""
    item = (-_hash(clip.id), clip.id, clip)
    if len(sampled) < SAMPLED_CLIPS:
        heapq.heappush(sampled, item)
    else:
        heapq.heappushpop(sampled, item)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _mean_seconds(clips: list[Clip], folder: Path) -> float:
    """Return the mean length of ``clips``; what cannot be read does not count."""
    lengths = [length for clip in clips if (length := _seconds(clip, folder)) is not None]
    return sum(lengths) / len(lengths) if lengths else 0.0


def _seconds(clip: Clip, folder: Path) -> float | None:
    if clip.end_sec is not None:
        return clip.end_sec - (clip.start_sec or 0.0)
    try:
        return probe_audio(folder / clip.audio).duration_sec - (clip.start_sec or 0.0)
    except DataError:
        return None


def _preview_row(clip: Clip, folder: Path) -> PreviewRow:
    return PreviewRow(
        audio=folder / clip.audio,
        text=clip.text,
        speaker=clip.speaker,
        language=clip.language,
        start_sec=clip.start_sec,
        end_sec=clip.end_sec,
    )


def _rejected(record: dict[str, Any], folder: Path) -> Rejected:
    audio = record.get("audio")
    return Rejected(
        reason=str(record.get("reason", "")),
        detail=str(record.get("detail", "")),
        fix=str(record.get("fix", "")),
        name=str(record.get("id") or record.get("name") or ""),
        text=str(record.get("text", "")),
        audio=folder / audio if isinstance(audio, str) else None,
        start_sec=record.get("start"),
        end_sec=record.get("end"),
    )
