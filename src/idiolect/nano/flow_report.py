"""What the flow of nano keeps: clips spoken again from their codes, in a voice heard elsewhere.

Every clip is made from its own codes and another clip of its speaker, as synthesis would, but for
the GPT. Beside it stand the true clip, and the true mel through the same vocoder, which is the best
that a flow can do. ``M`` is mel bands, ``T`` mel frames, ``F`` the feature width.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from idiolect.audio.fbank import speaker_fbank
from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.progress import track
from idiolect.base.units import SAMPLE_RATE, code_frames_to_mel_frames
from idiolect.listening.recogniser import Recogniser, heard_errors
from idiolect.listening.scores import LetterErrors, cosine, mel_cepstral_distortion
from idiolect.models.s2mel import S2Mel
from idiolect.models.speaker import CampPlus
from idiolect.models.vocoder import BigVgan
from idiolect.nano.clips import Clips
from idiolect.nano.flow_data import FlowData

TRUE, VOCODED, COPIED = "true", "vocoded", "copied"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReport:
    """Measured on the clips of one manifest; keys are languages."""

    cer: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of nano's recogniser, for the true clips, their mels vocoded, and the copies."""
    distortion_db: dict[str, dict[str, float]] = field(default_factory=dict)
    """Mel-cepstral, against the true clips."""
    likeness: dict[str, dict[str, float]] = field(default_factory=dict)
    """Cosine of the style to that of the prompt."""
    spread: dict[str, float] = field(default_factory=dict)
    """How far mels move in time, as a share of the true ones: below 1 they are smoothed."""
    clips: dict[str, int] = field(default_factory=dict)
    seconds_per_second: float = 0.0
    """Time that the flow takes for each second of speech."""

    def as_dict(self) -> dict[str, object]:
        """Return plain values, for a file."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowJudge:
    """The networks that make the copies, and those that hear them."""

    flow: S2Mel
    embeddings: Tensor  # [K, F]
    vocoder: BigVgan
    speaker: CampPlus
    recogniser: Recogniser

    @torch.inference_mode()
    def report(self, clips: Clips, data: FlowData, chosen: Sequence[int]) -> FlowReport:
        """Return what is measured on the ``chosen`` of ``clips``; ``data`` is of the same clips."""
        parts: dict[str, list[_Copy]] = defaultdict(list)
        for index in track(chosen, "speaking again", unit="clips"):
            language = clips.utterances[index].language
            parts[language].append(self._judge(clips, data, index))
        every = [copy for copies in parts.values() for copy in copies]
        return FlowReport(
            cer={key: _rates(copies) for key, copies in parts.items()},
            distortion_db={key: _means(copies, "distortion_db") for key, copies in parts.items()},
            likeness={key: _means(copies, "likeness") for key, copies in parts.items()},
            spread={
                key: sum(c.spread for c in copies) / len(copies) for key, copies in parts.items()
            },
            clips={key: len(copies) for key, copies in parts.items()},
            seconds_per_second=sum(c.flow_sec for c in every) / sum(c.speech_sec for c in every),
        )

    def _judge(self, clips: Clips, data: FlowData, index: int) -> _Copy:
        spoken, prompt = clips.utterances[index], prompt_for(data, index)
        started = time.perf_counter()
        mel = copy_mel(self.flow, self.embeddings, data, prompt, index)
        flow_sec = time.perf_counter() - started
        true_mel = torch.from_numpy(data.mels[index].T.copy()).float()
        waves = {
            TRUE: clips.wave(index),
            VOCODED: self.vocoder(true_mel[None])[0, 0],
            COPIED: self.vocoder(mel[None])[0, 0],
        }
        at_16k = {name: resample_22k_to_16k(wave[None])[0] for name, wave in waves.items()}
        heard = self.recogniser.transcribe(list(at_16k.values()))
        style = data.styles[prompt]
        return _Copy(
            errors={
                name: heard_errors(spoken.text, text, spoken.language)
                for name, text in zip(waves, heard, strict=True)
            },
            distortion_db={
                name: mel_cepstral_distortion(waves[TRUE], waves[name])
                for name in (VOCODED, COPIED)
            },
            likeness={
                name: cosine(self.speaker(speaker_fbank(wave)[None])[0], style)
                for name, wave in at_16k.items()
            },
            spread=float(mel.std(dim=1).mean() / true_mel.std(dim=1).mean()),
            flow_sec=flow_sec,
            speech_sec=len(waves[COPIED]) / SAMPLE_RATE,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    errors: dict[str, LetterErrors]
    distortion_db: dict[str, float]
    likeness: dict[str, float]
    spread: float
    flow_sec: float
    speech_sec: float


def prompt_for(data: FlowData, index: int) -> int:
    """Return the next clip of the speaker of clip ``index``; itself when there is no other."""
    count = len(data.speakers)
    following = [(index + step) % count for step in range(1, count + 1)]
    return next(i for i in following if data.speakers[i] == data.speakers[index])


def copy_mel(flow: S2Mel, embeddings: Tensor, data: FlowData, prompt: int, target: int) -> Tensor:
    """Return the mel ``[M, T]`` of the codes of clip ``target`` in the voice of ``prompt``."""
    prompt_mel = torch.from_numpy(data.mels[prompt].T.copy()).float()[None]
    codes = torch.from_numpy(data.codes[target].astype("int64"))
    prompt_codes = torch.from_numpy(data.codes[prompt].astype("int64"))
    conditions = [
        flow.regulate(embeddings[prompt_codes][None], prompt_mel.shape[-1]),
        flow.regulate(embeddings[codes][None], code_frames_to_mel_frames(len(codes))),
    ]
    mel = flow.sample(
        torch.cat(conditions, dim=1),
        prompt_mel,
        data.styles[prompt][None],
        generator=torch.Generator().manual_seed(target),
    )
    return mel[0, :, prompt_mel.shape[-1] :]


def _rates(copies: Sequence[_Copy]) -> dict[str, float]:
    return {
        name: LetterErrors.total(copy.errors[name] for copy in copies).rate
        for name in copies[0].errors
    }


def _means(copies: Sequence[_Copy], score: str) -> dict[str, float]:
    values = [getattr(copy, score) for copy in copies]
    return {name: sum(value[name] for value in values) / len(values) for name in values[0]}
