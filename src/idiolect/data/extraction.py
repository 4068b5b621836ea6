"""Audio to features: codes of each clip, and what its first seconds give the GPT as a prompt.

A clip's codes never depend on the clips that it is batched with. Padding does not reach a valid
frame, but a batch of another shape adds up floats in another order, and where two codes are
almost equally near, that noise could choose between them. So the margin is looked at by which
the nearest code wins in each frame: a clip with one below :data:`SAFE_MARGIN` is computed again,
alone. What is stored is what the clip gives alone.

Letters: B clips, T code frames, F features, K codes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor

from idiolect.audio.io import Waveform, read_audio
from idiolect.base.errors import ConfigError, DataError, summarize
from idiolect.base.files import remove_left_over, write_jsonl
from idiolect.base.guard import check_output
from idiolect.base.hashes import sha256_file, sha256_text
from idiolect.base.log import get_logger
from idiolect.base.progress import Advance, progress
from idiolect.base.skips import Skips
from idiolect.base.units import (
    MAX_PROMPT_SEC,
    SEMANTIC_SAMPLE_RATE,
    format_duration,
    samples_to_seconds,
    seconds_to_samples,
)
from idiolect.data.features import (
    Features,
    FeatureStore,
    FeatureWriter,
    audio_key,
    features_dir,
)
from idiolect.data.manifest import Utterance
from idiolect.models.checkpoint import Weights, map_weights
from idiolect.models.codec import FactorizedQuantizer, SemanticCodec
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.published import (
    CONDITIONER_KEYS,
    BaseFiles,
    gpt_weights,
    load_codec,
    load_gpt,
    load_semantic_encoder,
)
from idiolect.models.semantic import SemanticEncoder

EXTRACTOR_VERSION = 1
"""Counted up when the same audio and base would give other features."""
SAFE_MARGIN = 5e-5
"""Smallest lead of a code, as a difference of cosines, that rounding cannot turn round: at the
published widths, 3.3e-6 is the largest change of a lead that batching made in float32."""
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


class Extractor:
    """The frozen networks that listen; loaded when the first clip is asked for.

    Args:
        fingerprint: What the networks are known by.
        load: Reads them.
        device: Where they run.
    """

    def __init__(
        self, *, fingerprint: str, load: Callable[[], Listeners], device: torch.device
    ) -> None:
        self.fingerprint = fingerprint
        self.device = device
        self._load = load

    @classmethod
    def from_base(cls, files: BaseFiles, device: torch.device | str = "cpu") -> Extractor:
        """Return the extractor of the base in ``files``."""
        return cls(
            fingerprint=fingerprint_of(files),
            load=lambda: Listeners.load(files),
            device=torch.device(device),
        )

    @cached_property
    def listeners(self) -> Listeners:
        """The networks, on the device."""
        return self._load().to(self.device)

    @torch.inference_mode()
    def extract(self, audio: Sequence[Waveform]) -> list[Features]:
        """Return the features of each waveform ``[N]`` at 16 kHz.

        The codes are those of the whole waveform, the rest is that of its first 15 s.
        """
        clips = [torch.from_numpy(clip) for clip in audio]
        # On a GPU, TF32 convolutions would round to ten bits.
        with torch.backends.cudnn.flags(allow_tf32=False):
            codes, features, lens = self._codes(clips)
            limit = seconds_to_samples(MAX_PROMPT_SEC, SEMANTIC_SAMPLE_RATE)
            if any(len(clip) > limit for clip in clips):
                features, lens = self.listeners.semantic([clip[:limit] for clip in clips])
            voice = self.listeners.voice
            latents = voice.speaker_latents(features, lens).half().cpu().numpy()
            emotion = voice.emotion_vector(features, lens).half().cpu().numpy()
        return [Features(*row) for row in zip(codes, latents, emotion, strict=True)]

    def _codes(self, clips: Sequence[Tensor]) -> tuple[list[np.ndarray], Tensor, Tensor]:
        """Return the codes of each clip, and the features ``[B, T, F]`` with their lengths."""
        features, lens = self.listeners.semantic(clips)
        codes, margins = _nearest(self.listeners.codec, features, lens)
        rows = []
        for index, length in enumerate(lens.tolist()):
            row = codes[index, :length]
            if len(clips) > 1 and bool((margins[index, :length] < SAFE_MARGIN).any()):
                alone, alone_lens = self.listeners.semantic([clips[index]])
                row = _nearest(self.listeners.codec, alone, alone_lens)[0][0, :length]
            rows.append(row.cpu().numpy().astype(np.uint16))
        return rows, features, lens


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The networks of an :class:`Extractor`."""

    semantic: SemanticEncoder
    codec: SemanticCodec
    voice: UnifiedVoice
    """Of which the conditioners only are used."""

    @classmethod
    def load(cls, files: BaseFiles) -> Listeners:
        """Read the networks of the base in ``files``."""
        return cls(
            semantic=load_semantic_encoder(files),
            codec=load_codec(files),
            voice=load_gpt(files.gpt, files.config.gpt),
        )

    def to(self, device: torch.device) -> Listeners:
        """Move what is used to ``device``, and free the rest of the GPT."""
        for name, child in self.voice.named_children():
            child.to(device if CONDITIONER_KEYS.match(f"{name}.") else "meta")
        self.semantic.to(device).eval()
        self.codec.to(device).eval()
        self.voice.eval()
        return self


def fingerprint_of(files: BaseFiles) -> str:
    """Return 16 hex digits that change with anything that features depend on, but the audio.

    Of the GPT only the conditioners count, so every model that was tuned from one base shares
    its features.
    """
    parts = [f"version {EXTRACTOR_VERSION}", f"layer {files.config.semantic_layer}"]
    # Mapped, not read: most of the file is the transformer, which does not count.
    weights = gpt_weights(map_weights(files.gpt))
    parts.append(_hash_tensors({k: v for k, v in weights.items() if CONDITIONER_KEYS.match(k)}))
    listened = [p for p in files.semantic_dir.iterdir() if p.suffix in {".safetensors", ".json"}]
    parts += [sha256_file(path) for path in (files.codec, files.stats, *sorted(listened))]
    return sha256_text("\n".join(parts))[:16]


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


def _nearest(codec: SemanticCodec, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest codes ``[B, T]``, and by how much nearer than the next ``[B, T]``."""
    stage = cast(FactorizedQuantizer, codec.quantizer.quantizers[0])
    encoded = codec.encode(features, lens)
    directions = F.normalize(stage.project(encoded).mT, dim=-1)
    cosines = directions @ F.normalize(stage.codebook.weight, dim=-1).mT  # [B, T, K]
    best, second = cosines.topk(2, dim=-1).values.unbind(-1)
    return stage.nearest(encoded), best - second


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


def _hash_tensors(tensors: Weights) -> str:
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
