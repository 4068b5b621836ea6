"""The distance to the base: how far what is said has moved from what the base would say.

On clips in the base's languages, a frozen copy of the base reads the same voice, text and codes,
and the network that learns is pulled towards its probabilities of the next code. Only the code
heads are compared: the text heads may be of two vocabularies.

Letters: N codes, D width, V classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from idiolect.base.errors import TokenizerError
from idiolect.models.checkpoint import load_checkpoint, load_weights, shapes_of
from idiolect.models.gpt import UnifiedVoice
from idiolect.models.loading import gpt_dims_of, gpt_weights
from idiolect.models.published import BASE_ROLES, BaseFiles
from idiolect.registry.describe import languages_of_base
from idiolect.text.tokenizer import Tokenizer
from idiolect.training.config import TrainConfig
from idiolect.training.head_loss import add_gradients, computed_in, no_gradients

CHUNK_TOKENS = 512
"""Rows of logits at once, twice: 16 MB each at 8194 classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseTeacher:
    """The base, frozen. No module of the network that learns, so nothing of it is saved."""

    gpt: UnifiedVoice
    half: bool
    """Whether its matrices are bfloat16, which halves their memory; where training computes in
    bfloat16, it rounds its own likewise."""

    @classmethod
    def load(cls, files: BaseFiles, device: torch.device, *, half: bool) -> BaseTeacher:
        """Return the base of ``files`` on ``device``: its own GPT, wherever the run starts from.

        Raises:
            CheckpointError: Its file is damaged.
            TokenizerError: There is only a GPT with another tokenizer than the base's.
        """
        path = _own_gpt(files)
        weights, _ = load_checkpoint(path)
        found = gpt_weights(weights, conditioners=False)
        weights = {name: _held(tensor, half=half) for name, tensor in found.items()}
        dims = gpt_dims_of(shapes_of(weights), files.config.gpt)
        with torch.device("meta"):
            gpt = UnifiedVoice(dims, conditioners=False, dropout=0.0)
        load_weights(gpt, weights, where=path)
        return cls(gpt=gpt.requires_grad_(requires_grad=False).eval().to(device), half=half)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Compute without gradients; the states stay float32, as those of the network do."""
        device = self.gpt.mel_head.weight.device.type
        mixed = torch.autocast(device, torch.bfloat16) if self.half else nullcontext()
        with torch.no_grad(), mixed:
            yield


def _held(tensor: Tensor, *, half: bool) -> Tensor:
    """Return ``tensor`` as it is kept; a norm on a CPU takes no half weights for whole states."""
    return tensor.to(torch.bfloat16 if half and tensor.ndim >= 2 else torch.float32)


def base_languages(config: TrainConfig, files: BaseFiles) -> tuple[str, ...]:
    """Return the languages in which ``config`` wants the base kept; by default all of them."""
    return config.base_languages or languages_of_base(files)


def _own_gpt(files: BaseFiles) -> Path:
    own = files.folder / BASE_ROLES["gpt"]
    if own.is_file():
        return own
    _, header = load_checkpoint(files.gpt)
    made_with = header.tokenizer_sha256 if header is not None else ""
    if made_with not in ("", Tokenizer.load(files.tokenizer).sha256):
        raise TokenizerError(
            f"{files.gpt} has a tokenizer of its own, and {own} is not there to say what the base "
            "would",
            where="--base-kl",
            fix="put the gpt.pth of the base into its folder, or leave --base-kl out",
        )
    return files.gpt


def kl_sum(states: Tensor, head: nn.Linear, base_states: Tensor, base_head: nn.Linear) -> Tensor:
    """Return the sum over codes of KL(base || network), in nats.

    In chunks, whose gradients are taken while their logits are there: no table of logits ever
    stands whole. Only what ``states`` and ``head`` come from gets gradients.

    Args:
        states: ``[N, D]`` of the network; computed in the type of autocast where that is on.
        head: ``[V, D]`` and its bias.
        base_states: ``[N, D']`` of the base, for the same codes.
        base_head: ``[V, D']`` and its bias.

    Returns:
        Scalar float32; zero without codes.

    Source:
        Li and Hoiem 2016, "Learning without forgetting", equation 2, at temperature 1.
    """
    frozen = base_states.detach(), base_head.weight.detach(), base_head.bias.detach()
    kl: Tensor = _HeadKl.apply(states, head.weight, head.bias, *frozen)  # type: ignore[no-untyped-call]
    return kl


class _HeadKl(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, *base: Tensor) -> Tensor:
        grads = no_gradients((states, weight, bias), ctx.needs_input_grad[:3])
        dtype = computed_in(states)
        x, w, b = (part.to(dtype) for part in (states, weight, bias))
        base_x, base_w, base_b = (part.to(dtype) for part in base)
        kl = states.new_zeros((), dtype=torch.float32)
        for start in range(0, len(states), CHUNK_TOKENS):
            rows = slice(start, start + CHUNK_TOKENS)
            said = F.linear(base_x[rows], base_w, base_b).float().log_softmax(-1)  # [n, V]
            says = F.linear(x[rows], w, b).float().log_softmax(-1)
            share = said.exp()
            kl += (share * (said - says)).sum()
            add_gradients(grads, says.exp_().sub_(share), x[rows], w, rows)
        ctx.grads = grads
        return kl

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        grads = [None if grad is None else grad.mul_(scale) for grad in ctx.grads]
        ctx.grads = None
        return (*grads, None, None, None)
