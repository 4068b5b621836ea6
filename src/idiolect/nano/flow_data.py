"""What the flow of nano learns from: codes, mels and styles of clips, in pairs of one speaker.

Synthesis hears a clip of a voice and fills the mel of another utterance. So does training: a row is
a piece of a *prompt* clip and behind it a whole *target* clip of the same speaker, with the style
of the prompt. Only the target is learnt.

``B`` is batch, ``S`` code frames, ``T`` mel frames (prompt first), ``M`` mel bands, ``F`` the
feature width, ``G`` the width of the GPT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from idiolect.audio.fbank import speaker_fbank
from idiolect.audio.mel import LogMel
from idiolect.base.errors import TrainingError
from idiolect.base.files import atomic_path, read_json, write_json
from idiolect.base.hashes import sha256_file, sha256_text
from idiolect.base.progress import track
from idiolect.models.checkpoint import weights_digest
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.speaker import CampPlus
from idiolect.nano.clips import Clips
from idiolect.nano.frames import Frames, clip_16k
from idiolect.nano.sizes import base_config
from idiolect.nano.stage import each_in_order
from idiolect.nano.voice import Lessons

PROMPT_FRAMES = (40, 260)
"""Mel frames that the prompts of a batch may have at most: a number between these."""
LONG_PROMPT_FRAMES = (260, 1000)
LONG_SHARE = 0.08
"""Of the batches, whose prompts are several clips: people give longer ones than the corpus has."""
STATES_OF_ONE_IN = 3
"""Of so many clips one has its GPT states computed: the joint phase sees no more of them."""
BUCKETS = 24
"""Groups of targets of like length; a batch is of one group."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of many clips, one clip behind the other, mapped from disk."""

    rows: NDArray[Any]  # [all rows, ...]
    ends: NDArray[np.int64]
    """Where each clip ends in ``rows``."""

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Return the rows of clip ``index``; none when it was left out."""
        start = self.ends[index - 1] if index else 0
        found: NDArray[Any] = self.rows[start : self.ends[index]]
        return found

    @property
    def lens(self) -> NDArray[np.int64]:
        """Rows of each clip."""
        return np.diff(self.ends, prepend=0)


def keep_ragged(
    path: Path, key: str, pieces: Callable[[], Iterator[NDArray[Any]]], *, total: int
) -> Ragged:
    """Return what is kept in ``path``; ``pieces`` makes it when nothing is, or with another key.

    Args:
        path: Of the rows; what describes them lies beside it in ``.json``.
        key: Of all that the rows depend on.
        pieces: Yields the rows of clip after clip, alike in all but their number.
        total: How many clips there are.
    """
    index_path = path.with_name(f"{path.name}.json")
    if not (index_path.exists() and read_json(index_path)["key"] == key):
        ends, end, shape, kind = [], 0, (0,), "float16"
        with atomic_path(path) as partial, partial.open("wb") as out:
            for piece in track(pieces(), f"computing {path.name}", total=total, unit="clips"):
                out.write(np.ascontiguousarray(piece).tobytes())
                end += len(piece)
                ends.append(end)
                shape, kind = piece.shape[1:], piece.dtype.name
        write_json(index_path, {"key": key, "shape": shape, "type": kind, "ends": ends})
    index = read_json(index_path)
    rows = np.memmap(path, dtype=index["type"], mode="r").reshape(-1, *index["shape"])
    return Ragged(rows, np.asarray(index["ends"], dtype=np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowData:
    """The clips of a manifest, as the flow sees them."""

    mels: Ragged  # float16 [T, M] a clip
    codes: Ragged  # integers [S] a clip
    styles: Tensor  # [clips, style_dim] float32
    speakers: Sequence[str]
    """Of each clip."""
    latents: Ragged | None = None  # float16 [S, G] a clip; no rows where there are none


def flow_data(
    clips: Clips, manifest: Path, frames: Frames, styles: Tensor, folder: Path
) -> FlowData:
    """Return what the flow learns from ``clips``; their mels are computed once, into ``folder``.

    Args:
        clips: Of ``manifest``.
        manifest: Whose change makes the mels be computed again.
        frames: The codes of the same clips.
        styles: ``[clips, style_dim]``, see :func:`clip_styles`.
        folder: Where the mels are kept.
    """
    mels = keep_ragged(
        folder / f"{manifest.stem}.mels",
        sha256_file(manifest),
        partial(_mels, clips),
        total=len(clips),
    )
    return FlowData(
        mels=mels,
        codes=Ragged(frames.codes_of_all, np.asarray(frames.ends, dtype=np.int64)),
        styles=styles,
        speakers=[utterance.speaker for utterance in clips.utterances],
    )


def _mels(clips: Clips) -> Iterator[NDArray[Any]]:
    log_mel = LogMel(base_config().mel)

    @torch.inference_mode()
    def mel(index: int) -> NDArray[Any]:
        return log_mel(clips.wave(index)[None])[0].T.half().numpy()  # type: ignore[no-any-return]

    return each_in_order(mel, len(clips))


def clip_styles(speaker: CampPlus, clips: Clips, folder: Path, name: str) -> Tensor:
    """Return the style of each clip as a prompt has it, ``[clips, style_dim]``.

    They are kept in ``folder`` under ``name``, and computed again for another network.
    """
    key = sha256_text(f"{weights_digest(speaker)} {clips.ends}")

    @torch.inference_mode()
    def style(index: int) -> NDArray[Any]:
        return speaker(speaker_fbank(clip_16k(clips, index))[None]).float().numpy()  # type: ignore[no-any-return]

    kept = keep_ragged(
        folder / f"{name}.styles", key, lambda: each_in_order(style, len(clips)), total=len(clips)
    )
    return torch.from_numpy(np.array(kept.rows))


@torch.inference_mode()
def clip_latents(gpt: UnifiedVoice, lessons: Lessons, folder: Path, name: str) -> Ragged:
    """Return the states of ``gpt`` that predict the codes of each clip, ``[S, G]`` a clip.

    Each clip is spoken after another one of its speaker. Clips whose text the GPT does not learn
    have no rows, and of the others only one in :data:`STATES_OF_ONE_IN` has. They are kept in
    ``folder`` under ``name``, and computed again for another GPT.
    """
    key = sha256_text(f"{weights_digest(gpt)} {lessons.frames.ends}")

    def rows() -> Iterator[NDArray[Any]]:
        numbers = np.random.default_rng(0)
        for index, utterance in enumerate(lessons.utterances):
            if index not in lessons.text_ids or index % STATES_OF_ONE_IN:
                yield np.zeros((0, gpt.dims.dim), dtype=np.float16)
                continue
            prompt = int(numbers.choice(lessons.by_speaker[utterance.speaker]))
            yield _states(gpt, lessons, prompt, index).half().numpy()

    return keep_ragged(folder / f"{name}.latents", key, rows, total=len(lessons.utterances))


def _states(gpt: UnifiedVoice, lessons: Lessons, prompt: int, target: int) -> Tensor:
    """Return ``[S, G]``, as synthesis has it in its second pass."""
    features = lessons.frames.features(prompt)[None]
    prefix = gpt.prefix(gpt.speaker_latents(features), gpt.emotion_vector(features))
    text_ids = torch.from_numpy(lessons.text_ids[target])[None]
    codes = torch.from_numpy(lessons.frames.codes(target))[None]
    return gpt.code_latents(prefix, text_ids, codes)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRows:
    """A batch of prompts and targets; zeros are padding."""

    mel: Tensor  # [B, M, T] float32, prompt then target
    mel_lens: Tensor  # [B] of prompt and target together
    prompt_lens: Tensor  # [B]
    prompt_codes: Tensor  # [B, S] int64
    prompt_code_lens: Tensor  # [B]
    target_codes: Tensor  # [B, S] int64
    target_code_lens: Tensor  # [B]
    style: Tensor  # [B, style_dim] of the prompts
    latents: Tensor | None  # [B, S, G] float32 for the targets

    def to(self, device: torch.device) -> FlowRows:
        """Return the batch on ``device``."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: t.to(device) for name, t in tensors.items() if t is not None}
        return replace(self, **moved)


