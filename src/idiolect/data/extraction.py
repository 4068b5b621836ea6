"""Clips to their features, in a folder that can be added to: read ahead, batched, resumed.

What the features are is the affair of :mod:`idiolect.data.extractor`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from idiolect.audio.io import Waveform, read_audio
from idiolect.base.errors import ConfigError, DataError, summarize
from idiolect.base.files import remove_left_over, write_jsonl
from idiolect.base.guard import check_output
from idiolect.base.log import get_logger
from idiolect.base.progress import Advance, progress
from idiolect.base.skips import Skips
from idiolect.base.units import SEMANTIC_SAMPLE_RATE, format_duration, samples_to_seconds
from idiolect.data.extractor import Extractor
from idiolect.data.features import (
    Features,
    FeatureStore,
    FeatureWriter,
    audio_key,
    features_dir,
)
from idiolect.data.manifest import Utterance

MIN_CLIP_SEC = 0.1
"""A shorter clip has too few frames for the conditioners."""
MAX_CLIP_SEC = 60.0
"""A longer clip has more codes than any model has positions, and could fill the memory."""
WINDOW_CLIPS = 256
"""Clips in memory at a time; they are sorted by length among themselves."""
REJECTED_FILE = "rejected.jsonl"
LOCK_FILE = ".lock"

UNREADABLE = "its audio cannot be read"
TOO_SHORT = f"it is shorter than {MIN_CLIP_SEC:g} s"
TOO_LONG = f"it is longer than {MAX_CLIP_SEC:g} s"
NOT_FINITE = "the networks give values for it that are not numbers"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """How features are extracted; nothing here changes them."""

    batch_size: int = 8
    """Clips in one pass."""
    max_batch_sec: float = 120.0
    """Seconds of sound in one pass, padding included."""
    num_workers: int = 4
    """Threads that read audio ahead."""
    allow_skips: bool = False
    """Go on when more than a tenth of the clips cannot be used."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigError: A value is out of range.
        """
        for name in ("batch_size", "max_batch_sec", "num_workers"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} must be at least 1, got {getattr(self, name)}",
                    where=f"--{name.replace('_', '-')}",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionReport:
    """What became of the clips that features were asked for."""

    folder: Path
    num_clips: int
    num_reused: int
    num_extracted: int
    elapsed_sec: float
    rejected: dict[str, list[str]] = field(default_factory=dict)
    """Reason to the ids of the clips."""

    @property
    def num_rejected(self) -> int:
        """How many clips have no features."""
        return sum(map(len, self.rejected.values()))

    def summary(self) -> str:
        """Return what was done, and what was left out for which reason, a line each."""
        lines = [
            f"features of {self.num_clips} clips: {self.num_extracted} extracted in "
            f"{format_duration(self.elapsed_sec)}, {self.num_reused} there already, "
            f"{self.num_rejected} rejected; in {self.folder}"
        ]
        lines += [f"  {len(ids)} clips: {reason}" for reason, ids in self.rejected.items()]
        return "\n".join(lines)


def extract_manifests(
    clips: Mapping[Path, Sequence[Utterance]], extractor: Extractor, config: FeatureConfig
) -> Iterator[ExtractionReport]:
    """Extract the features of the clips of each manifest, and yield what came of it.

    Clips that cannot be used are counted over all manifests: one in a small validation set is
    no tenth of what a run needs.

    Raises:
        DataError: As :func:`extract_features`.
    """
    skips = Skips(num_all=sum(map(len, clips.values())), allowed=config.allow_skips)
    for manifest, utterances in clips.items():
        folder = features_dir(manifest, extractor.fingerprint)
        yield extract_features(utterances, extractor, folder, config, skips=skips)


def extract_features(
    utterances: Sequence[Utterance],
    extractor: Extractor,
    folder: Path,
    config: FeatureConfig | None = None,
    *,
    skips: Skips | None = None,
) -> ExtractionReport:
    """Put into ``folder`` the features of all ``utterances`` that it does not hold yet.

    It can be stopped at any time; the next call does the rest. Clips that cannot be used are
    counted by reason, and listed in ``rejected.jsonl`` in ``folder``.

    Args:
        utterances: The clips.
        extractor: Listens to them.
        folder: Of the features.
        config: How it is done.
        skips: Counts the clips that cannot be used; by default those of this call only.

    Raises:
        DataError: More than a tenth of the clips cannot be used, and that was not allowed.
    """
    config = config or FeatureConfig()
    skips = skips or Skips(num_all=len(utterances), allowed=config.allow_skips)
    started = time.monotonic()
    check_output(folder / LOCK_FILE)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK_FILE):
        remove_left_over(folder)
        store = FeatureStore.open(folder)
        wanted = [u for u in utterances if u.id not in store or _is_changed(u, store)]
        run = _Run(extractor, config, skips, folder / REJECTED_FILE)
        header = {"fingerprint": extractor.fingerprint}
        with (
            FeatureWriter(folder, header=header) as writer,
            progress("extracting features", len(wanted), unit="clips") as advance,
        ):
            for window in _read_ahead(wanted, config.num_workers):
                run.do(window, writer, advance)
        run.write_rejected()
    return ExtractionReport(
        folder=folder,
        num_clips=len(utterances),
        num_reused=len(utterances) - len(wanted),
        num_extracted=run.num_extracted,
        elapsed_sec=time.monotonic() - started,
        rejected=run.rejected_ids(),
    )


@dataclass(frozen=True, slots=True)
class _Clip:
    """A clip that was read, or why it was not."""

    utterance: Utterance
    audio: Waveform | None = None  # [N] at 16 kHz
    key: int = 0
    reason: str = ""
    detail: str = ""


class _Run:
    """One call of :func:`extract_features`: the limits of a batch, and the counts."""

    def __init__(
        self, extractor: Extractor, config: FeatureConfig, skips: Skips, report_path: Path
    ) -> None:
        self.extractor = extractor
        self.skips = skips
        self.report_path = report_path
        self.batch_size = config.batch_size
        self.batch_sec = config.max_batch_sec
        self.num_extracted = 0
        self.rejected: list[_Clip] = []

    def do(self, window: Sequence[_Clip], writer: FeatureWriter, advance: Advance) -> None:
        """Extract the clips of ``window``, the longest first, so that memory is short at once."""
        self._reject([clip for clip in window if clip.audio is None], advance)
        clips = sorted((c for c in window if c.audio is not None), key=_num_samples, reverse=True)
        while clips:
            batch = clips[: self._batch_len(clips)]
            features = self._extract(batch)
            if features is None:
                continue
            clips = clips[len(batch) :]
            for clip, row in zip(batch, features, strict=True):
                if not (np.isfinite(row.latents).all() and np.isfinite(row.emotion).all()):
                    self._reject([_Clip(clip.utterance, reason=NOT_FINITE)], advance)
                    continue
                writer.add(clip.utterance.id, clip.key, row)
                self.num_extracted += 1
                advance(1)

    def _batch_len(self, clips: Sequence[_Clip]) -> int:
        """Return how many of ``clips``, longest first, fit into one pass."""
        longest_sec = samples_to_seconds(_num_samples(clips[0]), SEMANTIC_SAMPLE_RATE)
        return max(1, min(self.batch_size, int(self.batch_sec / longest_sec)))

    def _extract(self, batch: Sequence[_Clip]) -> list[Features] | None:
        """Return the features of ``batch``; None when it did not fit, and smaller ones are due."""
        try:
            return self.extractor.extract([c.audio for c in batch if c.audio is not None])
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise _no_room(batch[0]) from error
        self.batch_size = len(batch) // 2
        get_logger().warning("out of memory: going on with %d clips in a pass", self.batch_size)
        if self.extractor.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _reject(self, clips: Sequence[_Clip], advance: Advance) -> None:
        self.rejected += clips
        advance(len(clips))
        self.skips.num_skipped += len(clips)
        if clips and self.skips.is_too_much:
            self.write_rejected()
            listed = summarize(f"{c.utterance.id}: {c.reason}; {c.detail}" for c in self.rejected)
            raise DataError(
                f"{self.skips.problem('clips cannot be used')}:\n{listed}",
                where=str(self.report_path),
                fix=self.skips.fix("mend or remove these clips"),
            )

    def rejected_ids(self) -> dict[str, list[str]]:
        """Return the ids of the rejected clips by reason."""
        ids: dict[str, list[str]] = {}
        for clip in self.rejected:
            ids.setdefault(clip.reason, []).append(clip.utterance.id)
        return ids

    def write_rejected(self) -> None:
        """Write which clips were rejected and why; leave no list of an earlier call."""
        if self.rejected:
            write_jsonl(self.report_path, map(_rejection_of, self.rejected))
        else:
            self.report_path.unlink(missing_ok=True)


def _rejection_of(clip: _Clip) -> dict[str, str]:
    return {
        "id": clip.utterance.id,
        "audio": str(clip.utterance.audio_path),
        "reason": clip.reason,
        "detail": clip.detail,
    }


def _is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Return whether ``error`` says so; on a CPU, torch raises no kind of its own for it."""
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def _no_room(clip: _Clip) -> DataError:
    duration_sec = samples_to_seconds(_num_samples(clip), SEMANTIC_SAMPLE_RATE)
    return DataError(
        f"out of memory on one clip of {duration_sec:.1f} s",
        where=clip.utterance.id,
        fix="close what else uses the device, or extract with --device cpu",
    )


