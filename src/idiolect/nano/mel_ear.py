"""What nano hears in a mel, with a gradient to it: so the flow is told when a sound is lost.

A flow that is right on average blurs what tells a ``p`` from a ``t``: few frames in few bands. The
encoder and the recogniser's layers behind it know what matters. They read other filter banks than
the flow fills; a linear map of one frame makes these out of the mel, near enough that the
recogniser spells as well.

``B`` is batch, ``T`` mel frames, ``M`` mel bands, ``N`` the bands that the encoder reads, ``S``
code frames, ``F`` the feature width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.audio.fbank import FRAME_HOP, FRAME_LENGTH, N_BANDS, STACK, VARIANCE_FLOOR
from idiolect.base.units import SEMANTIC_SAMPLE_RATE
from idiolect.listening.swift import hidden_states
from idiolect.models.checkpoint import load_tensors
from idiolect.models.published import SEMANTIC_DIR
from idiolect.nano.codec import STATS_FILE, Ear, heard_loss
from idiolect.nano.flow_data import Ragged
from idiolect.nano.frozen import frozen_encoder
from idiolect.nano.sizes import READ_LAYER, base_config
from idiolect.nano.sounds import Sounds

FITTED_CLIPS = 400
RIDGE = 1e-3
"""Of the mean variance of a mel band."""


class MelEar(nn.Module):
    """The encoder up to the layer that is read, for mels; frozen.

    Args:
        encoder_folder: Of the encoder's stage.
        codec_folder: Of the codec's stage.
        to_bands: ``[M, N]``, see :func:`fit_bands`.
    """

    to_bands: Tensor

    def __init__(self, encoder_folder: Path, codec_folder: Path, to_bands: Tensor) -> None:
        super().__init__()
        self.network = frozen_encoder(encoder_folder, codec_folder).network
        stats = load_tensors(codec_folder / STATS_FILE)
        self.behind = Ear(encoder_folder / SEMANTIC_DIR, READ_LAYER, stats)
        self.register_buffer("to_bands", to_bands)

    def forward(self, mel: Tensor, starts: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalised features ``[B, S, F]``, and their mask ``[B, S]``, True = real.

        Args:
            mel: ``[B, M, T]``.
            starts: ``[B]``, the first frame of each that is heard.
            lens: ``[B]``, how many are heard.
        """
        num_pairs = num_frames_read(lens) // STACK
        mask = torch.arange(int(num_pairs.max()), device=mel.device) < num_pairs[:, None]
        bands = read_at(mel.mT.float(), starts, lens, mask.shape[1] * STACK) @ self.to_bands
        rows = normalized(bands, mask.repeat_interleave(STACK, dim=1))
        states = hidden_states(self.network, rows.reshape(*mask.shape, STACK * N_BANDS), mask)
        return (states[-1].float() - self.behind.mean) / self.behind.std, mask

    def loss(self, estimate: Tensor, mel: Tensor, starts: Tensor, lens: Tensor) -> Tensor:
        """Return how far what is heard in ``estimate`` is from what is heard in ``mel``.

        It is what the codec learns by: squared error of the features, and divergence of the
        letters that the layers behind hear in them.
        """
        with torch.no_grad():
            wanted, mask = self(mel, starts, lens)
        features, _ = self(estimate, starts, lens)
        error = F.mse_loss(features[mask], wanted[mask])
        return error + heard_loss(self.behind, features, wanted, mask)


def num_frames_read(mel_lens: Tensor) -> Tensor:
    """Return how many frames of the encoder's filter banks clips of ``mel_lens`` have."""
    mel = base_config().mel
    samples = mel_lens * mel.hop_length * SEMANTIC_SAMPLE_RATE // mel.sample_rate
    return ((samples - FRAME_LENGTH) // FRAME_HOP + 1).clamp(min=STACK)


def read_at(mel: Tensor, starts: Tensor, lens: Tensor, num_frames: int) -> Tensor:
    """Return ``mel`` ``[B, T, M]`` where the encoder's frames have their middles.

    Args:
        mel: Mels.
        starts: ``[B]``, the frame where each begins.
        lens: ``[B]``, its frames.
        num_frames: Of the encoder; frames beyond a clip repeat its end.

    Returns:
        ``[B, num_frames, M]``, between two mel frames what lies between them.
    """
    dims = base_config().mel
    middle = torch.arange(num_frames, device=mel.device) * FRAME_HOP + FRAME_LENGTH / 2  # samples
    frame_rate_hz = dims.sample_rate / dims.hop_length
    place = (middle / SEMANTIC_SAMPLE_RATE * frame_rate_hz - 0.5).clamp(min=0)
    before = place.long()
    last = (starts + lens - 1)[:, None]

    def frames(places: Tensor) -> Tensor:
        index = torch.minimum(starts[:, None] + places, last)
        return mel.gather(1, index[..., None].expand(-1, -1, mel.shape[2]))

    return torch.lerp(frames(before), frames(before + 1), (place - before).to(mel.dtype)[:, None])


def normalized(bands: Tensor, mask: Tensor) -> Tensor:
    """Return ``bands`` ``[B, T, N]`` with mean 0 and variance 1 over the frames of ``mask``."""
    keep = mask[..., None]
    count = keep.sum(dim=1, keepdim=True)
    centred = (bands - (bands * keep).sum(dim=1, keepdim=True) / count) * keep
    variance = centred.square().sum(dim=1, keepdim=True) / (count - 1)
    return centred * torch.rsqrt(variance + VARIANCE_FLOOR)


def fit_bands(mels: Ragged, sounds: Sounds) -> Tensor:
    """Return the linear map ``[M, N]`` from mel frames to the encoder's filter banks.

    Least squares over some clips, each of them without its mean: the encoder's bands have none.
    """
    square = cross = torch.zeros(())
    for index in range(0, len(sounds), max(1, len(sounds) // FITTED_CLIPS)):
        bands = sounds.clip(index).reshape(-1, N_BANDS).double()
        mel = torch.from_numpy(mels[index].astype(np.float64))[None]
        start, length = torch.tensor([0]), torch.tensor([mel.shape[1]])
        x = read_at(mel, start, length, len(bands))[0]
        x = x - x.mean(dim=0)
        square, cross = square + x.T @ x, cross + x.T @ bands
    ridge = RIDGE * square.diagonal().mean() * torch.eye(len(square))
    fitted: Tensor = torch.linalg.solve(square + ridge, cross)
    return fitted.float()
