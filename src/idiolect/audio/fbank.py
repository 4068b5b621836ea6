"""Kaldi's log filter banks, as the semantic and the speaker encoder each want them.

``B`` is batch, ``N`` samples at 16 000 Hz, ``T`` frames of 10 ms, ``M`` the 80 bands. The
semantic encoder reads two frames at once: ``T2`` pairs of 20 ms.

Source:
    Spec 1.2 and 1.6; golden/test_features.py and golden/test_campplus.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from idiolect.base.errors import DataError
from idiolect.base.units import SEMANTIC_SAMPLE_RATE

FRAME_LENGTH = 400
"""25 ms, in samples."""
FRAME_HOP = 160
"""10 ms, in samples."""
N_FFT = 512
N_BANDS = 80
FMIN_HZ = 20.0
FMAX_HZ = 8000.0
PREEMPHASIS = 0.97
POVEY_POWER = 0.85
"""Kaldi's own window is a Hann window to this power."""
LOG_FLOOR = torch.finfo(torch.float32).eps

PCM16_SCALE = 2.0**15
"""The semantic features are computed on samples of this size; those of the speaker are not."""
STACK = 2
"""Frames that the semantic encoder reads at once."""
PADDING_VALUE = 1.0
"""What fills the frames beyond a clip, after normalisation, in the published preprocessor."""
VARIANCE_FLOOR = 1e-7
MIN_FRAMES = 5
"""Three pairs, one of them half padding: the least that every network behind can work on."""
MIN_SAMPLES = FRAME_LENGTH + (MIN_FRAMES - 1) * FRAME_HOP


def speaker_fbank(audio: Tensor) -> Tensor:
    """Return the bands ``[T, M]`` of ``audio`` ``[N]``, each with its mean over time removed.

    Raises:
        DataError: The clip is shorter than :data:`MIN_SAMPLES`.
    """
    bands = log_bands(audio)
    return bands - bands.mean(dim=0)


def semantic_input(audios: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the semantic encoder reads for a batch of clips.

    A clip's rows do not depend on its neighbours. With an odd number of frames the last pair is
    half padding: it is masked, but counts as one of the clip's rows (Q5).

    Args:
        audios: One ``[N]`` waveform a clip.

    Returns:
        The features ``[B, T2, 2 * M]`` float32, padded with 1; their mask ``[B, T2]`` bool, True
        where both frames are real; and the rows of each clip ``[B]`` int64.

    Raises:
        DataError: A clip is shorter than :data:`MIN_SAMPLES`.
    """
    clips = [_normalized(log_bands(a.double() * PCM16_SCALE)) for a in audios]
    frame_lens = torch.tensor([len(c) for c in clips], device=clips[0].device)
    pair_lens = (frame_lens + STACK - 1) // STACK
    padded = pad_sequence(clips, batch_first=True, padding_value=PADDING_VALUE)  # [B, T, M]
    padded = F.pad(padded, (0, 0, 0, -padded.shape[1] % STACK), value=PADDING_VALUE)
    features = padded.reshape(len(clips), -1, STACK * N_BANDS)  # [B, T2, 2 * M]
    pair = torch.arange(features.shape[1], device=features.device)
    return features, pair < (frame_lens // STACK)[:, None], pair_lens


def log_bands(audio: Tensor) -> Tensor:
    """Return the log band energies ``[T, M]`` float32 of ``audio`` ``[N]``, computed in its type.

    Raises:
        DataError: The clip is shorter than :data:`MIN_SAMPLES`.
    """
    if len(audio) < MIN_SAMPLES:
        raise DataError(
            f"a clip of {1000 * len(audio) / SEMANTIC_SAMPLE_RATE:.0f} ms is too short to analyse",
            fix=f"use clips of {1000 * MIN_SAMPLES / SEMANTIC_SAMPLE_RATE:.0f} ms or longer",
        )
    frames: Tensor = audio.unfold(0, FRAME_LENGTH, FRAME_HOP)  # [T, FRAME_LENGTH]
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    windowed = (frames - PREEMPHASIS * before) * _povey_window().to(frames)
    spectrum = torch.view_as_real(torch.fft.rfft(windowed, N_FFT))  # [T, N_FFT / 2 + 1, 2]
    # Rounded to float32 and squared in the type of the audio, as the published extractor does.
    power = spectrum.float().to(audio.dtype).square().sum(dim=2)
    energies = power @ _band_weights().to(power)
    return energies.clamp(min=LOG_FLOOR).log().float()


def _normalized(bands: Tensor) -> Tensor:
    """Return ``bands`` ``[T, M]`` with mean 0 and variance 1 over time."""
    # NumPy, and time contiguous: sums in another order differ from the published features.
    by_band = np.ascontiguousarray(bands.cpu().numpy().T)  # [M, T]
    centred = by_band - by_band.mean(axis=1, keepdims=True)
    variance = by_band.var(axis=1, ddof=1, keepdims=True)
    normalized = centred / np.sqrt(variance + VARIANCE_FLOOR)
    return torch.from_numpy(normalized.T).to(bands.device)


@cache
def _povey_window() -> Tensor:
    hann = torch.hann_window(FRAME_LENGTH, periodic=False, dtype=torch.float64)
    return hann.pow(POVEY_POWER)


@cache
def _band_weights() -> Tensor:
    """Return triangles that are straight on the mel scale, ``[N_FFT / 2 + 1, M]``."""
    low, high = _mel(torch.tensor([FMIN_HZ, FMAX_HZ], dtype=torch.float64))
    edges = low + (high - low) / (N_BANDS + 1) * torch.arange(N_BANDS + 2)
    bins = _mel(torch.arange(N_FFT // 2) * (SEMANTIC_SAMPLE_RATE / N_FFT))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    # Kaldi leaves the Nyquist bin out.
    return F.pad(triangles, (0, 0, 0, 1))


def _mel(frequency_hz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(frequency_hz.double() / 700.0)