def _read_ahead(utterances: Sequence[Utterance], num_workers: int) -> Iterator[list[_Clip]]:
    """Yield windows of clips; the next one is read while one is worked on."""
    remaining = iter(utterances)
    with ThreadPoolExecutor(num_workers) as pool:
        ahead = [pool.submit(_read, u) for u in islice(remaining, WINDOW_CLIPS)]
        while ahead:
            window = [future.result() for future in ahead]
            ahead = [pool.submit(_read, u) for u in islice(remaining, WINDOW_CLIPS)]
            yield window


def _read(utterance: Utterance) -> _Clip:
    """Return the clip at 16 kHz, cut to its limits; what is wrong with it is a reason, no error."""
    if utterance.duration_sec > MAX_CLIP_SEC:
        return _Clip(utterance, reason=TOO_LONG, detail=f"{utterance.duration_sec:.1f} s")
    try:
        audio, _ = read_audio(
            utterance.audio_path,
            SEMANTIC_SAMPLE_RATE,
            start_sec=utterance.start_sec or 0.0,
            end_sec=utterance.end_sec,
        )
        key = audio_key(utterance)
    except (DataError, OSError) as error:
        return _Clip(utterance, reason=UNREADABLE, detail=str(error).splitlines()[0])
    duration_sec = samples_to_seconds(len(audio), SEMANTIC_SAMPLE_RATE)
    if not MIN_CLIP_SEC <= duration_sec <= MAX_CLIP_SEC:
        reason = TOO_SHORT if duration_sec < MIN_CLIP_SEC else TOO_LONG
        return _Clip(utterance, reason=reason, detail=f"{duration_sec:.3f} s")
    return _Clip(utterance, audio=audio, key=key)


def _is_changed(utterance: Utterance, store: FeatureStore) -> bool:
    """Return whether the sound is another than the one whose features are stored.

    Where the sound cannot be looked at, the features that are there still serve.
    """
    try:
        return audio_key(utterance) != store.audio_key(utterance.id)
    except OSError:
        return False


def _num_samples(clip: _Clip) -> int:
    return 0 if clip.audio is None else len(clip.audio)
