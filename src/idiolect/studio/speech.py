"""One text spoken for one visitor: segment by segment, then the file, the figures, the history.

Whatever ends a request early (a cancel, a visitor who left, an error), what was spoken until then
is kept, and called partial.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from idiolect.audio.io import Waveform, write_wav
from idiolect.base.config import to_mapping
from idiolect.base.errors import SynthesisError
from idiolect.base.files import free_bytes
from idiolect.base.guard import check_output
from idiolect.base.units import SAMPLE_RATE, samples_to_seconds
from idiolect.studio.clips import ClipStore
from idiolect.studio.history import History, SpokenRecord
from idiolect.studio.loudness import Loudness, gain_for, set_volume, true_peak
from idiolect.studio.preview import check_length, segments_of_text
from idiolect.studio.settings import EmotionMode, SpeechSettings, settings_of_mapping
from idiolect.studio.waiting import WaitingRoom
from idiolect.synthesis.model import LoadedModel
from idiolect.synthesis.output import FULL_SCALE, join_segments
from idiolect.synthesis.sampling import Cancelled
from idiolect.synthesis.swap import ModelSlot
from idiolect.synthesis.voice import Voice

MIN_FREE_BYTES = 100 * 1024**2
CLIPS_DIR = "clips"
"""Below the output folder: what was given as a voice or an emotion, for saying it again."""
SEED_BITS = 31
VOICE_CLIP = "voice_clip"
PARTIAL = "partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOrder:
    """What a visitor asks for."""

    model: str
    """Name of an installed model, or ``base``."""
    device: str
    voice: Path
    """A clip; judged by content."""
    text: str
    settings: SpeechSettings = field(default_factory=SpeechSettings)
    user: str = "page"
    voice_name: str = ""
    """Of the library; empty for a clip that was given."""
    kind: str = "speech"
    """``speech`` or ``batch``, for the history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDone:
    """One segment, as soon as it can be heard."""

    index: int
    """From 0."""
    count: int
    """Of segments that the text has; one that comes out empty is left out."""
    wave: Waveform
    """``[N]`` at 22 050 Hz, at the volume that was asked for."""
    elapsed_sec: float
    """Since the request; waiting for others is in it."""
    speaking_sec: float
    """Since the model was there and began."""

    @property
    def left_sec(self) -> float:
        """An estimate of what is left, as if all segments took equally long."""
        return self.speaking_sec * (self.count - self.index - 1) / (self.index + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechDone:
    """The whole sound, and what was measured of it."""

    record: SpokenRecord
    """As the history has it."""
    wave: Waveform
    """``[N]`` at 22 050 Hz, as in the file."""
    loudness: Loudness
    waited_sec: float
    """For the model to be loaded and others to finish."""
    clipped_samples: int
    """That the model itself put at full scale, before the volume."""
    is_partial: bool

    @property
    def path(self) -> Path:
        """The WAV."""
        return self.record.path

    @property
    def seed(self) -> int:
        """That was used: the one that was given, or the one that was drawn."""
        return self.record.seed

    @property
    def rtf(self) -> float:
        """Seconds of speaking for one second of sound; waiting is not in it."""
        return self.record.elapsed_sec / self.record.duration_sec


class Speech:
    """Speaks what visitors order.

    Args:
        slot: The models.
        history: Where each sound is written down.
        output_dir: Where the sounds go.
        room: How many may wait.

    Raises:
        GuardError: ``output_dir`` lies in a base folder.
    """

    def __init__(
        self,
        slot: ModelSlot,
        history: History,
        output_dir: Path,
        *,
        room: WaitingRoom | None = None,
    ) -> None:
        self.slot = slot
        self.history = history
        self.output_dir = check_output(output_dir)
        self.clips = ClipStore(output_dir / CLIPS_DIR)
        self.room = room or WaitingRoom()

    def speak(
        self, order: SpeechOrder, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[SegmentDone | SpeechDone]:
        """Yield each segment as it is made, and at the end the whole.

        Args:
            order: What to say.
            cancelled: Asked some times a second; what was spoken until then is kept.

        Raises:
            SynthesisError: There is no place in the queue, the disk is full, a setting is out of
                range, or the model spoke nothing.
            Cancelled: Before anything was spoken.
            DataError: A clip cannot be read.
            RegistryError: The model is not installed.
            CheckpointError: Its files are damaged.
        """
        check_length(order.text)
        with self.room.place(order.user):
            self._check_room_on_disk()
            yield from self._spoken(self._settled(order), cancelled)

    def again(self, record: SpokenRecord, *, device: str, user: str) -> SpeechOrder:
        """Return the order that made ``record``: the same model, clip, text, settings and seed.

        Raises:
            DataError: Its clip is no longer kept.
            ConfigError: Its settings are not those of a speech.
        """
        values = dict(record.settings)
        if name := values.get("emotion_clip"):
            values["emotion_clip"] = str(self.clips.find(str(name)))
        settings = settings_of_mapping(values, where=f"history, sound {record.id}")
        return SpeechOrder(
            model=record.model,
            device=device,
            voice=self.clips.find(str(record.settings.get(VOICE_CLIP, ""))),
            text=record.text,
            settings=replace(settings, seed=record.seed),
            user=user,
            voice_name=record.voice,
            kind=record.kind,
        )

    def _check_room_on_disk(self) -> None:
        if free_bytes(self.output_dir) < MIN_FREE_BYTES:
            raise SynthesisError(
                "less than 100 MB are free for outputs", where=str(self.output_dir), fix="make room"
            )

    def _settled(self, order: SpeechOrder) -> SpeechOrder:
        """Return ``order`` with its clips kept and its seed drawn."""
        settings = order.settings
        if settings.seed is None:
            settings = replace(settings, seed=secrets.randbits(SEED_BITS))
        if settings.emotion is EmotionMode.CLIP and settings.emotion_clip is not None:
            kept = self.clips.keep(settings.emotion_clip)
            settings = replace(settings, emotion_clip=kept)
        return replace(order, voice=self.clips.keep(order.voice), settings=settings)

    def _spoken(
        self, order: SpeechOrder, cancelled: Callable[[], bool]
    ) -> Iterator[SegmentDone | SpeechDone]:
        take = _Take(order)
        is_whole = False
        try:
            with self.slot.leased(order.model, order.device) as voice:
                take.begin(voice.model, voice.stack.device)
                with suppress(Cancelled):
                    for wave in _segments(voice, take, cancelled):
                        yield take.add(wave)
                    is_whole = True
                take.end()
        finally:
            # Also for a visitor who left in the middle: nothing that was heard is lost.
            done = self._finish(take, is_whole=is_whole) if take.waves else None
        if done is None:
            raise Cancelled
        yield done

    def _finish(self, take: _Take, *, is_whole: bool) -> SpeechDone:
        take.end()
        order, settings = take.order, take.order.settings
        joined = join_segments(take.waves, settings.interval_silence_ms)[0].numpy()  # [N]
        clipped_samples = int((np.abs(joined) >= FULL_SCALE).sum())
        wave, loudness = set_volume((joined / FULL_SCALE).astype(np.float32), settings.volume)
        path = _new_path(self.output_dir)
        write_wav(path, wave, SAMPLE_RATE)
        record = SpokenRecord(
            user=order.user,
            kind=order.kind,
            model=order.model,
            language=take.language or "",
            text=order.text,
            voice=order.voice_name,
            settings=_noted(order, is_partial=not is_whole),
            seed=settings.seed or 0,
            path=path,
            duration_sec=samples_to_seconds(len(wave)),
            elapsed_sec=take.speaking_sec,
            first_sound_sec=take.first_sound_sec,
            peak_bytes=take.peak_bytes,
        )
        return SpeechDone(
            record=replace(record, id=self.history.add(record)),
            wave=wave,
            loudness=loudness,
            waited_sec=take.waited_sec,
            clipped_samples=clipped_samples,
            is_partial=not is_whole,
        )


class _Take:
    """What has been spoken of one order, and the clocks beside it."""

    def __init__(self, order: SpeechOrder) -> None:
        self.order = order
        self.waves: list[Tensor] = []
        """``[1, n]`` in ±32767 each."""
        self.count = 0
        self.num_tried = 0
        self.language: str | None = None
        self.first_sound_sec: float | None = None
        self.peak_bytes: int | None = None
        self.speaking_sec = 0.0
        self.waited_sec = 0.0
        self._peak = 0.0
        self._device: torch.device | None = None
        self._asked = time.monotonic()
        self._began = self._asked

    def begin(self, model: LoadedModel, device: torch.device) -> None:
        """Start the clock of speaking: the model is there."""
        settings = self.order.settings
        self.language = model.language_of(settings.language)
        limit = min(settings.max_segment_tokens, model.gpt.dims.max_text_len)
        self.count = len(segments_of_text(model.tokenizer, self.order.text, self.language, limit))
        self._began = time.monotonic()
        self.waited_sec = self._began - self._asked
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def hear_codes(self, _codes: Tensor) -> None:
        """Count a segment: also one that comes out empty and has no wave."""
        self.num_tried += 1

    def add(self, wave: Tensor) -> SegmentDone:
        """Take one segment ``[1, n]`` in ±32767, and return it as it is heard.

        The volume of a stream can only be held against the ceiling by what was heard so far; that
        of the file is one for the whole.
        """
        self.waves.append(wave)
        heard = (wave[0].numpy() / FULL_SCALE).astype(np.float32)
        self._peak = max(self._peak, true_peak(heard))
        self.end()
        if self.first_sound_sec is None:
            self.first_sound_sec = self.speaking_sec
        return SegmentDone(
            index=self.num_tried - 1,
            count=self.count,
            wave=heard * np.float32(gain_for(self._peak, self.order.settings.volume).gain),
            elapsed_sec=time.monotonic() - self._asked,
            speaking_sec=self.speaking_sec,
        )

    def end(self) -> None:
        """Read the clock, and the memory of the GPU."""
        self.speaking_sec = time.monotonic() - self._began
        if self._device is not None and self._device.type == "cuda":
            # Others on the device may have its counter begin anew meanwhile.
            peak_bytes = int(torch.cuda.max_memory_allocated(self._device))
            self.peak_bytes = max(self.peak_bytes or 0, peak_bytes)


def _segments(voice: Voice, take: _Take, cancelled: Callable[[], bool]) -> Iterator[Tensor]:
    """Yield the waves ``[1, n]`` in ±32767 without the silences between them."""
    order = take.order
    stream = voice.infer(
        order.voice,
        order.text,
        stream_return=True,
        on_codes=take.hear_codes,
        cancelled=cancelled,
        **order.settings.call(),
    )
    for place, wave in enumerate(cast("Iterator[Tensor]", stream)):
        if place % 2 == 0:
            yield wave


def _noted(order: SpeechOrder, *, is_partial: bool) -> dict[str, Any]:
    """Return the settings as the history keeps them: exactly, with clips by their kept names."""
    clip = order.settings.emotion_clip
    return {
        **to_mapping(order.settings),
        "emotion_clip": None if clip is None else clip.name,
        VOICE_CLIP: order.voice.name,
        "device": order.device,
        PARTIAL: is_partial,
    }


def _new_path(folder: Path) -> Path:
    """Return the path of a new sound: by the time, and a number that nobody else draws."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return folder / f"{stamp}-{secrets.token_hex(4)}.wav"


def last_of(events: Iterable[SegmentDone | SpeechDone]) -> SpeechDone:
    """Return how a speech ended, for whoever does not listen while it is spoken."""
    *_, done = events
    assert isinstance(done, SpeechDone)
    return done
