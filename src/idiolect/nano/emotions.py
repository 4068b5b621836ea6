"""The emotion matrices of nano: what its GPT hears in clips that were changed to stand for moods.

The corpus has no acted emotions, and none are claimed. Each mood stands for a change that can be
heard and made from any clip (:data:`MANNERS`): faster and higher, slower and lower, trembling,
strained. Ten voices, as unlike as can be, stand for each mood; of a group, synthesis takes the
row whose style is nearest to its prompt, so ``feat1`` has the styles of the voices as they are.

``R`` is rows, ``V`` voices of a group, ``S`` the style width, ``D`` the GPT's width, ``N`` samples
at 16 000 Hz.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.audio.resample import resample_22k_to_16k
from idiolect.base.progress import track
from idiolect.base.units import MAX_PROMPT_SEC, SAMPLE_RATE, SEMANTIC_SAMPLE_RATE
from idiolect.models.emotion import EMOTIONS
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.semantic import SemanticEncoder
from idiolect.models.speaker import CampPlus
from idiolect.nano.clips import Clips
from idiolect.nano.sizes import EMOTION_VOICES
from idiolect.nano.speaker import embed_clips

CLIPS_OF_VOICE = 6
"""Whose mean is the row: what one sentence happens to sound like falls out."""
TREMOR_HZ = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """A change of a clip. Its level is none: the semantic encoder normalises that away."""

    speed: float = 1.0
    """How much faster it is played: pace, pitch and resonances together."""
    tremor: float = 0.0
    """Depth of a trembling of the level, 0 to 1."""
    strain: float = 0.0
    """How far loud and soft are pressed together, 0 and up."""


MANNERS: Mapping[str, Manner] = MappingProxyType(
    {
        "happy": Manner(speed=1.12),
        "angry": Manner(speed=1.06, strain=4.0),
        "sad": Manner(speed=0.88, tremor=0.2),
        "afraid": Manner(speed=1.15, tremor=0.6),
        "disgusted": Manner(speed=0.93, strain=3.0),
        "melancholic": Manner(speed=0.85),
        "surprised": Manner(speed=1.22),
        "calm": Manner(speed=0.97),
    }
)
"""What stands for each of :data:`idiolect.models.emotion.EMOTIONS`."""


@torch.inference_mode()
def emotion_matrices(
    gpt: UnifiedVoice,
    encoder: SemanticEncoder,
    speaker_encoder: CampPlus,
    clips: Clips,
    *,
    num_voices: int = EMOTION_VOICES,
) -> tuple[Tensor, Tensor]:
    """Return ``feat1`` ``[R, S]`` and ``feat2`` ``[R, D]``, float32, with eight groups of rows.

    Args:
        gpt: Trained, in evaluation mode, as all networks here.
        encoder: Normalising with its statistics.
        speaker_encoder: Of the base.
        clips: Of the corpus.
        num_voices: Rows of a group; voices come again when the corpus has fewer.
    """
    chosen = _clips_of_voices(speaker_encoder, clips, num_voices)
    styles = torch.stack([_style(speaker_encoder, clips, places) for places in chosen])
    rows = [
        _heard(gpt, encoder, clips, places, MANNERS[emotion])
        for emotion in track(EMOTIONS, "making the emotion matrices", unit="emotions")
        for places in chosen
    ]
    return styles.repeat(len(EMOTIONS), 1), torch.stack(rows)


def changed(wave: Tensor, manner: Manner) -> Tensor:
    """Return ``wave`` ``[n]`` at 22 050 Hz as ``manner`` has it, ``[N]`` at 16 000 Hz."""
    if manner.speed == 1.0:
        heard = resample_22k_to_16k(wave[None])[0]
    else:
        samples = soxr.resample(wave.numpy(), SAMPLE_RATE * manner.speed, SEMANTIC_SAMPLE_RATE)
        heard = torch.from_numpy(samples)
    if manner.strain:
        loudest = heard.abs().max().clamp(min=1e-6)
        heard = loudest * torch.tanh(manner.strain * heard / loudest) / np.tanh(manner.strain)
    time_sec = torch.arange(len(heard)) / SEMANTIC_SAMPLE_RATE
    swing = 0.5 + 0.5 * torch.sin(2 * torch.pi * TREMOR_HZ * time_sec)
    return heard * (1 - manner.tremor * swing)


def _clips_of_voices(encoder: CampPlus, clips: Clips, num_voices: int) -> list[list[int]]:
    """Return clips of each of the voices that are most unlike each other."""
    by_speaker: defaultdict[str, list[int]] = defaultdict(list)
    for place, utterance in enumerate(clips.utterances):
        by_speaker[utterance.speaker].append(place)
    speakers = sorted(by_speaker)
    few = [_spread(by_speaker[speaker], CLIPS_OF_VOICE) for speaker in speakers]
    styles = torch.stack([_style(encoder, clips, places) for places in few])
    order = _unlike(F.normalize(styles, dim=1), min(num_voices, len(speakers)))
    return [few[order[row % len(order)]] for row in range(num_voices)]


def _unlike(directions: Tensor, count: int) -> list[int]:
    """Return ``count`` of ``directions`` ``[n, S]``, each as far as can be from those before."""
    chosen = [int((directions @ directions.mean(0)).argmax())]
    nearest = directions @ directions[chosen[0]]
    while len(chosen) < count:
        nearest[chosen] = torch.inf
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, directions @ directions[chosen[-1]])
    return chosen


def _spread(places: Sequence[int], count: int) -> list[int]:
    """Return ``count`` of ``places``, evenly from all of them; all where there are fewer."""
    step = max(1, len(places) // count)
    return list(places[::step][:count])


def _style(encoder: CampPlus, clips: Clips, places: Sequence[int]) -> Tensor:
    """Return the mean style ``[S]`` of some clips of a voice."""
    return embed_clips(encoder, clips, places).mean(0)


def _heard(
    gpt: UnifiedVoice,
    encoder: SemanticEncoder,
    clips: Clips,
    places: Sequence[int],
    manner: Manner,
) -> Tensor:
    """Return the mean emotion vector ``[D]`` of clips changed by ``manner``."""
    longest = int(MAX_PROMPT_SEC * SEMANTIC_SAMPLE_RATE)
    waves = [changed(clips.wave(place), manner)[:longest] for place in places]
    features, lens = encoder(waves)
    mean: Tensor = gpt.emotion_vector(features, lens).mean(0)
    return mean
