"""A checked request to waves, with the networks that it is given.

Per-request state only: what one request needs travels in its arguments, so that concurrent
requests never mix and a model that is swapped out finishes what it began.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from idiolect.base.errors import SynthesisError
from idiolect.base.log import get_logger
from idiolect.base.progress import track
from idiolect.models.gpt import UnifiedVoice
from idiolect.synthesis.model import LoadedModel
from idiolect.synthesis.output import full_scale
from idiolect.synthesis.request import Request, asked_codes, segments_of
from idiolect.synthesis.sampling import generate_codes
from idiolect.synthesis.stack import FrozenStack, PromptFeatures

CANCEL_ASKED_EVERY_SEC = 0.2
"""How often is asked within a segment whether anybody still waits for it."""

OnCodes = Callable[[Tensor], None]
"""Hears the codes ``[n]`` of each segment, int64 on the CPU, before they become sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conditions:
    """What is the same for every segment of one request."""

    prompt: PromptFeatures
    latents: Tensor  # [1, 32, D]
    emotion: Tensor  # [1, D]


def spoken_waves(
    model: LoadedModel,
    stack: FrozenStack,
    request: Request,
    on_codes: OnCodes | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Tensor]:
    """Yield the wave ``[1, n]`` in ±32767 of each segment that has sound.

    Each segment waits for a turn of the device; between them others have theirs.

    Raises:
        SynthesisError: Nothing is left to say, or the model spoke nothing.
        DataError: A clip cannot be read.
        Cancelled: ``cancelled`` said so.
    """
    segments = segments_of(model, request)
    todo = list(zip(segments, asked_codes(model, request, segments), strict=True))
    generator = torch.Generator(stack.device).manual_seed(request.seed)
    with stack.turns.one():
        given = _conditions(model, stack, request, generator)
    heard = False
    for text_ids, num_codes in track(todo, "speaking", unit="segments"):
        with stack.turns.one():
            prefix = model.prefix(given.latents, given.emotion, num_codes)
            codes = _codes(model, prefix, text_ids, request, generator, _seldom(cancelled))
            if on_codes is not None:
                on_codes(codes[0].cpu())
            wave = _sound(model, stack, given.prompt, prefix, text_ids, codes, request, generator)
        if wave is None:
            get_logger().warning("one segment came out empty and was left out")
            continue
        heard = True
        yield wave
    if not heard:
        raise SynthesisError(
            "the model spoke nothing",
            where=f"text {request.text[:60]!r}, seed {request.seed}",
            fix="try another seed, or check that the model was trained on this language",
        )


@torch.inference_mode()
def _conditions(
    model: LoadedModel, stack: FrozenStack, request: Request, generator: torch.Generator
) -> _Conditions:
    prompt = stack.prompt(request.prompt)
    latents = model.gpt.speaker_latents(prompt.features.to(_dtype(model.gpt)))
    emotion = _emotion(model, stack, prompt, request, generator)
    return _Conditions(prompt=prompt, latents=latents, emotion=emotion)


def _emotion(
    model: LoadedModel,
    stack: FrozenStack,
    prompt: PromptFeatures,
    request: Request,
    generator: torch.Generator,
) -> Tensor:
    """Return the emotion vector ``[1, D]``."""
    if request.emotion_prompt is None:
        features, alpha = prompt.emotion_features, 1.0
    else:
        features = stack.emotion_features(request.emotion_prompt)
        alpha = request.emotion_alpha
    dtype = _dtype(model.gpt)
    merged = model.gpt.merge_emotion(prompt.features.to(dtype), features.to(dtype), alpha)
    if request.emotion_weights is None:
        return merged
    return stack.emotion.mix(
        merged.float(),
        prompt.style,
        request.emotion_weights,
        generator=generator if request.random_emotion else None,
    ).to(dtype)


@torch.inference_mode()
def _codes(
    model: LoadedModel,
    prefix: Tensor,
    text_ids: list[int],
    request: Request,
    generator: torch.Generator,
    cancelled: Callable[[], bool],
) -> Tensor:
    """Return the codes ``[1, n]`` of one segment; n is 0 when the model stops at once."""
    ids = torch.tensor([text_ids], device=prefix.device)
    return generate_codes(
        model.gpt, prefix, ids, request.sampling, generator=generator, cancelled=cancelled
    )


def _seldom(cancelled: Callable[[], bool]) -> Callable[[], bool]:
    """Return a question that asks ``cancelled`` at once, and then some times a second."""
    next_sec = 0.0

    def asked() -> bool:
        nonlocal next_sec
        now_sec = time.monotonic()
        if now_sec < next_sec:
            return False
        next_sec = now_sec + CANCEL_ASKED_EVERY_SEC
        return cancelled()

    return asked


@torch.inference_mode()
def _sound(
    model: LoadedModel,
    stack: FrozenStack,
    prompt: PromptFeatures,
    prefix: Tensor,
    text_ids: list[int],
    codes: Tensor,
    request: Request,
    generator: torch.Generator,
) -> Tensor | None:
    """Return the wave ``[1, n]`` of the ``codes`` of one segment, or None when there are none."""
    if codes.numel() == 0:
        return None
    ids = torch.tensor([text_ids], device=prefix.device)
    states = model.gpt.code_latents(prefix, ids, codes)
    wave = stack.render(codes, states, prompt, generator=generator, speed=request.speed)
    return full_scale(wave).cpu()


def _dtype(gpt: UnifiedVoice) -> torch.dtype:
    return gpt.mel_head.weight.dtype
