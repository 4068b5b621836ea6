"""The semantic codec: features at 50 Hz to one of 8192 codes each, and back.

``B`` is batch, ``T`` code frames, ``F`` the feature width, ``C`` channels, ``K`` the codebook.
Padding never reaches a valid frame: every convolution sees zeros beyond a clip's own end, as it
does when the clip is alone.

Source:
    Spec 2.8; golden/test_codec.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.models.config import CodecDims
from idiolect.models.weight_norm import NormedConv1d

LAYER_NORM_EPS = 1e-6
KERNEL_SIZE = 7


class SemanticCodec(nn.Module):
    """RepCodec with one codebook."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.dims = dims
        self.encoder = _stack(dims)
        # Only training a codec decodes; synthesis goes from codes to mel.
        self.decoder = _stack(dims)
        self.quantizer = ResidualQuantizer(dims)

    def encode(self, features: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return ``[B, T, F]``, what is quantised, for ``features`` ``[B, T, F]``."""
        backbone, project = self.encoder
        encoded: Tensor = project(backbone(features, _frame_mask(features, lens)))
        return encoded

    def quantize(self, features: Tensor, lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the codes of ``features`` and the embeddings that the codes stand for.

        Args:
            features: ``[B, T, F]`` float32.
            lens: ``[B]`` valid frames; None when all are. Codes beyond them mean nothing.

        Returns:
            Codes ``[B, T]`` int64, and embeddings ``[B, T, F]``.
        """
        codes = self.quantizer.only.nearest(self.encode(features, lens))
        return codes, self.embed(codes)

    def embed(self, codes: Tensor) -> Tensor:
        """Return the embeddings ``[B, T, F]`` of ``codes`` ``[B, T]``."""
        return self.quantizer.only.embed(codes)


class ResidualQuantizer(nn.Module):
    """The published file counts its codebooks; there is one."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList([FactorizedQuantizer(dims)])

    @property
    def only(self) -> FactorizedQuantizer:
        """The one codebook with its projections."""
        quantizer = self.quantizers[0]
        assert isinstance(quantizer, FactorizedQuantizer)
        return quantizer


class FactorizedQuantizer(nn.Module):
    """A codebook in a space of few dimensions, searched by angle."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.in_project = NormedConv1d(dims.feature_dim, dims.code_dim, 1)
        self.out_project = NormedConv1d(dims.code_dim, dims.feature_dim, 1)
        self.codebook = nn.Embedding(dims.codebook_size, dims.code_dim)

    def project(self, encoded: Tensor) -> Tensor:
        """Return ``encoded`` ``[B, T, F]`` in the space of the codebook, ``[B, code_dim, T]``."""
        projected: Tensor = self.in_project(encoded.mT)
        return projected

    def nearest(self, encoded: Tensor) -> Tensor:
        """Return the code ``[B, T]`` at the smallest angle to each of ``encoded`` ``[B, T, F]``."""
        directions = F.normalize(self.project(encoded).mT, dim=-1)
        cosines = directions @ F.normalize(self.codebook.weight, dim=-1).mT  # [B, T, K]
        return cosines.argmax(dim=-1)

    def embed(self, codes: Tensor) -> Tensor:
        """Return the embeddings ``[B, T, F]`` of ``codes`` ``[B, T]``."""
        embeddings: Tensor = self.out_project(self.codebook(codes).mT)  # [B, F, T]
        return embeddings.mT


class Backbone(nn.Module):
    """ConvNeXt blocks at one rate, ``[B, T, F]`` to ``[B, T, C]``."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        padding = KERNEL_SIZE // 2
        self.embed = nn.Conv1d(dims.feature_dim, dims.dim, KERNEL_SIZE, padding=padding)
        self.norm = nn.LayerNorm(dims.dim, eps=LAYER_NORM_EPS)
        self.convnext = nn.ModuleList(ConvNeXtBlock(dims) for _ in range(dims.num_layers))
        self.final_layer_norm = nn.LayerNorm(dims.dim, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return ``[B, T, C]`` for ``x`` ``[B, T, F]``; ``mask`` ``[B, T, 1]``, True = keep."""
        x = self.norm(self.embed((x * mask).mT).mT)
        for block in self.convnext:
            x = block(x, mask)
        normed: Tensor = self.final_layer_norm(x)
        return normed


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution, then two linear maps; ``[B, T, C]`` in and out."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(
            dims.dim, dims.dim, KERNEL_SIZE, padding=KERNEL_SIZE // 2, groups=dims.dim
        )
        self.norm = nn.LayerNorm(dims.dim, eps=LAYER_NORM_EPS)
        self.pwconv1 = nn.Linear(dims.dim, dims.ff_dim)
        self.pwconv2 = nn.Linear(dims.ff_dim, dims.dim)
        self.gamma = nn.Parameter(torch.full((dims.dim,), 1 / dims.num_layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return ``x`` plus what the block adds to it; ``mask`` as in :class:`Backbone`."""
        y = self.norm(self.dwconv((x * mask).mT).mT)
        added: Tensor = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + added


def _stack(dims: CodecDims) -> nn.Sequential:
    return nn.Sequential(Backbone(dims), nn.Linear(dims.dim, dims.feature_dim))


def _frame_mask(features: Tensor, lens: Tensor | None) -> Tensor:
    """Return ``[B, T, 1]``, True for the frames of each clip."""
    B, T, _ = features.shape
    frame = torch.arange(T, device=features.device)
    if lens is None:
        lens = frame.new_full((B,), T)
    return (frame < lens[:, None])[..., None]
