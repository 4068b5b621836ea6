"""Recordings and transcripts to a checked manifest; nothing is left out without a reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from idiolect.audio.checks import AudioLimits
from idiolect.audio.io import read_audio, write_flac
from idiolect.base.errors import LISTED, ConfigError, DataError, summarize
from idiolect.base.files import remove_left_over, write_jsonl
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.progress import progress
from idiolect.base.skips import Skips
from idiolect.data.language_names import codes_in_path, language_code
from idiolect.data.manifest import Utterance, write_manifest
from idiolect.data.measurements import Measured, MeasurementStore, measure_clips, num_workers
from idiolect.data.pool import map_batches
from idiolect.data.report import write_report
from idiolect.data.sources import Clip, Source, open_source
from idiolect.data.split import Split, plan_split, sibling, validation_path
from idiolect.data.tally import Tally
from idiolect.data.transcripts import Fault
from idiolect.data.verdicts import Limits, Verdict, judge_clips, learn_norms, mend_of

NEXT_MEND = "\n       "
"""Puts each mend on a line of its own, below the first."""
COPY_DIR = "audio"
COPY_SAMPLE_RATE = 24_000
"""Hz of copies of clips with a higher rate; nothing here listens above 12 kHz."""

_USUAL = AudioLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """Where the recordings are, how they are read, and what is kept."""

    audio_dir: Path
    """Folder with the recordings, searched to any depth."""
    output_manifest: Path
    """Manifest to write, for example data/catalan/train.jsonl. The validation manifest, the
    rejected clips and the report are written beside it."""
    transcript_file: Path | None = None
    """What is said in each recording: lines of `file|text` or `file|speaker|text`, a table with
    a header, metadata.csv, a Common Voice TSV, a Kaldi `text`, JSON Lines, subtitles (SRT, VTT),
    or a folder with one .txt or .lab for each clip. Looked for in the audio folder by default."""
    language: str | None = None
    """Code of the language, such as ca or pt-BR; told from the names of files when it can be."""
    speaker_from: str = "auto"
    """How the speaker is told: auto, column, folder, name (marta_0001.wav), one, or a regular
    expression with one group that is searched in the path of each clip."""
    speaker: str | None = None
    """The speaker of all clips."""
    min_sec: float = _USUAL.min_sec
    """Shortest clip that is kept, in seconds."""
    max_sec: float = _USUAL.max_sec
    """Longest clip that is kept, in seconds."""
    max_silence: float = _USUAL.max_silence
    """Largest share of a clip that may be silence, 0 to 1."""
    max_clipped: float = _USUAL.max_clipped
    """Largest share of the samples that may be cut off at full scale, 0 to 1."""
    min_loudness_db: float = _USUAL.min_loudness_db
    """Level of the quietest clip that is kept, in dBFS."""
    max_dc_offset: float = _USUAL.max_dc_offset
    """Largest distance of the middle of the wave from zero, 0 to 1."""
    min_sample_rate: int = _USUAL.min_sample_rate
    """Lowest sample rate that is kept, in Hz."""
    max_channels: int = _USUAL.max_channels
    """Most channels that a clip may have; they are mixed into one."""
    max_foreign: float = 0.1
    """Largest share of the letters of a text that its language does not write, 0 to 1."""
    max_same_text: int = 0
    """How many clips of one speaker may say the same text; 0 for any number."""
    val_share: float = 0.05
    """Share of the clips held out for validation, 0 to 1."""
    copy: bool = False
    """Write the clips that are kept as FLAC with one channel into the folder of the manifest,
    instead of referring to the originals."""
    workers: int = 0
    """Processes that listen to the clips; 0 for one a core."""
    allow_skips: bool = False
    """Go on when more than a tenth of the clips is left out."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: A value is out of range.
        """
        for name in ("max_silence", "max_clipped", "max_foreign", "val_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} is a share from 0 to 1, not {getattr(self, name):g}",
                    where=f"--{name.replace('_', '-')}",
                )
        if self.val_share > 0.5:
            raise ConfigError(
                f"val_share {self.val_share:g} leaves less for training than for validation",
                where="--val-share",
            )

    @property
    def limits(self) -> Limits:
        """What a clip must be like to be kept."""
        audio = AudioLimits(**{f.name: getattr(self, f.name) for f in fields(AudioLimits)})
        return Limits(audio=audio, max_foreign=self.max_foreign, max_same_text=self.max_same_text)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareReport:
    """What came of it."""

    found: int
    """Clips and lines; each is kept or left out."""
    kept: int
    left_out: Counter[str]
    """Reason to how many."""
    kept_sec: float
    speakers: int
    languages: tuple[str, ...]
    train: Path
    num_train: int
    validation: Path | None
    num_validation: int
    rejected: Path
    page: Path
    split_by: str


def prepare(config: PrepareConfig) -> PrepareReport:
    """Check all clips and write the manifests, the rejected clips and the report.

    A run that was interrupted goes on where it was: measurements are kept beside the manifest.

    Raises:
        DataError: There is nothing to prepare, or more than a tenth of it is left out.
        ConfigError: The language or the speaker cannot be told.
        GuardError: The output lies in a base folder.
    """
    check_output(config.output_manifest)
    _check_overwrites(config)
    remove_left_over(config.output_manifest.parent)
    source = open_source(
        config.audio_dir,
        config.transcript_file,
        speaker_from=config.speaker_from,
        speaker=config.speaker,
    )
    source = replace(source, language=_tell_language(config, source))
    _notice_source(source)
    num_clips = _survey(source, config)
    state = config.output_manifest.with_name(f".{config.output_manifest.stem}.measured.sqlite")
    with closing(MeasurementStore(state)) as store:
        workers = num_workers(config.workers, num_clips)
        with progress("listening to the clips", num_clips, unit="clips") as advance:
            measure_clips(
                _good_clips(source),
                config.audio_dir,
                store,
                config.limits.audio,
                workers=workers,
                advance=advance,
            )
        return _judge_and_write(source, store, config, workers)


def _check_overwrites(config: PrepareConfig) -> None:
    """Refuse to write over the transcript that is read.

    Raises:
        ConfigError: One of the files to be written is the transcript.
    """
    if config.transcript_file is None:
        return
    manifest, read = config.output_manifest, config.transcript_file.resolve()
    for path in (manifest, validation_path(manifest), sibling(manifest, "rejected")):
        if path.resolve() == read:
            raise ConfigError(
                f"{path} would be written over the transcript",
                where="--output-manifest",
                fix="choose another folder, for example data/<language>/train.jsonl",
            )


def _judge_and_write(
    source: Source, store: MeasurementStore, config: PrepareConfig, workers: int
) -> PrepareReport:
    """Pass over the clips again and again rather than keep them: a million must fit in memory."""
    limits, manifest = config.limits, config.output_manifest
    norms = learn_norms(_measured(source, store), limits)

    def verdicts() -> Iterator[Verdict]:
        return judge_clips(_measured(source, store), norms, limits)

    tally = Tally()
    rejected, page = sibling(manifest, "rejected"), sibling(manifest, "report", ".html")
    write_jsonl(rejected, _rejections(source, verdicts(), tally, manifest.parent))
    split = plan_split(tally.speakers, config.val_share)
    title = f"Data: {manifest.parent.name or manifest.stem}"
    skips = Skips(num_all=tally.found, num_skipped=tally.left_out.clips, allowed=config.allow_skips)
    stopped = skips.is_everything or skips.is_too_much
    write_report(page, tally, source, split, title=title, stopped=stopped)
    if stopped:
        raise _left_out_error(skips, tally, page)
    if config.copy:
        _copy_clips(verdicts(), tally.kept.clips, source, config, workers)
    validation = validation_path(manifest)
    num_validation = _write_side(validation, verdicts(), split, source, config, held_out=True)
    num_train = _write_side(manifest, verdicts(), split, source, config, held_out=False)
    return PrepareReport(
        found=tally.found,
        kept=tally.kept.clips,
        left_out=tally.reason_counts,
        kept_sec=tally.kept.seconds,
        speakers=len(tally.by_speaker),
        languages=tuple(sorted(tally.by_language)),
        train=manifest,
        num_train=num_train,
        validation=validation if num_validation else None,
        num_validation=num_validation,
        rejected=rejected,
        page=page,
        split_by=split.by,
    )


def _tell_language(config: PrepareConfig, source: Source) -> str:
    """Return the language of clips that do not say theirs; empty when all of them do.

    Raises:
        ConfigError: It is not given, and the names of files name none, or several.
    """
    if config.language is not None:
        code = language_code(config.language)
        if code is None:
            raise ConfigError(
                f"{config.language!r} is not the code of a language",
                where="--language",
                fix="give its ISO 639 code: ca, es, fr, pt-BR ...",
            )
        return code
    rows = source.transcript.sample()
    if rows and all(row.language for row in rows):
        return ""
    told: dict[str, str] = {}
    for path in (config.output_manifest, source.transcript.path, config.audio_dir):
        told = codes_in_path(str(path)) | told
    if len(told) == 1:
        ((code, name),) = told.items()
        get_logger().info("language: %s, told by the name %r (--language sets another)", code, name)
        return code
    found = f"the names of files say {' and '.join(sorted(told))}" if told else "no name says it"
    raise ConfigError(
        f"the language of the clips cannot be told: {found}",
        where="--language",
        fix="add the code of the language, for example --language ca",
    )


def _notice_source(source: Source) -> None:
    log = get_logger().info
    log("audio: %s files below %s", f"{len(source.audio):,}", source.audio.folder)
    log("transcript: %s, read as %s", source.transcript.path, source.transcript.form)
    log("speakers told by %s (--speaker-from sets another way)", source.speaker_told_by)


def _good_clips(source: Source) -> Iterator[Clip]:
    return (clip for clip in source.clips() if isinstance(clip, Clip))


def _measured(source: Source, store: MeasurementStore) -> Iterator[tuple[Clip, Measured]]:
    for clip in _good_clips(source):
        yield clip, store.get(clip.key) or ("the clip was not heard", "")


def _survey(source: Source, config: PrepareConfig) -> int:
    """Read the whole transcript before any audio; return how many clips can be heard.

    Raises:
        DataError: No clip can, or more than a tenth of the lines and files is left out.
    """
    num_clips, listed, reasons = 0, list[str](), Counter[str]()
    for clip in source.clips():
        if isinstance(clip, Clip):
            num_clips += 1
            continue
        reasons[clip.reason] += 1
        if len(listed) < LISTED:
            detail = f" ({clip.detail})" if clip.detail else ""
            listed.append(f"{clip.where}: {clip.reason}{detail}")
    if not reasons:
        return num_clips
    skips = Skips(
        num_all=reasons.total() + num_clips,
        num_skipped=reasons.total(),
        allowed=config.allow_skips,
    )
    shown = summarize(listed, unlisted=reasons.total() - len(listed))
    what = "lines and files cannot be used"
    if skips.is_everything or skips.is_too_much:
        raise DataError(
            f"{skips.problem(what)}:\n{shown}",
            where=str(source.transcript.path),
            fix=skips.fix(_mends(reasons), separator=NEXT_MEND),
        )
    get_logger().warning(
        "%d of %d %s:\n%s\n  fix: %s",
        *(skips.num_skipped, skips.num_all, what, shown, _mends(reasons)),
    )
    return num_clips


def _mends(reasons: Counter[str]) -> str:
    """Return what to do about the reasons, the most frequent first."""
    return NEXT_MEND.join(
        f"{reason}: {mend_of(reason)}" for reason, _ in reasons.most_common(LISTED)
    )


def _rejections(
    source: Source, verdicts: Iterator[Verdict], tally: Tally, folder: Path
) -> Iterator[dict[str, Any]]:
    """Yield the lines of the rejected clips, and count all clips into ``tally``."""
    for fault in source.clips():
        if isinstance(fault, Fault):
            tally.leave_out(fault)
            values = {"name": fault.name, "text": fault.text, "where": fault.where}
            yield _reason_of(fault) | values
    for verdict in verdicts:
        if not verdict.reason:
            tally.keep(verdict)
            continue
        tally.leave_out(verdict)
        clip = verdict.clip
        audio = os.path.relpath((source.audio.folder / clip.audio).resolve(), folder.resolve())
        times = {"start": clip.start_sec, "end": clip.end_sec}
        yield (
            _reason_of(verdict)
            | {"id": clip.id, "audio": audio, "text": clip.text, "speaker": clip.speaker}
            | {key: value for key, value in times.items() if value is not None}
            | {"where": clip.where}
        )


def _reason_of(fault: Verdict | Fault) -> dict[str, Any]:
    return {"reason": fault.reason, "detail": fault.detail, "fix": mend_of(fault.reason)}


def _left_out_error(skips: Skips, tally: Tally, page: Path) -> DataError:
    reasons = tally.reason_counts
    listed = summarize(f"{count} x {reason}" for reason, count in reasons.most_common())
    return DataError(
        f"{skips.problem('clips are left out')}; no manifest is written:\n{listed}",
        where=f"each clip with its reason: {page}",
        fix=skips.fix(_mends(reasons), separator=NEXT_MEND),
    )


def _write_side(
    path: Path,
    verdicts: Iterator[Verdict],
    split: Split,
    source: Source,
    config: PrepareConfig,
    *,
    held_out: bool,
) -> int:
    """Write the clips of one side of the split; an empty side has no file."""
    kept = (verdict for verdict in verdicts if not verdict.reason)
    ours = (v for v in kept if split.holds_out(v.clip.speaker, v.clip.text) == held_out)
    if held_out and split.by == "nothing":
        with suppress(FileNotFoundError):
            check_output(path).unlink()
        return 0
    return write_manifest(path, (_utterance(verdict, source, config) for verdict in ours))


def _utterance(verdict: Verdict, source: Source, config: PrepareConfig) -> Utterance:
    clip, measures = verdict.clip, verdict.measures
    assert measures is not None, "a clip without measures is never kept"
    utterance = Utterance(
        id=clip.id,
        audio=clip.audio,
        root=source.audio.folder,
        text=clip.text,
        speaker=clip.speaker,
        language=clip.language,
        duration_sec=measures.duration_sec,
        source=clip.source,
        start_sec=clip.start_sec,
        end_sec=clip.end_sec,
        emotion=clip.emotion,
        extra=clip.extra,
    )
    if not config.copy:
        return utterance
    folder = config.output_manifest.parent
    copy = _copy_name(measures.sound_hash)
    return replace(utterance, root=folder, audio=copy, start_sec=None, end_sec=None)


def _copy_name(sound_hash: str) -> str:
    """Return where a copy is: named by its sound, for an id may hold anything."""
    return f"{COPY_DIR}/{sound_hash[:2]}/{sound_hash}.flac"


def _copy_clips(
    verdicts: Iterator[Verdict],
    num_clips: int,
    source: Source,
    config: PrepareConfig,
    workers: int,
) -> None:
    folder = config.output_manifest.parent
    tasks = (
        (
            source.audio.folder / v.clip.audio,
            v.clip.start_sec or 0.0,
            v.clip.end_sec,
            folder / _copy_name(v.measures.sound_hash),
        )
        for v in verdicts
        if v.measures is not None and not v.reason
    )
    with progress("copying the clips", num_clips, unit="clips") as advance:
        for count in map_batches(_copy_batch, tasks, workers=workers):
            advance(count)


def _copy_batch(tasks: list[tuple[Path, float, float | None, Path]]) -> int:
    for source, start_sec, end_sec, target in tasks:
        if not target.exists():
            audio, rate = read_audio(source, start_sec=start_sec, end_sec=end_sec)
            if rate > COPY_SAMPLE_RATE:
                audio, rate = read_audio(
                    source, COPY_SAMPLE_RATE, start_sec=start_sec, end_sec=end_sec
                )
            write_flac(target, audio, rate)
    return len(tasks)
