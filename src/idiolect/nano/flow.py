"""Codes and a voice to mel: the s2mel of nano, trained from zero by flow matching.

``B`` is batch, ``S`` code frames, ``T`` mel frames (prompt first), ``M`` mel bands, ``C`` the
content width, ``F`` the feature width.

Source:
    Lipman et al. 2022; spec 1.14, 1.15, 2.5 and 2.6. Prompt and target are two clips of a speaker,
    regulated apart, as synthesis has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from idiolect.models.checkpoint import Weights, load_tensors, load_weights, save_tensors
from idiolect.models.config import S2MelDims
from idiolect.models.loading import s2mel_weights
from idiolect.models.s2mel import AdaptiveNorm, FlowBatch, FlowDraw, LengthRegulator, S2Mel
from idiolect.nano.flow_data import FlowData, FlowRows, FlowSampler
from idiolect.nano.flow_swift import run_transformer
from idiolect.nano.mel_ear import MelEar
from idiolect.nano.stage import (
    Ahead,
    Pace,
    Part,
    Scores,
    device_at_hand,
    halved,
    run_stage,
    running_average,
    step_generator,
    weights_to_begin_with,
)

FLOW_FILE = "s2mel.pth"
LATENT_SHARE = 0.5
"""Of the batches, in the phase that has GPT states: the rest goes without, as before it."""
CONTENT_GAIN = 2.0
"""By which conditions have a variance of about 1 at first."""
GRADIENT_LIMIT = 1.0
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """How the flow is trained."""

    pace: Pace
    frames: int = 3072
    """Mel frames of a batch, prompts and padding included."""
    time_shift: float = 4.0
    """By how much early times are drawn more often. Mels deviate by more than the noise does, so
    what is said is decided early on the way from noise to mel: later the mel shows it anyway."""
    average_decay: float = 0.999
    """Of the running average of the weights, which is what is kept at the end."""
    heard_weight: float = 0.05
    """Of the loss by what the recogniser hears in the estimated mel."""


def train_flow(
    data: FlowData,
    embeddings: Tensor,
    dims: S2MelDims,
    folder: Path,
    config: FlowConfig,
    ear: MelEar | None = None,
) -> S2Mel:
    """Train the flow, or go on with it; return it with its averaged weights.

    Args:
        data: Codes, mels and styles of the corpus; with latents, ``gpt_layer`` learns too.
        embeddings: What each code stands for, ``[K, F]``: the codec's, frozen.
        dims: Sizes of the networks.
        folder: Of the stage; gains ``s2mel.pth`` in the published form. Begins with the one that
            lies there, if there is no state of its own.
        config: Length, learning rate and batches.
        ear: What the mels should be as clear to as true ones are; none is asked when None.

    Raises:
        CheckpointError: What lies there has other sizes.
        TrainingError: There is no clip, or the loss is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.pace.seed)
        begun = weights_to_begin_with(folder, FLOW_FILE)
        network = load_flow(folder, dims) if begun else new_flow(dims, mean_mel(data))
    stage = _FlowStage(network, data, embeddings, config, ear)
    run_stage("flow", folder, stage.parts(), stage.step, config.pace)
    result = stage.result()
    save_flow(folder, result)
    return result