class _Piece(NamedTuple):
    """A piece of a clip."""

    clip: int
    mel: NDArray[np.float16]  # [T, M]
    codes: NDArray[np.integer[Any]]  # [S]


class FlowSampler:
    """Draws batches of about the same number of mel frames.

    Args:
        data: What is drawn from; where it has latents, only clips with latents are targets.
        frames: Mel frames of a batch, padding and prompts included.

    Raises:
        TrainingError: There is nothing to draw.
    """

    def __init__(self, data: FlowData, frames: int) -> None:
        self.data = data
        self.frames = frames
        lens = data.mels.lens
        usable = (lens > 0) & (data.codes.lens > 0)
        if data.latents is not None:
            usable &= data.latents.lens > 0
        targets = np.flatnonzero(usable)
        if not len(targets):
            raise TrainingError("no clip to train on", fix="make the corpus and the codes first")
        order = targets[np.argsort(lens[targets], kind="stable")]
        self._buckets = np.array_split(order, min(BUCKETS, len(order)))
        # A batch of short clips has more rows: so drawn, every clip is as likely as any other.
        weights = np.array([len(b) * lens[b].max() for b in self._buckets], dtype=np.float64)
        self._weights = weights / weights.sum()
        self._of_speaker: dict[str, list[int]] = {}
        for index in targets.tolist():
            self._of_speaker.setdefault(data.speakers[index], []).append(index)

    def draw(self, generator: torch.Generator) -> FlowRows:
        """Return a batch; equal states of ``generator`` give equal batches."""
        numbers = np.random.default_rng(
            int(torch.randint(2**62, (), generator=generator, dtype=torch.int64))
        )
        bucket = self._buckets[numbers.choice(len(self._buckets), p=self._weights)]
        is_long = numbers.random() < LONG_SHARE
        room = int(numbers.integers(*(LONG_PROMPT_FRAMES if is_long else PROMPT_FRAMES)))
        num_frames = int(self.data.mels.lens[bucket].max()) + room
        num_rows = max(1, self.frames // num_frames)
        targets = numbers.choice(bucket, num_rows, replace=len(bucket) < num_rows).tolist()
        return self._rows(targets, num_frames, numbers, max_clips=room if is_long else 1)

    def _rows(
        self,
        targets: Sequence[int],
        num_frames: int,
        numbers: np.random.Generator,
        *,
        max_clips: int,
    ) -> FlowRows:
        data = self.data
        prompts = [
            list(self._prompt(target, num_frames - len(data.mels[target]), max_clips, numbers))
            for target in targets
        ]
        prompt_mels = [np.concatenate([piece.mel for piece in prompt]) for prompt in prompts]
        prompt_codes = [np.concatenate([piece.codes for piece in prompt]) for prompt in prompts]
        target_codes = [data.codes[target] for target in targets]
        mels = [
            np.concatenate([mel, data.mels[target]])
            for mel, target in zip(prompt_mels, targets, strict=True)
        ]
        return FlowRows(
            mel=_padded(mels, torch.float32).mT.contiguous(),
            mel_lens=_lens(mels),
            prompt_lens=_lens(prompt_mels),
            prompt_codes=_padded(prompt_codes, torch.int64),
            prompt_code_lens=_lens(prompt_codes),
            target_codes=_padded(target_codes, torch.int64),
            target_code_lens=_lens(target_codes),
            style=data.styles[[prompt[0].clip for prompt in prompts]],
            latents=self._latents(targets),
        )

    def _prompt(
        self, target: int, max_frames: int, max_clips: int, numbers: np.random.Generator
    ) -> Iterator[_Piece]:
        """Yield pieces of clips of the speaker of ``target``, of ``max_frames`` together."""
        left = max_frames
        for _ in range(max_clips):
            yield (piece := self._cut(self._prompt_of(target, numbers), left, numbers))
            left -= len(piece.mel)
            if left < PROMPT_FRAMES[0]:
                return

    def _prompt_of(self, target: int, numbers: np.random.Generator) -> int:
        """Return another clip of the speaker of ``target``; itself if it is the only one."""
        clips = self._of_speaker[self.data.speakers[target]]
        place = int(numbers.integers(max(1, len(clips) - 1)))
        return clips[-1] if clips[place] == target else clips[place]

    def _cut(self, clip: int, max_frames: int, numbers: np.random.Generator) -> _Piece:
        """Return a piece of at most ``max_frames`` mel frames of ``clip``."""
        mel, codes = self.data.mels[clip], self.data.codes[clip]
        frames_per_code = len(mel) / len(codes)
        num_codes = max(1, min(len(codes), int(max_frames / frames_per_code)))
        first = int(numbers.integers(len(codes) - num_codes + 1))
        start = round(first * frames_per_code)
        end = max(start + 1, round((first + num_codes) * frames_per_code))
        return _Piece(clip, mel[start:end], codes[first : first + num_codes])

    def _latents(self, targets: Sequence[int]) -> Tensor | None:
        if self.data.latents is None:
            return None
        return _padded([self.data.latents[target] for target in targets], torch.float32)


def _padded(pieces: Sequence[NDArray[Any]], dtype: torch.dtype) -> Tensor:
    """Return ``pieces`` as one tensor, zeros behind the shorter ones."""
    return pad_sequence([torch.from_numpy(np.array(p)).to(dtype) for p in pieces], batch_first=True)


def _lens(pieces: Sequence[NDArray[Any]]) -> Tensor:
    return torch.tensor([len(piece) for piece in pieces])
