"""The prompt of a probe's sentence: what it gives the GPT, and what it gives the sound.

Letters: D width of the GPT, T code frames.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from idiolect.audio.io import read_audio, write_wav
from idiolect.data.manifest import Utterance
from idiolect.models.gpt import UnifiedVoice
from idiolect.synthesis.stack import FrozenStack, PromptFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePrompt:
    """What is read from the clip of a voice once, since nothing that reads it is trained."""

    latents: Tensor  # [1, 32, D]
    emotion: Tensor  # [1, D]
    voice: PromptFeatures
    """Without the features of its code frames: latents and emotion are all that they are for."""


@torch.no_grad()
def read_prompt(stack: FrozenStack, conditioners: UnifiedVoice, clip: Utterance) -> ProbePrompt:
    """Return what ``clip`` gives a model that was tuned from the base of ``conditioners``.

    Raises:
        DataError: The clip cannot be read, or is too short.
    """
    voice = _voice_of(stack, clip)
    latents = conditioners.speaker_latents(voice.features)
    emotion = conditioners.merge_emotion(voice.features, voice.emotion_features)
    nothing = voice.features[:, :0].clone()
    return ProbePrompt(
        latents=latents,
        emotion=emotion,
        voice=replace(voice, features=nothing, emotion_features=nothing),
    )


def _voice_of(stack: FrozenStack, clip: Utterance) -> PromptFeatures:
    """Return the features of ``clip``, which may be a part of a longer file."""
    if clip.start_sec is None and clip.end_sec is None:
        return stack.prompt(clip.audio_path)
    audio, sample_rate = read_audio(
        clip.audio_path, start_sec=clip.start_sec or 0.0, end_sec=clip.end_sec
    )
    with tempfile.TemporaryDirectory() as scratch:
        part = Path(scratch) / "prompt.wav"
        write_wav(part, audio, sample_rate)
        return stack.prompt(part)