def new_flow(dims: S2MelDims, mean: Tensor) -> S2Mel:
    """Return a network that begins as the flow from noise to ``mean`` ``[M]``."""
    network = S2Mel(dims)
    estimator = network.cfm.estimator
    for layer in network.modules():
        if isinstance(layer, AdaptiveNorm):
            # The time steers nothing at first: the norm is then a plain one.
            scale, shift = layer.project_layer.bias.chunk(2)
            nn.init.zeros_(layer.project_layer.weight)
            nn.init.ones_(scale)
            nn.init.zeros_(shift)
    _zero(estimator.final_layer.adaLN_modulation[1])
    _zero(estimator.conv2)
    assert estimator.conv2.bias is not None
    estimator.conv2.bias.data.copy_(mean)
    # Mels are numbers of about -6: content of the default size would be found late beside them.
    nn.init.orthogonal_(_weight(network.length_regulator.model[-1])[..., 0], gain=CONTENT_GAIN)
    nn.init.orthogonal_(estimator.cond_projection.weight)
    # Without GPT states nothing is added: a network that never saw them speaks as it learnt to.
    _zero(network.gpt_layer[-1])
    return network


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def mean_mel(data: FlowData, num_clips: int = 200) -> Tensor:
    """Return the mean mel frame ``[M]`` of some clips all over the corpus."""
    step = max(1, len(data.mels) // num_clips)
    pieces = [torch.from_numpy(data.mels[i].copy()).float() for i in range(0, len(data.mels), step)]
    return torch.cat(pieces).mean(0)


def regulate_rows(
    regulator: LengthRegulator, x: Tensor, lens: Tensor, target_lens: Tensor
) -> Tensor:
    """Return ``[B, T, C]``: each row of ``x`` ``[B, S, F]`` as if it were regulated alone.

    The network itself stretches a batch as one, and its norms see the padding; synthesis has no
    batch. Here each row is stretched from its own ``lens`` ``[B]`` to its own ``target_lens``.
    """
    T = int(target_lens.max())
    frame = torch.arange(T, device=x.device)
    ratio = lens.float() / target_lens.float()
    source = (frame * ratio[:, None]).long().clamp(max=lens[:, None] - 1)  # [B, T]
    projected = regulator.content_in_proj(x)  # [B, S, C]
    stretched = projected.gather(1, source[..., None].expand(-1, -1, projected.shape[-1]))
    keep = (frame < target_lens[:, None])[:, None]  # [B, 1, T]
    y = stretched.mT
    for layer in regulator.model:
        y = _masked_norm(layer, y, keep) if isinstance(layer, nn.GroupNorm) else layer(y * keep)
    regulated: Tensor = (y * keep).mT
    return regulated


def _masked_norm(norm: nn.GroupNorm, x: Tensor, keep: Tensor) -> Tensor:
    """Apply a norm of one group to the frames of ``x`` ``[B, C, T]`` that ``keep`` has."""
    x = x.float()
    count = keep.sum(dim=(1, 2), keepdim=True) * x.shape[1]
    mean = (x * keep).sum(dim=(1, 2), keepdim=True) / count
    centred = (x - mean) * keep
    variance = centred.square().sum(dim=(1, 2), keepdim=True) / count
    scale = norm.weight[:, None] * torch.rsqrt(variance + norm.eps)
    return centred * scale + norm.bias[:, None]


def flow_batch(network: S2Mel, embeddings: Tensor, rows: FlowRows) -> FlowBatch:
    """Return ``rows`` with their conditions: prompts and targets regulated apart, then joined."""
    target = embeddings[rows.target_codes]  # [B, S, F]
    if rows.latents is not None:
        target = target + network.gpt_layer(rows.latents).float()
    # Apart, as synthesis does: the norms of the regulator go over the whole length.
    prompt_condition = regulate_rows(
        network.length_regulator,
        embeddings[rows.prompt_codes],
        rows.prompt_code_lens,
        rows.prompt_lens,
    )
    condition = regulate_rows(
        network.length_regulator,
        target,
        rows.target_code_lens,
        rows.mel_lens - rows.prompt_lens,
    )
    return FlowBatch(
        mel=rows.mel,
        mel_lens=rows.mel_lens,
        prompt_lens=rows.prompt_lens,
        condition=_joined(prompt_condition, condition, rows.prompt_lens, rows.mel_lens),
        style=rows.style,
    )


def _joined(prompts: Tensor, targets: Tensor, prompt_lens: Tensor, lens: Tensor) -> Tensor:
    """Return ``[B, T, C]``: of each row its prompt, then its target, then zeros."""
    frame = torch.arange(int(lens.max()), device=lens.device)
    is_target = frame >= prompt_lens[:, None]  # [B, T]
    place = torch.where(is_target, frame - prompt_lens[:, None] + prompts.shape[1], frame)
    place = torch.where(frame < lens[:, None], place, 0)
    both = torch.cat([prompts, targets], dim=1)
    joined = both.gather(1, place[..., None].expand(-1, -1, both.shape[-1]))
    return joined * (frame < lens[:, None])[..., None]


class _FlowStage:
    """What a step changes, and the step."""

    def __init__(
        self,
        network: S2Mel,
        data: FlowData,
        embeddings: Tensor,
        config: FlowConfig,
        ear: MelEar | None,
    ) -> None:
        self.device = device_at_hand()
        self.ear = None if ear is None else ear.to(self.device)
        self.heard_weight = config.heard_weight
        self.network = network.to(self.device).train()
        self.average = running_average(network, config.average_decay)
        if self.device.type == "cpu":
            self._make_swift()
        self.embeddings = embeddings.to(self.device)
        self.seed = config.pace.seed
        self.time_shift = config.time_shift
        self.plain = FlowSampler(replace(data, latents=None), config.frames)
        self.with_latents = None if data.latents is None else FlowSampler(data, config.frames)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.drawn_ahead = Ahead(self._draw, self.device)

    def _make_swift(self) -> None:
        transformer = self.network.cfm.estimator.transformer
        transformer.forward = partial(run_transformer, transformer)  # type: ignore[method-assign]

    def result(self) -> S2Mel:
        """Return a network with the averaged weights."""
        network = S2Mel(self.network.dims)
        network.load_state_dict(self.network.state_dict())  # of what is no weight
        for mine, averaged in zip(
            network.parameters(), self.average.module.parameters(), strict=True
        ):
            mine.data.copy_(averaged)
        return network.eval()

    def parts(self) -> dict[str, Part]:
        """Return all that is kept."""
        return {"network": self.network, "average": self.average, "optimizer": self.optimizer}

    def step(self, number: int) -> Scores:
        """Learn from the batch of ``number``."""
        rows = self.drawn_ahead.of_step(number).to(self.device)
        chance = step_generator(self.seed, number, self.device)
        torch.manual_seed(chance.initial_seed())  # of the dropout
        draw = FlowDraw.of(rows.mel, self.network.dims.class_dropout, chance)
        draw = replace(draw, time=earlier(draw.time, self.time_shift))
        with halved(self.device):
            batch = flow_batch(self.network, self.embeddings, rows)
            loss, estimate = self.network.flow_loss(batch, draw)
            heard = self._heard(batch, draw, estimate)
        self.optimizer.zero_grad()
        (loss + self.heard_weight * heard).backward()  # type: ignore[no-untyped-call]  # untyped in torch
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_LIMIT)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return {"loss": loss.item(), "heard": heard.item(), "gradient": norm.item()}

    def _draw(self, number: int) -> FlowRows:
        generator = step_generator(self.seed, number)
        return self._sampler(generator).draw(generator)

    def _heard(self, batch: FlowBatch, draw: FlowDraw, estimate: Tensor) -> Tensor:
        """Return the ear's loss for where the straight path from here would end."""
        if self.ear is None or draw.is_unconditional:
            return torch.zeros((), device=self.device)
        end = torch.lerp(estimate.float(), batch.mel, draw.time)
        lens = batch.mel_lens - batch.prompt_lens
        return self.ear.loss(end, batch.mel, batch.prompt_lens, lens)

    def _sampler(self, generator: torch.Generator) -> FlowSampler:
        wants_latents = torch.rand((), generator=generator).item() < LATENT_SHARE
        return self.with_latents if wants_latents and self.with_latents else self.plain


def earlier(time: Tensor, shift: float) -> Tensor:
    """Return times in 0 ... 1 so that their signal-to-noise ratio is ``shift`` times smaller.

    Source:
        Esser et al. 2024, "Scaling rectified flow transformers", section 5.3.2.
    """
    return time / (shift + (1 - shift) * time)


def save_flow(folder: Path, network: S2Mel) -> None:
    """Write ``network`` to ``s2mel.pth`` in ``folder``, as the published file nests it."""
    save_tensors(folder / FLOW_FILE, {"net": published_form(network.state_dict())})


def load_flow(folder: Path, dims: S2MelDims) -> S2Mel:
    """Return the network that a stage left in ``folder``, to be used.

    Raises:
        CheckpointError: There is none, or it has other sizes.
    """
    path = folder / FLOW_FILE
    network = S2Mel(dims)
    load_weights(network, s2mel_weights(load_tensors(path, mmap=False), where=path), where=path)
    return network.eval()


def published_form(weights: Mapping[str, Tensor]) -> dict[str, Weights]:
    """Return ``weights`` by part (``cfm``, ``length_regulator``, ``gpt_layer``), then by name."""
    nested: dict[str, Weights] = {}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        nested.setdefault(part, {})[rest] = tensor
    return nested
